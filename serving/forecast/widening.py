"""Ranges corrected by how past forecasts came out: adaptive conformal inference, by horizon.

Each past forecast says where in its own distribution the truth fell. Whenever that was outside the range, the
level is made wider, whenever inside a little narrower, so that in the long run the range holds what it says
whatever the data do (Gibbs and Candès, "Adaptive Conformal Inference Under Distribution Shift", 2021).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: How far one past forecast moves the level.
STEP = 0.04
#: Past forecasts of a horizon below which nothing is corrected.
FEWEST = 8
#: The share outside is kept from going to nothing, and to everything.
_LEAST, _MOST = 0.005, 0.8


@dataclass(frozen=True)
class PastErrors:
    """Where the truth fell in past forecasts' distributions.

    Parameters
    ----------
    horizon_days : tuple of float
        Of each past forecast: from its as-of to the end of its period; in the order of time.
    position : tuple of float
        Share of its distribution below the truth, from 0 to 1.
    """

    horizon_days: tuple[float, ...] = field(default_factory=tuple)
    position: tuple[float, ...] = field(default_factory=tuple)

    def near(self, days: float) -> NDArray[np.float64]:
        """Give the positions of forecasts of about this horizon, within a factor of 1.5, by time."""
        horizons = np.array(self.horizon_days, np.float64)
        if not len(horizons) or days <= 0:
            return np.zeros(0)
        close = np.abs(np.log(np.maximum(horizons, 1e-6) / days)) <= np.log(1.5)
        found: NDArray[np.float64] = np.array(self.position, np.float64)[close]
        return found


def widened(level: float, days: float, past: PastErrors | None) -> tuple[float, float]:
    """Give the levels of the quantiles between which a range of so many days' horizon lies.

    Parameters
    ----------
    level : float
        Share that the range is to hold.
    days : float
    past : PastErrors, optional

    Examples
    --------
    >>> widened(0.8, 28.0, None)
    (0.1, 0.9)
    >>> low, high = widened(0.8, 28.0, PastErrors((28.0,) * 20, (0.99,) * 20))
    >>> bool(low < 0.1 < 0.9 < high)
    True
    """
    outside = 1.0 - level
    positions = past.near(days) if past is not None else np.zeros(0)
    now = outside
    if len(positions) >= FEWEST:
        for position in positions.tolist():
            missed = position < now / 2.0 or position > 1.0 - now / 2.0
            now = min(max(now + STEP * (outside - float(missed)), _LEAST), _MOST)
    return round(now / 2.0, 12), round(1.0 - now / 2.0, 12)
