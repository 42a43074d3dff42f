"""How good probabilities are: ranking, log loss, calibration, lift, and bootstraps by record."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Probabilities are kept this far from 0 and 1, so that one surprise does not decide a log loss.
_EDGE = 1e-4
#: The same before they become log-odds.
_SURE = 1e-6
#: Newton's method ends after so many steps, or when both coefficients move less than this.
_NEWTON_STEPS = 50
_CLOSE = 1e-9


def auc(happened: Bools, probability: Floats, weights: Floats | None = None) -> float:
    """Give the chance that one that happened was given more than one that did not; NaN with one class.

    Examples
    --------
    >>> auc(np.array([False, True, True]), np.array([0.1, 0.5, 0.1]))
    0.75
    """
    own = np.ones(len(happened)) if weights is None else weights
    _, place = np.unique(probability, return_inverse=True)
    yes = np.bincount(place, own * happened)
    no = np.bincount(place, own * ~happened, minlength=len(yes))
    total = yes.sum() * no.sum()
    if total <= 0:
        return float("nan")
    below = np.cumsum(no) - no
    return float((yes * (below + no / 2)).sum() / total)


def log_losses(happened: Bools, probability: Floats) -> Floats:
    """Give each row's log loss, in nats."""
    p = np.clip(probability, _EDGE, 1.0 - _EDGE)
    losses: Floats = -np.where(happened, np.log(p), np.log1p(-p))
    return losses


def brier(happened: Bools, probability: Floats, weights: Floats | None = None) -> float:
    """Give the mean squared difference between probability and outcome."""
    return float(np.average((probability - happened) ** 2, weights=weights))


def calibration_bins(
    happened: Bools, probability: Floats, weights: Floats | None = None, bins: int = 10
) -> list[dict[str, float]]:
    """Give mean probability, share that happened and count in bins of equal weight."""
    own = np.ones(len(happened)) if weights is None else weights
    order = np.argsort(probability, kind="stable")
    mass = np.cumsum(own[order]) - own[order] / 2
    place = np.minimum((mass / max(own.sum(), 1e-300) * bins).astype(int), bins - 1)
    parts = [order[place == number] for number in range(bins)]
    return [
        {
            "predicted": float(np.average(probability[part], weights=own[part])),
            "happened": float(np.average(happened[part], weights=own[part])),
            "n": len(part),
            "share": float(own[part].sum() / own.sum()),
        }
        for part in parts
        if len(part)
    ]


def calibration_error(
    happened: Bools, probability: Floats, weights: Floats | None = None, bins: int = 10
) -> float:
    """Give the expected calibration error over bins of equal weight."""
    found = calibration_bins(happened, probability, weights, bins)
    return float(sum(abs(row["predicted"] - row["happened"]) * row["share"] for row in found))


def calibration_line(
    truth: Floats, probability: Floats, weights: Floats | None = None
) -> tuple[float, float]:
    """Give slope and intercept of the logistic regression of the truth on the predicted log-odds.

    A slope of 1 says that the probabilities are as sure as they may be, one under 1 that they are too sure
    (Cox, "Two further applications of a model for binary regression", 1958).

    Parameters
    ----------
    truth : ndarray of shape (n,)
        True probabilities, or outcomes as 0 and 1.
    probability : ndarray of shape (n,)
        Predicted; not all the same.
    weights : ndarray of shape (n,), optional

    Examples
    --------
    >>> slope, intercept = calibration_line(np.array([0.2, 0.5, 0.8]), np.array([0.1, 0.5, 0.9]))
    >>> round(slope, 2), abs(round(intercept, 2))
    (0.63, 0.0)
    """
    own = np.ones(len(truth)) if weights is None else weights
    p = np.clip(probability, _SURE, 1.0 - _SURE)
    design = np.column_stack([np.log(p) - np.log1p(-p), np.ones(len(p))])
    line = np.array([1.0, 0.0])
    for _ in range(_NEWTON_STEPS):
        fitted = expit(design @ line)
        curvature = (design * (own * fitted * (1.0 - fitted))[:, None]).T @ design
        step = np.linalg.solve(curvature, design.T @ (own * (truth - fitted)))
        line = line + step
        if np.abs(step).max() < _CLOSE:
            break
    return float(line[0]), float(line[1])


def lift(
    happened: Bools, probability: Floats, weights: Floats | None = None, share: float = 0.1
) -> dict[str, float]:
    """Give how much more often the best-scored share happened than all did, and what part of all it holds."""
    own = np.ones(len(happened)) if weights is None else weights
    order = np.argsort(-probability, kind="stable")
    inside = np.cumsum(own[order]) <= share * own.sum()
    top = order[inside] if inside.any() else order[:1]
    rate, everywhere = np.average(happened[top], weights=own[top]), np.average(happened, weights=own)
    gain = float((own * happened)[top].sum() / max((own * happened).sum(), 1e-300))
    return {"lift": float(rate / everywhere) if everywhere > 0 else float("nan"), "gain": gain, "n": len(top)}


def bootstrap_mean(
    values: Floats,
    records: Ints,
    resamples: int,
    seed: int,
    *,
    weights: Floats | None = None,
    level: float = 0.9,
) -> tuple[float, float, float]:
    """Give a mean and its bootstrap interval, drawing whole records.

    Parameters
    ----------
    values : ndarray of shape (n,)
    records : ndarray of int, shape (n,)
        A number from 0 for each row's record.
    resamples, seed : int
    weights : ndarray of shape (n,), optional
    level : float
        Share of the resamples between the two ends.

    Returns
    -------
    mean, low, high : float
    """
    own = np.ones(len(values)) if weights is None else weights
    totals = np.bincount(records, own * values)
    counts = np.bincount(records, own)
    present = counts > 0
    totals, counts = totals[present], counts[present]
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    means = (draws @ totals) / (draws @ counts)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(np.average(values, weights=own)), float(low), float(high)


def measures(happened: Bools, probability: Floats, weights: Floats | None = None) -> dict[str, float]:
    """Give the measures of a table row: AUC, log loss, Brier score, calibration error, lift at 10%."""
    return {
        "auc": auc(happened, probability, weights),
        "log_loss": float(np.average(log_losses(happened, probability), weights=weights)),
        "brier": brier(happened, probability, weights),
        "ece": calibration_error(happened, probability, weights),
        "lift_10": lift(happened, probability, weights)["lift"],
    }


def interval_scores(low: Floats, high: Floats, actual: Floats, level: float) -> Floats:
    """Give each range's interval score: its width, and a penalty for what lies outside; lower is better.

    Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007, section 6.2.

    Parameters
    ----------
    low, high, actual : ndarray of shape (n,)
    level : float
        Share that the central range should hold.

    Examples
    --------
    >>> low, high = np.array([1.0, 1.0]), np.array([3.0, 3.0])
    >>> interval_scores(low, high, np.array([2.0, 4.0]), 0.8).round(6).tolist()
    [2.0, 12.0]
    """
    outside = np.maximum(low - actual, 0.0) + np.maximum(actual - high, 0.0)
    scores: Floats = high - low + 2.0 / (1.0 - level) * outside
    return scores


def crps(draws: Floats, actual: Floats) -> Floats:
    """Give the continuous ranked probability score of simulated distributions; lower is better.

    That of the draws' own distribution: E|X - y| - E|X - X'| / 2 (Gneiting and Raftery 2007, section 4.2).
    For a single draw it is the absolute error.

    Parameters
    ----------
    draws : ndarray of shape (n, draws)
    actual : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> crps(np.array([[0.0, 2.0], [5.0, 5.0]]), np.array([1.0, 8.0])).tolist()
    [0.5, 3.0]
    """
    ordered = np.sort(draws, axis=1)
    size = draws.shape[1]
    places = 2.0 * np.arange(1, size + 1) - size - 1.0
    spread = ordered @ places / size**2
    scores: Floats = np.abs(draws - actual[:, None]).mean(axis=1) - spread
    return scores
