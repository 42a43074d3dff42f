"""What the peers are compared on: the same snapshots and features, before a moment and at it.

Nothing recorded at the cutoff or later is in what a peer learns from; what happened afterwards is only used
to judge. The features are those that Vigie learned to use at the cutoff, after its leakage audit.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from crm.importing import import_export
from crm.known import known_at
from crm.moments import column_in_micros
from crm.store import Store
from features import FeatureSpec, build_features, categorical_names, open_at, weekly_snapshots
from serving.outcome_model import OutcomeModel
from training.labels import OPEN, WON, Labels, label, outcomes
from training.settings import HazardSettings, TrainSettings
from training.train import train

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
EXPORTED_AT = {"bpic2012": "2012-03-15", "olist": "2018-12-01"}
#: What a peer that knows nothing of censoring may take an open lead for. None is right: the first calls it
#: lost, the second leaves out the latest, the third leaves out the latest that were not won.
OPEN_LEADS = ("no", "watched", "won")
#: A lead is judged on being won within so many days.
LEAD_HORIZON = 60.0


@dataclass(frozen=True)
class Rows:
    """Snapshots of records: features, and what followed.

    Parameters
    ----------
    ids : ndarray of str, shape (n,)
    as_of : ndarray of datetime64[us], UTC, shape (n,)
    x : ndarray of shape (n, features)
    labels : Labels of length n
    """

    ids: npt.NDArray[np.str_]
    as_of: npt.NDArray[np.datetime64]
    x: Floats
    labels: Labels

    def take(self, rows: Bools) -> Rows:
        """Give some of the rows."""
        return Rows(self.ids[rows], self.as_of[rows], self.x[rows], self.labels.take(rows))

    @property
    def groups(self) -> npt.NDArray[np.intp]:
        """A number for each row's record."""
        return np.unique(self.ids, return_inverse=True)[1]


@dataclass(frozen=True)
class Case:
    """One cutoff.

    Parameters
    ----------
    cutoff : Timestamp
    learn : Rows
        Snapshots before the cutoff, labelled with what was known by then.
    judge : Rows
        The records to score, labelled with what really followed until the export.
    spec : FeatureSpec
    horizon_days : float or None
        Within which an outcome counts; None for ever.
    vigie : OutcomeModel
    vigie_seconds : float
        Audit, features, later window and all.
    open_leads : str
        What an open lead is to a peer that knows nothing of censoring; a key of ``OPEN_LEADS``.
    """

    cutoff: pd.Timestamp
    learn: Rows
    judge: Rows
    spec: FeatureSpec
    horizon_days: float | None
    vigie: OutcomeModel
    vigie_seconds: float
    open_leads: str

    @property
    def categorical(self) -> list[int]:
        """Columns that hold level codes."""
        return [self.spec.names.index(name) for name in categorical_names(self.spec)]

    @property
    def known(self) -> Rows:
        """Rows whose answer was known by the cutoff: what a model that ignores open records may learn from.

        For deals those that closed; for leads see ``OPEN_LEADS``.
        """
        labels = self.learn.labels
        if self.horizon_days is None:
            return self.learn.take(labels.events != OPEN)
        watched = labels.observed >= self.horizon_days
        rules = {"no": labels.observed > 0, "watched": watched, "won": watched | (labels.events == WON)}
        return self.learn.take(rules[self.open_leads])

    @property
    def decided(self) -> Bools:
        """Which of the records to score have an answer: deals that closed, leads watched for the horizon."""
        labels = self.judge.labels
        if self.horizon_days is None:
            return np.asarray(labels.events != OPEN)
        return np.asarray(labels.observed >= self.horizon_days)

    def won(self, rows: Rows) -> Bools:
        """Say which rows were won, within the horizon."""
        won: Bools = rows.labels.events == WON
        return won if self.horizon_days is None else won & (rows.labels.durations <= self.horizon_days)


def read_history(name: str, data: Path) -> History:
    """Import a set by its example mapping into a store that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="vigie-peers-") as folder:
        store = Store.open(f"sqlite:///{Path(folder) / 'history.sqlite'}", create=True)
        import_export(EXAMPLES / f"{name}.toml", data, store, pd.Timestamp(EXPORTED_AT[name], tz="UTC"))
        return store.read()


def make_case(
    history: History, name: str, cutoff: pd.Timestamp, threads: int, open_leads: str = "no"
) -> Case:
    """Train Vigie until the cutoff, and build the same features for its peers."""
    entity = "deal" if name == "bpic2012" else "lead"
    hazard = HazardSettings(threads=threads)
    settings = TrainSettings(horizon_days=LEAD_HORIZON, hazard=hazard)
    began = time.process_time()
    model = train(history, cutoff, settings).bundle.models[entity]
    seconds = time.process_time() - began
    known = known_at(history, cutoff)
    if entity == "deal":
        past = weekly_snapshots(known, entity, cutoff)
        now = _at(open_at(history, entity, cutoff), cutoff)
    else:
        past, now = _first_days(known, cutoff, -1), _first_days(history, cutoff, 1)
    end = pd.Timestamp(EXPORTED_AT[name], tz="UTC")
    return Case(
        cutoff=cutoff,
        learn=_rows(known, past, model.spec, cutoff),
        judge=_rows(history, now, model.spec, end),
        spec=model.spec,
        horizon_days=model.horizon_days,
        vigie=model,
        vigie_seconds=seconds,
        open_leads=open_leads,
    )


def _at(ids: npt.NDArray[np.str_], cutoff: pd.Timestamp) -> pd.DataFrame:
    return pd.DataFrame({"record_id": ids, "as_of": [cutoff] * len(ids)}).astype(
        {"record_id": "str", "as_of": "datetime64[us, UTC]"}
    )


def _first_days(history: History, cutoff: pd.Timestamp, sign: int) -> pd.DataFrame:
    """Give each lead a day after it came in: those of before the cutoff, or of the two months after it."""
    leads = history.leads
    as_of = leads["created_at"] + pd.Timedelta(days=1)
    closed = leads["closed_recorded_at"].fillna(leads["closed_at"])
    if sign < 0:
        chosen = as_of < cutoff
    else:
        created = leads["created_at"]
        chosen = (created >= cutoff) & (created < cutoff + pd.DateOffset(months=2))
    chosen &= ~(closed < as_of)
    return pd.DataFrame({"record_id": leads["lead_id"][chosen], "as_of": as_of[chosen]}).reset_index(
        drop=True
    )


def _rows(history: History, snapshots: pd.DataFrame, spec: FeatureSpec, until: pd.Timestamp) -> Rows:
    matrix = build_features(history, snapshots, spec)
    labels = label(outcomes(history, spec.entity), snapshots["record_id"], snapshots["as_of"], until)
    ids = snapshots["record_id"].to_numpy(dtype=np.str_)
    moments = column_in_micros(snapshots["as_of"]).view("datetime64[us]")
    return Rows(ids, moments, matrix.values, labels)
