"""The ledger of forecasts as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from crm.ledger import BESIDE, FIGURES, LedgerEntry
from serving.forecast.accuracy import RIVALS, Accuracy
from serving.forecast.ledger_facts import largest_deals
from serving.forecast.moves import PARTS, Moves
from vigie.figure_table import FigureTable, money_format, percent
from vigie.moments import show

_LETTERS = 12
_MOST_GROUPS = 30
_CENTS = money_format([])
_SIGNED = money_format([], signed=True)


def list_table(entries: Sequence[LedgerEntry]) -> RenderableType:
    """Give the entries, one a row."""
    if not entries:
        return Text("The ledger holds no such forecast; vigie forecast --keep adds one.")
    shown = ("mean", "low", "high")
    money = money_format(entry.total[f"{name}_cents"] for entry in entries for name in shown)
    rows = [
        [
            entry.entry_id[:_LETTERS],
            entry.period,
            entry.by or "–",
            show(entry.as_of),
            entry.model_version[:_LETTERS],
            *(money(entry.total[f"{name}_cents"]) for name in shown),
            f"{entry.level:.0%}",
        ]
        for entry in entries
    ]
    head = ["entry", "period", "by", "as of", "model", "mean", "low", "high", "range"]
    return FigureTable(head, rows, n_words=5)


def entry_text(entry: LedgerEntry, n_deals: int) -> RenderableType:
    """Give one entry: its figures by group, then the largest deals behind it."""
    beside = [name for name in BESIDE if entry.rows[f"{name}_cents"].notna().any()]
    parts: list[RenderableType] = [
        Text(f"{entry.period} as of {show(entry.as_of)}{_in(entry.currency)}", style="bold"),
        Text(
            f"Made {show(entry.made_at)} by model {entry.model_version}, seed {entry.seed}; low to high is "
            f"to hold {entry.level:.0%}; entry {entry.entry_id}."
        ),
        Padding(_group_figures(entry, FIGURES), (1, 0, 0, 0)),
    ]
    if beside:
        parts.append(Padding(_group_figures(entry, beside), (1, 0, 0, 0)))
    deals = largest_deals(entry, n_deals)
    if len(deals):
        intro = Text(f"The largest {len(deals)} of the {entry.n_deals:,} deals behind it:")
        parts += [Padding(intro, (1, 0, 0, 0)), _deals_behind(deals)]
    return Group(*parts)


def _group_figures(entry: LedgerEntry, names: Sequence[str]) -> FigureTable:
    columns = [f"{name}_cents" for name in names]
    money = money_format(entry.rows[columns].to_numpy().ravel())
    rows = [[str(row["group"]), *(money(row[name]) for name in columns)] for _, row in entry.rows.iterrows()]
    return FigureTable([entry.by or "", *map(_word, names)], rows)


def _deals_behind(deals: pd.DataFrame) -> FigureTable:
    rows = []
    for _, deal in deals.iterrows():
        is_open = deal["state"] == "open"
        chances = (percent(deal["win_probability"]), percent(deal["in_period"])) if is_open else ("", "")
        expected = _CENTS(100 * deal["expected_amount"])
        stage = "" if pd.isna(deal["stage"]) else str(deal["stage"])
        rows.append(
            [str(deal["deal_id"]), str(deal["state"]), stage, expected, *chances, _CENTS(deal["mean_cents"])]
        )
    head = ["deal", "state", "stage", "expected amount", "won", "in period", "adds"]
    return FigureTable(head, rows, n_words=3)


def moves_text(moves: Moves, n_deals: int) -> RenderableType:
    """Give why a forecast moved: in total, by group, and the deals that moved it most."""
    before, after = moves.before, moves.after
    total = moves.parts.iloc[0]
    lines: list[RenderableType] = [
        Text(f"{after.period}{_in(after.currency)}", style="bold"),
        Text(
            f"{_CENTS(total['before_cents'])} as of {show(before.as_of)}, {_CENTS(total['after_cents'])} "
            f"as of {show(after.as_of)}: {_SIGNED(moves.difference_cents)}"
        ),
    ]
    if not moves.model_separable:
        said = (
            f"The model changed from {before.model_version} to {after.model_version}, and the ledger holds "
            "no forecast by the old one as of the later moment: what moved chances and timing is not told "
            "apart from it."
        )
        lines.append(Text(said, style="yellow"))
    rows = [[meaning, _SIGNED(total[name])] for name, meaning in _worded(total).items()]
    lines.append(Padding(FigureTable(["", "moved"], rows), (1, 0)))
    if len(moves.parts) > 1:
        lines.append(Padding(_by_group(moves), (0, 0, 1, 0)))
    if len(moves.deals) and n_deals:
        lines += [Text("What moved it most:"), _deals_moved(moves.deals.head(n_deals))]
    return Group(*lines)


def _worded(total: pd.Series) -> dict[str, str]:
    """Give the parts that there are, each with its meaning."""
    return {name: f"{_word(name)}: {meaning}" for name, meaning in PARTS.items() if total[name]}


def _by_group(moves: Moves) -> FigureTable:
    there = [name for name in PARTS if (moves.parts[name] != 0).any()]
    ends = moves.parts[["before_cents", "after_cents"]].to_numpy().ravel()
    money, signed = money_format(ends), money_format(ends, signed=True)
    rows = [
        [
            str(row["group"]),
            money(row["before_cents"]),
            *(signed(row[name]) if row[name] else "" for name in there),
            money(row["after_cents"]),
        ]
        for _, row in moves.parts.head(_MOST_GROUPS + 1).iterrows()
    ]
    return FigureTable([moves.after.by or "", "before", *map(_word, there), "after"], rows)


def _deals_moved(deals: pd.DataFrame) -> FigureTable:
    rows = [
        [
            "to come" if pd.isna(deal["deal_id"]) else str(deal["deal_id"]),
            str(deal["group"]),
            _word(deal["part"]),
            str(deal["why"]),
            _CENTS(deal["before_cents"]),
            _CENTS(deal["after_cents"]),
            _SIGNED(deal["cents"]),
        ]
        for _, deal in deals.iterrows()
    ]
    return FigureTable(["deal", "group", "part", "why", "before", "after", "moved"], rows, n_words=4)


def accuracy_text(found: Accuracy) -> RenderableType:
    """Give how right forecasts were, by horizon and by group."""
    everything = found.by_horizon.iloc[-1]
    n, n_periods = int(everything["n_forecasts"]), int(everything["n_periods"])
    lines: list[RenderableType] = [
        Text(f"What was forecast and what came, as known {show(found.as_of)}", style="bold"),
        Text(
            f"{_counted(n, 'forecast')} of {_counted(n_periods, 'period')} that ended"
            f"{_in(found.currency)}; {_counted(found.n_pending, 'entry', 'entries')} of periods that run on."
        ),
    ]
    if found.n_replayed:
        said = (
            f"{found.n_replayed:,} of them were made only after their period had ended, from what was known "
            "before: they show the method, not a record kept at the time."
        )
        lines.append(Text(said, style="yellow"))
    lines.append(Padding(_measures(found.by_horizon, "end of the period within", "horizon"), (1, 0)))
    for by, rows in found.by_group.groupby("by", sort=False):
        lines.append(_measures(rows.head(_MOST_GROUPS), str(by), "group"))
    return Group(*lines)


def _measures(rows: pd.DataFrame, title: str, key: str) -> FigureTable:
    there = [rival for rival in RIVALS if (rows[f"n_{rival}"] > 0).any()]
    money = money_format(100 * rows["crps"])
    cells = [
        [
            str(row[key]),
            f"{int(row['n_forecasts']):,}",
            percent(row["wape"]),
            percent(row["bias"], signed=True),
            f"{row['coverage']:.0%} of {row['level']:.0%}",
            money(100 * row["crps"]),
            *(_beside(row, rival) for rival in there),
        ]
        for _, row in rows.iterrows()
    ]
    rivals = [f"{_word(rival)} (Vigie)" for rival in there]
    return FigureTable([title, "forecasts", "WAPE", "bias", "range held", "CRPS", *rivals], cells)


def _beside(row: pd.Series, rival: str) -> str:
    if not row[f"n_{rival}"]:
        return "–"
    return f"{percent(row[f'wape_{rival}'])} ({percent(row[f'wape_beside_{rival}'])})"


def _counted(n: int, one: str, more: str = "") -> str:
    return f"{n:,} {one if n == 1 else more or f'{one}s'}"


def _word(name: str) -> str:
    return name.replace("_", " ")


def _in(currency: str) -> str:
    return f", in {currency}" if currency else ""
