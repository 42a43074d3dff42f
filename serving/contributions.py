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

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from serving.trees import Bins, Floats, Ints, Leaf, Node, Path, Split, TooDeep, children, read_subtree

#: A table has at most so many bits; each further one doubles it.
MAX_BITS = 8
#: Up to so many rows, all tables are looked up at once; from there on, table by table.
FEW = 200
#: Rows of one pass: few at once in all tables, for the arrays' sake; many table by table, for the calls'.
FEW_ROWS, MANY_ROWS = 32, 8192

_Condition = tuple[tuple[Split, bool], ...]


def _shares(leaf: Leaf, features: list[int]) -> Floats:
    """Give the share of training rows that follow the path's splits of each feature."""
    shares = np.ones(len(features))
    for split, _, share in leaf.path:
        shares[features.index(split.feature)] *= share
    return shares


def _bits(count: int) -> NDArray[np.bool_]:
    """Give every pattern of so many bits, as (2**count, count) booleans; bit 0 counts one."""
    bits: NDArray[np.bool_] = (np.arange(2**count)[:, None] >> np.arange(count)) % 2 == 1
    return bits


def _leaf_table(leaf: Leaf) -> Floats:
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


def _block(path: Path, splits: list[Split], leaves: list[Leaf]) -> _Block:
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


def _cut(node: Node, path: Path = ()) -> Iterator[_Block]:
    """Cut a tree into the largest subtrees whose bits fit in one table."""
    splits, leaves = read_subtree(node, path)
    if len(splits) + len({split.feature for split, _, _ in path}) <= MAX_BITS or not splits:
        if splits or path:
            yield _block(path, splits, leaves)
        return
    for child, step in children(node):
        yield from _cut(child, (*path, step))


def _expected(trees: list[Node]) -> float:
    """Give the margin's mean over the training rows: every leaf by its share of them."""
    total = 0.0
    for tree in trees:
        _, leaves = read_subtree(tree["tree_structure"])
        total += sum(leaf.value * float(np.prod([share for _, _, share in leaf.path])) for leaf in leaves)
    return total


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
        trees: list[Node] = dump["tree_info"]
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
        return self._tables(x)


class _Tables:
    """All blocks of a booster, laid flat too, so that one row needs no loop over trees."""

    def __init__(self, blocks: list[_Block], width: int) -> None:
        self._width = width
        self._bins = Bins([s for b in blocks for condition in b.conditions for s, _ in condition])
        self._blocks = [_Lookup.of(block, self._bins) for block in blocks]
        lookups = [lookup for block in self._blocks for lookup in block.lookups]
        columns = [column for block in self._blocks for column in block.columns]
        self._lookups = np.concatenate(lookups)
        # What is summed is not to be widened first.
        self._wide = self._lookups.astype(np.int32)
        self._lookup_begins = _before_each([len(lookup) for lookup in lookups])
        self._places = np.array([place for block in self._blocks for place in block.places], np.int64)
        self._block_begins = _before_each([len(block.places) for block in self._blocks])
        self._columns = np.concatenate(columns)
        self._column_begins = _before_each([len(column) for column in columns])
        self._block_of = np.repeat(np.arange(len(blocks)), [len(block.features) for block in blocks])
        self._features = np.array([feature for block in blocks for feature in block.features], np.int64)

    def __call__(self, x: Floats) -> Floats:
        found = np.empty((len(x), self._width))
        few = len(x) <= FEW
        size = FEW_ROWS if few else MANY_ROWS
        for first in range(0, len(x), size):
            part = slice(first, first + size)
            bins = self._bins(x[part])
            found[part] = (self._at_once(bins) if few else self._block_by_block(bins)).T
        return found

    def _at_once(self, bins: Ints) -> Floats:
        rows = bins.shape[1]
        if rows == 1:
            return self._one(bins[:, 0])[:, None]
        bits = self._lookups.take(bins[self._places] + self._lookup_begins[:, None])
        patterns = np.add.reduceat(bits, self._block_begins, axis=0, dtype=np.int64)
        parts = self._columns.take(patterns[self._block_of] + self._column_begins[:, None])
        # bincount adds in the order of the trees, as the other way does.
        cells = self._features[:, None] * rows + np.arange(rows)
        sums = np.bincount(cells.ravel(), parts.ravel(), minlength=rows * self._width).astype(np.float64)
        return sums.reshape(self._width, rows)

    def _one(self, bins: Ints) -> Floats:
        """Give one row's, as the others do for many: without the second axis it costs half."""
        bits = self._wide.take(bins.take(self._places) + self._lookup_begins)
        patterns = np.add.reduceat(bits, self._block_begins).astype(np.int64)
        parts = self._columns.take(patterns.take(self._block_of) + self._column_begins)
        return np.bincount(self._features, parts, minlength=self._width).astype(np.float64, copy=False)

    def _block_by_block(self, bins: Ints) -> Floats:
        sums = np.zeros((self._width, bins.shape[1]))
        for block in self._blocks:
            bits = block.lookups[0].take(bins[block.places[0]])
            for place, lookup in zip(block.places[1:], block.lookups[1:], strict=True):
                bits += lookup.take(bins[place])
            pattern = bits.astype(np.int64)
            for feature, column in zip(block.features, block.columns, strict=True):
                sums[feature] += column.take(pattern)
        return sums


@dataclass(frozen=True)
class _Lookup:
    """One block ready to be asked: bins to bits, by the features' places among the bins; bits to numbers."""

    places: tuple[int, ...]
    lookups: tuple[NDArray[np.uint16], ...]
    features: tuple[int, ...]
    columns: tuple[Floats, ...]

    @classmethod
    def of(cls, block: _Block, bins: Bins) -> _Lookup:
        lookups: dict[int, NDArray[np.uint16]] = {}
        for position, condition in enumerate(block.conditions):
            holds = np.logical_and.reduce([bins.went_left(split) == left for split, left in condition])
            place = bins.place_of(condition[0][0].feature)
            bits = holds.astype(np.uint16) << np.uint16(position)
            lookups[place] = lookups[place] + bits if place in lookups else bits
        columns = tuple(np.ascontiguousarray(column) for column in block.table.T)
        return cls(tuple(lookups), tuple(lookups.values()), block.features, columns)


def _before_each(lengths: list[int]) -> Ints:
    """Give the sum of the lengths before each."""
    counts = np.array(lengths, np.int64)
    return np.cumsum(counts) - counts
