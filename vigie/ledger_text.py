"""The ledger of forecasts as a person reads it, and as plain JSON; money in units of its currency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crm.ledger import BESIDE, FIGURES, LedgerEntry
from serving.forecast.accuracy import RIVALS, Accuracy
from serving.forecast.moves import PARTS, Moves
from vigie.moments import show

_LETTERS = 12
_MOST_GROUPS = 30


def heading(entry: LedgerEntry) -> dict[str, Any]:
    """Give what an entry is about and its total, as plain JSON."""
    return {
        "entry_id": entry.entry_id,
        "made_at": entry.made_at,
        "as_of": entry.as_of,
        "period": entry.period,
        "period_start": entry.period_start,
        "period_end": entry.period_end,
        "by": entry.by,
        "level": entry.level,
        "currency": entry.currency,
        "model_version": entry.model_version,
        "seed": entry.seed,
        "n_deals": entry.n_deals,
        "total": _figures(entry.total),
    }


def entry_facts(entry: LedgerEntry, n_deals: int) -> dict[str, Any]:
    """Give an entry whole, with its largest deals, as plain JSON."""
    groups = {str(row["group"]): _figures(row) for _, row in entry.rows.iterrows()}
    return heading(entry) | {"groups": groups, "deals": _records(_largest(entry, n_deals))}


def list_table(entries: Sequence[LedgerEntry]) -> RenderableType:
    """Give the entries, one a row."""
    if not entries:
        return Text("The ledger holds no such forecast; vigie forecast --keep adds one.")
    table = _table("entry", "period", "by", "as of", "model")
    for name in ("closed", "open", "new", "mean"):
        table.add_column(name, justify="right")
    table.add_column("range")
    for entry in entries:
        total = entry.total
        table.add_row(
            entry.entry_id[:_LETTERS],
            Text(entry.period),
            Text(entry.by or "–"),
            show(entry.as_of),
            Text(entry.model_version[:_LETTERS]),
            *(_money(total[f"{name}_cents"]) for name in ("closed", "open", "new", "mean")),
            _range(entry, total),
        )
    return table


def entry_text(entry: LedgerEntry, n_deals: int) -> RenderableType:
    """Give one entry: its figures by group, then the largest deals behind it."""
    table = _table(entry.by or "")
    for name in ("closed", "open", "new", "mean", "median"):
        table.add_column(name, justify="right")
    table.add_column("range")
    there = [name for name in BESIDE if entry.rows[f"{name}_cents"].notna().any()]
    for name in there:
        table.add_column(_word(name), justify="right")
    for _, row in entry.rows.iterrows():
        figures = [_money(row[f"{name}_cents"]) for name in ("closed", "open", "new", "mean", "median")]
        beside = [_money(row[f"{name}_cents"]) for name in there]
        table.add_row(Text(str(row["group"])), *figures, _range(entry, row), *beside)
    parts: list[RenderableType] = [
        Text(f"{entry.period} as of {show(entry.as_of)}{_in(entry.currency)}", style="bold"),
        Text(
            f"Made {show(entry.made_at)} by model {entry.model_version}, seed {entry.seed}; entry "
            f"{entry.entry_id}."
        ),
        Padding(table, (1, 0)),
    ]
    deals = _largest(entry, n_deals)
    if len(deals):
        listed = _table("deal", "state", "stage")
        for name in ("expected amount", "won", "in period", "adds"):
            listed.add_column(name, justify="right")
        for _, deal in deals.iterrows():
            chances = (_percent(deal["win_probability"]), _percent(deal["in_period"]))
            listed.add_row(
                Text(str(deal["deal_id"])),
                str(deal["state"]),
                Text("" if pd.isna(deal["stage"]) else str(deal["stage"])),
                _units(deal["expected_amount"]),
                *(chances if deal["state"] == "open" else ("", "")),
                _money(deal["mean_cents"]),
            )
        parts += [Text(f"The largest {len(deals)} of the {entry.n_deals:,} deals behind it:"), listed]
    return Group(*parts)


def moves_facts(moves: Moves, n_deals: int) -> dict[str, Any]:
    """Give why a forecast moved, as plain JSON."""
    parts = moves.parts.set_index("group")
    groups = {
        str(group): {
            name.removesuffix("_cents"): int(row[name]) / 100
            for name in ("before_cents", *PARTS, "after_cents")
        }
        for group, row in parts.iterrows()
    }
    return {
        "before": heading(moves.before),
        "after": heading(moves.after),
        "difference": moves.difference_cents / 100,
        "model_separable": moves.model_separable,
        "parts": groups,
        "deals": _records(moves.deals.head(n_deals)),
    }


def moves_text(moves: Moves, n_deals: int) -> RenderableType:
    """Give why a forecast moved: in total, by group, and the deals that moved it most."""
    before, after = moves.before, moves.after
    total = moves.parts.iloc[0]
    lines: list[RenderableType] = [
        Text(f"{after.period}{_in(after.currency)}", style="bold"),
        Text(
            f"{_money(total['before_cents'])} as of {show(before.as_of)}, {_money(total['after_cents'])} "
            f"as of {show(after.as_of)}: {_signed(moves.difference_cents)}"
        ),
    ]
    if not moves.model_separable:
        lines.append(
            Text(
                f"The model changed from {before.model_version} to {after.model_version}, and the ledger "
                "holds no forecast by the old one as of the later moment: what moved chances and timing is "
                "not told apart from it.",
                style="yellow",
            )
        )
    table = _table("part", "of the difference", "")
    table.columns[1].justify = "right"
    for name, meaning in PARTS.items():
        if total[name]:
            table.add_row(_word(name), _signed(total[name]), Text(meaning, style="dim"))
    lines.append(Padding(table, (1, 0)))
    if len(moves.parts) > 1:
        lines.append(Padding(_by_group(moves), (0, 0, 1, 0)))
    if len(moves.deals) and n_deals:
        listed = _table("deal", "group", "part", "why")
        for name in ("before", "after", "moved"):
            listed.add_column(name, justify="right")
        for _, deal in moves.deals.head(n_deals).iterrows():
            name = "to come" if pd.isna(deal["deal_id"]) else str(deal["deal_id"])
            words = (Text(name), Text(str(deal["group"])), _word(deal["part"]), str(deal["why"]))
            figures = (_money(deal["before_cents"]), _money(deal["after_cents"]), _signed(deal["cents"]))
            listed.add_row(*words, *figures)
        lines += [Text("What moved it most:"), listed]
    return Group(*lines)


def _by_group(moves: Moves) -> Table:
    there = [name for name in PARTS if (moves.parts[name] != 0).any()]
    table = _table(moves.after.by or "")
    for name in ("before", *(_word(part) for part in there), "after"):
        table.add_column(name, justify="right")
    for _, row in moves.parts.head(_MOST_GROUPS + 1).iterrows():
        figures = [_signed(row[name]) if row[name] else "" for name in there]
        table.add_row(
            Text(str(row["group"])), _money(row["before_cents"]), *figures, _money(row["after_cents"])
        )
    return table


def accuracy_facts(found: Accuracy) -> dict[str, Any]:
    """Give how right forecasts were, as plain JSON."""
    return {
        "as_of": found.as_of,
        "currency": found.currency,
        "n_pending": found.n_pending,
        "n_replayed": found.n_replayed,
        "by_horizon": _records(found.by_horizon),
        "by_group": _records(found.by_group),
        "forecasts": _records(found.forecasts),
    }


def accuracy_text(found: Accuracy) -> RenderableType:
    """Give how right forecasts were, by horizon and by group."""
    everything = found.by_horizon.iloc[-1]
    n = int(everything["n_forecasts"])
    lines: list[RenderableType] = [
        Text(f"What was forecast and what came, as known {show(found.as_of)}", style="bold"),
        Text(
            f"{_counted(n, 'forecast')} of {_counted(int(everything['n_periods']), 'period')} that ended"
            f"{_in(found.currency)}; {_counted(found.n_pending, 'entry', 'entries')} of periods that run on."
        ),
    ]
    if found.n_replayed:
        lines.append(
            Text(
                f"{found.n_replayed:,} of them were made only after their period had ended, from what was "
                "known before: they show the method, not a record kept at the time.",
                style="yellow",
            )
        )
    lines.append(Padding(_measures(found.by_horizon, "end of the period within", "horizon"), (1, 0)))
    if len(found.by_group):
        for by, rows in found.by_group.groupby("by", sort=False):
            lines.append(_measures(rows.head(_MOST_GROUPS), str(by), "group"))
    return Group(*lines)


def _measures(rows: pd.DataFrame, title: str, key: str) -> Table:
    table = _table(title)
    for name in ("forecasts", "WAPE", "bias", "range held", "CRPS"):
        table.add_column(name, justify="right")
    there = [rival for rival in RIVALS if (rows[f"n_{rival}"] > 0).any()]
    for rival in there:
        table.add_column(f"{_word(rival)} (Vigie)", justify="right")
    for _, row in rows.iterrows():
        beside = [_beside(row, rival) for rival in there]
        table.add_row(
            Text(str(row[key])),
            f"{int(row['n_forecasts']):,}",
            _percent(row["wape"]),
            _percent(row["bias"], sign=True),
            f"{row['coverage']:.0%} of {row['level']:.0%}",
            f"{row['crps']:,.2f}",
            *beside,
        )
    return table


def _beside(row: pd.Series, rival: str) -> str:
    if not row[f"n_{rival}"]:
        return "–"
    return f"{_percent(row[f'wape_{rival}'])} ({_percent(row[f'wape_beside_{rival}'])})"


def _figures(row: pd.Series) -> dict[str, float | None]:
    cents = {name: row[f"{name}_cents"] for name in (*FIGURES, *BESIDE)}
    return {name: None if pd.isna(value) else int(value) / 100 for name, value in cents.items()}


def _largest(entry: LedgerEntry, n_deals: int) -> pd.DataFrame:
    deals = entry.deals if entry.deals is not None else pd.DataFrame()
    order = deals["mean_cents"].abs().sort_values(ascending=False, kind="stable").index
    return deals.loc[order].head(n_deals)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Give rows as plain JSON: cents as units, what is missing as null."""
    renamed = {name: name.removesuffix("_cents") for name in frame.columns if name.endswith("_cents")}
    renamed |= {"cents": "moved"} if "cents" in frame.columns else {}
    units = frame.assign(**{name: frame[name].astype("Float64") / 100 for name in renamed})
    rows = units.rename(columns=renamed).astype(object)
    return [
        {str(name): value for name, value in row.items()}
        for row in rows.where(rows.notna(), None).to_dict("records")
    ]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name)
    return table


def _word(name: str) -> str:
    return name.replace("_", " ")


def _counted(n: int, one: str, more: str = "") -> str:
    return f"{n:,} {one if n == 1 else more or f'{one}s'}"


def _in(currency: str) -> str:
    return f", in {currency}" if currency else ""


def _money(cents: Any) -> str:
    return "–" if pd.isna(cents) else _units(int(cents) / 100)


def _units(money: float) -> str:
    return "–" if pd.isna(money) else f"{money:,.2f}"


def _signed(cents: Any) -> str:
    return f"{int(cents) / 100:+,.2f}"


def _percent(share: float, *, sign: bool = False) -> str:
    return "–" if pd.isna(share) else f"{share:+.1%}" if sign else f"{share:.1%}"


def _range(entry: LedgerEntry, row: pd.Series) -> str:
    return f"{_money(row['low_cents'])} to {_money(row['high_cents'])} ({entry.level:.0%})"
