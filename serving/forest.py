"""What a booster's trees sum to, for one row or many, and for every value of one swept feature at once.

A row's way through a tree is found without walking it (QuickScorer: Lucchese et al., "QuickScorer: a fast
algorithm to rank documents with additive ensembles of regression trees", 2015): each leaf is a bit of a
word; a bin of a feature strikes out the leaves that its splits make unreachable; what is left after all
features is one word, and its lowest bit is the leaf. A timing model is asked for the same row at each of its
intervals: the splits on the interval strike out further leaves, the same ones for every row, so a tree has
as many answers as it has stretches of intervals, and only the difference between two stretches is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from serving.trees import Bins, Floats, Ints, Leaf, Split, TooDeep, read_subtree

#: Up to so many rows, all trees are looked up at once; from there on, tree by tree.
FEW = 160
#: Rows of one pass: few at once over all trees, for the arrays' sake; many tree by tree, for the calls'.
FEW_ROWS, MANY_ROWS = 16, 8192

#: int32 or int64.
Words = NDArray[Any]


@dataclass(frozen=True)
class _Layout:
    """How a word of leaves is held: the lowest bit's place is the exponent of that bit as a number."""

    word: type[np.int32] | type[np.int64]
    number: type[np.float32] | type[np.float64]
    mantissa: int
    bias: int

    @property
    def most_leaves(self) -> int:
        return np.iinfo(self.word).bits - 1

    def lowest(self, words: Words) -> Words:
        """Give the place of the lowest bit, plus the bias."""
        alone = words & -words
        exponents: Words = alone.astype(self.number).view(self.word)
        places: Words = exponents >> self.mantissa
        return places


_SMALL = _Layout(np.int32, np.float32, 23, 127)
_LARGE = _Layout(np.int64, np.float64, 52, 1023)


@dataclass(frozen=True)
class _Tree:
    """One tree: what each feature's bins leave of its leaves, and its stretches of the swept feature."""

    output: int
    places: tuple[int, ...]
    tables: tuple[Words, ...]
    columns: tuple[int, ...]
    masks: tuple[int, ...]
    values: Floats


class Forest:
    """The sums of a booster's trees.

    Parameters
    ----------
    booster : lightgbm.Booster
    swept : int, optional
        A feature for whose values 0, 1, … ``steps - 1`` the sums are wanted; rows do not hold it.
    steps : int

    Raises
    ------
    TooDeep
        Where a tree has more than 63 leaves, linear leaves, or takes zeros for missing.
    """

    def __init__(self, booster: lgb.Booster, *, swept: int | None = None, steps: int = 1) -> None:
        dump = booster.dump_model()
        trees = [read_subtree(tree["tree_structure"]) for tree in dump["tree_info"]]
        self.outputs = int(dump["num_tree_per_iteration"])
        self.steps = steps
        most = max((len(leaves) for _, leaves in trees), default=1)
        self._layout = _SMALL if most <= _SMALL.most_leaves else _LARGE
        if most > _LARGE.most_leaves:
            raise TooDeep(f"a tree of {most} leaves")
        self._bins = Bins([s for splits, _ in trees for s in splits if s.feature != swept])
        sweep = Bins([s for splits, _ in trees for s in splits if s.feature == swept])
        at = np.zeros((0, 0), np.int64)
        if swept is not None:
            values = np.zeros((steps, swept + 1))
            values[:, swept] = np.arange(steps)
            at = sweep(values)
        self._trees = [
            self._tree(number % self.outputs, splits, leaves[::-1], sweep, at)
            for number, (splits, leaves) in enumerate(trees)
        ]
        self._flat = _Flat(self._trees)

    def _tree(self, output: int, splits: list[Split], leaves: list[Leaf], sweep: Bins, at: Ints) -> _Tree:
        word = self._layout.word
        everything = (1 << len(leaves)) - 1
        struck: dict[int, int] = {}
        for place, leaf in enumerate(leaves):
            for split, left, _ in leaf.path:
                if left:
                    struck[id(split)] = struck.get(id(split), 0) | 1 << place
        swept = np.full(self.steps, everything, word)
        tables: dict[int, Words] = {}
        for split in splits:
            kept = word(everything & ~struck[id(split)])
            if split.feature in sweep.features:
                right = ~sweep.went_left(split)[at[sweep.place_of(split.feature)]]
                swept[right] &= kept
                continue
            right = ~self._bins.went_left(split)
            table = tables.setdefault(
                self._bins.place_of(split.feature), np.full(len(right), everything, word)
            )
            table[right] &= kept
        # A tree that asks for nothing reads the row of bins that is always 0.
        tables = tables or {len(self._bins.features): np.full(1, everything, word)}
        changed = np.flatnonzero(np.append(True, swept[1:] != swept[:-1])).tolist()
        values = np.zeros(self._layout.bias + len(leaves))
        values[self._layout.bias :] = [leaf.value for leaf in leaves]
        return _Tree(
            output,
            tuple(tables),
            tuple(tables.values()),
            tuple(changed),
            tuple(int(swept[column]) for column in changed),
            values,
        )

    def __call__(self, x: Floats) -> Floats:
        """Give the sums, shape (outputs, steps, rows); a row's are the same bit for bit in any company.

        Parameters
        ----------
        x : ndarray of shape (rows, features)
        """
        sums = np.zeros((self.outputs, self.steps, len(x)))
        size = FEW_ROWS if len(x) <= FEW else MANY_ROWS
        for first in range(0, len(x), size):
            part = slice(first, first + size)
            bins = self._bins(x[part])
            bins = np.concatenate([bins, np.zeros((1, bins.shape[1]), np.int64)])
            if len(x) <= FEW:
                sums[:, :, part] = self._at_once(bins)
            else:
                sums[:, :, part] = self._tree_by_tree(bins)
        return np.cumsum(sums, axis=1, out=sums) if self.steps > 1 else sums

    def _tree_by_tree(self, bins: Ints) -> Floats:
        sums = np.zeros((self.outputs, self.steps, bins.shape[1]))
        for tree in self._trees:
            words = tree.tables[0].take(bins[tree.places[0]])
            for place, table in zip(tree.places[1:], tree.tables[1:], strict=True):
                words &= table.take(bins[place])
            before: Floats | None = None
            for column, mask in zip(tree.columns, tree.masks, strict=True):
                value = tree.values.take(self._layout.lowest(words & self._layout.word(mask)))
                sums[tree.output, column] += value if before is None else value - before
                before = value
        return sums

    def _at_once(self, bins: Ints) -> Floats:
        flat, rows = self._flat, bins.shape[1]
        found = flat.tables.take(bins[flat.places] + flat.table_begins[:, None])
        words = np.bitwise_and.reduceat(found, flat.tree_begins, axis=0)
        places = self._layout.lowest(words[flat.tree_of] & flat.masks[:, None])
        value = flat.values.take(places + flat.value_begins[:, None])
        step = value.copy()
        step[flat.further] -= value[flat.further - 1]
        # bincount adds in the order of the trees, as the other way does.
        cells = (flat.outputs * self.steps + flat.columns)[:, None] * rows + np.arange(rows)
        size = self.outputs * self.steps * rows
        sums = np.bincount(cells.ravel(), step.ravel(), minlength=size).astype(np.float64)
        return sums.reshape(self.outputs, self.steps, rows)


class _Flat:
    """The trees one after the other: tables by tree and feature, answers by tree and stretch."""

    def __init__(self, trees: list[_Tree]) -> None:
        tables: list[Any] = [table for tree in trees for table in tree.tables]
        self.tables = np.concatenate(tables)
        self.table_begins = _before_each([len(table) for table in tables])
        self.places = np.array([place for tree in trees for place in tree.places], np.int64)
        self.tree_begins = _before_each([len(tree.tables) for tree in trees])
        stretches = [len(tree.columns) for tree in trees]
        self.tree_of = np.repeat(np.arange(len(trees)), stretches)
        self.outputs = np.repeat([tree.output for tree in trees], stretches)
        self.columns = np.array([column for tree in trees for column in tree.columns], np.int64)
        self.masks = np.array([mask for tree in trees for mask in tree.masks], self.tables.dtype)
        self.values = np.concatenate([tree.values for tree in trees])
        self.value_begins = np.repeat(_before_each([len(tree.values) for tree in trees]), stretches)
        self.further = np.flatnonzero(np.append(False, self.tree_of[1:] == self.tree_of[:-1]))


def _before_each(lengths: list[int]) -> Ints:
    """Give the sum of the lengths before each."""
    counts = np.array(lengths, np.int64)
    return np.cumsum(counts) - counts
