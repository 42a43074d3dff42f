"""The records that an audit compares, with the value of every audited field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.history import History
from crm.known import known_time
from crm.moments import DAY, MISSING, NEVER, column_in_micros
from crm.schema import TABLE_OF, TABLES
from training.labels import LOST, OPEN, WON, outcomes

#: Records of each state that are looked at; more would say the same.
MAX_RECORDS = 40_000

#: Canonical columns that become features and that nothing else vouches for.
_CANONICAL: dict[str, tuple[str, ...]] = {
    "lead": ("source", "stage", "owner_id", "account_id"),
    "deal": ("source", "stage", "owner_id", "account_id", "amount", "currency", "expected_close_at"),
    "account": (),
}


@dataclass(frozen=True)
class Cases:
    """n records in the order in which they came in.

    Parameters
    ----------
    ids : pandas.Index
    columns : dict of str to Series, each of length n
        Numbers or texts. Of an expected closing the days from the record's beginning.
    usable : dict of str to ndarray of bool, shape (n,)
        Records whose value of the field nothing vouches for: all, or those closed before tracking began.
    events : ndarray of int8, shape (n,)
        ``OPEN``, ``WON`` or ``LOST``.
    created : ndarray of int64, shape (n,)
        Microseconds since 1970; the smallest integer where the export gives no time.
    closing_order : ndarray of int64
        Rows of closed records, first closed first.
    ended_on_expected_day : ndarray of float64, shape (n,)
        One where a timed record closed within a day of its expected closing, zero where not, else NaN.
    """

    ids: pd.Index
    columns: dict[str, pd.Series]
    usable: dict[str, NDArray[np.bool_]]
    events: NDArray[np.int8]
    created: NDArray[np.int64]
    closing_order: NDArray[np.int64]
    ended_on_expected_day: NDArray[np.float64]

    @property
    def closed(self) -> NDArray[np.bool_]:
        """Where the record is closed, shape (n,)."""
        ended: NDArray[np.bool_] = self.events != OPEN
        return ended


def gather(history: History, entity: str) -> Cases:
    """Collect the records and the fields to audit.

    Parameters
    ----------
    history : History
        As it was known at the moment of the audit.
    entity : {"lead", "deal"}
    """
    records = getattr(history, TABLE_OF[entity].name)
    found = outcomes(history, entity)
    created = column_in_micros(records["created_at"])
    rank = records["sequence"].to_numpy("float64")
    ids = found.record_ids.to_numpy()
    # Ties go by id, so that the order of the rows never matters.
    order = np.lexsort((ids, np.where(np.isnan(rank), np.inf, rank), created))
    # A record gone from the export is neither open nor closed; its values are as old as its last sight.
    order = order[(found.events[order] != OPEN) | (found.ended[order] == NEVER)]
    order = _thin(order, found.events[order] == OPEN)
    records = records.iloc[order].reset_index(drop=True)
    events, ended = found.events[order], found.ended[order]
    columns, usable = _fields(history, entity, records, events, ended)
    closed = np.flatnonzero(events != OPEN)
    # Outcomes without a time come first, in the order in which their records came in.
    when = np.where(ended[closed] == NEVER, MISSING, ended[closed])
    never = np.full(len(order), MISSING)
    expected = column_in_micros(records["expected_close_at"]) if entity == "deal" else never
    apart = np.where((expected == MISSING) | (ended == NEVER), np.nan, np.abs(expected - ended))
    return Cases(
        ids=pd.Index(ids[order]),
        columns=columns,
        usable=usable,
        events=events,
        created=created[order],
        closing_order=closed[np.argsort(when, kind="stable")],
        ended_on_expected_day=np.where(np.isnan(apart) | (events == OPEN), np.nan, apart <= DAY),
    )


def _thin(order: NDArray[np.intp], is_open: NDArray[np.bool_]) -> NDArray[np.intp]:
    kept = []
    for state in (order[is_open], order[~is_open]):
        step = max(1, -(-len(state) // MAX_RECORDS))
        kept.append(np.isin(order, state[::step]))
    return order[kept[0] | kept[1]]


def _fields(
    history: History,
    entity: str,
    records: pd.DataFrame,
    events: NDArray[np.int8],
    ended: NDArray[np.int64],
) -> tuple[dict[str, pd.Series], dict[str, NDArray[np.bool_]]]:
    columns: dict[str, pd.Series] = {}
    usable: dict[str, NDArray[np.bool_]] = {}
    owners = [("", entity, records)]
    for owner in ("account", "lead"):
        key = f"{owner}_id"
        table = getattr(history, TABLE_OF[owner].name)
        if owner != entity and key in records and records[key].notna().any() and len(table):
            joined = records[[key]].merge(table, on=key, how="left", suffixes=("_", ""))
            owners.append((f"{owner}.", owner, joined))
    for prefix, owner, frame in owners:
        since = _tracked_since(history, owner)
        canonical = _CANONICAL[owner] if not prefix else ("source",) if owner == "lead" else ()
        for column in (*canonical, *history.attributes(TABLE_OF[owner].name)):
            if not frame[column].notna().any():
                continue
            rows = np.ones(len(records), bool)
            if column in since:
                closed = events != OPEN
                before = closed & ((ended < since[column]) | (ended == NEVER))
                if before.sum() <= closed.sum() / 2:
                    continue
                rows = before | ~closed
            columns[prefix + column] = _value(frame[column], column, records)
            usable[prefix + column] = rows
    return columns, usable


def _value(values: pd.Series, column: str, records: pd.DataFrame) -> pd.Series:
    if column == "account_id":
        # Which account is no feature; that there is one can be.
        return values.notna().map({True: "known", False: None}).astype("str")
    if column == "expected_close_at":
        start = records["created_at"].fillna(records["recorded_at"])
        return pd.Series((values - start).to_numpy() / np.timedelta64(1, "D"))
    return values


def _tracked_since(history: History, entity: str) -> dict[str, int]:
    """Give the moment of the first change of each field that has any."""
    changes = history.changes[history.changes["entity"] == entity]
    if changes.empty:
        return {}
    known = known_time(TABLES["changes"], changes)
    first = known.groupby(changes["field"]).min()
    return {str(name): pd.Timestamp(moment).value // 1000 for name, moment in first.items()}


def counts(events: NDArray[np.int8]) -> tuple[int, int, int]:
    """Give the numbers of won, lost and open records."""
    return int((events == WON).sum()), int((events == LOST).sum()), int((events == OPEN).sum())
