"""The simulated calendar: working days, slow weeks, the push at the end of a quarter, arrivals.

Days are whole numbers since 1970-01-01 (a Thursday), in UTC. Nobody works at weekends; Monday is when
silence, age in a stage and due dates are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

#: Calendar classes: ordinary day, end of a quarter, slow weeks, both.
N_CLASSES = 4
QUARTER_PUSH_DAYS = 14

#: Arrivals of leads by month, January first, relative to an average month.
MONTH_WEIGHTS = (1.10, 1.10, 1.20, 1.00, 0.95, 1.00, 0.75, 0.55, 1.25, 1.20, 1.10, 0.80)
#: Arrivals by weekday, Monday first.
WEEKDAY_WEIGHTS = (1.15, 1.10, 1.05, 1.00, 0.90, 0.12, 0.12)
GROWTH_PER_YEAR = 0.12


def weekday(days: Ints) -> Ints:
    """Give the weekday of each day, Monday being 0.

    Examples
    --------
    >>> weekday(np.array([0, 4]))
    array([3, 0])
    """
    return (days + 3) % 7


def month(days: Ints) -> Ints:
    """Give the month of each day, 1 to 12."""
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return months % 12 + 1


def quarter_end(days: Ints) -> Ints:
    """Give the first day after the quarter that each day belongs to."""
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    after = (months // 3 + 1) * 3
    return np.asarray(after.astype("datetime64[M]").astype("datetime64[D]"), dtype=np.int64)


def calendar_class(days: Ints) -> Ints:
    """Give the calendar class of each day: bit 0 a quarter's end, bit 1 August or the last of December."""
    push = (quarter_end(days) - days) <= QUARTER_PUSH_DAYS
    dates = days.astype("datetime64[D]")
    day_of_month = (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1
    slow = (month(days) == 8) | ((month(days) == 12) & (day_of_month >= 21))
    return np.asarray(push + 2 * slow, dtype=np.int64)


@dataclass(frozen=True)
class WorkingDays:
    """The working days of a span, in order.

    Parameters
    ----------
    days : ndarray of int64, shape (n,)
    is_monday : ndarray of bool, shape (n,)
    classes : ndarray of int64, shape (n,)
        The calendar class of each.
    """

    days: Ints
    is_monday: npt.NDArray[np.bool_]
    classes: Ints

    @classmethod
    def between(cls, first: int, stop: int) -> WorkingDays:
        """Give the working days from ``first`` to before ``stop``."""
        days = np.arange(first, stop, dtype=np.int64)
        days = days[weekday(days) < 5]
        return cls(days, weekday(days) == 0, calendar_class(days))


def arrival_days(rng: np.random.Generator, n: int, first: int, stop: int) -> Ints:
    """Draw the days on which ``n`` records arrive, sorted: by month, weekday and yearly growth."""
    days = np.arange(first, stop, dtype=np.int64)
    weights = np.array(MONTH_WEIGHTS)[month(days) - 1] * np.array(WEEKDAY_WEIGHTS)[weekday(days)]
    weights = weights * (1 + GROWTH_PER_YEAR) ** ((days - first) / 365.25)
    counts = rng.multinomial(n, weights / weights.sum())
    return np.repeat(days, counts)
