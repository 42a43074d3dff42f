"""Training samples: snapshots of open records, their features, and what followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from crm.known import closing_time
from crm.moments import DAY, column_in_micros
from features import FeatureMatrix, FeatureSpec, build_features, weekly_snapshots
from training.labels import Labels, Outcomes, label
from training.settings import TrainSettings

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
    weights : ndarray of float64, shape (n,)
        How much each row counts; known at its snapshot.
    """

    snapshots: pd.DataFrame
    matrix: FeatureMatrix
    labels: Labels
    weights: Floats

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

    @property
    def as_of(self) -> npt.NDArray[np.datetime64]:
        """The moments, datetime64[us] in UTC, shape (n,)."""
        return np.asarray(pd.DatetimeIndex(self.snapshots["as_of"]).tz_localize(None), "datetime64[us]")

    def take(self, rows: npt.NDArray[np.intp]) -> Sample:
        """Give some of the rows."""
        matrix = FeatureMatrix(self.x[rows], self.matrix.known[rows], self.matrix.spec)
        snapshots = self.snapshots.iloc[rows].reset_index(drop=True)
        return Sample(snapshots, matrix, self.labels.take(rows), self.weights[rows])

    def varying(self) -> FeatureSpec:
        """Give the spec without the features that never vary here."""
        low, high = np.fmin.reduce(self.x, axis=0), np.fmax.reduce(self.x, axis=0)
        missing = np.isnan(self.x).mean(axis=0)
        varies = (high > low) | ((missing > 0) & (missing < 1))
        return self.matrix.spec.keep([n for n, kept in zip(self.matrix.names, varies, strict=True) if kept])

    def with_features(self, spec: FeatureSpec) -> Sample:
        """Give the same rows with only these features."""
        columns = [self.matrix.names.index(name) for name in spec.names]
        matrix = FeatureMatrix(np.ascontiguousarray(self.x[:, columns]), self.matrix.known, spec)
        return Sample(self.snapshots, matrix, self.labels, self.weights)


def draw_snapshots(
    history: History,
    entity: str,
    until: pd.Timestamp,
    settings: TrainSettings,
    *,
    start: pd.Timestamp | None = None,
    at_most: int | None = None,
) -> pd.DataFrame:
    """Give regular snapshots of the records open at them, aligned to ``until``, at most so many.

    Leads are also looked at when they have just come in, which is when a rep first asks about them.

    Returns
    -------
    DataFrame
        ``record_id`` and ``as_of``, strictly before ``until`` and not before ``start``; a random choice where
        there would be more than the settings allow.
    """
    every = timedelta(days=settings.every_days)
    snapshots = weekly_snapshots(history, entity, until - every, every=every, start=start)
    if entity == "lead":
        snapshots = pd.concat([snapshots, _entries(history, until, start)], ignore_index=True)
        snapshots = snapshots.drop_duplicates(ignore_index=True)
    rows = choose_rows(len(snapshots), at_most or settings.snapshots, settings.seed)
    return snapshots.iloc[rows].reset_index(drop=True)


def choose_rows(n: int, at_most: int, seed: int) -> npt.NDArray[np.intp]:
    """Choose rows at random where there are too many, in their order."""
    if n <= at_most:
        return np.arange(n)
    chosen: npt.NDArray[np.intp] = np.random.default_rng(seed).choice(n, at_most, replace=False)
    return np.sort(chosen)


def _entries(history: History, until: pd.Timestamp, start: pd.Timestamp | None) -> pd.DataFrame:
    """Give each lead when it has been known for an hour, if it is still open then.

    Any later and the quickest wins, which tell most about where good leads come from, would be missed.
    """
    leads = history.leads
    as_of = (leads["recorded_at"] + pd.Timedelta(hours=1)).astype("datetime64[us, UTC]")
    ended = closing_time(leads)
    is_open = leads["outcome"].isna() | (ended >= as_of)
    seen = is_open & (leads["gone_at"].isna() | (leads["gone_at"] >= as_of)) & (as_of < until)
    if start is not None:
        seen &= as_of >= start
    return pd.DataFrame({"record_id": leads["lead_id"][seen], "as_of": as_of[seen]})


def make_sample(
    history: History,
    found: Outcomes,
    snapshots: pd.DataFrame,
    spec: FeatureSpec,
    until: pd.Timestamp,
    settings: TrainSettings,
) -> Sample:
    """Build the features of snapshots, label them with what was observed by ``until``, and weigh them.

    A deal counts alike at every moment. A lead counts less each time it is looked at again: most grow old
    without a sign, and what matters is to tell the new ones apart. The weight depends on the lead's age
    alone, never on how long it will stay open.
    """
    matrix = build_features(history, snapshots, spec)
    labels = label(found, snapshots["record_id"], snapshots["as_of"], until)
    weights = np.ones(len(snapshots))
    if spec.entity == "lead":
        known = history.leads.set_index("lead_id")["recorded_at"].reindex(snapshots["record_id"])
        age = (column_in_micros(snapshots["as_of"]) - column_in_micros(known)) / DAY
        weights = 1.0 / (1.0 + np.floor(age / settings.every_days)) ** settings.lead_decay
    return Sample(snapshots, matrix, labels, weights)


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
    labels = Labels(half, found.events[rows], np.ones(len(rows)))
    return Sample(snapshots, matrix, labels, np.ones(len(rows)))


def hold_out(records: Sequence[int] | npt.NDArray[np.int64], share: float, seed: int) -> Bools:
    """Choose whole records at random; True for every row of a chosen one."""
    numbers = np.asarray(records)
    chosen = np.random.default_rng(seed).random(int(numbers.max(initial=-1)) + 1) < share
    rows: Bools = chosen[numbers]
    return rows
