"""How many deals will be opened: counts of the past weeks, carried forward along the calendar.

What the calendar does, from weekdays to the months of the year, is taken out of the past and put on what is
to come. Two opinions of the level are averaged (Bates and Granger, "The combination of forecasts", 1969). One
moves as quickly as the likelihood says (Harvey, "Forecasting, Structural Time Series Models and the Kalman
Filter", 1989), on the square roots of counts (Anscombe, "The transformation of Poisson, binomial and
negative-binomial data", 1948): a good month carries it away. The other is the mean of the last quarter:
growth leaves it behind.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crm.moments import DAY
from serving.calendar_effects import fit_beat
from serving.rhythm import EVEN, Beat, days_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WEEK = 7 * DAY
#: Weeks from which a level can be told from noise; those that are looked at; and those of the slow level.
FEWEST_WEEKS, MOST_WEEKS, SLOW_WEEKS = 8, 260, 13
#: A week in which the calendar leaves less than this of a week tells nothing of the level.
_LEAST_HELD = 0.05


@dataclass(frozen=True)
class Arrivals:
    """Deals to come, by day.

    Parameters
    ----------
    daily : ndarray of shape (days,)
        Expected number in each day after ``as_of``.
    """

    daily: Floats

    @property
    def total(self) -> float:
        """Expected number in all."""
        return float(self.daily.sum())


def forecast_arrivals(recorded: Ints, now: int, days: int) -> Arrivals:
    """Carry the arrivals of the past forward.

    Parameters
    ----------
    recorded : ndarray of int64, shape (n,)
        When each deal became known, microseconds since 1970.
    now : int
        Likewise; only what was recorded before counts.
    days : int
        How far.
    """
    counts = weekly_counts(recorded, now)
    if counts.sum() == 0 or days <= 0:
        return Arrivals(np.zeros(max(days, 0)))
    beat = EVEN if len(counts) < FEWEST_WEEKS else _beat(recorded[recorded < now], now)
    today = float(days_of(np.array([now]).view("datetime64[us]"))[0])
    weeks = np.arange(-len(counts), 1, dtype=np.float64)
    past = np.diff(beat.passed(today + 7.0 * weeks)) / 7.0
    to_come = np.diff(beat.passed(today + np.arange(days + 1.0)))
    return Arrivals(_level(counts, past) / 7.0 * to_come)


def _beat(recorded: Ints, now: int) -> Beat:
    """Give how arrivals follow the calendar, from the day after the first week on."""
    day = np.floor(days_of(recorded.view("datetime64[us]"))).astype(np.int64)
    today = int(np.floor(days_of(np.array([now]).view("datetime64[us]"))[0]))
    # The week in which the history begins is only partly there, and what was open then came in at once.
    first = max(int(day.min()) + 7, today - 7 * MOST_WEEKS)
    inside = (day >= first) & (day < today)
    seen = np.bincount(day[inside] - first, minlength=today - first).astype(np.float64)
    return fit_beat(seen, np.full(len(seen), seen.mean()), first)


def weekly_counts(recorded: Ints, now: int) -> Floats:
    """Count the arrivals of each whole week that ends at ``now``, oldest first, from the first arrival on."""
    past = recorded[recorded < now]
    if not len(past):
        return np.zeros(1)
    ago = (now - 1 - past) // WEEK
    # The week in which the history begins is only partly there, and what was open then came in at once.
    whole = max(int((now - past.min()) // WEEK), 1)
    counts = np.bincount(ago, minlength=whole)[: min(whole, MOST_WEEKS)]
    return counts[::-1].astype(np.float64)


def _level(counts: Floats, held: Floats) -> float:
    """Give the expected count of an even week to come.

    Parameters
    ----------
    counts, held : ndarray of shape (weeks,)
        Of each past week: its arrivals, and how much of an even week the calendar left it.
    """
    slow = float(counts[-SLOW_WEEKS:].sum() / max(held[-SLOW_WEEKS:].sum(), _LEAST_HELD))
    if len(counts) < FEWEST_WEEKS:
        return slow
    # Imported before warnings are silenced: the library sets filters of its own when it is imported.
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    even = np.where(held < _LEAST_HELD, np.nan, counts / np.maximum(held, _LEAST_HELD))
    with warnings.catch_warnings():
        # A flat likelihood leaves a search unfinished at a level that is as good as any.
        warnings.simplefilter("ignore")
        fitted = UnobservedComponents(2.0 * np.sqrt(even + 0.375), "local level").fit(disp=False, maxiter=100)
        ahead = fitted.get_forecast(1)
    root, variance = float(ahead.predicted_mean[0]), float(ahead.var_pred_mean[0])
    # E[(root / 2)^2], less what was added; beyond the noise of counting, a wandering level must not raise its
    # own mean.
    quick = max((max(root, 0.0) ** 2 + min(variance, 1.0)) / 4.0 - 0.375, 0.0)
    return (quick + slow) / 2.0 if np.isfinite(quick) else slow
