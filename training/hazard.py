"""The competing-risks hazard: for each snapshot and each coming interval, does the record win, lose or stay?

Open records teach as much as closed ones: every interval that was seen whole is a row, and what was not yet
seen is left out instead of being called a loss (Tutz and Schmid, "Modeling Discrete Time-to-Event Data",
2016, chapters 3 and 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from serving.timing import HazardModel
from serving.week import WeekRhythm
from training.labels import LOST, OPEN, WON, Labels
from training.settings import HazardSettings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Moments = npt.NDArray[np.datetime64]

#: Closings that an interval counts as having seen beside its own, in the overall proportion.
_PRIOR_CLOSINGS = 5.0
#: Closings below which nothing is said about weekdays.
_FEWEST_CLOSINGS = 70


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
class PersonPeriods:
    """One row for each snapshot and each interval that it was seen through, or closed in.

    Parameters
    ----------
    snapshot : ndarray of int, shape (rows,)
    interval : ndarray of int, shape (rows,)
    outcome : ndarray of int8, shape (rows,)
        ``OPEN``, ``WON`` or ``LOST`` at the interval's end.
    """

    snapshot: Ints
    interval: Ints
    outcome: npt.NDArray[np.int8]


def person_periods(labels: Labels, edges: Sequence[float]) -> PersonPeriods:
    """Spread snapshots over the intervals that were observed whole.

    An interval counts only when observation lasted to its end: one that was cut short would show the records
    that closed in it and hide those that did not.
    """
    snapshots, intervals, outcomes = [], [], []
    closed = labels.events != OPEN
    for interval, (low, high) in enumerate(pairwise(edges)):
        # A closing in the very instant of the snapshot belongs to the first interval.
        at_risk = (labels.durations > low) | (interval == 0)
        rows = np.flatnonzero(at_risk & (labels.observed >= high))
        ends_here = closed[rows] & (labels.durations[rows] <= high)
        snapshots.append(rows)
        intervals.append(np.full(len(rows), interval))
        outcomes.append(np.where(ends_here, labels.events[rows], OPEN).astype("int8"))
    return PersonPeriods(np.concatenate(snapshots), np.concatenate(intervals), np.concatenate(outcomes))


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
    rhythm: WeekRhythm | None = None,
    as_of: Moments | None = None,
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
    """
    base: tuple[tuple[float, float], ...] = ()
    start = None
    if rhythm is not None and as_of is not None:
        start = _start(labels, weights, edges, settings.half_life_days, rhythm, as_of)
        base = start.base
    data = _dataset(
        x, labels, weights, edges, settings.half_life_days, settings, categorical, start=start
    )
    parameters = settings.parameters(data.num_data())
    if later is None:
        booster = lgb.train(parameters, data, settings.rounds)
        model = HazardModel(booster.model_to_string(), edges, rhythm, base)
        return FittedHazard(model, settings.rounds, float("nan"))
    few = replace(settings, periods=settings.periods // 3)
    check = _dataset(*later, edges, None, few, categorical, reference=data)
    stop = lgb.early_stopping(settings.patience, verbose=False)
    booster = lgb.train(parameters, data, settings.most_rounds, valid_sets=[check], callbacks=[stop])
    rounds = max(booster.best_iteration, settings.fewest_rounds)
    loss = float(booster.best_score["valid_0"]["multi_logloss"])
    return FittedHazard(HazardModel(booster.model_to_string(num_iteration=rounds), edges), rounds, loss)


@dataclass(frozen=True)
class _Start:
    """Where the booster starts: the odds of each interval in an even week, and each row's part of the week."""

    base: tuple[tuple[float, float], ...]
    exposure: Floats

    def scores(self, periods: PersonPeriods, kept: Ints) -> Floats:
        """Give the margins that LightGBM starts from, shape (rows, classes)."""
        snapshot, interval = periods.snapshot[kept], periods.interval[kept]
        odds = np.array(self.base)[interval] * self.exposure[snapshot, interval]
        return np.column_stack([np.zeros(len(kept)), np.log(odds)])


def _start(
    labels: Labels,
    weights: Floats | None,
    edges: tuple[float, ...],
    half_life_days: float | None,
    rhythm: WeekRhythm,
    as_of: Moments,
) -> _Start:
    periods = person_periods(labels, edges)
    own = period_weights(labels, periods, edges, half_life_days, weights)
    exposure = rhythm.exposure(np.array(edges), as_of)
    size = len(edges) - 1
    stayed = periods.outcome == OPEN
    odds = []
    for place, event in enumerate((WON, LOST)):
        at_risk = exposure[periods.snapshot, periods.interval, place]
        closed = np.bincount(periods.interval, own * (periods.outcome == event), minlength=size)
        stay = np.bincount(periods.interval, own * at_risk * stayed, minlength=size)
        overall = max(closed.sum(), 0.5) / max(stay.sum(), 1e-9)
        odds.append((closed + _PRIOR_CLOSINGS) / (stay + _PRIOR_CLOSINGS / overall))
    return _Start(tuple((float(w), float(l)) for w, l in zip(*odds, strict=True)), exposure)


def find_rhythm(events: npt.NDArray[np.int8], closed: Moments) -> WeekRhythm | None:
    """Find on which weekdays records are won and lost; None where too few have closed to say.

    Parameters
    ----------
    events : ndarray of int8, shape (n,)
        ``OPEN``, ``WON`` or ``LOST``.
    closed : ndarray of datetime64[us], UTC, shape (n,)
    """
    if (events != OPEN).sum() < _FEWEST_CLOSINGS:
        return None
    weekday = (closed.astype("datetime64[D]").astype(np.int64) + 3) % 7
    shares = []
    for event in (WON, LOST):
        counts = np.bincount(weekday[events == event], minlength=7) + 1.0
        shares.append(tuple(float(day) for day in 7.0 * counts / counts.sum()))
    return WeekRhythm(*shares)


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
    start: _Start | None = None,
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


def period_weights(
    labels: Labels,
    periods: PersonPeriods,
    edges: tuple[float, ...],
    half_life_days: float | None,
    weights: Floats | None = None,
) -> Floats:
    """Weigh each row by its snapshot, and by how long before the end of observation its interval began."""
    own = np.ones(len(periods.snapshot)) if weights is None else weights[periods.snapshot]
    return fade(own, labels.observed[periods.snapshot] - np.array(edges)[periods.interval], half_life_days)


def fade(weights: Floats, ages: Floats, half_life_days: float | None) -> Floats:
    """Give weights that halve with each half-life of age, in days; as they are without one."""
    if half_life_days is None:
        return weights
    faded: Floats = weights * np.power(0.5, np.maximum(ages, 0.0) / half_life_days)
    return faded
