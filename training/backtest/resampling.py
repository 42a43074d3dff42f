"""Bootstrap intervals: whole records are drawn, and blocks of consecutive cutoffs.

A record stands at several cutoffs, so its rows say the same thing more than once: records are drawn with
replacement, and each brings all of its rows (the cluster bootstrap; Davison and Hinkley, "Bootstrap Methods
and their Application", 1997, section 3.8). Forecasts of overlapping periods share what happened in them:
blocks of consecutive cutoffs are drawn (the circular block bootstrap; Politis and Romano, 1992).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Share of the resamples between the two ends of every interval.
LEVEL = 0.9
#: Resamples that are looked at together, so that memory stays flat.
_BLOCK = 32


@dataclass(frozen=True)
class Estimate:
    """A figure and its bootstrap interval.

    Parameters
    ----------
    value, low, high : float
        NaN where the rows do not say.
    """

    value: float
    low: float
    high: float

    def to_json_dict(self) -> dict[str, float | None]:
        """Give the figure as plain JSON; null for what is not known."""
        return {name: finite(getattr(self, name)) for name in ("value", "low", "high")}


def finite(value: float) -> float | None:
    """Give a number as JSON can hold it.

    Examples
    --------
    >>> finite(0.5), finite(float("nan"))
    (0.5, None)
    """
    return float(value) if math.isfinite(value) else None


class Resamples:
    """Draws of whole records with replacement, the same for every figure, so that differences are paired.

    Parameters
    ----------
    records : ndarray of int, shape (n,)
        A number from 0 for each row's record.
    resamples, seed : int
    """

    def __init__(self, records: Ints, resamples: int, seed: int) -> None:
        self.records = records
        self.size = int(records.max(initial=-1)) + 1
        self.resamples = resamples
        self._seed = seed

    def counts(self) -> Iterator[Floats]:
        """Give how often each record is drawn, some resamples at a time, shape (some, records)."""
        rng = np.random.default_rng(self._seed)
        for first in range(0, self.resamples, _BLOCK):
            some = min(_BLOCK, self.resamples - first)
            draws = rng.integers(self.size, size=(some, self.size))
            yield np.stack([np.bincount(row, minlength=self.size) for row in draws]).astype(np.float64)

    def ratios(self, numerator: Floats, denominator: Floats) -> list[Estimate]:
        """Give the estimates of sums over sums.

        Parameters
        ----------
        numerator, denominator : ndarray of shape (n, figures)

        Returns
        -------
        list of Estimate, one a column
        """
        if len(numerator) == 0:
            return [Estimate(math.nan, math.nan, math.nan)] * numerator.shape[1]
        above, below = self._per_record(numerator), self._per_record(denominator)
        drawn = np.concatenate([_divide(counts @ above, counts @ below) for counts in self.counts()])
        whole = _divide(numerator.sum(axis=0), denominator.sum(axis=0))
        return [interval(float(value), drawn[:, place]) for place, value in enumerate(whole)]

    def means(self, values: Floats) -> list[Estimate]:
        """Give the estimates of the means of columns, shape (n, figures)."""
        return self.ratios(values, np.ones_like(values))

    def _per_record(self, values: Floats) -> Floats:
        return np.stack(
            [np.bincount(self.records, column, minlength=self.size) for column in values.T], axis=1
        )


def interval(value: float, drawn: Floats) -> Estimate:
    """Give a figure with the quantiles of its resamples; those that say nothing are left out."""
    known = drawn[np.isfinite(drawn)]
    if len(known) == 0:
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def turned_interval(value: float, drawn: Floats) -> Estimate:
    """Give a figure that noise can only raise with its basic bootstrap interval, not below zero.

    A resample's figure errs upwards from the sample's as the sample's does from the truth, so the quantiles
    are turned around the figure (Davison and Hinkley 1997, section 5.2).
    """
    found = interval(value, drawn)
    return Estimate(value, max(2 * value - found.high, 0.0), max(2 * value - found.low, 0.0))


def blocks(n: int, length: int, resamples: int, seed: int) -> Ints:
    """Draw circular blocks of consecutive rows.

    Parameters
    ----------
    n : int
        Rows, in the order of time.
    length : int
        Of a block, at least 1; not more than ``n`` counts.
    resamples, seed : int

    Returns
    -------
    ndarray of int, shape (resamples, n)

    Examples
    --------
    >>> drawn = blocks(5, 2, 100, 0)
    >>> drawn.shape, bool(((drawn[:, 1] - drawn[:, 0]) % 5 == 1).all())
    ((100, 5), True)
    """
    length = max(1, min(length, n))
    rng = np.random.default_rng(seed)
    starts = rng.integers(n, size=(resamples, -(-n // length)))
    rows: Ints = (starts[:, :, None] + np.arange(length)).reshape(resamples, -1)[:, :n] % n
    return rows


def _divide(above: Floats, below: Floats) -> Floats:
    shares: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)
    return shares
