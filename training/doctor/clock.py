"""Moments that cannot be right, or say less than they seem to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from crm.schema import TABLES
from training.doctor.finding import Finding, day, number, number_of
from training.doctor.holdings import HAPPENED_AT

#: Share of a table's rows at one instant from which on they were loaded rather than lived.
BURST_SHARE = 0.2
#: Rows below which neither a burst nor a time of day says anything.
_FEWEST = 20
_DAY = 86_400_000_000
_HOUR = 3_600_000_000
_SHOWN = 3

Bools = npt.NDArray[np.bool_]

#: Moments that tell of what has happened, so that none may lie ahead.
_PAST = {
    "accounts": ("created_at",),
    "leads": ("created_at", "closed_at"),
    "deals": ("created_at", "closed_at"),
    "activities": ("occurred_at",),
    "changes": ("changed_at",),
    "surveys": ("answered_at",),
    "orders": ("ordered_at",),
}


def find_clock_oddities(history: History, as_of: pd.Timestamp) -> list[Finding]:
    """Find moments in the wrong order, in the future, at one instant, or without a time of day.

    Parameters
    ----------
    history : History
    as_of : Timestamp
        Now; what lies after it is in the future. Work that is planned may.
    """
    frames = history.frames()
    found: list[Finding] = []
    for table, columns in _PAST.items():
        frame = frames[table]
        if len(frame):
            for column in columns:
                found += _future(table, column, frame, as_of)
                found += _burst(table, column, frame)
            found += _times_missing(table, columns, frame)
            found += _known_before(table, frame)
    for table in ("leads", "deals"):
        frame = frames[table]
        if len(frame):
            found += _closed_before_created(table, frame)
            found += _untimed(table, frame)
    found += list(_before_creation(history))
    return found


def _finding(code: str, table: str, column: str, frame: pd.DataFrame, rows: Bools, text: str) -> Finding:
    examples = frame[TABLES[table].key][rows].head(_SHOWN)
    return Finding(code, table, column, int(rows.sum()), len(frame), text, tuple(map(str, examples)))


def _happened(table: str, frame: pd.DataFrame) -> Bools:
    """Say which rows tell of something that happened, not of something planned or called off."""
    if table != "activities":
        return np.ones(len(frame), bool)
    status = frame["status"]
    return ~status.isin(["scheduled", "cancelled"]).to_numpy(bool)


def _future(table: str, column: str, frame: pd.DataFrame, as_of: pd.Timestamp) -> list[Finding]:
    rows = (frame[column] >= as_of).to_numpy(bool) & _happened(table, frame)
    if not rows.any():
        return []
    latest = frame[column][rows].max()
    text = (
        f"{number(int(rows.sum()), table)} with {column} after {day(as_of)}, up to {day(latest)}, not used. "
        "Check the time zone and the date format in the mapping, or ask as of a later moment"
    )
    return [_finding("future", table, column, frame, rows, text)]


def _known_before(table: str, frame: pd.DataFrame) -> list[Finding]:
    column = HAPPENED_AT[table]
    rows = (frame["recorded_at"] < frame[column]).to_numpy(bool) & _happened(table, frame)
    found = []
    if rows.any():
        text = (
            f"{number(int(rows.sum()), table)} recorded before it happened (recorded_at before {column}); "
            "the later of the two counts. Check which column is which, and their time zones"
        )
        found.append(_finding("recorded_before", table, "recorded_at", frame, rows, text))
    if "closed_recorded_at" in frame.columns:
        early = (frame["closed_recorded_at"] < frame["closed_at"]).to_numpy(bool)
        if early.any():
            text = (
                f"the closing of {number(int(early.sum()), table)} was recorded before it happened "
                "(closed_recorded_at before closed_at); check which column is which, and their time zones"
            )
            found.append(_finding("recorded_before", table, "closed_recorded_at", frame, early, text))
    return found


def _closed_before_created(table: str, frame: pd.DataFrame) -> list[Finding]:
    rows = (frame["closed_at"] < frame["created_at"]).to_numpy(bool)
    if not rows.any():
        return []
    text = (
        f"{number(int(rows.sum()), table)} closed before creation; check which column is which in the "
        "mapping, or say there what outcome_before_creation means"
    )
    return [_finding("closed_before_created", table, "closed_at", frame, rows, text)]


def _untimed(table: str, frame: pd.DataFrame) -> list[Finding]:
    found = []
    unborn = frame["created_at"].isna().to_numpy(bool)
    if unborn.any():
        text = (
            f"{number_of(int(unborn.sum()), len(frame), table)} without created_at: known only from the "
            "export on, and without an age"
        )
        found.append(_finding("no_creation", table, "created_at", frame, unborn, text))
    endless = (
        frame["outcome"].notna() & frame["closed_at"].isna() & frame["closed_recorded_at"].isna()
    ).to_numpy(bool)
    if endless.any():
        ended = int(frame["outcome"].notna().sum())
        text = (
            f"{number_of(int(endless.sum()), ended, 'outcomes')} of {table} without a time: map closed_at, "
            "or the stage changes that end them"
        )
        found.append(_finding("untimed_outcome", table, "closed_at", frame, endless, text))
    return found


def _before_creation(history: History) -> Iterator[Finding]:
    """Find events on an earlier day than the creation of their record; hours are left to sloppy clocks."""
    activities, changes = history.activities, history.changes
    for table, key, entity in (("leads", "lead_id", "lead"), ("deals", "deal_id", "deal")):
        records = getattr(history, table)
        if records["created_at"].notna().sum() == 0:
            continue
        ids = pd.Index(records[key])
        born = pd.DatetimeIndex(records["created_at"]).as_unit("us")
        # What was done with a lead before its deal was opened belongs to the lead.
        about = activities[key] if entity == "lead" else activities[key].mask(activities["lead_id"].notna())
        rows = _earlier(ids, born, about, activities["occurred_at"])
        if rows.any():
            n = int(rows.sum())
            text = (
                f"{number_of(n, len(activities), 'activities')} on a day before the {entity} was created. Is "
                "created_at the day of an import, or of a merge?"
            )
            yield _finding("before_creation", "activities", "occurred_at", activities, rows, text)
        about = changes["record_id"].mask(changes["entity"] != entity)
        rows = _earlier(ids, born, about, changes["changed_at"])
        if rows.any():
            n = int(rows.sum())
            text = (
                f"{number_of(n, len(changes), 'changes')} on a day before the {entity} was created. Is "
                "created_at the day of an import, or of a merge?"
            )
            yield _finding("before_creation", "changes", "changed_at", changes, rows, text)


def _earlier(ids: pd.Index, born: pd.DatetimeIndex, about: pd.Series, moments: pd.Series) -> Bools:
    place = ids.get_indexer(pd.Index(about))
    created = np.where(born.isna(), np.iinfo(np.int64).min, born.asi8)[place]
    happened = pd.DatetimeIndex(moments).as_unit("us")
    has_time = moments.notna().to_numpy(bool)
    earlier: Bools = (place >= 0) & has_time & (happened.asi8 // _DAY < created // _DAY)
    return earlier


def _times_missing(table: str, columns: tuple[str, ...], frame: pd.DataFrame) -> list[Finding]:
    plain = [column for column in columns if _has_one_time_of_day(frame[column])]
    if not plain:
        return []
    names = " and ".join(f"{table}.{column}" for column in plain)
    text = (
        f"no time of day in {names}: what happened on one day has no order, and a fast answer looks like a "
        "slow one. Export the time of day if the CRM has it"
    )
    n = int(frame[plain].notna().any(axis=1).sum())
    return [Finding("no_time_of_day", table, ", ".join(plain), n, len(frame), text)]


def _has_one_time_of_day(moments: pd.Series) -> bool:
    """Say whether moments are days: one time of day, or two where a local midnight moves with the season."""
    some = moments.dropna()
    if len(some) < _FEWEST:
        return False
    micros = pd.DatetimeIndex(some).as_unit("us").asi8
    times, days = np.unique(micros % _DAY), len(np.unique(micros // _DAY))
    moved = len(times) == 2 and int(times[1] - times[0]) in (_HOUR, _DAY - _HOUR)
    return (len(times) == 1 or moved) and days >= 3


def _burst(table: str, column: str, frame: pd.DataFrame) -> list[Finding]:
    moments = frame[column].dropna()
    if len(moments) < _FEWEST:
        return []
    micros = pd.DatetimeIndex(moments).as_unit("us").asi8
    values, counts = np.unique(micros, return_counts=True)
    n = int(counts.max())
    if n <= BURST_SHARE * len(micros):
        return []
    moment = pd.Timestamp(int(values[counts.argmax()]) * 1000, tz="UTC")
    text = (
        f"{number_of(n, len(micros), table)} with the same {column}, {moment:%Y-%m-%d %H:%M:%S}: a bulk "
        "load, not work as it happened. Map the column with the original time, if there is one"
    )
    return [Finding("burst", table, column, n, len(frame), text)]
