"""What one field alone tells of the outcome, learned from earlier records and tried on later ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

#: Stretches of time; each but the first is foretold from all before it.
STRETCHES = 5
#: Records' worth of the overall rate that each level's rate is drawn towards.
PRIOR = 10.0


@dataclass(frozen=True)
class Skill:
    """What a field alone tells.

    Parameters
    ----------
    auc : float
        Of the later records; not a number where they ended in one way.
    gain, bound : float
        Share of the log loss of the earlier win rate that the field takes away, and its lower bound.
    """

    auc: float
    gain: float
    bound: float


NONE = Skill(float("nan"), 0.0, 0.0)


def foretell(codes: NDArray[np.int64], won: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give each later record's win rate by level among the records before its stretch.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
        Levels, records in order of time.
    won : ndarray of bool, shape (n,)

    Returns
    -------
    ndarray, shape (n,)
        NaN in the first stretch.
    """
    n = len(codes)
    size = int(codes.max(initial=0)) + 1
    rates = np.full(n, np.nan)
    edges = [i * n // STRETCHES for i in range(STRETCHES + 1)]
    for low, high in pairwise(edges[1:]):
        overall = (won[:low].sum() + 1.0) / (low + 2.0)
        wins = np.bincount(codes[:low], weights=won[:low], minlength=size)
        seen = np.bincount(codes[:low], minlength=size)
        rates[low:high] = ((wins + PRIOR * overall) / (seen + PRIOR))[codes[low:high]]
    return rates


def skill(codes: NDArray[np.int64], won: NDArray[np.bool_], z: float) -> Skill:
    """Measure what a field alone tells.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
        Levels, records in order of time.
    won : ndarray of bool, shape (n,)
    z : float
        Standard errors of the bound.
    """
    if len(codes) < 2 * STRETCHES or won.all() or not won.any():
        return NONE
    rates = foretell(codes, won)
    later = np.isfinite(rates)
    y, rate = won[later], rates[later]
    base = foretell(np.zeros_like(codes), won)[later]
    before, after = _loss(y, base), _loss(y, rate)
    saved = before - after
    error = z * saved.std() / np.sqrt(len(saved))
    auc = float(roc_auc_score(y, rate)) if y.any() and not y.all() else float("nan")
    whole = before.mean()
    return Skill(auc, float(saved.mean() / whole), float((saved.mean() - error) / whole))


def gain_beyond(
    known: NDArray[np.int64], more: NDArray[np.int64], won: NDArray[np.bool_], z: float
) -> tuple[float, float]:
    """Give the share of log loss that finer levels take away beyond coarser ones, and its lower bound.

    Parameters
    ----------
    known, more : ndarray of int64, shape (n,)
        Coarser and finer levels, records in order of time.
    won : ndarray of bool, shape (n,)
    z : float
        Standard errors of the bound.
    """
    rates = foretell(known, won)
    later = np.isfinite(rates)
    y = won[later]
    saved = _loss(y, rates[later]) - _loss(y, foretell(more, won)[later])
    whole = _loss(y, foretell(np.zeros_like(known), won)[later]).mean()
    return float(saved.mean() / whole), float((saved.mean() - z * saved.std() / np.sqrt(len(saved))) / whole)


def _loss(won: NDArray[np.bool_], rate: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.log(np.where(won, rate, 1 - rate))
