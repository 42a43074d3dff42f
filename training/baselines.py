"""What people use today, asked the same question on the same snapshots: stage rates, regression, boosting."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from training.labels import WON
from training.later import Window
from training.linear import fit_linear
from training.samples import Sample
from training.settings import TrainSettings

Floats = npt.NDArray[np.float64]

#: A stage's rate counts as if so many more records had been seen at the overall rate.
_PRIOR = 10.0
_FEWEST = 10


def baselines(window: Window, settings: TrainSettings) -> dict[str, Floats]:
    """Give each baseline's probability that a later snapshot is won before observation ends.

    Each learns from the earlier snapshots for which just as many days are known, so that no open record is
    called lost: what a team would do that knows nothing of censoring but is careful.

    Returns
    -------
    dict of str to ndarray of shape (n,)
        Empty where the earlier part is too short.
    """
    later, earlier = window.later, window.earlier
    # Moments of about the same time to go are asked together, by whole steps.
    step = settings.every_days if window.opened is not None else 1.0
    steps = np.ceil(later.labels.observed / step) * step
    result: dict[str, Floats] = {}
    for length in np.unique(steps):
        asked = np.flatnonzero(steps == length)
        known = np.flatnonzero(earlier.labels.observed >= length)
        won = (earlier.labels.events[known] == WON) & (earlier.labels.durations[known] <= length)
        if won.sum() < _FEWEST or (~won).sum() < _FEWEST:
            return {}
        for name, values in _answers(earlier.take(known), won, later.take(asked), settings).items():
            result.setdefault(name, np.full(len(later), np.nan))[asked] = values
    return {name: values for name, values in result.items() if not np.isnan(values).any()}


def _answers(
    known: Sample, won: npt.NDArray[np.bool_], asked: Sample, settings: TrainSettings
) -> dict[str, Floats]:
    answers: dict[str, Floats] = {}
    names = known.matrix.names
    if "stage" in names:
        column = names.index("stage")
        answers["stage rates"] = _rates(known, won, asked, column)
    target = won.astype(np.float64)
    part = fit_linear(known.x, target, known.matrix.spec, settings.linear_strength, known.weights)
    if part is not None:
        answers["logistic regression"] = 1.0 / (1.0 + np.exp(-part.margin(asked.x)))
    answers["plain LightGBM"] = _boosted(known, target, asked, settings)
    return answers


def _rates(known: Sample, won: npt.NDArray[np.bool_], asked: Sample, column: int) -> Floats:
    stages, wanted, weights = known.x[:, column], asked.x[:, column], known.weights
    overall = float(np.average(won, weights=weights))
    rates = np.full(len(asked), overall)
    for stage in np.unique(stages[~np.isnan(stages)]):
        here = stages == stage
        total = (weights * won)[here].sum() + _PRIOR * overall
        rates[wanted == stage] = total / (weights[here].sum() + _PRIOR)
    return rates


def _boosted(known: Sample, target: Floats, asked: Sample, settings: TrainSettings) -> Floats:
    data = lgb.Dataset(known.x, target, weight=known.weights, categorical_feature=known.categorical)
    parameters = {
        "objective": "binary",
        "seed": settings.seed,
        "num_threads": settings.hazard.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    predicted: Floats = np.asarray(lgb.train(parameters, data, 100).predict(asked.x), np.float64)
    return predicted
