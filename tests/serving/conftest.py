"""A small CRM history and a real bundle fitted to it, for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from crm.history import History
from crm.known import known_at
from crm.simulator import simulate
from crm.validation import validate_history
from features.kpis.risk_limits import learn_risk_limits
from features.kpis.risk_rules import RiskRules
from features.learning import learn_spec
from features.matrix import build_features, categorical_names
from features.prepared import prepare
from features.snapshots import weekly_snapshots
from features.spec import FeatureSpec
from serving.bundle import ModelBundle
from serving.calibration import Calibrator
from serving.linear import LinearPart, Term
from serving.outcome_model import AmountModel, OutcomeModel
from serving.timing import HazardModel

START = pd.Timestamp("2024-01-01", tz="UTC")
UNTIL = datetime(2024, 9, 1, tzinfo=UTC)
EDGES = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
Floats = NDArray[np.float64]


def _days(values: Floats) -> pd.Series:
    return pd.Series(START + pd.to_timedelta(values, unit="D")).dt.as_unit("us")


def _records(entity: str, count: int, rng: np.random.Generator) -> pd.DataFrame:
    created = np.sort(rng.uniform(0, 230, count))
    lives = rng.exponential(40, count)
    ended = created + lives
    open_still = ended > 243
    won = rng.random(count) < 0.4
    frame = pd.DataFrame(
        {
            f"{entity}_id": [f"{entity[0].upper()}{i}" for i in range(count)],
            "created_at": _days(created),
            "owner_id": rng.choice(["ann", "bob", "cid"], count),
            "account_id": rng.choice([f"acme-{i}" for i in range(30)], count),
            "source": rng.choice(["web", "fair", "partner"], count),
            "stage": rng.choice(["new", "talk", "offer"], count),
            "outcome": np.where(open_still, None, np.where(won, "won", "lost")),
            "closed_at": _days(ended).where(~open_still),
            "employees": rng.integers(1, 500, count).astype(float),
            "industry": rng.choice(["steel", "food", "law"], count),
        }
    )
    if entity == "deal":
        frame["amount"] = np.round(rng.lognormal(9, 1, count), 2)
        frame["expected_close_at"] = _days(created + 60)
    return frame


def _activities(entity: str, records: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    rows = rng.integers(0, len(records), 8 * len(records))
    begun = (records["created_at"].iloc[rows] - START) / pd.Timedelta(days=1)
    return pd.DataFrame(
        {
            "activity_id": [f"{entity}-{i}" for i in range(len(rows))],
            f"{entity}_id": records[f"{entity}_id"].iloc[rows].to_numpy(),
            "user_id": rng.choice(["ann", "bob"], len(rows)),
            "kind": rng.choice(["email", "call", "visit"], len(rows)),
            "channel": rng.choice(["email", "call", "web"], len(rows)),
            "direction": rng.choice(["in", "out"], len(rows)),
            "status": "done",
            "occurred_at": _days(begun.to_numpy() + rng.exponential(15, len(rows))),
        }
    )


@pytest.fixture(scope="session")
def history() -> History:
    """Give 160 leads and 200 deals with their activities, some still open."""
    rng = np.random.default_rng(7)
    leads, deals = _records("lead", 160, rng), _records("deal", 200, rng)
    activities = pd.concat(
        [_activities("lead", leads, rng), _activities("deal", deals, rng)], ignore_index=True
    )
    frames = {"leads": leads, "deals": deals, "activities": activities}
    return validate_history(frames)


def _soft_labels(x: Floats) -> Floats:
    z = np.nan_to_num(x)
    return 1 / (1 + np.exp(-((z - z.mean(0)) / (z.std(0) + 1e-9)).sum(axis=1) / 4))


def fit_model(history: History, entity: str, *, calibrator: Calibrator, linear: bool) -> OutcomeModel:
    """Fit small boosters to made-up soft labels: their skill does not matter here, their parts do."""
    spec = learn_spec(history, entity)
    snapshots = weekly_snapshots(history, entity, UNTIL)
    x = build_features(history, snapshots, spec).values  # noqa: PD011
    y = _soft_labels(x)
    options = {"num_leaves": 7, "min_data_in_leaf": 10, "verbose": -1, "num_threads": 1, "seed": 1}
    categories = [spec.names.index(name) for name in categorical_names(spec)]
    data = lgb.Dataset(x, y, categorical_feature=categories)
    booster = lgb.train({"objective": "cross_entropy"} | options, data, 25).model_to_string()
    steps = len(EDGES) - 1
    rng = np.random.default_rng(1)
    rows = np.column_stack([np.repeat(x, steps, axis=0), np.tile(np.arange(steps), len(x))])
    classes = rng.choice(3, len(rows), p=[0.8, 0.1, 0.1])
    hazard = lgb.train({"objective": "multiclass", "num_class": 3} | options, lgb.Dataset(rows, classes), 8)
    return OutcomeModel(
        entity=entity,
        spec=spec,
        horizon_days=90.0 if entity == "lead" else None,
        booster=booster,
        linear=_linear(spec, x) if linear else None,
        calibrator=calibrator,
        hazard=HazardModel(hazard.model_to_string(), EDGES) if entity == "deal" else None,
        base_rate=0.4,
        amount=AmountModel(0.9) if entity == "deal" else None,
    )


def _linear(spec: FeatureSpec, x: Floats) -> LinearPart:
    terms = []
    for column in range(0, len(spec.names), 3):
        values = np.nan_to_num(np.log1p(np.abs(x[:, column])))
        terms.append(Term(column, "log1p", 0.05, float(values.mean()), float(values.std()) or 1.0))
    terms.append(Term(spec.names.index(categorical_names(spec)[0]), "level", 0.4, level=1.0, center=0.3))
    return LinearPart(tuple(terms), -0.2)


def fit_bundle(history: History) -> ModelBundle:
    """Fit a bundle with a model of leads (Platt, with a linear part) and of deals (isotonic)."""
    knots = ((-3.0, 0.02), (-1.0, 0.2), (0.0, 0.45), (1.5, 0.8), (4.0, 0.97))
    models = {
        "lead": fit_model(history, "lead", calibrator=Calibrator("platt", 0.9, 0.1), linear=True),
        "deal": fit_model(history, "deal", calibrator=Calibrator("isotonic", knots=knots), linear=False),
    }
    return ModelBundle(
        models=models,
        created_at=datetime(2024, 9, 2, 8, 30, tzinfo=UTC),
        trained_through=UNTIL,
        name="test",
        audit={"excluded": ["Tags"]},
        report={"auc": 0.7, "undefined": float("nan")},
        config={"horizon_days": 90},
        series={entity: prepare(history, model.spec).series for entity, model in models.items()},
    )


@pytest.fixture(scope="session")
def bundle(history: History) -> ModelBundle:
    """Give a bundle fitted to the small history."""
    return fit_bundle(history)


@pytest.fixture(scope="session")
def fitted() -> Callable[[History], ModelBundle]:
    """Give what fits a bundle to another history."""
    return fit_bundle


@pytest.fixture(scope="session")
def company() -> History:
    """Give a simulated company, with accounts, deals of leads, field histories and planned work."""
    return simulate(400, seed=3).history


@pytest.fixture(scope="session")
def company_bundle(company: History) -> ModelBundle:
    """Give a bundle fitted to the company, as of the first of September."""
    known = known_at(company, UNTIL)
    models = {
        entity: fit_model(known, entity, calibrator=Calibrator("platt", 0.9, 0.1), linear=True)
        for entity in ("lead", "deal")
    }
    return ModelBundle(
        models=models,
        created_at=datetime(2024, 9, 2, 8, 30, tzinfo=UTC),
        trained_through=UNTIL,
        name="company",
        series={entity: prepare(known, model.spec).series for entity, model in models.items()},
        risks=learn_risk_limits(company, UNTIL, RiskRules(quantile=0.7, fewest_won=5, usual=0.5)),
    )
