"""What a quick model on the audited fields would have claimed, with and without those left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from training.audit.cases import Cases
from training.audit.findings import Claimed
from training.labels import WON

#: Closed records below which a figure would be noise.
MIN_CLOSED = 200
TRAIN_SHARE = 0.7
MAX_LEVELS = 200
ROUNDS = 100


def claim(cases: Cases, excluded: Collection[str]) -> Claimed | None:
    """Measure the AUC on the later 30% of closed records, learned on the earlier 70%.

    Parameters
    ----------
    cases : Cases
    excluded : collection of str
        Fields left out.

    Returns
    -------
    Claimed or None
        None where too few records are closed, a part ended in one way, or no field is left.
    """
    order = cases.closing_order
    won = cases.events[order] == WON
    cut = int(TRAIN_SHARE * len(order))
    names = sorted(cases.columns)
    kept = [name for name in names if name not in excluded]
    mixed = all(part.any() and not part.all() for part in (won[:cut], won[cut:]))
    if len(order) < MIN_CLOSED or not mixed or not kept:
        return None
    everything = _auc(cases, names, order, won, cut)
    without = everything if kept == names else _auc(cases, kept, order, won, cut)
    return Claimed(everything, without, cut, len(order) - cut)


def _auc(
    cases: Cases, names: Sequence[str], order: NDArray[np.int64], won: NDArray[np.bool_], cut: int
) -> float:
    columns = [_numbers(cases.columns[name].iloc[order]) for name in names]
    table = np.column_stack([numbers for numbers, _ in columns])
    texts = [place for place, (_, is_text) in enumerate(columns) if is_text]
    parameters = {
        "objective": "binary",
        "num_leaves": 15,
        "learning_rate": 0.1,
        "min_data_in_leaf": max(10, min(30, cut // 100)),
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": 7,
        "verbosity": -1,
    }
    data = lgb.Dataset(table[:cut], won[:cut].astype("float64"), categorical_feature=texts)
    booster = lgb.train(parameters, data, ROUNDS)
    return float(roc_auc_score(won[cut:], booster.predict(table[cut:])))


def _numbers(values: pd.Series) -> tuple[NDArray[np.float64], bool]:
    if values.dtype.kind in "fiub":
        return values.to_numpy("float64"), False
    common = sorted(values.value_counts().index[:MAX_LEVELS])
    return values.map({name: code for code, name in enumerate(common)}).to_numpy("float64"), True
