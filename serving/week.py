"""The week's rhythm: on which weekdays records are won and lost.

A company that closes nothing on Sundays does not close a seventh of its deals then. The hazard of an interval
is taken relative to the share of the week that the interval holds, so that a model trained on Mondays answers
on Thursdays, and a forecast of five working days is not one of five days of a flat week.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crm.errors import BundleError

Floats = NDArray[np.float64]
Moments = NDArray[np.datetime64]

#: 1970-01-05 was a Monday.
_MONDAY = np.datetime64("1970-01-05", "us").astype(np.int64)
_DAY = 86_400_000_000


@dataclass(frozen=True)
class WeekRhythm:
    """How much of the closings falls on each weekday, Monday first; 1 is an even share.

    Parameters
    ----------
    won, lost : tuple of 7 float
        Above 0, with a mean of 1. Days are those of UTC.

    Raises
    ------
    BundleError
        Where there are not seven positive numbers with a mean of 1.
    """

    won: tuple[float, ...]
    lost: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, days in (("won", self.won), ("lost", self.lost)):
            shares = np.array(days, np.float64)
            if shares.shape != (7,) or not (shares > 0).all() or abs(shares.mean() - 1.0) > 1e-6:
                raise BundleError(
                    f"rhythm of the week: {name} = {days}: it must be seven numbers above 0 with a mean of 1"
                )

    @classmethod
    def flat(cls) -> WeekRhythm:
        """Give the rhythm of a week whose days are all alike."""
        return cls((1.0,) * 7, (1.0,) * 7)

    def exposure(self, edges_days: Floats, as_of: Moments) -> tuple[NDArray[np.int64], Floats]:
        """Give how much of the rhythm each interval holds, relative to an even week.

        Parameters
        ----------
        edges_days : ndarray of shape (edges,)
            Days after ``as_of``.
        as_of : ndarray of datetime64[us], UTC, shape (n,)

        Returns
        -------
        place : ndarray of shape (n,)
            Which of the m moments of the week each ``as_of`` is.
        exposure : ndarray of shape (m, edges - 1, 2)
            For winning and losing; 1 where the week is even.
        """
        since = np.asarray(as_of, "datetime64[us]").view(np.int64) - _MONDAY
        starts, place = np.unique(since % (7 * _DAY), return_inverse=True)
        moments = starts[:, None] / _DAY + edges_days[None, :]
        held = np.stack([np.diff(passed(moments, days), axis=1) for days in (self.won, self.lost)], axis=2)
        table: Floats = held / np.diff(edges_days)[None, :, None]
        return place, table


def days_of(moments: Moments) -> Floats:
    """Give moments as days since a Monday's midnight."""
    since: Floats = (np.asarray(moments, "datetime64[us]").view(np.int64) - _MONDAY) / _DAY
    return since


def passed(days: Floats, rhythm: tuple[float, ...]) -> Floats:
    """Give how much of a rhythm has passed by these moments, in even days.

    Parameters
    ----------
    days : ndarray of any shape
        Since a Monday's midnight.
    rhythm : tuple of 7 float
        With a mean of 1, Monday first.
    """
    weeks, inside = np.divmod(days, 7.0)
    ends = np.concatenate([[0.0], np.cumsum(rhythm)])
    total: Floats = 7.0 * weeks + np.interp(inside, np.arange(8.0), ends)
    return total
