"""A CRM's history in memory: the canonical tables, and the same history as it was known at a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import pandas as pd

from crm.schema import DTYPES, TABLES, Table

#: The fact that says what a lead's outcome is: ``deals``, a deal of it is won; ``leads``, its conversion.
LEAD_OUTCOME = "lead_outcome"

#: The facts that a source may give about its history, and what each may say.
FACTS: Mapping[str, tuple[str, ...]] = {LEAD_OUTCOME: ("deals", "leads")}


def empty_frame(table: Table) -> pd.DataFrame:
    """Give the table with its columns and no row."""
    return pd.DataFrame({c.name: pd.Series([], dtype=DTYPES[c.kind]) for c in table.columns})


@dataclass(frozen=True)
class History:
    """The canonical tables, one DataFrame each, with the columns and dtypes of :mod:`crm.schema`.

    ``leads``, ``deals`` and ``accounts`` may hold further columns, the attributes: ``float64`` where every
    value is a number, else ``str``. Frames are valid (see :func:`crm.validation.validate`) and are never
    changed in place.

    ``facts`` are what the history's sources say about it as a whole, by name; today only ``lead_outcome``,
    where a mapping says what a lead's outcome is.
    """

    users: pd.DataFrame = field(default_factory=partial(empty_frame, TABLES["users"]))
    accounts: pd.DataFrame = field(default_factory=partial(empty_frame, TABLES["accounts"]))
    leads: pd.DataFrame = field(default_factory=partial(empty_frame, TABLES["leads"]))
    deals: pd.DataFrame = field(default_factory=partial(empty_frame, TABLES["deals"]))
    activities: pd.DataFrame = field(default_factory=partial(empty_frame, TABLES["activities"]))
    changes: pd.DataFrame = field(default_factory=partial(empty_frame, TABLES["changes"]))
    targets: pd.DataFrame = field(default_factory=partial(empty_frame, TABLES["targets"]))
    surveys: pd.DataFrame = field(default_factory=partial(empty_frame, TABLES["surveys"]))
    subscriptions: pd.DataFrame = field(default_factory=partial(empty_frame, TABLES["subscriptions"]))
    orders: pd.DataFrame = field(default_factory=partial(empty_frame, TABLES["orders"]))
    order_lines: pd.DataFrame = field(default_factory=partial(empty_frame, TABLES["order_lines"]))
    facts: Mapping[str, str] = field(default_factory=dict)

    def frames(self) -> dict[str, pd.DataFrame]:
        """Give the tables by name."""
        return {name: getattr(self, name) for name in TABLES}

    @classmethod
    def of(cls, frames: Mapping[str, pd.DataFrame], facts: Mapping[str, str] | None = None) -> History:
        """Make a history of these tables; those not named are empty."""
        return cls(**frames, facts=dict(facts or {}))

    def attributes(self, table: str) -> list[str]:
        """Give the names of the table's columns that are not canonical."""
        known = set(TABLES[table].names)
        return [str(name) for name in getattr(self, table).columns if name not in known]


def utc(moment: datetime | str) -> pd.Timestamp:
    """Give a moment as a UTC timestamp; ValueError where it names no time zone.

    Examples
    --------
    >>> utc("2024-01-01T02:00:00+02:00")
    Timestamp('2024-01-01 00:00:00+0000', tz='UTC')
    """
    stamp = pd.Timestamp(moment)
    if stamp.tz is None:
        raise ValueError(f"{moment} names no time zone; write for example {moment}+00:00")
    return stamp.tz_convert("UTC").as_unit("us")
