"""Training samples: snapshots of open records, their features, and what followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from features import FeatureMatrix, FeatureSpec, build_features, weekly_snapshots
from training.labels import Labels, Outcomes, label

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """Snapshots with features and labels, n rows.

    Parameters
    ----------
    snapshots : DataFrame
        ``record_id`` and ``as_of``.
    matrix : FeatureMatrix
    labels : Labels
    """

    snapshots: pd.DataFrame
    matrix: FeatureMatrix
    labels: Labels

    def __len__(self) -> int:
        return len(self.snapshots)

    @property
    def x(self) -> Floats:
        """The features, shape (n, k)."""
        return self.matrix.values  # noqa: PD011 - a FeatureMatrix, not a frame

    @property
    def categorical(self) -> list[int]:
        """Columns that hold level codes."""
        return [self.matrix.names.index(name) for name in self.matrix.categorical]

    @property
    def records(self) -> npt.NDArray[np.int64]:
        """A number for each row's record, so that rows of one record stay together."""
        return pd.factorize(self.snapshots["record_id"])[0].astype("int64")

    def take(self, rows: npt.NDArray[np.intp]) -> Sample:
        """Give some of the rows."""
        matrix = FeatureMatrix(self.x[rows], self.matrix.known[rows], self.matrix.spec)
        return Sample(self.snapshots.iloc[rows].reset_index(drop=True), matrix, self.labels.take(rows))


def draw_snapshots(
    history: History,
    entity: str,
    until: pd.Timestamp,
    *,
    every_days: float,
    at_most: int,
    seed: int,
    start: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Give regular snapshots of the records open at them, aligned to ``until``, at most so many.

    Returns
    -------
    DataFrame
        ``record_id`` and ``as_of``; a random choice where there would be more.
    """
    snapshots = weekly_snapshots(history, entity, until, every=timedelta(days=every_days), start=start)
    if len(snapshots) > at_most:
        chosen = np.random.default_rng(seed).choice(len(snapshots), at_most, replace=False)
        snapshots = snapshots.iloc[np.sort(chosen)].reset_index(drop=True)
    return snapshots


def make_sample(
    history: History, found: Outcomes, snapshots: pd.DataFrame, spec: FeatureSpec, until: pd.Timestamp
) -> Sample:
    """Build the features of snapshots and label them with what was observed by ``until``."""
    matrix = build_features(history, snapshots, spec)
    return Sample(snapshots, matrix, label(found, snapshots["record_id"], snapshots["as_of"], until))


def untimed_sample(history: History, found: Outcomes, spec: FeatureSpec, until: pd.Timestamp) -> Sample:
    """Give one snapshot for each record whose outcome has no time, in the order the mapping names.

    Such a record is a single step: what it was at the export, and how it ended. Its label is a closing half
    a day into the only interval, [0, 1].
    """
    entity = spec.entity
    records = history.leads if entity == "lead" else history.deals
    rows = np.flatnonzero(found.untimed)
    rows = rows[np.argsort(records["sequence"].to_numpy()[rows], kind="stable")]
    snapshots = pd.DataFrame(
        {"record_id": records[f"{entity}_id"].iloc[rows].to_numpy(), "as_of": [until] * len(rows)}
    ).astype({"record_id": "str", "as_of": "datetime64[us, UTC]"})
    matrix = build_features(history, snapshots, spec)
    half = np.full(len(rows), 0.5)
    return Sample(snapshots, matrix, Labels(half, found.events[rows], np.ones(len(rows))))


def hold_out(records: Sequence[int] | npt.NDArray[np.int64], share: float, seed: int) -> Bools:
    """Choose whole records at random; True for every row of a chosen one."""
    numbers = np.asarray(records)
    chosen = np.random.default_rng(seed).random(int(numbers.max(initial=-1)) + 1) < share
    rows: Bools = chosen[numbers]
    return rows
