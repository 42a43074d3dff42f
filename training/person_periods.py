"""What a discrete-time hazard learns from: a row for each snapshot and each interval it was seen through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from training.labels import OPEN, Labels

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class PersonPeriods:
    """One row for each snapshot and each interval that it was seen through, or closed in.

    Parameters
    ----------
    snapshot : ndarray of int, shape (rows,)
    interval : ndarray of int, shape (rows,)
    outcome : ndarray of int8, shape (rows,)
        ``OPEN``, ``WON`` or ``LOST`` at the interval's end.
    """

    snapshot: Ints
    interval: Ints
    outcome: npt.NDArray[np.int8]


def person_periods(labels: Labels, edges: Sequence[float]) -> PersonPeriods:
    """Spread snapshots over the intervals that were observed whole.

    An interval counts only when observation lasted to its end: one that was cut short would show the records
    that closed in it and hide those that did not. So does one that began before outcomes were recorded.
    """
    snapshots, intervals, outcomes = [], [], []
    closed = labels.events != OPEN
    for interval, (low, high) in enumerate(pairwise(edges)):
        # A closing in the very instant of the snapshot belongs to the first interval.
        at_risk = (labels.durations > low) | (interval == 0)
        if labels.entered is not None:
            at_risk &= labels.entered <= low
        rows = np.flatnonzero(at_risk & (labels.observed >= high))
        ends_here = closed[rows] & (labels.durations[rows] <= high)
        snapshots.append(rows)
        intervals.append(np.full(len(rows), interval))
        outcomes.append(np.where(ends_here, labels.events[rows], OPEN).astype("int8"))
    return PersonPeriods(np.concatenate(snapshots), np.concatenate(intervals), np.concatenate(outcomes))


def period_weights(
    labels: Labels,
    periods: PersonPeriods,
    edges: tuple[float, ...],
    half_life_days: float | None,
    weights: Floats | None = None,
) -> Floats:
    """Weigh each row by its snapshot, and by how long before the end of observation its interval began."""
    own = np.ones(len(periods.snapshot)) if weights is None else weights[periods.snapshot]
    return fade(own, labels.observed[periods.snapshot] - np.array(edges)[periods.interval], half_life_days)


def fade(weights: Floats, ages: Floats, half_life_days: float | None) -> Floats:
    """Give weights that halve with each half-life of age, in days; as they are without one."""
    if half_life_days is None:
        return weights
    faded: Floats = weights * np.power(0.5, np.maximum(ages, 0.0) / half_life_days)
    return faded
