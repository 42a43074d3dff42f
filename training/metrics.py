"""How good probabilities are: ranking, log loss, calibration, lift, and bootstraps by record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Probabilities are kept this far from 0 and 1, so that one surprise does not decide a log loss.
_EDGE = 1e-4


def auc(happened: npt.NDArray[np.bool_], probability: Floats) -> float:
    """Give the chance that one that happened was given more than one that did not; NaN with one class.

    Examples
    --------
    >>> auc(np.array([False, True, True]), np.array([0.1, 0.5, 0.1]))
    0.75
    """
    n_yes = int(happened.sum())
    n_no = len(happened) - n_yes
    if n_yes == 0 or n_no == 0:
        return float("nan")
    ranks = rankdata(probability)
    return float((ranks[happened].sum() - n_yes * (n_yes + 1) / 2) / (n_yes * n_no))


def log_losses(happened: npt.NDArray[np.bool_], probability: Floats) -> Floats:
    """Give each row's log loss, in nats."""
    p = np.clip(probability, _EDGE, 1.0 - _EDGE)
    losses: Floats = -np.where(happened, np.log(p), np.log1p(-p))
    return losses


def brier(happened: npt.NDArray[np.bool_], probability: Floats) -> float:
    """Give the mean squared difference between probability and outcome."""
    return float(np.mean((probability - happened) ** 2))


def calibration_bins(
    happened: npt.NDArray[np.bool_], probability: Floats, bins: int = 10
) -> list[dict[str, float]]:
    """Give mean probability, share that happened and count in bins of equal count."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [
        {
            "predicted": float(probability[part].mean()),
            "happened": float(happened[part].mean()),
            "n": len(part),
        }
        for part in parts
    ]


def calibration_error(happened: npt.NDArray[np.bool_], probability: Floats, bins: int = 10) -> float:
    """Give the expected calibration error over bins of equal count."""
    found = calibration_bins(happened, probability, bins)
    total = sum(row["n"] for row in found)
    return float(sum(abs(row["predicted"] - row["happened"]) * row["n"] for row in found) / max(total, 1))


def lift(happened: npt.NDArray[np.bool_], probability: Floats, share: float = 0.1) -> dict[str, float]:
    """Give how much more often the best-scored share happened than all did, and what part of all it holds."""
    top = np.argsort(-probability, kind="stable")[: max(1, round(share * len(probability)))]
    rate, everywhere = float(happened[top].mean()), float(happened.mean())
    gain = float(happened[top].sum() / max(happened.sum(), 1))
    return {"lift": rate / everywhere if everywhere > 0 else float("nan"), "gain": gain, "n": len(top)}


def bootstrap_mean(
    values: Floats, records: Ints, resamples: int, seed: int, level: float = 0.9
) -> tuple[float, float, float]:
    """Give a mean and its bootstrap interval, drawing whole records.

    Parameters
    ----------
    values : ndarray of shape (n,)
    records : ndarray of int, shape (n,)
        A number from 0 for each row's record.
    resamples, seed : int
    level : float
        Share of the resamples between the two ends.

    Returns
    -------
    mean, low, high : float
    """
    totals = np.bincount(records, values)
    counts = np.bincount(records)
    present = counts > 0
    totals, counts = totals[present], counts[present]
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    means = (draws @ totals) / (draws @ counts)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(values.mean()), float(low), float(high)


def measures(happened: npt.NDArray[np.bool_], probability: Floats) -> dict[str, float]:
    """Give the measures of a table row: AUC, log loss, Brier score, calibration error, lift at 10%."""
    table: dict[str, Callable[[], float]] = {
        "auc": lambda: auc(happened, probability),
        "log_loss": lambda: float(log_losses(happened, probability).mean()),
        "brier": lambda: brier(happened, probability),
        "ece": lambda: calibration_error(happened, probability),
        "lift_10": lambda: lift(happened, probability)["lift"],
    }
    return {name: measure() for name, measure in table.items()}
