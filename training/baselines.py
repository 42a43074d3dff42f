"""What people use today, asked the same question on the same snapshots: stage rates, regression, boosting."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from scipy.special import expit

from training.labels import WON
from training.later import Window
from training.linear import fit_linear
from training.samples import Sample, choose_rows
from training.settings import TrainSettings

Floats = npt.NDArray[np.float64]

#: A stage's rate counts as if so many more records had been seen at the overall rate.
_PRIOR = 10.0
_FEWEST = 10
#: Earlier snapshots that a baseline learns from, at most.
_ROWS = 10_000


def baselines(window: Window, settings: TrainSettings) -> dict[str, Floats]:
    """Give each baseline's probability that a later snapshot is won before observation ends.

    Each learns from earlier snapshots and a number of days to go for which it is known what happened, and is
    told the days to go of those it is asked about: what a team does that calls no open record lost.

    Returns
    -------
    dict of str to ndarray of shape (n,)
        Empty where the earlier part is too short.
    """
    later = window.later
    earlier = window.earlier.take(choose_rows(len(window.earlier), _ROWS, settings.seed))
    days = np.random.default_rng(settings.seed).choice(later.labels.observed, len(earlier))
    seen = np.flatnonzero(earlier.labels.observed >= days)
    known, days = earlier.take(seen), days[seen]
    won = (known.labels.events == WON) & (known.labels.durations <= days)
    if won.sum() < _FEWEST or (~won).sum() < _FEWEST:
        return {}
    x = np.column_stack([known.x, days])
    asked = np.column_stack([later.x, later.labels.observed])
    target = won.astype(np.float64)
    answers: dict[str, Floats] = {}
    names = known.matrix.names
    if "stage" in names:
        answers["stage rates"] = _rates(known, won, later, names.index("stage"))
    part = fit_linear(x, target, known.categorical, settings.linear_strength, known.weights)
    if part is not None:
        answers["logistic regression"] = expit(part.margin(asked))
    answers["plain LightGBM"] = _boosted(x, target, asked, known, settings)
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


def _boosted(x: Floats, target: Floats, asked: Floats, known: Sample, settings: TrainSettings) -> Floats:
    data = lgb.Dataset(x, target, weight=known.weights, categorical_feature=known.categorical)
    parameters = {
        "objective": "binary",
        "seed": settings.seed,
        "num_threads": settings.hazard.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    predicted: Floats = np.asarray(lgb.train(parameters, data, 100).predict(asked), np.float64)
    return predicted
