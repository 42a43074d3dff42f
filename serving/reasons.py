"""Why a probability is what it is: each feature's effect, in probability, exact and adding up.

A feature's contribution in log-odds is exact (TreeSHAP for the booster, coefficient times deviation for the
linear part). All contributions of a record are scaled by one number, so that the base and all effects sum to
the calibrated probability that is shown: the signs and the proportions are those of the contributions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import FeatureSpec
from features.catalogue import features_of
from serving.outcome_model import OutcomeModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Below so small a change of the margin, its ratio to the probability's is read off the map's slope.
SMALL_MARGIN = 1e-6
#: An effect that rounds to 0.0 points is no reason.
SMALLEST_EFFECT = 0.0005


@dataclass(frozen=True)
class Effects:
    """The effects of all features, for some records.

    Parameters
    ----------
    base : float
        The probability of a record about which nothing sets it apart: that of the expected margin.
    probability : ndarray of shape (rows,)
        As shown.
    values : ndarray of shape (rows, features)
        In probability: 0.02 is two points. ``base + values.sum(axis=1)`` is ``probability``.
    further : ndarray of shape (more,)
        Probabilities of the rows that were not to be explained.
    """

    base: float
    probability: Floats
    values: Floats
    further: Floats


def explain(model: OutcomeModel, x: Floats, count: int | None = None) -> Effects:
    """Give the probabilities of these records and every feature's effect on them.

    Parameters
    ----------
    model : OutcomeModel
    x : ndarray of shape (rows, features)
    count : int, optional
        How many rows to explain, the first ones; the others have their probability only. All by default.
    """
    count = len(x) if count is None else count
    if not model.signal:
        rates = np.full(len(x), model.base_rate)
        return Effects(model.base_rate, rates[:count], np.zeros((count, x.shape[1])), rates[count:])
    margin, contributions = model.explained(x, count)
    everything = model.probability(margin)
    margin, probability = margin[:count], everything[:count]
    base = model.base_probability
    values = contributions * _scale(model, margin, model.expected_margin, probability, base)[:, None]
    if values.shape[1]:
        # What rounding leaves over goes to the largest effect, where it cannot be seen.
        rows = np.arange(count)
        largest = np.abs(contributions).argmax(axis=1)
        values[rows, largest] += (probability - base) - np.ascontiguousarray(values).sum(axis=1)
    return Effects(base, probability, values, everything[count:])


def _scale(model: OutcomeModel, margin: Floats, expected: float, probability: Floats, base: float) -> Floats:
    """Give points of probability per unit of margin, between the expected margin and each record's."""
    change = margin - expected
    small = np.abs(change) < SMALL_MARGIN
    if not small.any():
        plain: Floats = (probability - base) / change
        return plain
    middle = (margin + expected) / 2.0
    around = model.probability(middle + SMALL_MARGIN) - model.probability(middle - SMALL_MARGIN)
    slope = around / (2.0 * SMALL_MARGIN)
    scale: Floats = np.divide(probability - base, change, out=slope, where=~small)
    return scale


@dataclass(frozen=True)
class Groups:
    """Features that are one reason: the same thing counted over windows of different length.

    Apart, they contradict each other (more events in 7 days, fewer in 30); their effects add up to one. The
    feature shown for a group is the one that does most of its effect.

    Parameters
    ----------
    members : ndarray of shape (groups, largest group)
        Columns of each group, -1 where it has no more.
    """

    members: Ints

    @classmethod
    def of(cls, spec: FeatureSpec) -> Groups:
        """Group the features of a spec."""
        known = features_of(spec)
        groups: dict[tuple[str, ...], list[int]] = {}
        for column, name in enumerate(spec.names):
            _, entry, case = known[name]
            rest = sorted(f"{key}={slug}" for key, slug in case.slugs.items() if key != "window")
            groups.setdefault((entry.name, *rest), []).append(column)
        largest = max((len(columns) for columns in groups.values()), default=1)
        members = np.full((len(groups), largest), -1, np.int64)
        for row, columns in zip(members, groups.values(), strict=True):
            row[: len(columns)] = columns
        return cls(members)

    def effects(self, values: Floats) -> Floats:
        """Give the effect of each group, shape (rows, groups)."""
        total = values[:, self.members[:, 0]]
        for place in range(1, self.members.shape[1]):
            there = np.flatnonzero(self.members[:, place] >= 0)
            total[:, there] += values[:, self.members[there, place]]
        return total

    def shown(self, values: Floats, groups: Ints, sign: float) -> Ints:
        """Give the member that does most of each group's effect, shape of ``groups``; -1 for group -1."""
        members = self.members[groups]
        rows, places = np.arange(len(values))[:, None], np.arange(groups.shape[1])
        signed = np.where(members < 0, -np.inf, sign * values[rows[:, :, None], members])
        chosen = members[rows, places, signed.argmax(axis=2)]
        return np.where(groups < 0, -1, chosen)


def strongest(values: Floats, top: int) -> tuple[Ints, Ints]:
    """Give the columns that raise and that lower each record's probability most.

    Parameters
    ----------
    values : ndarray of shape (rows, columns)
    top : int
        How many of each.

    Returns
    -------
    raising, lowering : ndarray of shape (rows, at most top)
        Strongest first; -1 where no further effect reaches :data:`SMALLEST_EFFECT`. Of equal
        effects the first column comes first.
    """
    top = min(top, values.shape[1])
    rows = np.arange(len(values))
    columns = []
    for sign in (-1.0, 1.0):
        signed = np.ascontiguousarray(sign * values)
        chosen = np.empty((len(values), top), np.int64)
        for place in range(top):
            best = signed.argmin(axis=1)
            chosen[:, place] = np.where(signed[rows, best] <= -SMALLEST_EFFECT, best, -1)
            signed[rows, best] = np.inf
        columns.append(chosen)
    return columns[0], columns[1]
