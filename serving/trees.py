"""A booster's trees as LightGBM dumps them: splits, leaves, and the bins that tell left from right.

Which way a row goes at a split depends only on where its value lies among the thresholds of that feature.
So every value is turned into a small number once, its bin, and all splits of all trees read that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
#: A node of LightGBM's ``dump_model``.
Node = dict[str, Any]

#: Up to so many rows, all thresholds of all features are compared at once.
FEW = 256
#: Above so many thresholds a binary search is cheaper than one comparison each.
MANY_POINTS = 48


class TooDeep(Exception):
    """The trees cannot be held as tables of a reasonable size."""


@dataclass(frozen=True, eq=False)
class Split:
    """One split: the feature, and how a value of it is told left from right."""

    feature: int
    threshold: float
    categories: frozenset[int] | None
    missing_left: bool
    missing_is_zero: bool


Path = tuple[tuple[Split, bool, float], ...]


@dataclass(frozen=True)
class Leaf:
    """One leaf: its value, and on the way to it (split, went left, share of the training rows)."""

    value: float
    path: Path

    def features(self) -> list[int]:
        """Give the features that the way to the leaf asks for, ascending."""
        return sorted({split.feature for split, _, _ in self.path})


def read_split(node: Node) -> Split:
    """Read one split; TooDeep where zeros count as missing, which no bin tells."""
    if node["missing_type"] == "Zero":
        raise TooDeep("zero_as_missing")
    categorical = node["decision_type"] == "=="
    return Split(
        feature=int(node["split_feature"]),
        threshold=0.0 if categorical else float(node["threshold"]),
        categories=frozenset(int(c) for c in str(node["threshold"]).split("||")) if categorical else None,
        # LightGBM sends a missing category right, and reads a missing number as 0 where it saw none.
        missing_left=bool(node["default_left"]) and not categorical,
        missing_is_zero=node["missing_type"] == "None" and not categorical,
    )


def children(node: Node) -> list[tuple[Node, tuple[Split, bool, float]]]:
    """Give both children of a node, each with the step that leads to it."""
    split = read_split(node)
    steps = []
    for child, left in ((node["left_child"], True), (node["right_child"], False)):
        count = child["internal_count"] if "internal_count" in child else child["leaf_count"]
        steps.append((child, (split, left, float(count) / float(node["internal_count"]))))
    return steps


def read_subtree(root: Node, path: Path = ()) -> tuple[list[Split], list[Leaf]]:
    """Give the splits and leaves below a node; leaves from right to left."""
    splits: list[Split] = []
    leaves: list[Leaf] = []
    pending = [(root, path)]
    while pending:
        node, way = pending.pop()
        if "split_feature" not in node:
            if "leaf_coeff" in node:
                raise TooDeep("linear leaves")
            leaves.append(Leaf(float(node["leaf_value"]), way))
            continue
        below = children(node)
        splits.append(below[0][1][0])
        pending += [(child, (*way, step)) for child, step in below]
    return splits, leaves


class Bins:
    """Turns values into the bin between a model's thresholds, the same for every split of a feature.

    A number's bin counts the thresholds below it. A category's bin is its code plus one, and 0 stands for a
    code that no split names. One bin after the last is for missing values.

    Parameters
    ----------
    splits : list of Split

    Attributes
    ----------
    features : array of int, shape (f,)
        The columns that are asked for, ascending.
    points : list of arrays
        Thresholds of each, ascending; for a category every code up to the largest.
    missing : array of int, shape (f,)
        The bin of missing values, which is the last.
    """

    def __init__(self, splits: list[Split]) -> None:
        by_feature: dict[int, list[Split]] = {}
        for split in splits:
            by_feature.setdefault(split.feature, []).append(split)
        self.features: Ints = np.array(sorted(by_feature), np.int64)
        self.points: list[Floats] = []
        categorical = []
        for feature in self.features.tolist():
            mine = by_feature[feature]
            categorical.append(mine[0].categories is not None)
            if categorical[-1]:
                largest = max(max(split.categories or {0}) for split in mine)
                self.points.append(np.arange(largest + 1, dtype=np.float64))
            else:
                self.points.append(np.unique([split.threshold for split in mine]))
        counts = np.array([len(points) for points in self.points], np.int64)
        self.missing: Ints = counts + 1
        self._categories: Ints = np.flatnonzero(categorical)
        self._most = self.missing[self._categories, None] - 1.0
        self._begins: Ints = np.cumsum(counts) - counts
        self._flat = np.concatenate([np.zeros(0), *self.points])
        self._owner = np.repeat(self.features, counts)

    def __call__(self, x: Floats) -> Ints:
        """Give the bin of every value, shape (features asked for, rows).

        Parameters
        ----------
        x : ndarray of shape (rows, features)
        """
        if len(self.features) == 0:
            return np.zeros((0, len(x)), np.int64)
        values = np.ascontiguousarray(x[:, self.features].T)
        bins = self._few(x) if len(x) <= FEW else self._many(values)
        missing = np.isnan(values)
        if len(self._categories):
            # As LightGBM: a code is cut to its whole part, and a negative one is like none.
            codes = values[self._categories]
            inside = (codes > -1.0) & (codes < self._most)
            bins[self._categories] = np.where(inside, codes, -1.0).astype(np.int64) + 1
        np.copyto(bins, self.missing[:, None], where=missing)
        return bins

    def _few(self, x: Floats) -> Ints:
        above = x[:, self._owner] > self._flat
        counted: Ints = np.add.reduceat(above, self._begins, axis=1, dtype=np.int64)
        return np.ascontiguousarray(counted.T)

    def _many(self, values: Floats) -> Ints:
        categories = set(self._categories.tolist())
        bins = np.zeros(values.shape, np.int64)
        counted, above = np.empty(values.shape[1], np.uint8), np.empty(values.shape[1], np.bool_)
        for place, points in enumerate(self.points):
            if place in categories:
                continue
            if len(points) > MANY_POINTS:
                bins[place] = np.searchsorted(points, values[place])
                continue
            counted[:] = 0
            for point in points.tolist():
                np.greater(values[place], point, out=above)
                np.add(counted, above.view(np.uint8), out=counted)
            bins[place] = counted
        return bins

    def place_of(self, feature: int) -> int:
        """Give the row of a feature in what a call returns."""
        return int(np.searchsorted(self.features, feature))

    def went_left(self, split: Split) -> Bools:
        """Give, for each bin of the split's feature, whether a row in it goes left."""
        points = self.points[self.place_of(split.feature)]
        if split.categories is not None:
            named = np.isin(points, list(split.categories))
            return np.concatenate([[False], named, [False]])
        bound = int(np.searchsorted(points, split.threshold))
        left = np.arange(len(points) + 1) <= bound
        missing = split.threshold >= 0.0 if split.missing_is_zero else split.missing_left
        return np.concatenate([left, [missing]])
