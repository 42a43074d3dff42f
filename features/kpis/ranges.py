"""The normal range of a number that comes once a period, made from its own past and nothing else.

How it is made depends on how long the past is:

- from 12 values: one-step prediction interval of a local level model, with a slope or a season where the
  past is long enough and the corrected Akaike criterion asks for it (``statsmodels``, Kalman filter; Durbin
  and Koopman 2012, Time Series Analysis by State Space Methods, ch. 2-3). The interval is widened for what
  the fit has used up: Student's t with n - k degrees of freedom and the variance times n / (n - k).
- from 6 to 11: the median and 1.4826 times the median absolute deviation (Hampel 1974), widened until it
  holds its level on normal series so short.
- below 6 it is too short, and there is no range.

Where every past value is above zero and the number is money or a duration, the range is made of logarithms,
for such numbers are skewed. And a count or a share is never called unusual for what chance alone brings with
so few records: its range holds the predictive interval of a Poisson or binomial law (Gelman et al. 2013,
Bayesian Data Analysis, ch. 2, with Jeffreys' prior).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Method = Literal["local level", "slope", "season", "slope and season", "median", "constant", "too short"]

#: The shortest past that gives a range at all, and one that gives a model.
FEWEST, FEWEST_FOR_MODEL = 6, 12
#: The shortest past in which a slope is looked for.
FEWEST_FOR_SLOPE = 24
#: A season must have been seen so often.
SEASONS_SEEN = 3
#: A season longer than this (weeks of a year) has too many values to learn from any CRM's past.
LONGEST_SEASON = 12
#: The share of a normal range that holds: one value in a hundred lies outside by chance.
LEVEL = 0.99

#: The median absolute deviation of n normal values is as exact as the standard deviation of 0.4 n of them;
#: the factor is what remains (400,000 simulated series for each n from 6 to 11 and levels from 0.8 to 0.995).
_MAD_EFFICIENCY, _MAD_FACTOR = 0.4, 1.16
_MAD_OF_NORMAL = 1.4826


@dataclass(frozen=True)
class NormalRange:
    """What the next value would be if nothing had changed.

    Parameters
    ----------
    low, expected, high : float
        NaN where there is no range.
    method : str
        How it was made.
    n_past : int
        The number of values that it was made from.
    """

    low: float
    expected: float
    high: float
    method: Method
    n_past: int

    def is_left_by(self, value: float) -> bool:
        """Say whether a value lies outside; never where there is no range or no value.

        Examples
        --------
        >>> NormalRange(1.0, 2.0, 3.0, "median", 8).is_left_by(3.5)
        True
        """
        return value < self.low or value > self.high


def normal_range(
    past: Floats, level: float = LEVEL, *, season: int = 1, is_positive: bool = False
) -> NormalRange:
    """Give the range in which the next value lies with probability ``level`` if all goes on as before.

    Parameters
    ----------
    past : array of float, shape (n,)
        Values of consecutive periods, oldest first; NaN where a period has none.
    level : float
        Between 0 and 1.
    season : int
        The number of periods after which a season returns; 1 for none.
    is_positive : bool
        Whether it is an amount of money or a duration, whose range is made of logarithms.

    Returns
    -------
    NormalRange

    Raises
    ------
    ValueError
        Where the level is not between 0 and 1.

    Examples
    --------
    >>> found = normal_range(np.array([10.0, 12.0, 11.0, 10.0, 12.0, 11.0]), level=0.9)
    >>> found.method, found.expected
    ('median', 11.0)
    >>> normal_range(np.array([1.0, 2.0])).method
    'too short'
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    there = past[np.isfinite(past)]
    if len(there) < FEWEST:
        return NormalRange(math.nan, math.nan, math.nan, "too short", len(there))
    if np.ptp(there) == 0:
        same = float(there[-1])
        return NormalRange(same, same, same, "constant", len(there))
    if is_positive and there.min() > 0:
        return _exponential(normal_range(np.log(past), level, season=season))
    if len(there) >= FEWEST_FOR_MODEL:
        found = _by_model(past, level, season)
        if found is not None:
            return found
    return _by_median(there, level)


def _exponential(found: NormalRange) -> NormalRange:
    # Above any money; a past that doubles for ever would overflow.
    low, expected, high = (math.exp(min(x, 700.0)) for x in (found.low, found.expected, found.high))
    return NormalRange(low, expected, high, found.method, found.n_past)


def _by_median(there: Floats, level: float) -> NormalRange:
    from scipy import stats

    n = len(there)
    middle = float(np.median(there))
    spread = _MAD_OF_NORMAL * float(np.median(np.abs(there - middle)))
    if spread == 0:
        # More than half of the values are equal; Iglewicz and Hoaglin (1993) then take the mean deviation.
        spread = math.sqrt(math.pi / 2) * float(np.mean(np.abs(there - middle)))
    quantile = float(stats.t.ppf((1 + level) / 2, _MAD_EFFICIENCY * n))
    half = _MAD_FACTOR * quantile * spread * math.sqrt(1 + 1 / n)
    return NormalRange(middle - half, middle, middle + half, "median", n)


def _by_model(past: Floats, level: float, season: int) -> NormalRange | None:
    """Give the range of the best local level model; None where none could be fitted."""
    from scipy import stats

    mean, scale = float(np.nanmean(past)), float(np.nanstd(past))
    scaled = (past - mean) / scale
    n = int(np.isfinite(past).sum())
    has_season = 1 < season <= LONGEST_SEASON and n >= SEASONS_SEEN * season
    shapes: list[tuple[Method, bool, bool]] = [("local level", False, False)]
    if n >= FEWEST_FOR_SLOPE:
        shapes.append(("slope", True, False))
    if has_season:
        shapes.append(("season", False, True))
    if has_season and n >= FEWEST_FOR_SLOPE:
        shapes.append(("slope and season", True, True))
    best: tuple[float, Method, float, float, int] | None = None
    for method, has_slope, is_seasonal in shapes:
        fitted = _fit(scaled, has_slope, season if is_seasonal else 1)
        if fitted is not None and (best is None or fitted[0] < best[0]):
            best = (fitted[0], method, *fitted[1:])
    if best is None:
        return None
    _, method, expected, error, n_used = best
    left = max(n - n_used, 1)
    half = float(stats.t.ppf((1 + level) / 2, left)) * error * math.sqrt(n / left)
    low, high = (mean + scale * (expected + sign * half) for sign in (-1, 1))
    return NormalRange(low, mean + scale * expected, high, method, n)


def _fit(scaled: Floats, has_slope: bool, season: int) -> tuple[float, float, float, int] | None:
    """Give the corrected AIC of a model, its next value, that value's standard error, what it has learned."""
    from statsmodels.tools.sm_exceptions import ConvergenceWarning
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    n = int(np.isfinite(scaled).sum())
    with warnings.catch_warnings():
        # A variance at its bound of zero ends the search early; the fit is good all the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        model = UnobservedComponents(
            scaled,
            level="lldtrend" if has_slope else "llevel",
            seasonal=season if season > 1 else None,
            stochastic_seasonal=False,
        )
        try:
            result = model.fit(disp=False, maxiter=200)
            forecast = result.get_forecast(1)
        except (np.linalg.LinAlgError, ValueError):
            return None
    # Besides the variances, the states that the filter starts from are learned: a slope, the seasons.
    n_used = len(result.params) + int(has_slope) + season - 1
    expected, error = float(forecast.predicted_mean[0]), float(forecast.se_mean[0])
    if n - n_used < 3 or not math.isfinite(expected) or not error > 0:
        return None
    k = len(result.params) + 1 + int(has_slope) + season - 1
    criterion = -2 * float(result.llf) + 2 * k * n / max(n - k - 1, 1)
    return criterion, expected, error, n_used


def chance_share(share: float, n_trials: float, next_trials: float, level: float) -> tuple[float, float]:
    """Give the range of the next share that chance alone brings: beta-binomial.

    Parameters
    ----------
    share : float
        What is expected, from 0 to 1.
    n_trials : float
        The number of records from which it is expected.
    next_trials : float
        The number of records behind the next share.
    level : float

    Returns
    -------
    low, high : float
        Shares; 0 and 1 where there is no record.

    Examples
    --------
    >>> chance_share(0.5, 20.0, 2.0, 0.9)
    (0.0, 1.0)
    """
    from scipy import stats

    size = round(next_trials) if math.isfinite(next_trials) else 0
    if size < 1:
        return 0.0, 1.0
    expected = min(max(share, 0.0), 1.0)
    law = stats.betabinom(size, expected * n_trials + 0.5, (1 - expected) * n_trials + 0.5)
    tail = (1 - level) / 2
    # A value is inside unless it is rarer than the tail, so the ends themselves belong to the range.
    return float(law.ppf(tail)) / size, float(law.ppf(1 - tail)) / size


def chance_count(count: float, n_past: int, level: float) -> tuple[float, float]:
    """Give the range of the next count that chance alone brings: gamma-Poisson.

    Parameters
    ----------
    count : float
        What is expected.
    n_past : int
        The number of periods from which it is expected.
    level : float

    Examples
    --------
    >>> chance_count(0.0, 12, 0.99)
    (0.0, 1.0)
    """
    from scipy import stats

    law = stats.nbinom(max(count, 0.0) * n_past + 0.5, n_past / (n_past + 1))
    tail = (1 - level) / 2
    return float(law.ppf(tail)), float(law.ppf(1 - tail))
