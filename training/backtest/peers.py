"""The baselines at a cutoff: what people use today, from records whose end was known by then.

They learn from the same past moments and features as Vigie, without those whose answer was still open: of
deals, moments of closed ones; of leads, moments that had been watched for the whole horizon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from crm.history import History
from features import build_features, weekly_snapshots
from serving.outcome_model import OutcomeModel
from training.backtest.probabilities import BASE_RATE
from training.backtest.settings import BacktestSettings
from training.baselines import boosted, stage_rates
from training.labels import LOST, OPEN, WON, Outcomes, outcomes
from training.linear import fit_linear
from training.samples import Sample, choose_rows, make_sample

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

STAGE_RATES, LOGISTIC, LIGHTGBM = "stage_rates", "logistic_regression", "plain_lightgbm"
#: Every baseline, in the order in which they are told.
BASELINES = (BASE_RATE, STAGE_RATES, LOGISTIC, LIGHTGBM)
#: Rows of each answer below which a learner says what the base rate says.
_FEWEST = 10
#: Closed moments of a stage below which its durations are those of all stages.
_FEWEST_IN_STAGE = 20
#: Ends of the central 80% and the median.
_LEVELS = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Peers:
    """What the baselines say of n records at a cutoff.

    Parameters
    ----------
    answers : mapping of str to ndarray of shape (n,)
        Probabilities, by the names in :data:`BASELINES`.
    days : ndarray of shape (n, 3)
        Days until it closes, as closed deals in the same stage took: the ends of their central 80%, and the
        median in the middle; NaN where nothing closed.
    fell_back : tuple of str
        Those with too little to learn from, which say what the base rate says.
    n_learned : int
        Past moments that they learned from.
    """

    answers: Mapping[str, Floats]
    days: Floats
    fell_back: tuple[str, ...]
    n_learned: int


def ask_peers(
    known: History, model: OutcomeModel, ids: list[str], cutoff: pd.Timestamp, settings: BacktestSettings
) -> Peers:
    """Let the baselines learn from what was known at a cutoff, and answer about the records open at it.

    Parameters
    ----------
    known : History
        As known at ``cutoff``.
    model : OutcomeModel
        Vigie's, whose features and horizon they share.
    ids : list of str
    cutoff : Timestamp
    settings : BacktestSettings
    """
    found = outcomes(known, model.entity)
    closed = _closed_moments(known, found, model, cutoff, settings)
    now = pd.DataFrame({"record_id": ids, "as_of": [cutoff] * len(ids)}).astype(
        {"record_id": "str", "as_of": "datetime64[us, UTC]"}
    )
    asked = build_features(known, now, model.spec).values  # noqa: PD011 - a FeatureMatrix, not a frame
    won = _won(closed, model.horizon_days)
    answers = {BASE_RATE: np.full(len(ids), _base_rate(found, closed, won, model.entity))}
    learned, fell_back = _learned(closed, won, asked, settings), []
    for name in BASELINES[1:]:
        if name not in learned:
            fell_back.append(name)
        answers[name] = learned.get(name, answers[BASE_RATE])
    days = _stage_days(closed, asked)
    return Peers(answers, days, tuple(fell_back), len(closed))


def _closed_moments(
    known: History, found: Outcomes, model: OutcomeModel, cutoff: pd.Timestamp, settings: BacktestSettings
) -> Sample:
    """Give past moments of records open then, whose answer was known by the cutoff."""
    every = timedelta(days=settings.train.every_days)
    past = weekly_snapshots(known, model.entity, cutoff - every, every=every)
    past = past.iloc[choose_rows(len(past), settings.baseline_rows, settings.seed)].reset_index(drop=True)
    sample = make_sample(known, found, past, model.spec, cutoff, settings.train)
    labels = sample.labels
    horizon = model.horizon_days
    # A lead that was won, but could not have been watched for its horizon, is left out: those that were not
    # won in the same time are, too.
    answered = labels.events != OPEN if horizon is None else labels.observed >= horizon
    # Those open at the cutoff are of every age, so a lead's moments count alike.
    return replace(sample, weights=np.ones(len(sample))).take(np.flatnonzero(answered))


def _won(closed: Sample, horizon: float | None) -> Bools:
    won: Bools = closed.labels.events == WON
    return won if horizon is None else won & (closed.labels.durations <= horizon)


def _base_rate(found: Outcomes, closed: Sample, won: Bools, entity: str) -> float:
    """Give the share won: of all deals that closed, or of the moments of leads that were watched."""
    if entity == "deal":
        n_won, n_lost = (int((found.events == event).sum()) for event in (WON, LOST))
        if n_won + n_lost:
            return n_won / (n_won + n_lost)
    if len(closed):
        return float(won.mean())
    return float(((found.events == WON).sum() + 1.0) / (len(found.events) + 4.0))


def _learned(closed: Sample, won: Bools, asked: Floats, settings: BacktestSettings) -> dict[str, Floats]:
    if won.sum() < _FEWEST or (~won).sum() < _FEWEST or not closed.matrix.names:
        return {}
    answers: dict[str, Floats] = {}
    names = closed.matrix.names
    if "stage" in names:
        answers[STAGE_RATES] = stage_rates(closed, won, asked[:, names.index("stage")])
    target = won.astype(np.float64)
    part = fit_linear(closed.x, target, closed.categorical, settings.train.linear_strength, closed.weights)
    if part is not None:
        answers[LOGISTIC] = expit(part.margin(asked))
    answers[LIGHTGBM] = boosted(closed.x, target, asked, closed, settings.train)
    return answers


def _stage_days(closed: Sample, asked: Floats) -> Floats:
    """Give, for each record, how long closed moments in its stage still took."""
    rows = np.flatnonzero(closed.labels.events != OPEN)
    if len(rows) == 0:
        return np.full((len(asked), len(_LEVELS)), np.nan)
    durations = closed.labels.durations[rows]
    days = np.tile(np.quantile(durations, _LEVELS), (len(asked), 1))
    if "stage" in closed.matrix.names:
        column = closed.matrix.names.index("stage")
        stages = closed.x[rows, column]
        for stage in np.unique(stages[~np.isnan(stages)]):
            here = stages == stage
            if here.sum() >= _FEWEST_IN_STAGE:
                days[asked[:, column] == stage] = np.quantile(durations[here], _LEVELS)
    return days
