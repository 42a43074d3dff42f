"""Exact TreeSHAP contributions by table: every tree is turned into lookups once, when the bundle loads.

A feature's contribution is its path-dependent SHAP value in the margin's unit, log-odds (Lundberg et al.,
"From local explanations to global understanding with explainable AI for trees", 2020, Algorithm 2); it is
what LightGBM's ``pred_contrib`` returns. Which way a row goes at each split of a tree is a few bits, and the
contributions are a function of those bits alone: a tree of seven leaves has six splits, so 64 rows hold
every answer it can give. Larger trees are cut into subtrees, with one more bit for each feature on the path
to the subtree (at a single leaf this is the decision pattern of WOODELF: Nadel and Wettenstein, "From
Decision Trees to Boolean Logic", 2026). What is too deep even so is left to LightGBM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import factorial
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: A table has at most so many bits; each further one doubles it.
MAX_BITS = 8
#: Rows handled at once, so that the intermediate arrays stay in the cache.
CHUNK = 32


class TooDeep(Exception):
    """The trees cannot be held as tables of a reasonable size."""


@dataclass(frozen=True, eq=False)
class _Split:
    """One split: the feature, and how a value of it is told left from right."""

    feature: int
    threshold: float
    categories: frozenset[int] | None
    missing_left: bool
    missing_is_zero: bool


Path = tuple[tuple[_Split, bool, float], ...]
_Condition = tuple[tuple[_Split, bool], ...]


@dataclass(frozen=True)
class _Leaf:
    """One leaf: its value, and on the way to it (split, went left, share of the training rows)."""

    value: float
    path: Path

    def features(self) -> list[int]:
        return sorted({split.feature for split, _, _ in self.path})


def _read_split(node: dict[str, Any]) -> _Split:
    if node["missing_type"] == "Zero":
        raise TooDeep("zero_as_missing")
    categorical = node["decision_type"] == "=="
    return _Split(
        feature=int(node["split_feature"]),
        threshold=0.0 if categorical else float(node["threshold"]),
        categories=frozenset(int(c) for c in str(node["threshold"]).split("||")) if categorical else None,
        # LightGBM sends a missing category right, and reads a missing number as 0 where it saw none.
        missing_left=bool(node["default_left"]) and not categorical,
        missing_is_zero=node["missing_type"] == "None" and not categorical,
    )


def _children(node: dict[str, Any]) -> list[tuple[dict[str, Any], tuple[_Split, bool, float]]]:
    """Give both children of a node, each with the step that leads to it."""
    split = _read_split(node)
    steps = []
    for child, left in ((node["left_child"], True), (node["right_child"], False)):
        count = child["internal_count"] if "internal_count" in child else child["leaf_count"]
        steps.append((child, (split, left, float(count) / float(node["internal_count"]))))
    return steps


def _read_subtree(root: dict[str, Any], path: Path = ()) -> tuple[list[_Split], list[_Leaf]]:
    """Give the splits and leaves below a node, as LightGBM's ``dump_model`` describes it."""
    splits: list[_Split] = []
    leaves: list[_Leaf] = []
    pending = [(root, path)]
    while pending:
        node, way = pending.pop()
        if "split_feature" not in node:
            leaves.append(_Leaf(float(node["leaf_value"]), way))
            continue
        children = _children(node)
        splits.append(children[0][1][0])
        pending += [(child, (*way, step)) for child, step in children]
    return splits, leaves


def _shares(leaf: _Leaf, features: list[int]) -> Floats:
    """Give the share of training rows that follow the path's splits of each feature."""
    shares = np.ones(len(features))
    for split, _, share in leaf.path:
        shares[features.index(split.feature)] *= share
    return shares


def _bits(count: int) -> NDArray[np.bool_]:
    """Give every pattern of so many bits, as (2**count, count) booleans; bit 0 counts one."""
    bits: NDArray[np.bool_] = (np.arange(2**count)[:, None] >> np.arange(count)) % 2 == 1
    return bits


def _leaf_table(leaf: _Leaf) -> Floats:
    """Give a leaf's Shapley values for every pattern of features followed, shape (2**d, d).

    With ``o`` = follows and ``r`` = share, the value of feature f is
    ``w (o_f - r_f) Σ_s s! (d-s-1)!/d! c_s``, where ``c_s`` is the coefficient of ``y**s`` in
    ``Π_{g≠f} (r_g + o_g y)``.
    """
    shares = _shares(leaf, leaf.features())
    d = len(shares)
    follows = _bits(d).astype(np.float64)
    coefficients = np.zeros((d, 2**d, d))
    coefficients[:, :, 0] = 1.0
    for g in range(d):
        others = np.arange(d) != g
        multiplied = coefficients * shares[g]
        multiplied[:, :, 1:] += coefficients[:, :, :-1] * follows[:, g, None]
        coefficients = np.where(others[:, None, None], multiplied, coefficients)
    weights = np.array([factorial(s) * factorial(d - s - 1) / factorial(d) for s in range(d)])
    values: Floats = leaf.value * (follows - shares) * (coefficients @ weights).T
    return values


@dataclass(frozen=True)
class _Block:
    """One table: conditions whose answers are its bits, and one column a feature."""

    conditions: tuple[_Condition, ...]
    features: tuple[int, ...]
    table: Floats


def _block(path: Path, splits: list[_Split], leaves: list[_Leaf]) -> _Block:
    """Give the table of a subtree: the sum of its leaves' tables, for every pattern of its bits.

    The bits are one for each feature on the path to the subtree (does the row follow it there), then one
    for each split inside (does the row go left).
    """
    entry = sorted({split.feature for split, _, _ in path})
    conditions: list[_Condition] = [
        tuple((split, left) for split, left, _ in path if split.feature == feature) for feature in entry
    ]
    conditions += [((split, True),) for split in splits]
    if len(conditions) > MAX_BITS:
        raise TooDeep(f"a path over {len(entry)} features")
    bits = _bits(len(conditions))
    bit_of = {id(split): len(entry) + i for i, split in enumerate(splits)}
    features = sorted({*entry, *(split.feature for split in splits)})
    table = np.zeros((len(bits), len(features)))
    for leaf in leaves:
        on_path = leaf.features()
        pattern = np.zeros(len(bits), np.int64)
        for position, feature in enumerate(on_path):
            follows = bits[:, entry.index(feature)] if feature in entry else np.ones(len(bits), np.bool_)
            for split, left, _ in leaf.path[len(path) :]:
                if split.feature == feature:
                    follows = follows & (bits[:, bit_of[id(split)]] == left)
            pattern += follows.astype(np.int64) << position
        table[:, [features.index(f) for f in on_path]] += _leaf_table(leaf)[pattern]
    return _Block(tuple(conditions), tuple(features), table)


def _cut(node: dict[str, Any], path: Path = ()) -> Iterator[_Block]:
    """Cut a tree into the largest subtrees whose bits fit in one table."""
    splits, leaves = _read_subtree(node, path)
    if len(splits) + len({split.feature for split, _, _ in path}) <= MAX_BITS or not splits:
        if splits or path:
            yield _block(path, splits, leaves)
        return
    for child, step in _children(node):
        yield from _cut(child, (*path, step))


def _expected(trees: list[dict[str, Any]]) -> float:
    """Give the margin's mean over the training rows: every leaf by its share of them."""
    total = 0.0
    for tree in trees:
        _, leaves = _read_subtree(tree["tree_structure"])
        total += sum(leaf.value * float(np.prod([share for _, _, share in leaf.path])) for leaf in leaves)
    return total


class _Bins:
    """Turns values into the bin between a model's thresholds, the same for every split of a feature."""

    def __init__(self, splits: list[_Split]) -> None:
        self.features: Ints = np.unique([split.feature for split in splits])
        self.categorical = {split.feature for split in splits if split.categories is not None}
        self.points: list[Floats] = []
        for feature in self.features:
            mine = [split for split in splits if split.feature == feature]
            if feature in self.categorical:
                largest = max(max(split.categories or {0}) for split in mine)
                self.points.append(np.arange(largest + 1, dtype=np.float64))
            else:
                self.points.append(np.unique([split.threshold for split in mine]))
        self.start: Ints = np.concatenate([[0], np.cumsum([len(p) for p in self.points])[:-1]]).astype(
            np.int64
        )
        self.flat = np.concatenate(self.points)
        self.owner = np.repeat(self.features, [len(p) for p in self.points])
        self.missing: Ints = np.array([len(p) + 1 for p in self.points], np.int64)
        self.is_category = np.array([int(f) in self.categorical for f in self.features])

    def place(self, x: Floats) -> Ints:
        """Give the bin of every value, shape (rows, features used).

        A number's bin counts the thresholds below it. A category's bin is its code plus one, and 0 stands
        for a code that no split names. One bin after the last is for missing values.
        """
        above = x[:, self.owner] > self.flat
        bins: Ints = np.add.reduceat(above, self.start, axis=1, dtype=np.int64)
        values = x[:, self.features]
        missing = np.isnan(values)
        if self.is_category.any():
            # As LightGBM: a code is cut to its whole part, and a negative one is like none.
            codes = np.where(missing, -1.0, np.trunc(np.clip(values, -1.0, 2.0**31)))
            inside = (codes >= 0) & (codes < self.missing - 1)
            bins = np.where(self.is_category, np.where(inside, codes + 1, 0).astype(np.int64), bins)
        return np.where(missing, self.missing, bins)

    def went_left(self, split: _Split) -> NDArray[np.bool_]:
        """Give, for each bin of the split's feature, whether a row in it goes left."""
        position = int(np.searchsorted(self.features, split.feature))
        points = self.points[position]
        if split.categories is not None:
            named = np.isin(points, list(split.categories))
            return np.concatenate([[False], named, [False]])
        bound = int(np.searchsorted(points, split.threshold))
        left = np.arange(len(points) + 1) <= bound
        missing = split.threshold >= 0.0 if split.missing_is_zero else split.missing_left
        return np.concatenate([left, [missing]])


class TreeContributions:
    """The exact contributions of a booster's features, one function for one row and for many.

    Parameters
    ----------
    booster : lightgbm.Booster
        One output, no linear leaves.

    Attributes
    ----------
    expected : float
        The margin's mean over the training rows, as the trees remember them.
    """

    def __init__(self, booster: lgb.Booster) -> None:
        dump = booster.dump_model()
        trees: list[dict[str, Any]] = dump["tree_info"]
        self._booster = booster
        self._width = int(dump["max_feature_idx"]) + 1
        self.expected = _expected(trees)
        self._tables: _Tables | None
        try:
            blocks = [block for tree in trees for block in _cut(tree["tree_structure"])]
            self._tables = _Tables(blocks, self._width) if blocks else None
            self._constant = not blocks
        except TooDeep:
            self._tables, self._constant = None, False

    @property
    def is_tabled(self) -> bool:
        """Whether lookups are used; otherwise LightGBM walks the trees."""
        return self._tables is not None or self._constant

    def __call__(self, x: Floats) -> Floats:
        """Give each feature's contribution to the margin, in log-odds, shape (rows, features).

        A row's numbers are the same bit for bit whatever other rows are asked with it.
        """
        if self._constant or not len(x):
            return np.zeros((len(x), self._width))
        if self._tables is None:
            walked: Floats = np.asarray(self._booster.predict(x, pred_contrib=True, num_threads=1))
            return walked[:, :-1]
        chunks = [self._tables.look_up(x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)]
        return np.concatenate(chunks)


class _Tables:
    """All blocks of a booster laid flat, so that one row needs no loop over trees."""

    def __init__(self, blocks: list[_Block], width: int) -> None:
        self._width = width
        self._bins = _Bins([s for b in blocks for condition in b.conditions for s, _ in condition])
        lookups: list[NDArray[np.uint16]] = []
        bit_feature: list[int] = []
        bit_start: list[int] = []
        for block in blocks:
            bit_start.append(len(lookups))
            for position, condition in enumerate(block.conditions):
                holds = np.logical_and.reduce([self._bins.went_left(s) == left for s, left in condition])
                lookups.append(holds.astype(np.uint16) << np.uint16(position))
                bit_feature.append(int(np.searchsorted(self._bins.features, condition[0][0].feature)))
        self._lookup = np.concatenate(lookups)
        self._bit_feature = np.array(bit_feature, np.int64)
        self._bit_offset = np.concatenate([[0], np.cumsum([len(u) for u in lookups])[:-1]]).astype(np.int64)
        self._bit_start = np.array(bit_start, np.int64)
        columns = [column for block in blocks for column in block.table.T]
        self._table = np.concatenate(columns)
        self._column_offset = np.concatenate([[0], np.cumsum([len(c) for c in columns])[:-1]]).astype(
            np.int64
        )
        self._column_block = np.repeat(np.arange(len(blocks)), [len(b.features) for b in blocks])
        self._column_feature = np.array([f for b in blocks for f in b.features], np.int64)

    def look_up(self, x: Floats) -> Floats:
        bins = self._bins.place(x)
        bits = self._lookup[bins[:, self._bit_feature] + self._bit_offset]
        patterns = np.add.reduceat(bits, self._bit_start, axis=1, dtype=np.int64)
        parts = self._table[patterns[:, self._column_block] + self._column_offset]
        # bincount adds in the order of the trees, whatever the number of rows.
        target = self._column_feature + np.arange(len(x))[:, None] * self._width
        sums: Floats = np.bincount(target.ravel(), parts.ravel(), minlength=len(x) * self._width).astype(
            float
        )
        return sums.reshape(len(x), self._width)
