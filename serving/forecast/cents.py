"""Money in whole cents, so that what is split adds up again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def to_cents(money: Floats) -> Ints:
    """Give each amount in the nearest whole cents."""
    return np.rint(100.0 * np.asarray(money, np.float64)).astype(np.int64)


def split_cents(total: int, weights: Floats) -> Ints:
    """Split whole cents in proportion to weights, by the largest remainder.

    Parameters
    ----------
    total : int
    weights : ndarray of shape (n,)
        Not below 0; all 0 counts as all alike. With none there must be nothing to split.

    Returns
    -------
    ndarray of int64, shape (n,)
        Sums to ``total``.

    Examples
    --------
    >>> split_cents(100, np.array([1.0, 1.0, 1.0])).tolist()
    [34, 33, 33]
    """
    if not len(weights):
        if total:
            raise ValueError(f"{total} cents to split among nobody")
        return np.zeros(0, np.int64)
    sign, size = (-1, -total) if total < 0 else (1, total)
    shares = weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1.0 / len(weights))
    exact = shares * size
    whole = np.floor(exact).astype(np.int64)
    left = size - int(whole.sum())
    first = np.argsort(-(exact - whole), kind="stable")[:left]
    whole[first] += 1
    signed: Ints = sign * whole
    return signed
