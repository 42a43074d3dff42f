"""The base rate: the same competing-risks model without any feature, counted, not fitted.

The Aalen-Johansen estimator on the intervals of the hazard (Aalen and Johansen, "An empirical transition
matrix for non-homogeneous Markov chains based on censored observations", 1978). It treats open records as
the models do, so a gain over it is a gain by features alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.timing import Timing
from training.labels import LOST, WON
from training.person_periods import PersonPeriods

Floats = npt.NDArray[np.float64]

#: Closings of an interval count as if so many more had closed in the overall proportion.
_PRIOR_CLOSINGS = 5.0


@dataclass(frozen=True)
class Marginal:
    """Counts by interval, for records about which nothing else is known.

    Parameters
    ----------
    timing : Timing
        One row.
    won_ratio : ndarray of shape (intervals,)
        Share of wins among the closings of each interval, smoothed.
    settled : float
        How far the history records losses: 1 where it does, 0 where no record was ever marked lost.
    """

    timing: Timing
    won_ratio: Floats
    settled: float

    def probability(self, horizon: float | None) -> float:
        """Give P(won within the horizon), for ever without one."""
        return float(won_within(self.timing, horizon, self.settled)[0])


def count(periods: PersonPeriods, edges: tuple[float, ...], weights: Floats) -> Marginal:
    """Count closings by interval.

    Parameters
    ----------
    periods : PersonPeriods
    edges : tuple of float
        Days.
    weights : ndarray of shape (rows of periods,)
    """
    size = len(edges) - 1
    at_risk = np.bincount(periods.interval, weights, minlength=size)
    won = np.bincount(periods.interval, weights * (periods.outcome == WON), minlength=size)
    lost = np.bincount(periods.interval, weights * (periods.outcome == LOST), minlength=size)
    safe = np.maximum(at_risk, 1e-9)
    before = np.concatenate([[1.0], np.cumprod(1.0 - (won + lost) / safe)[:-1]])
    incidence_won = np.concatenate([[0.0], np.cumsum(before * won / safe)])
    incidence_lost = np.concatenate([[0.0], np.cumsum(before * lost / safe)])
    timing = Timing(np.array(edges), incidence_won[None, :], incidence_lost[None, :])
    overall = won.sum() / max((won + lost).sum(), 1e-9)
    ratio = (won + _PRIOR_CLOSINGS * overall) / (won + lost + _PRIOR_CLOSINGS)
    ratio = np.clip(ratio, 1e-6, 1.0 - 1e-6)
    n_lost = float((periods.outcome == LOST).sum())
    n_closed = float((periods.outcome > 0).sum())
    return Marginal(timing, ratio, min(1.0, n_lost / max(5.0, 0.05 * n_closed)))


def won_within(timing: Timing, horizon: float | None, settled: float) -> Floats:
    """Give P(won within the horizon), shape (rows,).

    Beyond the last interval that was ever observed, what is still open is won in the proportion seen before,
    but only as far as the history records losses at all: where nothing is ever marked lost, a record that
    outlives every win counts as not won.
    """
    if horizon is not None:
        return timing.won_by(np.full((len(timing.won), 1), horizon))[:, 0]
    left = 1.0 - timing.closed[:, -1]
    ever: Floats = timing.won[:, -1] + left * timing.tail_share[:, 0] * settled
    return ever
