"""How far chance reaches: bounds of shares and of odds ratios."""

from __future__ import annotations

import math


def wilson(hits: float, size: float, z: float) -> tuple[float, float]:
    """Give the bounds of a share (Wilson, 1927).

    Parameters
    ----------
    hits, size : float
        Records that have it, of how many.
    z : float
        Standard errors.

    Examples
    --------
    >>> low, high = wilson(5, 10, 1.96)
    >>> round(low, 3), round(high, 3)
    (0.237, 0.763)
    >>> wilson(0, 0, 3.0)
    (0.0, 1.0)
    """
    if size <= 0:
        return 0.0, 1.0
    share, spread = hits / size, z * z / size
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(max(share * (1 - share), 0.0) / size + spread / (4 * size)) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def odds(share: float) -> float:
    """Give the odds of a share; infinite for one.

    Examples
    --------
    >>> odds(0.75)
    3.0
    """
    return share / (1 - share) if share < 1 else math.inf


def odds_ratio(hits: float, size: float, other_hits: float, other_size: float) -> float:
    """Give how many times the odds of the first group are those of the second (Haldane's half added).

    Examples
    --------
    >>> round(odds_ratio(90, 100, 10, 100), 1)
    74.3
    """
    return ((hits + 0.5) / (size - hits + 0.5)) / ((other_hits + 0.5) / (other_size - other_hits + 0.5))


def near_odds_ratio(hits: float, size: float, other_hits: float, other_size: float, z: float) -> float:
    """Give the end of the odds ratio's bounds that is nearer to one, from the bounds of both shares.

    Returns
    -------
    float
        One where the bounds overlap; above one whichever group has the greater share.

    Examples
    --------
    >>> near_odds_ratio(3, 10, 5, 10, 3.0)
    1.0
    >>> near_odds_ratio(90, 100, 10, 100, 3.0) > 10
    True
    """
    first, second = wilson(hits, size, z), wilson(other_hits, other_size, z)
    low, high = (first, second) if first[0] <= second[0] else (second, first)
    if high[0] <= low[1]:
        return 1.0
    return odds(high[0]) / odds(low[1])
