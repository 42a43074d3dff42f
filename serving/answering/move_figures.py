"""Why a forecast moved, as an answer: the command's parts, of the groups that the caller may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from crm.groups import TOTAL
from crm.known import known_at
from crm.ledger import LedgerEntry
from crm.store import Store
from serving.answering.kept_history import Source
from serving.answering.plain_rows import plain
from serving.answering.scope import Scope
from serving.forecast.entry_choice import bridge_between, find_entry, last_two, of_period
from serving.forecast.ledger_facts import heading, moves_facts
from serving.forecast.moves import PARTS, Moves, explain_move

_CENTS = ("before_cents", *PARTS, "after_cents")


@dataclass(frozen=True)
class MoveQuestion:
    """Which two forecasts are compared.

    Parameters
    ----------
    before, after : str or None
        The beginnings of their ids; the last two of the period where they are not given.
    period : str or None
    by : str or None
        Only forecasts grouped by it; an empty text for those without groups.
    n_deals : int
    scope : Scope
    """

    before: str | None
    after: str | None
    period: str | None
    by: str | None
    n_deals: int
    scope: Scope


def move_figures(source: Source, asked: MoveQuestion) -> dict[str, Any]:
    """Say why a forecast moved, as ``vigie ledger moved`` does.

    For a scope the total is the sum of its groups: of forecasts by rep where nothing else is asked for.

    Raises
    ------
    VigieError
        As :func:`serving.forecast.moves.explain_move` and :mod:`serving.forecast.entry_choice`.
    """
    history = source.read()
    by = asked.by
    if not asked.scope.is_all and not by:
        by = "owner"
    seen = asked.scope.groups(history, by or None)
    store = Store.open(source.history)
    entries = store.forecasts(by=by)
    if asked.period is not None:
        entries = of_period(entries, asked.period)
    if asked.before is not None and asked.after is not None:
        pair = find_entry(entries, asked.before), find_entry(entries, asked.after)
    else:
        pair = last_two(entries)
    between = bridge_between(entries, *pair)
    wanted = [*pair, *([] if between is None else [between])]
    first, second, *rest = _with_deals(store, wanted)
    known = known_at(source.read(), second.as_of)
    moves = explain_move(first, second, known.deals, rest[0] if rest else None)
    facts = moves_facts(moves if seen is None else _of_groups(moves, seen), asked.n_deals)
    if seen is not None:
        facts |= {side: _heading(entry, seen) for side, entry in (("before", first), ("after", second))}
        facts["difference"] = facts["after"]["total"]["mean"] - facts["before"]["total"]["mean"]
        facts["difference"] = round(facts["difference"], 2)
    answer: dict[str, Any] = plain(facts)
    return {"scope": "all" if seen is None else "own", **answer}


def _with_deals(store: Store, entries: list[LedgerEntry]) -> list[LedgerEntry]:
    found = store.forecasts(with_deals=True, entry_ids=[entry.entry_id for entry in entries])
    by_id = {entry.entry_id: entry for entry in found}
    return [by_id[entry.entry_id] for entry in entries]


def _of_groups(moves: Moves, seen: frozenset[str]) -> Moves:
    """Give the moves of some groups, with their sum as the total."""
    parts = moves.parts[moves.parts["group"].isin(seen) & (moves.parts["group"] != TOTAL)]
    total = pd.DataFrame([{"group": TOTAL, **{name: int(parts[name].sum()) for name in _CENTS}}])
    deals = moves.deals[moves.deals["group"].isin(seen)]
    whole = pd.concat([total, parts], ignore_index=True)[list(moves.parts.columns)]
    return Moves(moves.before, moves.after, moves.model_separable, whole, deals)


def _heading(entry: LedgerEntry, seen: frozenset[str]) -> dict[str, Any]:
    """Give what an entry is about, and the sums of the groups that may be seen; ranges do not add up."""
    facts = heading(entry)
    mine = entry.rows[entry.rows["group"].isin(seen)]
    alone = mine.iloc[0] if len(mine) == 1 else None
    for name in facts["total"]:
        column = mine[f"{name}_cents"]
        is_sum = name in ("closed", "open", "new", "mean")
        value = column.sum() if is_sum else None if alone is None else alone[f"{name}_cents"]
        facts["total"][name] = None if value is None or pd.isna(value) else int(value) / 100
    facts["n_deals"] = None
    return facts
