"""The change of a product of three factors, split among them exactly, in whole cents.

Each factor's part is its Shapley value (L. S. Shapley, A value for n-person games, 1953; for decompositions:
A. F. Shorrocks, Decomposition procedures for distributional analysis, Journal of Economic Inequality 11,
2013): its effect averaged over all orders in which the factors could have changed. The parts depend on no
order and add up exactly, and unlike the logarithmic mean they take zeros.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Cents = NDArray[np.int64]


def shapley(was: Floats, now: Floats) -> Floats:
    """Split the change of a product of three factors among them.

    Parameters
    ----------
    was, now : ndarray of float64, shape (n, 3)

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Each row adds up to the change of the product.

    Examples
    --------
    >>> shapley(np.array([[0.5, 1.0, 100.0]]), np.array([[0.6, 1.0, 100.0]])).round(9).tolist()
    [[10.0, 0.0, 0.0]]
    """
    parts = np.empty_like(was)
    for k in range(3):
        i, j = (other for other in range(3) if other != k)
        alone = was[:, i] * was[:, j] + now[:, i] * now[:, j]
        mixed = was[:, i] * now[:, j] + now[:, i] * was[:, j]
        parts[:, k] = (now[:, k] - was[:, k]) * (2 * alone + mixed) / 6
    return parts


def whole_cents(parts: Floats, sums: Cents) -> Cents:
    """Round the parts of each row to whole cents that add up to a given sum, by largest remainder.

    Parameters
    ----------
    parts : ndarray of float64, shape (n, n_parts)
    sums : ndarray of int64, shape (n,)
        What each row adds up to; where that is not its parts' sum but for rounding, the first takes the rest.

    Examples
    --------
    >>> whole_cents(np.array([[0.5, 0.25, 0.25]]), np.array([1])).tolist()
    [[1, 0, 0]]
    """
    floors = np.floor(parts)
    cents = floors.astype("int64")
    short = sums - cents.sum(axis=1)
    ups = np.clip(short, 0, parts.shape[1] - 1)
    rank = np.argsort(np.argsort(-(parts - floors), axis=1, kind="stable"), axis=1, kind="stable")
    cents += rank < ups[:, None]
    cents[:, 0] += short - ups
    return cents
