"""What the tables hold: how many rows, from when to when, and how far each field is filled."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from crm.history import History
from crm.schema import TABLES

#: When a row's thing happened, for the tables whose rows have a time.
HAPPENED_AT = {
    "accounts": "created_at",
    "leads": "created_at",
    "deals": "created_at",
    "activities": "occurred_at",
    "changes": "changed_at",
    "targets": "period_start",
    "surveys": "answered_at",
    "subscriptions": "started_at",
    "orders": "ordered_at",
}
#: Tables whose moments make the span of the history; targets and contracts reach into the future.
_SPANNING = ("leads", "deals", "activities", "changes", "surveys", "orders")


@dataclass(frozen=True)
class TableFacts:
    """What one table holds.

    Parameters
    ----------
    name : str
    n : int
        Rows.
    first, last : Timestamp or None
        Of the moments at which the rows' things happened; None where no row has one.
    filled : dict of str to int
        Rows that have a value, by field, canonical columns first.
    """

    name: str
    n: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    filled: dict[str, int]

    def fill_rate(self, field: str) -> float:
        """Give the share of rows that have a value, 0 where there is no row or no such field."""
        return self.filled.get(field, 0) / self.n if self.n else 0.0


def count_tables(history: History) -> dict[str, TableFacts]:
    """Count every canonical table of a history, in the order of the schema."""
    return {name: _count(name, history.frames()[name]) for name in TABLES}


def _count(name: str, frame: pd.DataFrame) -> TableFacts:
    first = last = None
    if name in HAPPENED_AT:
        first, last = _bounds(frame[HAPPENED_AT[name]])
    filled = {str(column): int(count) for column, count in frame.notna().sum().items()}
    return TableFacts(name, len(frame), first, last, filled)


def _bounds(moments: pd.Series) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    some = moments.dropna()
    return (some.min(), some.max()) if len(some) else (None, None)


def span(history: History, as_of: pd.Timestamp) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """Give the first and last moment before ``as_of`` at which anything happened; None without any."""
    moments = [history.frames()[name][HAPPENED_AT[name]] for name in _SPANNING]
    moments += [history.leads["closed_at"], history.deals["closed_at"]]
    found = [_bounds(column[column < as_of]) for column in moments]
    first = [low for low, _ in found if low is not None]
    last = [high for _, high in found if high is not None]
    return min(first, default=None), max(last, default=None)
