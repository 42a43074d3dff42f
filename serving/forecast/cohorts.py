"""What deals bring by their age: learned from those of the past, for those that are not opened yet.

The Aalen-Johansen estimator of winning against losing, with amounts as marks (Aalen and Johansen, "An
empirical transition matrix for non-homogeneous Markov chains based on censored observations", 1978); age
runs in the calendar's rhythm, so that a weekend without sales adds none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crm.moments import DAY, NEVER
from crm.observed import outcomes_since
from serving.rhythm import Beat, days_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

#: Days in which a cohort's weight halves: how deals go changes over the years.
HALF_LIFE = 365.0
#: Steps of age, in days: fine while deals are young.
_STEPS = np.concatenate(
    [np.arange(0.0, 60.0, 0.25), np.arange(60.0, 400.0, 2.0), np.arange(400.0, 1500.0, 10.0)]
)


@dataclass(frozen=True)
class Cohorts:
    """What a deal is expected to bring by each age.

    Parameters
    ----------
    age : ndarray of shape (a,)
        In days of the calendar's rhythm.
    revenue, wins : ndarray of shape (a,)
        Of one deal: money, and the chance to be won.
    amounts, weights : ndarray of shape (s,)
        Of the sales behind them.
    rhythm : Beat
    """

    age: Floats
    revenue: Floats
    wins: Floats
    amounts: Floats
    weights: Floats
    rhythm: Beat

    def between(self, opened: Floats, start: float, end: float) -> tuple[Floats, Floats]:
        """Give what deals opened at these moments bring from ``start`` to ``end``, in days since
        1970-01-05.

        Returns
        -------
        revenue, wins : ndarray of shape (n,)
        """
        opened = self.rhythm.passed(opened)
        first, last = self.rhythm.passed(np.array([start, end]))
        young, old = np.maximum(first - opened, 0.0), np.maximum(last - opened, 0.0)
        revenue, wins = (
            np.interp(old, self.age, curve) - np.interp(young, self.age, curve)
            for curve in (self.revenue, self.wins)
        )
        return revenue, wins


def learn_cohorts(
    recorded: Ints, closed: Ints, won: Flags, amount: Floats, now: int, rhythm: Beat
) -> Cohorts:
    """Learn from the deals known before ``now``.

    Parameters
    ----------
    recorded, closed : ndarray of int64, shape (n,)
        Microseconds since 1970; NEVER for a deal that is not closed. A closing at ``now`` or later does not
        count.
    won : ndarray of bool, shape (n,)
    amount : ndarray of shape (n,)
        What is missing counts as the mean of the other sales.
    now : int
    rhythm : Beat
        Of winning.
    """
    there = recorded < now
    recorded, closed, won, amount = recorded[there], closed[there], won[there], amount[there]
    ended = closed < now
    won = won & ended
    weights = np.power(0.5, (now - recorded) / (HALF_LIFE * DAY))
    money = np.where(won, amount, 0.0)
    priced = won & ~np.isnan(amount)
    if priced.any():
        money = np.where(won & np.isnan(amount), np.average(amount[priced], weights=weights[priced]), money)
    money = np.nan_to_num(money)
    born = _clock(recorded, rhythm)
    reach = _clock(np.array([now]), rhythm)[0] - born
    since = outcomes_since(recorded, np.where(ended, np.maximum(closed, recorded), NEVER))
    entry = np.maximum(_clock(np.array([since]), rhythm)[0] - born, 0.0)
    age = np.where(ended, np.maximum(_clock(np.minimum(closed, now), rhythm) - born, 0.0), reach)
    revenue, wins = _incidence(age, reach, entry, ended, won, weights, money)
    longest = int(np.searchsorted(_STEPS, age.max(initial=0.0), side="right")) + 1
    return Cohorts(
        _STEPS[:longest], revenue[:longest], wins[:longest], amount[priced], weights[priced], rhythm
    )


def _incidence(
    age: Floats, reach: Floats, entry: Floats, ended: Flags, won: Flags, weights: Floats, money: Floats
) -> tuple[Floats, Floats]:
    """Give the revenue and the wins of one deal by each step of age."""
    size = len(_STEPS)
    # A step's closings are counted among the deals that could be watched to its end.
    last = np.searchsorted(_STEPS, age, side="left")
    whole = np.searchsorted(_STEPS, reach, side="right") - 1
    counted = ended & (last <= whole)
    # At risk in step k (from _STEPS[k - 1] to _STEPS[k]): not ended before, and watched all through it.
    enters = np.where(entry > 0.0, np.searchsorted(_STEPS, entry, side="left") + 1, 0)
    final = np.where(counted, last, np.minimum(whole, np.where(ended, last - 1, whole)))
    there = enters <= np.minimum(final, size - 1)
    comes = np.bincount(enters[there], weights[there], minlength=size).astype(np.float64)
    leaves = np.bincount(np.minimum(final, size - 1)[there], weights[there], minlength=size).astype(
        np.float64
    )
    at_risk = np.cumsum(comes) - np.concatenate([[0.0], np.cumsum(leaves)[:-1]])
    inside = counted & (last < size) & there

    def sums(value: Floats) -> Floats:
        return np.bincount(last[inside], value[inside], minlength=size).astype(np.float64)

    closing, winning, bringing = sums(weights), sums(weights * won), sums(weights * won * money)
    safe = np.where(at_risk > 1e-9, at_risk, 1.0)
    stay = np.concatenate([[1.0], np.cumprod(1.0 - np.minimum(closing / safe, 1.0))[:-1]])
    revenue: Floats = np.cumsum(stay * bringing / safe)
    wins: Floats = np.cumsum(stay * winning / safe)
    return revenue, wins


def _clock(micros: Ints, rhythm: Beat) -> Floats:
    return rhythm.passed(days_of(micros.view("datetime64[us]")))
