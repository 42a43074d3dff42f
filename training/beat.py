"""Find how closings follow the calendar.

Each day's closings are counted against those that the ages of the records open that day would bring, so that
many new records, or few, are not taken for a season.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serving.calendar_effects import fit_beat
from serving.rhythm import EVEN, Beat

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Closings below which nothing is said about the calendar.
FEWEST_CLOSINGS = 35
#: Records that are looked at, at most; of more, every so many-th.
_MOST_RECORDS = 20_000
#: Ages are told apart by the day, later by the week and by 30 days.
_BY_DAY, _BY_WEEK = 60, 400


def find_beat(started: Ints, ended: Ints, closed: Flags, until: int) -> Beat:
    """Find the beat of one kind of closing.

    Parameters
    ----------
    started, ended : ndarray of int64, shape (n,)
        Days since 1970-01-05 on which each record became known and ended; any day from ``until`` on where it
        did not.
    closed : ndarray of bool, shape (n,)
        Whether it ended in this way.
    until : int
        The day on which observation ends.
    """
    closed = closed & (ended < until)
    if closed.sum() < FEWEST_CLOSINGS:
        return EVEN
    first = int(ended[closed].min())
    return fit_beat(*_by_day(started, ended, closed, first, until), first)


def _by_day(started: Ints, ended: Ints, closed: Flags, first: int, until: int) -> tuple[Floats, Floats]:
    """Count each day's closings, and those that the ages of the records open on it would bring."""
    there = np.flatnonzero((ended >= first) & (started < until))
    there = there[:: -(-len(there) // _MOST_RECORDS)]
    started, ended, closed = started[there], ended[there], closed[there]
    begin = np.maximum(started, first)
    lasts = np.minimum(ended, until - 1) - begin + 1
    record = np.repeat(np.arange(len(there)), lasts)
    day = np.arange(len(record)) - np.repeat(np.cumsum(lasts) - lasts, lasts) + begin[record]
    age = _age_class(day - started[record])
    closes = closed[record] & (ended[record] == day)
    at_risk = np.bincount(age)
    overall = closes.sum() / len(record)
    rate = (np.bincount(age, closes) + 0.5 * overall) / (at_risk + 0.5)
    size = until - first
    seen, expected = (np.bincount(day - first, value, minlength=size) for value in (closes, rate[age]))
    return seen.astype(np.float64), expected.astype(np.float64)


def _age_class(days: Ints) -> Ints:
    weeks = _BY_DAY + (days - _BY_DAY) // 7
    months = _BY_DAY + (_BY_WEEK - _BY_DAY) // 7 + 1 + (days - _BY_WEEK) // 30
    return np.where(days < _BY_DAY, days, np.where(days < _BY_WEEK, weeks, months))
