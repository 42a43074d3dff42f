"""Find how closings follow the calendar: weekdays, the ends of months and quarters, the months of the year.

Each day's closings are counted against those that the ages of the records open that day would bring, and the
ratio is explained by what the day is in the calendar: a Poisson model with one random effect for each kind of
day, whose variances the data themselves tell (by the Laplace approximation; Breslow and Clayton, "Approximate
Inference in Generalized Linear Mixed Models", 1993). A part of the calendar that explains nothing shrinks to
nothing. What one month of the history had to itself has an effect of its own, which is left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serving.rhythm import EVEN, PARTS, Beat, kinds_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Closings below which nothing is said about the calendar.
FEWEST_CLOSINGS = 35
#: Records that are looked at, at most; of more, every so many-th.
_MOST_RECORDS = 20_000
#: Ages are told apart by the day, later by the week and by 30 days.
_BY_DAY, _BY_WEEK = 60, 400
#: Days of a history below which the months of the year are not told from those of the history.
_A_YEAR = 400
#: The month of the history, beside the parts of the calendar.
_OF_HISTORY = "of_history"
#: What is believed of each part's standard deviation, in logs, before anything is seen, and how firmly: as
#: that many kinds of day would tell it.
_USUAL = {
    "weekdays": 0.5,
    "month_weeks": 0.1,
    "quarter_weeks": 0.2,
    "quarter_months": 0.2,
    "months": 0.2,
    _OF_HISTORY: 0.15,
}
_FIRMNESS, _LEAST = 0.5, 0.01
_ROUNDS = 20


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
    days = np.arange(first, until)
    seen, expected = _by_day(started, ended, closed, first, until)
    parts = kinds_of(days)
    if len(days) < _A_YEAR:
        del parts["months"]
    months = (np.datetime64("1970-01-05", "D") + days).astype("datetime64[M]").astype(np.int64)
    effects = _effects(seen, expected, {**parts, _OF_HISTORY: months - months[0]})
    return Beat(**{part: tuple(effects[part].tolist()) for part in parts})


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


def _effects(seen: Floats, expected: Floats, parts: dict[str, Ints]) -> dict[str, Floats]:
    """Give the factor of each kind of day, by part."""
    sizes = {part: PARTS.get(part, int(kind.max()) + 1) for part, kind in parts.items()}
    offsets = dict(zip(parts, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    columns = np.stack([kind + offsets[part] for part, kind in parts.items()], axis=1)
    cells, cell = np.unique(columns, axis=0, return_inverse=True)
    seen, expected = (np.bincount(cell, value).astype(np.float64) for value in (seen, expected))
    expected = np.maximum(expected, 1e-12)
    design = np.zeros((len(cells), sum(sizes.values())))
    design[np.arange(len(cells))[:, None], cells] = 1.0
    variance = np.concatenate([np.full(size, _USUAL[part] ** 2) for part, size in sizes.items()])
    effect = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        for _ in range(2):
            mean = expected * np.exp(np.clip(design @ effect, -20.0, 20.0))
            information = (design * mean[:, None]).T @ design + np.diag(1.0 / variance)
            step = np.linalg.solve(information, design.T @ (seen - mean) - effect / variance)
            effect = effect + np.clip(step, -2.0, 2.0)
        unsure = np.diag(np.linalg.inv(information))
        for part, size in sizes.items():
            mine = slice(offsets[part], offsets[part] + size)
            told = (effect[mine] ** 2 + unsure[mine]).sum() + _FIRMNESS * _USUAL[part] ** 2
            variance[mine] = max(told / (size + _FIRMNESS), _LEAST**2)
    return {part: np.exp(effect[offsets[part] : offsets[part] + size]) for part, size in sizes.items()}
