"""The linear part: a penalised logistic regression on log-scaled features, for what trees see poorly.

On few records and many categories a sum of small effects beats any tree. Its labels are completed ones: what
happened where it is known, and the hazard's conditional chance where the record was still open.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from serving.linear import LinearPart, Term
from serving.timing import Timing
from training.labels import OPEN, WON, Labels

Floats = npt.NDArray[np.float64]

#: A term present in fewer rows than this says nothing that holds.
_FEWEST_ROWS = 10
#: Quantiles at which a number's effect may step, so that the sum can follow a curve.
_STEPS = (0.1, 0.25, 0.5, 0.75, 0.9)


def complete_labels(labels: Labels, timing: Timing, ever: Floats, horizon: float | None) -> Floats:
    """Give P(won within the horizon) for each snapshot, given all that was observed after it.

    Parameters
    ----------
    labels : Labels of length n
    timing : Timing
        The hazard's, n rows.
    ever : ndarray of shape (n,)
        P(won within the horizon) as of the snapshot.
    horizon : float or None
        Days; None for ever.
    """
    won = (labels.events == WON) & (True if horizon is None else labels.durations <= horizon)
    days = labels.durations[:, None]
    won_before = timing.won_share_by(days)[:, 0]
    if horizon is None:
        left = ever * (1.0 - won_before)
    else:
        by_horizon = np.maximum(timing.won_share_by(np.full_like(days, horizon))[:, 0], 1e-12)
        left = ever * np.maximum(1.0 - won_before / by_horizon, 0.0)
    still_open = np.maximum(1.0 - timing.closed_by(days)[:, 0], 1e-9)
    pending = np.clip(left / still_open, 0.0, 1.0)
    return np.where(labels.events == OPEN, pending, won.astype(np.float64))


def _terms(x: Floats, categorical: Collection[int]) -> list[Term]:
    terms: list[Term] = []
    for column in range(x.shape[1]):
        values = x[:, column]
        missing = np.isnan(values)
        if column in categorical:
            for level in np.unique(values[~missing]):
                if (values == level).sum() >= _FEWEST_ROWS:
                    terms.append(Term(column, "level", 0.0, level=float(level)))
        elif (~missing).sum() >= _FEWEST_ROWS:
            terms.append(Term(column, "log1p", 0.0))
            bounds = np.unique(np.quantile(values[~missing], _STEPS))
            terms += [Term(column, "at_least", 0.0, level=float(bound)) for bound in bounds]
        if missing.sum() >= _FEWEST_ROWS:
            terms.append(Term(column, "missing", 0.0))
    return terms


def fit_linear(
    x: Floats, target: Floats, categorical: Collection[int], strength: float, weights: Floats
) -> LinearPart | None:
    """Fit the linear part to soft labels.

    Parameters
    ----------
    x : ndarray of shape (n, features)
    target : ndarray of shape (n,)
        Probabilities.
    categorical : collection of int
        Columns that hold level codes.
    strength : float
        Variance of the margin that is expected beforehand, in log-odds squared. Its terms share it, so that
        many say no more for certain than few.
    weights : ndarray of shape (n,)
        How much each row counts.

    Returns
    -------
    LinearPart or None
        None where no feature varies.
    """
    part = LinearPart(tuple(_terms(x, categorical)))
    if not part.terms:
        return None
    raw = part.standardised(x)
    mean, scale = raw.mean(axis=0), raw.std(axis=0)
    varied = np.flatnonzero(scale > 1e-6)
    if len(varied) == 0:
        return None
    z = (raw[:, varied] - mean[varied]) / scale[varied]
    weight = np.concatenate([weights * target, weights * (1.0 - target)])
    outcome = np.concatenate([np.ones(len(z)), np.zeros(len(z))])
    model = LogisticRegression(C=strength / len(varied), max_iter=1000)
    model.fit(np.vstack([z, z]), outcome, sample_weight=weight)
    terms = tuple(
        Term(
            part.terms[row].feature,
            part.terms[row].transform,
            float(coefficient),
            mean=float(mean[row]),
            scale=float(scale[row]),
            level=part.terms[row].level,
        )
        for row, coefficient in zip(varied, model.coef_[0], strict=True)
    )
    return LinearPart(terms, float(model.intercept_[0]))
