"""A field as levels: missing, the texts that occur often enough, or ranges of a number."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Texts must occur this often, and on this share of the records, to be a level of their own.
MIN_RECORDS, MIN_SHARE = 5, 0.001
#: A number with no more values than this has a level each; else those with this share have, the rest ranges.
FEW_VALUES, ATOM, RANGES = 20, 0.05, 10

MISSING = 0
REST = "(any other)"


@dataclass(frozen=True)
class Levels:
    """One field of n records.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
        Place in ``names``; 0 where the field is missing.
    names : tuple of str
    is_text : bool
    """

    codes: NDArray[np.int64]
    names: tuple[str, ...]
    is_text: bool

    @property
    def filled(self) -> NDArray[np.bool_]:
        """Where the field has a value, shape (n,)."""
        there: NDArray[np.bool_] = self.codes != MISSING
        return there


def to_levels(values: pd.Series) -> Levels:
    """Give a field's levels.

    Examples
    --------
    >>> found = to_levels(pd.Series(["a"] * 6 + [None] + ["rare"], dtype="str"))
    >>> found.names, found.codes.tolist()
    (('(missing)', 'a', '(any other)'), [1, 1, 1, 1, 1, 1, 0, 2])
    """
    return _of_number(values) if values.dtype.kind in "fiub" else _of_text(values)


def _of_text(values: pd.Series) -> Levels:
    counts = values.value_counts()
    least = max(MIN_RECORDS, int(MIN_SHARE * len(values)))
    common = sorted(str(name) for name in counts.index[counts.to_numpy() >= least])
    place = {name: code for code, name in enumerate(common, start=1)}
    rest = len(common) + 1
    codes = values.map(place).fillna(rest).to_numpy("float64").astype("int64")
    codes[values.isna().to_numpy()] = MISSING
    names = ("(missing)", *common, *((REST,) if (codes == rest).any() else ()))
    return Levels(codes, names, is_text=True)


def _of_number(values: pd.Series) -> Levels:
    numbers = values.to_numpy("float64")
    filled = np.isfinite(numbers)
    known, sizes = np.unique(numbers[filled], return_counts=True)
    codes = np.zeros(len(numbers), "int64")
    atoms = known if len(known) <= FEW_VALUES else known[sizes >= ATOM * sizes.sum()]
    names = ["(missing)", *(f"{atom:g}" for atom in atoms)]
    place = np.searchsorted(atoms, numbers)
    is_atom = filled & np.isin(numbers, atoms)
    codes[is_atom] = place[is_atom] + 1
    loose = filled & ~is_atom
    if loose.any():
        edges = np.unique(np.quantile(numbers[loose], np.linspace(0, 1, RANGES + 1)))
        within = np.clip(np.searchsorted(edges, numbers[loose], side="right") - 1, 0, max(len(edges) - 2, 0))
        codes[loose] = within + len(atoms) + 1
        names += [f"{low:g} to {high:g}" for low, high in pairwise(edges)] or [f"{edges[0]:g}"]
    return Levels(codes, tuple(names), is_text=False)
