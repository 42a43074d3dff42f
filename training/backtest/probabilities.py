"""How good probabilities were: every measure, for Vigie and its baselines, on the same rows and resamples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.backtest.resampling import Estimate, Resamples, finite, interval, turned_interval
from training.metrics import log_losses

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Name of the method that is judged; the others are its baselines.
VIGIE = "vigie"
BASE_RATE = "base_rate"
#: Share of the rows that lift and gain look at.
TOP = 0.1
_BINS = 10
#: Shares of the rows at which the curve of gains is given.
SHARES: Floats = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True)
class Judged:
    """Rows with an answer, and what each method said of them.

    Parameters
    ----------
    happened : ndarray of bool, shape (n,)
    records : ndarray of int, shape (n,)
        A number from 0 for each row's record.
    answers : mapping of str to ndarray of shape (n,)
        Probabilities by method, ``vigie`` and ``base_rate`` among them.
    """

    happened: Bools
    records: Ints
    answers: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.happened)


class Ranking:
    """A method's order of the rows, sorted once, and the measures of any weighting of them.

    Rows with the same probability are in random order: every measure is the mean over those orders.

    Parameters
    ----------
    happened : ndarray of bool, shape (n,)
    probability : ndarray of shape (n,)

    Examples
    --------
    >>> found = Ranking(np.array([False, True, True]), np.array([0.1, 0.5, 0.1])).measures(np.ones(3))
    >>> found["auc"], round(found["average_precision"], 4)
    (0.75, 0.8333)
    """

    def __init__(self, happened: Bools, probability: Floats) -> None:
        self._order = np.argsort(-probability, kind="stable")
        self._probability = probability[self._order]
        self._happened = happened[self._order].astype(np.float64)
        self._last = np.append(np.flatnonzero(np.diff(self._probability)), len(probability) - 1)

    def measures(self, weights: Floats) -> dict[str, float]:
        """Give AUC, average precision, calibration error, lift and gain at 10%; NaN with one class."""
        own = weights[self._order]
        yes, every = (np.cumsum(part)[self._last] for part in (own * self._happened, own))
        wins, total = yes[-1], every[-1]
        rest = total - wins
        names = ("auc", "average_precision", "ece", "lift_10", "gain_10")
        if wins <= 0 or rest <= 0:
            return dict.fromkeys(names, float("nan")) | {"ece": self._ece(own)}
        fresh, no = np.diff(yes, prepend=0.0), every - yes
        below = rest - no + np.diff(no, prepend=0.0) / 2
        gain = float(np.interp(TOP * total, np.append(0.0, every), np.append(0.0, yes)) / wins)
        precision = np.divide(yes, every, out=np.zeros_like(yes), where=every > 0)
        found = (
            float(fresh @ below / (wins * rest)),
            float(fresh @ precision / wins),
            self._ece(own),
            gain / TOP,
            gain,
        )
        return dict(zip(names, found, strict=True))

    def gains(self) -> Floats:
        """Give the share of what happened that the best-scored shares of the rows hold, shape (21,)."""
        yes = np.append(0.0, np.cumsum(self._happened)[self._last])
        every = np.append(0.0, self._last + 1.0)
        curve: Floats = np.interp(SHARES * every[-1], every, yes) / max(yes[-1], 1e-300)
        return curve

    def _ece(self, own: Floats) -> float:
        """Give the expected calibration error over bins of equal weight."""
        total = own.sum()
        middle = np.cumsum(own) - own / 2
        place = np.minimum((middle / max(total, 1e-300) * _BINS).astype(np.int64), _BINS - 1)
        gap = np.bincount(place, own * (self._probability - self._happened), minlength=_BINS)
        return float(np.abs(gap).sum() / max(total, 1e-300))


def measure(judged: Judged, resamples: int, seed: int) -> dict[str, dict[str, Estimate]]:
    """Give every measure of every method, with intervals by record.

    Parameters
    ----------
    judged : Judged
        At least one row.
    resamples, seed : int

    Returns
    -------
    dict of str to dict of str to Estimate
        By method: ``auc``, ``average_precision``, ``log_loss`` (nats), ``brier``, ``brier_skill`` (the share
        of the base rate's Brier score that is saved), ``ece``, ``lift_10``, ``gain_10``; of the baselines
        also ``auc_gain``, ``log_loss_gain`` and ``brier_gain``: how much better Vigie is, above zero where
        it is.
    """
    names = list(judged.answers)
    losses = {name: _losses(judged, name) for name in names}
    drawn = _draw(judged, names, losses, Resamples(judged.records, resamples, seed))
    whole = _once(judged, names, losses)
    found: dict[str, dict[str, Estimate]] = {}
    for name in names:
        found[name] = {
            key: (turned_interval if key == "ece" else interval)(whole[name][key], drawn[name][key])
            for key in whole[name]
        }
        if name != VIGIE:
            for key, sign in (("auc", 1.0), ("log_loss", -1.0), ("brier", -1.0)):
                gain = sign * (whole[VIGIE][key] - whole[name][key])
                found[name][f"{key}_gain"] = interval(gain, sign * (drawn[VIGIE][key] - drawn[name][key]))
    return found


def reliability(judged: Judged, resamples: int, seed: int, method: str = VIGIE) -> list[dict[str, Any]]:
    """Give, for each tenth of the scale, what was shown and what happened, with intervals by record.

    Returns
    -------
    list of dict
        ``from``, ``to``, ``n`` (rows), ``records``, ``shown`` (mean), ``won`` (rows), ``happened`` (share),
        ``low``, ``high``; tenths in which nothing was shown are left out.
    """
    shown = judged.answers[method]
    place = np.minimum((shown * _BINS).astype(np.int64), _BINS - 1)
    inside = (place[:, None] == np.arange(_BINS)).astype(np.float64)
    shares = Resamples(judged.records, resamples, seed).ratios(inside * judged.happened[:, None], inside)
    rows = []
    for number in range(_BINS):
        here = place == number
        if here.any():
            rows.append(
                {
                    "from": number / _BINS,
                    "to": (number + 1) / _BINS,
                    "n": int(here.sum()),
                    "records": len(np.unique(judged.records[here])),
                    "shown": float(shown[here].mean()),
                    "won": int(judged.happened[here].sum()),
                    "happened": shares[number].value,
                    "low": finite(shares[number].low),
                    "high": finite(shares[number].high),
                }
            )
    return rows


def gain_curves(judged: Judged) -> dict[str, list[float]]:
    """Give each method's share of all wins at :data:`SHARES` of the rows, best first."""
    return {
        name: [float(v) for v in Ranking(judged.happened, answer).gains()]
        for name, answer in judged.answers.items()
    }


def _losses(judged: Judged, name: str) -> Floats:
    answer = judged.answers[name]
    return np.column_stack([log_losses(judged.happened, answer), (answer - judged.happened) ** 2])


def _figures(ranked: dict[str, float], log_loss: float, brier: float, base: float) -> dict[str, float]:
    skill = 1.0 - brier / base if base > 0 else float("nan")
    return {
        "auc": ranked["auc"],
        "average_precision": ranked["average_precision"],
        "log_loss": log_loss,
        "brier": brier,
        "brier_skill": skill,
        "ece": ranked["ece"],
        "lift_10": ranked["lift_10"],
        "gain_10": ranked["gain_10"],
    }


def _once(judged: Judged, names: list[str], losses: Mapping[str, Floats]) -> dict[str, dict[str, float]]:
    base = float(losses[BASE_RATE][:, 1].mean())
    found = {}
    for name in names:
        ranked = Ranking(judged.happened, judged.answers[name]).measures(np.ones(len(judged)))
        log_loss, brier = (float(v) for v in losses[name].mean(axis=0))
        found[name] = _figures(ranked, log_loss, brier, base)
    return found


def _draw(
    judged: Judged, names: list[str], losses: Mapping[str, Floats], resamples: Resamples
) -> dict[str, dict[str, Floats]]:
    """Give every measure of every resample, by method, each of shape (resamples,)."""
    rankings = {name: Ranking(judged.happened, judged.answers[name]) for name in names}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for counts in resamples.counts():
        for drawn in counts:
            weights = drawn[judged.records]
            mean = {name: weights @ losses[name] / weights.sum() for name in names}
            for name in names:
                ranked = rankings[name].measures(weights)
                log_loss, brier = (float(v) for v in mean[name])
                rows[name].append(_figures(ranked, log_loss, brier, float(mean[BASE_RATE][1])))
    return {
        name: {key: np.array([row[key] for row in found]) for key in found[0]} for name, found in rows.items()
    }
