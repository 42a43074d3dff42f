"""Skill and calibration on a later window: what features add to the base rate, how sure a model may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, logit

from serving.calibration import Calibrator
from serving.timing import Timing
from training.labels import OPEN, WON
from training.marginal import Marginal
from training.metrics import bootstrap_mean, log_losses
from training.samples import Sample
from training.settings import TrainSettings

Floats = npt.NDArray[np.float64]

#: Probabilities are kept this far from 0 and 1 before they become log-odds.
SURE = 1e-5
#: Outcomes of each kind below which no slope is fitted.
_FEWEST = 10


@dataclass(frozen=True)
class Skill:
    """Whether the features say more than the base rate.

    Parameters
    ----------
    proven : bool
        The interval of the gain lies above zero.
    gain, low, high : float
        Log loss of the base rate less the model's, in nats, and its 90% interval by record.
    n : int
        Snapshots judged.
    question : str
        What was predicted.
    """

    proven: bool
    gain: float
    low: float
    high: float
    n: int
    question: str


def level(margin: Floats, timed: Floats, won: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Shift margins so that as many are expected to be won as were."""
    share = float(np.average(won, weights=weights))
    reach = float(np.average(timed, weights=weights))
    if not 0.0 < share < reach * (1.0 - SURE):
        return margin

    def surplus(offset: float) -> float:
        return float(np.average(expit(margin + offset) * timed, weights=weights)) - share

    shifted: Floats = margin + float(brentq(surplus, -50.0, 50.0))
    return shifted


def calibrate(
    margin: Floats, timed: Floats, won: npt.NDArray[np.bool_], later: Sample, settings: TrainSettings
) -> Calibrator:
    """Fit a slope on half of the records; keep one only where it helps the other half for certain.

    Only the slope: how sure a model may be carries over to the next one. How often records are won changes
    with time, and the final model, which has seen the window, knows that better than a map made before it.
    """
    records = later.records
    half = records % 2 == 0
    fitted = _slope(margin, timed, won, later.weights, half)
    if fitted is None or half.all():
        return Calibrator()
    plain = log_losses(won, expit(margin) * timed)
    mapped = log_losses(won, fitted.probability(margin) * timed)
    gain = bootstrap_mean(
        (plain - mapped)[~half],
        records[~half],
        settings.resamples,
        settings.seed,
        weights=later.weights[~half],
    )
    whole = np.ones(len(won), bool)
    return (_slope(margin, timed, won, later.weights, whole) or Calibrator()) if gain[1] > 0 else Calibrator()


def _slope(
    margin: Floats, timed: Floats, won: npt.NDArray[np.bool_], weights: Floats, rows: npt.NDArray[np.bool_]
) -> Calibrator | None:
    if won[rows].sum() < _FEWEST or (~won[rows]).sum() < _FEWEST:
        return None

    def loss(log_slope: float) -> float:
        p = level_slope(float(np.exp(log_slope)), margin, weights).probability(margin)
        # A slope far from one needs evidence: the penalty is that of ten records.
        return float((weights * log_losses(won, p * timed))[rows].sum() + 10.0 * log_slope**2)

    best = minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded")
    return level_slope(float(np.exp(best.x)), margin, weights)


def level_slope(slope: float, margin: Floats, weights: Floats) -> Calibrator:
    """Give the map of this slope that leaves the mean probability as it was."""
    mean = float(np.average(expit(margin), weights=weights))

    def surplus(offset: float) -> float:
        return float(np.average(expit(slope * margin + offset), weights=weights)) - mean

    return Calibrator("platt", slope=slope, offset=float(brentq(surplus, -50.0, 50.0)))


def skill_at_closing(
    later: Sample,
    timing: Timing,
    marginal: Marginal,
    shown: Floats,
    ever: Floats,
    settings: TrainSettings,
) -> Skill:
    """Judge only how a deal closed, given when: what timing says cannot pass for knowing the outcome."""
    rows = np.flatnonzero(later.labels.events != OPEN)
    edges = timing.edges_days
    interval = np.searchsorted(edges, later.labels.durations[rows], side="left") - 1
    interval = np.clip(interval, 0, len(edges) - 2)
    won_then = np.diff(timing.won, axis=1)[rows, interval]
    lost_then = np.diff(timing.lost, axis=1)[rows, interval]
    ratio = np.clip(won_then / np.maximum(won_then + lost_then, 1e-12), SURE, 1.0 - SURE)
    moved = logit(np.clip(shown, SURE, 1 - SURE)) - logit(np.clip(ever, SURE, 1 - SURE))
    closed = later.take(rows)
    won, sure = closed.labels.events == WON, np.ones(len(rows))
    model = expit(level(logit(ratio) + moved[rows], sure, won, closed.weights))
    base = expit(level(logit(marginal.won_ratio[interval]), sure, won, closed.weights))
    gains = log_losses(won, base) - log_losses(won, model)
    return skill_of(gains, closed, settings, "won rather than lost, for deals that closed")


def skill_of(gains: Floats, rows: Sample, settings: TrainSettings, question: str) -> Skill:
    if len(gains) == 0:
        return Skill(False, float("nan"), float("nan"), float("nan"), 0, question)
    gain, low, high = bootstrap_mean(
        gains, rows.records, settings.resamples, settings.seed, weights=rows.weights
    )
    return Skill(low > 0, gain, low, high, len(gains), question)
