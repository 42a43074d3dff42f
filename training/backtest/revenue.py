"""How good the forecasts of revenue were, by horizon, beside what people use today."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from crm.money import Rates
from training.backtest.correction import LEVEL, corrected_ranges
from training.backtest.prediction import FORECAST_BASELINES, quantile_name
from training.backtest.probabilities import VIGIE
from training.backtest.resampling import Estimate, blocks, interval
from training.backtest.sales import sales
from training.metrics import crps

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Central ranges that are judged, and the quantiles at their ends.
RANGES = {0.5: (0.25, 0.75), 0.8: (0.1, 0.9), 0.95: (0.025, 0.975)}


def follow_forecasts(
    history: History,
    forecasts: pd.DataFrame,
    draws: Sequence[Floats],
    end: pd.Timestamp,
    rates: Rates | None = None,
) -> pd.DataFrame:
    """Put the revenue that came beside each forecast.

    Revenue of a period is the amount of the deals won in it, by the day they were closed, as known at the
    end of observation.

    Parameters
    ----------
    history : History
        As known at ``end``.
    forecasts : DataFrame, n rows
    draws : sequence of ndarray, n
        The simulated totals behind each row.
    end : Timestamp
        End of observation.
    rates : Rates, optional

    Returns
    -------
    DataFrame
        The forecasts with ``is_judged`` (the period is over), ``actual``, ``n_won`` and ``crps``, and the 80%
        range as corrected by the forecasts before it, ``corrected_low`` to ``corrected_high``.
    """
    if len(forecasts) == 0:
        return forecasts
    given = rates or Rates.none()
    won = sales(history, given)
    judged = (forecasts["period_end"] <= end).to_numpy()
    actual, n_won, scores = (np.full(len(forecasts), np.nan) for _ in range(3))
    spans = zip(forecasts["period_start"], forecasts["period_end"], strict=True)
    for row, (start, stop) in enumerate(spans):
        if judged[row]:
            inside = (won["closed_at"] >= start) & (won["closed_at"] < stop)
            actual[row], n_won[row] = won["amount"][inside].sum(), inside.sum()
            scores[row] = crps(draws[row][None, :], actual[row : row + 1])[0]
    ranges = corrected_ranges(history, forecasts, draws, given)
    return forecasts.assign(
        is_judged=judged,
        actual=actual,
        n_won=n_won,
        crps=scores,
        corrected_low=ranges[:, 0],
        corrected_high=ranges[:, 1],
    )


def judge_forecasts(followed: pd.DataFrame, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Judge the forecasts of each horizon.

    Parameters
    ----------
    followed : DataFrame
        As :func:`follow_forecasts` gives it.
    resamples, seed : int

    Returns
    -------
    list of dict
        Plain JSON, one a horizon, shortest first: ``n`` (periods judged), ``actual`` (their revenue),
        ``block`` (consecutive cutoffs drawn together), ``coverage`` by range with the count, ``corrected``
        (the same of the corrected 80% range), and ``methods``:
        ``n``, ``wape``, ``bias`` and ``crps`` (as a share of the mean revenue), and of the baselines
        ``wape_gain`` and ``crps_gain``, how much better Vigie is on the periods for which the baseline has a
        forecast, above zero where it is. A baseline's forecast is one number, and so its CRPS is its absolute
        error.
    """
    if len(followed) == 0:
        return []
    over = followed[followed["is_judged"]].sort_values("period_start", kind="stable")
    parts = [(name, part) for name, part in over.groupby("horizon", sort=False)]
    parts.sort(key=lambda one: (one[1]["period_end"] - one[1]["period_start"]).mean())
    return [{"horizon": str(name), **_judge(part, resamples, seed)} for name, part in parts]


def _judge(part: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    actual = part["actual"].to_numpy(np.float64)
    length = _block(part)
    drawn = blocks(len(part), length, resamples, seed)
    error, scores = part["mean"].to_numpy(np.float64) - actual, part["crps"].to_numpy(np.float64)
    methods: dict[str, Any] = {VIGIE: {"n": len(part), **_errors(error, scores, actual, drawn)}}
    for name in FORECAST_BASELINES:
        # Where a history was too young for one of them, both are compared on the rest.
        rows = np.flatnonzero(part[name].notna())
        if len(rows):
            theirs, came = part[name].to_numpy(np.float64)[rows] - actual[rows], actual[rows]
            some = blocks(len(rows), length, resamples, seed)
            found = _errors(theirs, np.abs(theirs), came, some)
            gains = (np.abs(theirs) - np.abs(error[rows]), np.abs(theirs) - scores[rows])
            for key, gain in zip(("wape_gain", "crps_gain"), gains, strict=True):
                found[key] = _share(gain, came, some).to_json_dict()
            methods[name] = {"n": len(rows), **found}
    return {
        "n": len(part),
        "actual": float(actual.sum()),
        "block": length,
        "coverage": [
            _coverage(part, (quantile_name(low), quantile_name(high)), actual, level, drawn)
            for level, (low, high) in RANGES.items()
        ],
        "corrected": _coverage(part, ("corrected_low", "corrected_high"), actual, LEVEL, drawn),
        "methods": methods,
    }


def _errors(error: Floats, scores: Floats, actual: Floats, drawn: Ints) -> dict[str, Any]:
    figures = {"wape": np.abs(error), "bias": error, "crps": scores}
    return {name: _share(values, actual, drawn).to_json_dict() for name, values in figures.items()}


def _block(part: pd.DataFrame) -> int:
    """Give how many consecutive cutoffs share what happens in their periods."""
    if len(part) < 2:
        return 1
    days = (part["period_end"] - part["period_start"]).dt.total_seconds().mean()
    apart = float(part["period_start"].diff().dt.total_seconds().median())
    return max(1, min(math.ceil(float(days) / apart - 1e-9), len(part)))


def _share(values: Floats, actual: Floats, drawn: Ints) -> Estimate:
    """Give sums as shares of the revenue, with an interval by blocks."""
    came = np.abs(actual)
    total = came.sum()
    if total <= 0:
        return Estimate(math.nan, math.nan, math.nan)
    below = came[drawn].sum(axis=1)
    shares = np.divide(values[drawn].sum(axis=1), below, out=np.full(len(drawn), np.nan), where=below > 0)
    return interval(float(values.sum() / total), shares)


def _coverage(
    part: pd.DataFrame, ends: tuple[str, str], actual: Floats, level: float, drawn: Ints
) -> dict[str, Any]:
    low, high = (part[end].to_numpy(np.float64) for end in ends)
    held = ((low <= actual) & (actual <= high)).astype(np.float64)
    found = interval(float(held.mean()), held[drawn].mean(axis=1))
    return {"level": level, "held": int(held.sum()), "n": len(held), **found.to_json_dict()}
