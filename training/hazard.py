"""The competing-risks hazard: for each snapshot and each coming interval, does the record win, lose or stay?

Open records teach as much as closed ones: every interval that was seen whole is a row, and what was not yet
seen is left out instead of being called a loss (Tutz and Schmid, "Modeling Discrete Time-to-Event Data",
2016, chapters 3 and 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from serving.timing import HazardModel
from training.labels import OPEN, Labels
from training.person_periods import period_weights, person_periods
from training.rhythm import HazardStart
from training.settings import HazardSettings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


def choose_edges(labels: Labels, settings: HazardSettings) -> tuple[float, ...]:
    """Choose the intervals' edges so that closings fall evenly among them, in whole days.

    Close to the snapshot, where most records close, the edges are a day apart; far away they widen.

    Returns
    -------
    tuple of float
        Days, from 0 up to the longest duration that is still observed often enough.
    """
    closed = labels.durations[labels.events != OPEN]
    levels = np.linspace(0.0, 1.0, settings.intervals + 1)[1:]
    steps = np.ceil(np.quantile(closed, levels)) if len(closed) else np.array([1.0])
    return (0.0, *sorted({float(max(step, 1.0)) for step in steps}))


@dataclass(frozen=True)
class FittedHazard:
    """A hazard and how it was found.

    Parameters
    ----------
    model : HazardModel
    rounds : int
    loss : float
        Mean log loss of the later rows, in nats a row; NaN where none were given.
    """

    model: HazardModel
    rounds: int
    loss: float


def fit_hazard(
    x: Floats,
    labels: Labels,
    edges: tuple[float, ...],
    settings: HazardSettings,
    *,
    categorical: Sequence[int] = (),
    weights: Floats | None = None,
    later: tuple[Floats, Labels, Floats] | None = None,
    start: HazardStart | None = None,
) -> FittedHazard:
    """Fit the hazard to snapshots.

    Parameters
    ----------
    x : ndarray of shape (n, features)
    labels : Labels of length n
    edges : tuple of float
        From :func:`choose_edges`.
    settings : HazardSettings
    categorical : sequence of int
        Columns that hold level codes.
    weights : ndarray of shape (n,), optional
        How much each snapshot counts.
    later : (ndarray, Labels, weights), optional
        Snapshots of a later time: rounds stop when their loss no longer falls.
    start : HazardStart, optional
        What the booster starts from; not together with ``later``.
    """
    data = _dataset(x, labels, weights, edges, settings.half_life_days, settings, categorical, start=start)
    parameters = settings.parameters(data.num_data())
    if later is None:
        booster = lgb.train(parameters, data, settings.rounds)
        text = booster.model_to_string()
        model = HazardModel(text, edges) if start is None else start.model(text, edges)
        return FittedHazard(model, settings.rounds, float("nan"))
    few = replace(settings, periods=settings.periods // 3)
    check = _dataset(*later, edges, None, few, categorical, reference=data)
    stop = lgb.early_stopping(settings.patience, verbose=False)
    booster = lgb.train(parameters, data, settings.most_rounds, valid_sets=[check], callbacks=[stop])
    rounds = max(booster.best_iteration, settings.fewest_rounds)
    loss = float(booster.best_score["valid_0"]["multi_logloss"])
    return FittedHazard(HazardModel(booster.model_to_string(num_iteration=rounds), edges), rounds, loss)


def _dataset(
    x: Floats,
    labels: Labels,
    weights: Floats | None,
    edges: tuple[float, ...],
    half_life_days: float | None,
    settings: HazardSettings,
    categorical: Sequence[int],
    *,
    reference: lgb.Dataset | None = None,
    start: HazardStart | None = None,
) -> lgb.Dataset:
    periods = person_periods(labels, edges)
    kept, factor = _thin(periods.outcome, settings)
    own = period_weights(labels, periods, edges, half_life_days, weights)
    table = np.column_stack([x[periods.snapshot[kept]], periods.interval[kept]])
    data = lgb.Dataset(
        table,
        periods.outcome[kept],
        weight=own[kept] * factor,
        init_score=None if start is None else start.scores(periods, kept),
        reference=reference,
        categorical_feature=list(categorical),
        free_raw_data=True,
        params={"verbosity": -1, "num_threads": settings.threads, "feature_pre_filter": False},
    )
    return data.construct()


def _thin(outcome: npt.NDArray[np.int8], settings: HazardSettings) -> tuple[Ints, Floats]:
    """Keep every closing and a sample of the other rows, each of which then counts for several.

    Returns
    -------
    kept : ndarray of int, shape (k,)
    factor : ndarray of shape (k,)
        How many rows each kept one stands for.
    """
    if len(outcome) <= settings.periods:
        return np.arange(len(outcome)), np.ones(len(outcome))
    rng = np.random.default_rng(settings.seed)
    shares = np.where(outcome == OPEN, 1.0, 3.0)
    shares = np.minimum(shares * settings.periods / shares.sum(), 1.0)
    kept = np.flatnonzero(rng.random(len(outcome)) < shares)
    factor: Floats = 1.0 / shares[kept]
    return kept, factor
