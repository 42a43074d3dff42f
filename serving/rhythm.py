"""The calendar's rhythm: on which days records are won and lost.

A company that closes nothing on Sundays does not close a seventh of its deals then, and one that signs at the
end of the quarter does not sign a thirteenth in its last week. The hazard of an interval is taken relative to
the share of the calendar that the interval holds, so that a model trained on Mondays answers on Thursdays,
and a forecast of December is not one of thirty-one days like any others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crm.errors import BundleError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Moments = NDArray[np.datetime64]

#: 1970-01-05 was a Monday; days are counted from it.
_MONDAY = np.datetime64("1970-01-05", "us").astype(np.int64)
_DAY = 86_400_000_000
#: So many days are laid out; before and after them every day is alike.
_DAYS = 55_152
#: What a day is, in the calendar's terms, and how many kinds there are of each: Monday first; weeks left of
#: the month and of the quarter, its last week first; the month of the quarter; January first.
PARTS = {"weekdays": 7, "month_weeks": 5, "quarter_weeks": 13, "quarter_months": 3, "months": 12}


def kinds_of(days: Ints) -> dict[str, Ints]:
    """Say of days since 1970-01-05, in UTC, what they are in the terms of :data:`PARTS`.

    Examples
    --------
    >>> {part: int(kind[0]) for part, kind in kinds_of(np.array([-5])).items()}
    {'weekdays': 2, 'month_weeks': 0, 'quarter_weeks': 0, 'quarter_months': 2, 'months': 11}
    """
    dates = np.datetime64("1970-01-05", "D") + np.asarray(days, "timedelta64[D]")
    month = dates.astype("datetime64[M]")
    number = month.astype(np.int64)
    left_of_month = ((month + 1).astype("datetime64[D]") - dates).astype(np.int64) - 1
    quarter_end = ((number // 3 + 1) * 3).astype("datetime64[M]").astype("datetime64[D]")
    left_of_quarter = (quarter_end - dates).astype(np.int64) - 1
    return {
        "weekdays": days % 7,
        "month_weeks": np.minimum(left_of_month // 7, PARTS["month_weeks"] - 1),
        "quarter_weeks": np.minimum(left_of_quarter // 7, PARTS["quarter_weeks"] - 1),
        "quarter_months": number % 3,
        "months": number % 12,
    }


@dataclass(frozen=True)
class Beat:
    """How many closings of one kind fall on a day, relative to an average day: the product of its parts.

    Parameters
    ----------
    weekdays, month_weeks, quarter_weeks, quarter_months, months : tuple of float
        Above 0, by the kinds of :data:`PARTS`; 1 for all where the calendar makes no difference. Days are
        those of UTC.

    Raises
    ------
    BundleError
        Where a part has not as many positive numbers as it has kinds.
    """

    weekdays: tuple[float, ...] = (1.0,) * PARTS["weekdays"]
    month_weeks: tuple[float, ...] = (1.0,) * PARTS["month_weeks"]
    quarter_weeks: tuple[float, ...] = (1.0,) * PARTS["quarter_weeks"]
    quarter_months: tuple[float, ...] = (1.0,) * PARTS["quarter_months"]
    months: tuple[float, ...] = (1.0,) * PARTS["months"]

    def __post_init__(self) -> None:
        for part, size in PARTS.items():
            factors = np.array(getattr(self, part), np.float64)
            if factors.shape != (size,) or not (np.isfinite(factors) & (factors > 0)).all():
                raise BundleError(
                    f"calendar: {part} = {getattr(self, part)}: must be {size} numbers above 0; train again"
                )

    def by_day(self, days: Ints) -> Floats:
        """Give the factor of days since 1970-01-05, before all are brought to a mean of 1."""
        factor = np.ones(len(days))
        for part, kind in kinds_of(days).items():
            factor *= np.array(getattr(self, part))[kind]
        return factor

    @cached_property
    def _passed(self) -> Floats:
        """Even days that have passed by the start of each day."""
        factor = self.by_day(np.arange(_DAYS))
        total: Floats = np.concatenate([[0.0], np.cumsum(factor / factor.mean())])
        return total

    def passed(self, days: Floats) -> Floats:
        """Give how much of the rhythm has passed by these moments, in even days.

        Parameters
        ----------
        days : ndarray of any shape
            Since 1970-01-05, as :func:`days_of` gives them.
        """
        whole = np.clip(np.floor(days), 0, _DAYS - 1).astype(np.int64)
        begun = self._passed[whole]
        today = self._passed[whole + 1] - begun
        inside = np.clip(days - whole, 0.0, 1.0)
        # Outside of what is laid out one day is like any other.
        total: Floats = begun + today * inside + np.minimum(days, 0.0) + np.maximum(days - _DAYS, 0.0)
        return total

    def to_json_dict(self) -> dict[str, list[float]]:
        """Give the parts as plain JSON."""
        return {part: list(getattr(self, part)) for part in PARTS}

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> Beat:
        """Read what :meth:`to_json_dict` gave; a part that is not there makes no difference."""
        return cls(**{part: tuple(float(factor) for factor in data[part]) for part in PARTS if part in data})


#: Every day like any other.
EVEN = Beat()


@dataclass(frozen=True)
class CalendarRhythm:
    """How winning and losing follow the calendar."""

    won: Beat = EVEN
    lost: Beat = EVEN

    def exposure(self, edges_days: Floats, as_of: Moments) -> tuple[Ints, Floats]:
        """Give how much of the rhythm each interval holds, relative to an even calendar.

        Parameters
        ----------
        edges_days : ndarray of shape (edges,)
            Days after ``as_of``.
        as_of : ndarray of datetime64[us], UTC, shape (n,)

        Returns
        -------
        place : ndarray of shape (n,)
            Which of the m different moments each ``as_of`` is.
        exposure : ndarray of shape (m, edges - 1, 2)
            For winning and losing; 1 where the calendar is even.
        """
        starts, place = np.unique(np.asarray(as_of, "datetime64[us]"), return_inverse=True)
        moments = days_of(starts)[:, None] + edges_days[None, :]
        held = np.stack([np.diff(beat.passed(moments), axis=1) for beat in (self.won, self.lost)], axis=2)
        table: Floats = held / np.diff(edges_days)[None, :, None]
        return place, table

    def to_json_dict(self) -> dict[str, Any]:
        """Give the rhythm as plain JSON."""
        return {"won": self.won.to_json_dict(), "lost": self.lost.to_json_dict()}

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> CalendarRhythm:
        """Read what :meth:`to_json_dict` gave."""
        return cls(Beat.from_json_dict(data["won"]), Beat.from_json_dict(data["lost"]))


def days_of(moments: Moments) -> Floats:
    """Give moments as days since 1970-01-05, a Monday's midnight."""
    since: Floats = (np.asarray(moments, "datetime64[us]").view(np.int64) - _MONDAY) / _DAY
    return since
