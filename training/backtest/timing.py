"""How well the time to close was told: error of the median, and the 80% range."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.backtest.resampling import Resamples
from training.metrics import interval_scores

Floats = npt.NDArray[np.float64]

#: Share of the chances that the range from ``close_p10`` to ``close_p90`` holds.
LEVEL = 0.8
#: What is compared: Vigie's hazard, and the durations of closed deals in the same stage.
METHODS = {"vigie": "close", "stage_durations": "stage"}
_FIGURES = ("mae_days", "interval_score", "coverage", "width_days")


def judge_timing(judged: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    """Judge the expected close of deals that closed.

    Parameters
    ----------
    judged : DataFrame
        Rows with an answer.
    resamples, seed : int

    Returns
    -------
    dict
        Plain JSON: ``n``, ``records`` and by method ``mae_days`` (of the median), ``interval_score`` (days,
        lower is better; Gneiting and Raftery 2007, section 6.2), ``coverage`` and ``width_days`` of the 80%
        range; of the baseline also ``mae_gain`` and ``interval_gain``, how many days better Vigie is. Empty
        where no row has all.
    """
    days = {name: _days(judged, column) for name, column in METHODS.items()}
    rows = np.flatnonzero(~np.isnan(np.column_stack(list(days.values()))).any(axis=1))
    if len(rows) == 0:
        return {}
    actual = judged["days"].to_numpy(np.float64)[rows]
    records = pd.factorize(judged["deal_id"].iloc[rows])[0].astype("int64")
    figures = {name: _figures(one[rows], actual) for name, one in days.items()}
    drawn = Resamples(records, resamples, seed)
    found: dict[str, Any] = {"n": len(rows), "records": drawn.size, "level": LEVEL}
    for name, columns in figures.items():
        estimates = drawn.means(columns)
        found[name] = {key: one.to_json_dict() for key, one in zip(_FIGURES, estimates, strict=True)}
    ours, theirs = (figures[name] for name in METHODS)
    gains = drawn.means(theirs[:, :2] - ours[:, :2])
    for key, one in zip(("mae_gain", "interval_gain"), gains, strict=True):
        found["stage_durations"][key] = one.to_json_dict()
    return found


def _days(judged: pd.DataFrame, column: str) -> Floats:
    return judged[[f"{column}_{name}_days" for name in ("p10", "p50", "p90")]].to_numpy(np.float64)


def _figures(days: Floats, actual: Floats) -> Floats:
    low, middle, high = days.T
    inside = (low <= actual) & (actual <= high)
    scores = interval_scores(low, high, actual, LEVEL)
    return np.column_stack([np.abs(middle - actual), scores, inside, high - low])
