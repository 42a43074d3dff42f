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
        answers["stage rates"] = stage_rates(known, won, later.x[:, names.index("stage")])
    part = fit_linear(x, target, known.categorical, settings.linear_strength, known.weights)
    if part is not None:
        answers["logistic regression"] = expit(part.margin(asked))
    answers["plain LightGBM"] = boosted(x, target, asked, known, settings)
    return answers


def stage_rates(known: Sample, won: npt.NDArray[np.bool_], wanted: Floats) -> Floats:
    """Give the share won in each stage, shrunk towards that of all.

    Parameters
    ----------
    known : Sample
        With the feature ``stage``.
    won : ndarray of bool, one a row of ``known``
    wanted : ndarray of shape (n,)
        Codes of the stages asked about; one that is missing or was never seen gets the share of all.

    Returns
    -------
    ndarray of shape (n,)
    """
    stages, weights = known.x[:, known.matrix.names.index("stage")], known.weights
    overall = float(np.average(won, weights=weights))
    rates = np.full(len(wanted), overall)
    for stage in np.unique(stages[~np.isnan(stages)]):
        here = stages == stage
        total = (weights * won)[here].sum() + _PRIOR * overall
        rates[wanted == stage] = total / (weights[here].sum() + _PRIOR)
    return rates


def boosted(x: Floats, target: Floats, asked: Floats, known: Sample, settings: TrainSettings) -> Floats:
    """Give what LightGBM with its own defaults learns from rows, for the rows asked about.

    Parameters
    ----------
    x : ndarray of shape (n, k)
    target : ndarray of shape (n,)
    asked : ndarray of shape (m, k)
    known : Sample
        Whose weights and categorical columns count.
    settings : TrainSettings

    Returns
    -------
    ndarray of shape (m,)
    """
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
