"""Weeks in which a history falls silent though it was busy before and after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from crm.moments import DAY, column_in_micros
from training.doctor.finding import Finding, day, length, number

_WEEK = 7 * DAY
#: Rows expected in a silent stretch from which on it is told. Chance alone would stop at seven; but people
#: close deals in batches and go on holiday.
_EXPECTED = 20.0
#: Weeks on either side that say what was to be expected.
_AROUND = 4
#: Weeks at an edge of the span below which a late begin or an early end is told of nothing.
_EDGE_WEEKS = 8

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """One kind of row over time.

    Parameters
    ----------
    table, column : str
    moments : ndarray of int64, shape (n,)
        Microseconds since 1970, in no order.
    says : str
        What the rows are, in words.
    lag_days : float
        How long after the records begin the rows may naturally begin.
    """

    table: str
    column: str
    moments: Ints
    says: str
    lag_days: float = 0.0


def find_gaps(history: History, as_of: pd.Timestamp) -> list[Finding]:
    """Find the weeks without rows: in the middle of a stream, before it begins, and after it ends.

    A silent stretch counts where twenty rows or more were to be expected in it, by the quieter of the four
    weeks before it and the four after it. At an edge it must last eight weeks, and outcomes may begin late by
    twice the typical time from creation to closing.

    Parameters
    ----------
    history : History
    as_of : Timestamp
        Nothing later is looked at.
    """
    stop = as_of.value // 1000
    streams = [
        Stream(one.table, one.column, one.moments[one.moments < stop], one.says, one.lag_days)
        for one in _streams(history)
    ]
    streams = [one for one in streams if len(one.moments)]
    if not streams:
        return []
    born = [one.moments.min() for one in streams if one.column == "created_at"]
    first = int(min(born or [one.moments.min() for one in streams]))
    last = int(max(one.moments.max() for one in streams))
    return [gap for stream in streams for gap in _gaps_of(stream, first, last)]


def _streams(history: History) -> list[Stream]:
    found = []
    for table in ("leads", "deals"):
        records = getattr(history, table)
        took = records["closed_at"] - records["created_at"]
        lag = took.median() / pd.Timedelta(days=1) if took.notna().any() else 0.0
        found.append(_stream(table, records["created_at"], "was created"))
        found.append(_stream(table, records["closed_at"], "was closed", 2 * max(lag, 0.0)))
    done = history.activities["status"] != "scheduled"
    found.append(_stream("activities", history.activities["occurred_at"][done], "was recorded"))
    found.append(_stream("changes", history.changes["changed_at"], "of a field was recorded"))
    return found


def _stream(table: str, moments: pd.Series, says: str, lag_days: float = 0.0) -> Stream:
    return Stream(table, str(moments.name), column_in_micros(moments.dropna()), says, lag_days)


def _gaps_of(stream: Stream, first: int, last: int) -> list[Finding]:
    moments = np.sort(stream.moments)
    bounds = np.concatenate([[min(first, int(moments[0]))], moments, [max(last, int(moments[-1]))]])
    found = []
    for place in np.flatnonzero(np.diff(bounds) >= _WEEK).tolist():
        since, until = int(bounds[place]), int(bounds[place + 1])
        rate = _usual(moments, since, until)
        weeks = (until - since) / _WEEK
        at_start, at_end = place == 0, place == len(moments)
        least = _EDGE_WEEKS if at_start or at_end else 1.0
        if at_start:
            least = max(least, stream.lag_days / 7)
        if rate * weeks >= _EXPECTED and weeks >= least:
            found.append(_tell(stream, since, until, at_start, at_end, rate, last - first))
    return found


def _usual(moments: Ints, since: int, until: int) -> float:
    """Give the rows a week that were usual on the quieter side of a silence."""
    span = _AROUND * _WEEK
    before = np.searchsorted(moments, [since - span, since], side="right")
    after = np.searchsorted(moments, [until, until + span], side="left")
    counts = [int(side[1] - side[0]) for side in (before, after) if side[1] > side[0]]
    return min(counts, default=0) / _AROUND


def _tell(
    stream: Stream, start: int, end: int, at_start: bool, at_end: bool, rate: float, whole: int
) -> Finding:
    since, until = (pd.Timestamp(moment * 1000, tz="UTC") for moment in (start, end))
    silence = length((end - start) / _WEEK * 7)
    one = number(1, stream.table).removeprefix("1 ")
    usual = f"about {max(1, round(rate)):,} a week are usual"
    if at_start:
        code = "begins_late"
        text = (
            f"no {one} {stream.says} before {day(until)}, {silence} after the first record; then {usual}. "
            "If they were kept elsewhere before, import those too; else train on what came later"
        )
    elif at_end:
        code = "ends_early"
        text = (
            f"no {one} {stream.says} since {day(since)}, for {silence}, though other rows go on and {usual}. "
            "Was an integration switched off, or the export cut?"
        )
    else:
        code = "gap"
        text = (
            f"no {one} {stream.says} between {day(since)} and {day(until)} ({silence}); {usual}. "
            "If the business was not closed then, export that time again"
        )
    return Finding(code, stream.table, stream.column, (end - start) // _WEEK, whole // _WEEK, text)
