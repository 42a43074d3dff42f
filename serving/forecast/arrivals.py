"""How many deals will be opened: counts of the past weeks, carried forward with their season and weekdays.

The square root of a week's count (Anscombe's transform, "The transformation of Poisson, binomial and
negative-binomial data", 1948) follows a level, with a yearly season of two harmonics where the history holds
two years of it. Two opinions of that level are averaged (Bates and Granger, "The combination of forecasts",
1969): one as quick as the likelihood says (Harvey, "Forecasting, Structural Time Series Models and the Kalman
Filter", 1989), which a good month carries away, and a slow one, which growth leaves behind.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crm.moments import DAY

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WEEK = 7 * DAY
#: Weeks from which a level, and a yearly season, can be told from noise; and those that are looked at.
FEWEST_WEEKS, SEASON_WEEKS, MOST_WEEKS = 8, 104, 260
#: Weeks whose weekdays say how a week's arrivals fall on days.
_WEEKDAY_WEEKS = 26
_YEAR_WEEKS, _HARMONICS = 365.25 / 7, 2
#: How much the last week may move the slow level.
_SLOWNESS = (0.02, 0.1)


@dataclass(frozen=True)
class Arrivals:
    """Deals to come, by day.

    Parameters
    ----------
    daily : ndarray of shape (days,)
        Expected number in each day after ``as_of``.
    is_seasonal : bool
    """

    daily: Floats
    is_seasonal: bool

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
    weeks = -(-days // 7)
    if counts.sum() == 0 or days <= 0:
        return Arrivals(np.zeros(max(days, 0)), False)
    seasonal = len(counts) >= SEASON_WEEKS
    expected = _carry(counts, weeks, seasonal=seasonal)
    daily = (expected[:, None] * _weekdays(recorded, now)[None, :]).ravel()[:days]
    return Arrivals(daily, seasonal)


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


def _carry(counts: Floats, weeks: int, *, seasonal: bool) -> Floats:
    """Give the expected count of each coming week, shape (weeks,)."""
    if len(counts) < FEWEST_WEEKS:
        return np.full(weeks, counts.mean())
    # Imported before warnings are silenced: the library sets filters of its own when it is imported.
    from statsmodels.tsa.holtwinters import ExponentialSmoothing
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    roots = 2.0 * np.sqrt(counts + 0.375)
    with warnings.catch_warnings():
        # A flat likelihood leaves a search unfinished at a level that is as good as any.
        warnings.simplefilter("ignore")
        quick = _quick(UnobservedComponents, roots, weeks, seasonal=seasonal)
        slow = _slow(ExponentialSmoothing, roots, weeks, seasonal=seasonal)
    found: Floats = (quick + slow) / 2.0 if np.isfinite(quick).all() else slow
    return found


def _quick(library: Any, roots: Floats, weeks: int, *, seasonal: bool) -> Floats:
    """Follow a level that wanders as fast as the likelihood says."""
    model = library(
        roots,
        "local level",
        freq_seasonal=[{"period": _YEAR_WEEKS, "harmonics": _HARMONICS}] if seasonal else None,
        stochastic_freq_seasonal=[False] if seasonal else None,
    )
    ahead = model.fit(disp=False, maxiter=100).get_forecast(weeks)
    # Beyond the noise of counting, a wandering level must not raise its own mean.
    return _counts(np.asarray(ahead.predicted_mean), np.minimum(np.asarray(ahead.var_pred_mean), 1.0))


def _slow(library: Any, roots: Floats, weeks: int, *, seasonal: bool) -> Floats:
    """Follow a level that moves little in a quarter, around a season by regression."""
    n = len(roots)
    season = np.zeros(n + weeks)
    if seasonal:
        time = np.arange(n + weeks)
        waves = [
            wave(2.0 * np.pi * turn * time / _YEAR_WEEKS)
            for turn in range(1, _HARMONICS + 1)
            for wave in (np.sin, np.cos)
        ]
        table = np.column_stack([np.ones(n + weeks), time / n, *waves])
        # A little ridge on the waves: a season of two years is known only so well.
        ridge = np.diag([0.0, 0.0] + [1.0] * len(waves))
        weights = np.linalg.solve(table[:n].T @ table[:n] + ridge, table[:n].T @ roots)
        season = table[:, 2:] @ weights[2:]
    smooth = library(
        roots - season[:n], initialization_method="estimated", bounds={"smoothing_level": _SLOWNESS}
    ).fit()
    level = float(np.asarray(smooth.forecast(1))[0])
    return _counts(level + season[n:], np.ones(weeks))


def _counts(roots: Floats, variance: Floats) -> Floats:
    """Turn expected roots into expected counts: E[(root / 2)^2], less what was added."""
    found: Floats = np.maximum((np.maximum(roots, 0.0) ** 2 + variance) / 4.0 - 0.375, 0.0)
    return found


def _weekdays(recorded: Ints, now: int) -> Floats:
    """Give how a week's arrivals fall on the seven days from now on."""
    recent = recorded[(recorded < now) & (recorded >= now - _WEEKDAY_WEEKS * WEEK)]
    day = 6 - ((now - 1 - recent) // DAY) % 7
    counts = np.bincount(day, minlength=7) + 1.0
    shares: Floats = counts / counts.sum()
    return shares
