"""One booster that says what the hazard says: fast to predict, and explained exactly by its trees.

The hazard's cumulative incidence is a soft label without noise, so the booster is fitted until it has copied
it: rounds stop when the copy of records it has not seen no longer improves (Hinton, Vinyals and Dean,
"Distilling the Knowledge in a Neural Network", 2015, for the idea).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from scipy.special import logit

from training.settings import DistillSettings

Floats = npt.NDArray[np.float64]

#: Soft labels closer to 0 or 1 than this say no more than that the outcome is all but certain.
_SURE = 1e-5


@dataclass(frozen=True)
class Distilled:
    """A booster and how well it copies.

    Parameters
    ----------
    booster : str
        LightGBM text; its raw score is a margin in log-odds.
    rounds : int
    gap : float
        Root mean square difference from the soft labels on unseen records, in log-odds.
    """

    booster: str
    rounds: int
    gap: float


def distill(
    x: Floats,
    soft: Floats,
    unseen: npt.NDArray[np.bool_],
    settings: DistillSettings,
    *,
    categorical: Sequence[int] = (),
) -> Distilled:
    """Fit one booster to soft labels.

    Parameters
    ----------
    x : ndarray of shape (n, features)
    soft : ndarray of shape (n,)
        Probabilities to copy.
    unseen : ndarray of bool, shape (n,)
        Rows that only decide when to stop; whole records, so that none is on both sides.
    settings : DistillSettings
    categorical : sequence of int
        Columns that hold level codes.
    """
    target = np.clip(soft, _SURE, 1 - _SURE)
    parameters = settings.parameters(int((~unseen).sum()))
    learn = lgb.Dataset(
        x[~unseen], target[~unseen], categorical_feature=list(categorical), free_raw_data=False
    )
    check = learn.create_valid(x[unseen], target[unseen])
    stop = lgb.early_stopping(settings.patience, min_delta=settings.min_delta, verbose=False)
    booster = lgb.train(parameters, learn, settings.rounds, valid_sets=[check], callbacks=[stop])
    rounds = booster.best_iteration
    margin = np.asarray(booster.predict(x[unseen], raw_score=True, num_iteration=rounds))
    gap = float(np.sqrt(np.mean((margin - logit(target[unseen])) ** 2)))
    return Distilled(booster.model_to_string(num_iteration=rounds), rounds, gap)
