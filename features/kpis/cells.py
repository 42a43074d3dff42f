"""The cells of a KPI's table: the total and each group, apart by detail, and which records are in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.groups import TOTAL
from features.kpis.evidence import Evidence

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """Where each record counts: once in the total, and once in its group where it has one.

    Parameters
    ----------
    groups : tuple of str
        The total first, then every group that records may have, in order.
    details : tuple of str
        In order; one, and empty, where rows are not apart by anything.
    places : ndarray of int, shape (n_entries,)
        The cell of each entry: group by group, each with all details.
    records : ndarray of int, shape (n_entries,)
        The place of each entry's record among those given.
    """

    groups: tuple[str, ...]
    details: tuple[str, ...]
    places: npt.NDArray[np.intp]
    records: npt.NDArray[np.intp]

    @classmethod
    def of(cls, evidence: Evidence, records: pd.DataFrame, detail: pd.Series | None) -> Cells:
        """Find the cells of records, apart by detail; a record without a detail is in none."""
        n = len(records)
        details: tuple[str, ...] = ("",)
        detail_of = np.zeros(n, dtype=np.intp)
        if detail is not None and n:
            detail_of, names = pd.factorize(detail, sort=True)
            details = tuple(str(name) for name in names) or ("",)
        groups, group_of = _groups(evidence, records)
        has_detail = np.flatnonzero(detail_of >= 0)
        places, counted = detail_of[has_detail], has_detail
        if group_of is not None:
            in_group = group_of[has_detail] * len(details) + places
            places, counted = np.concatenate([places, in_group]), np.tile(has_detail, 2)
        return cls(groups, details, places, counted)

    def sums(self, values: pd.Series) -> Floats:
        """Add up a value of each record in each cell."""
        weights = values.to_numpy(dtype="float64", na_value=np.nan)[self.records]
        sums: Floats = np.bincount(self.places, weights=weights, minlength=len(self)).astype("float64")
        return sums

    def frame(self, **columns: Floats) -> pd.DataFrame:
        """Give columns of one number a cell as a table with ``group`` and ``detail``."""
        n_groups, n_details = len(self.groups), len(self.details)
        names = {
            "group": pd.array(np.repeat(np.array(self.groups, dtype=object), n_details), dtype="str"),
            "detail": pd.array(np.tile(np.array(self.details, dtype=object), n_groups), dtype="str"),
        }
        return pd.DataFrame({**names, **columns})

    def __len__(self) -> int:
        return len(self.groups) * len(self.details)


def _groups(evidence: Evidence, records: pd.DataFrame) -> tuple[tuple[str, ...], npt.NDArray[np.intp] | None]:
    """Give the groups, the total first, and the place among them of each record's; None where it has none."""
    if not evidence.can_group(records):
        return (TOTAL, *evidence.groups), None
    codes, found = pd.factorize(evidence.group(records))
    names = (TOTAL, *sorted({*evidence.groups, *(str(name) for name in found)}))
    place = {name: number for number, name in enumerate(names)}
    return names, np.array([place[str(name)] for name in found], dtype=np.intp)[codes]
