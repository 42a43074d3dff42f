"""The 80% range as served once forecasts are kept: corrected by how the forecasts before it came out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from crm.known import closing_time
from crm.money import Rates
from serving.forecast.widening import PastErrors, widened
from training.backtest.sales import sales

Floats = npt.NDArray[np.float64]

#: Share that the range is to hold.
LEVEL = 0.8
_DAY = 86_400.0


def corrected_ranges(
    history: History, forecasts: pd.DataFrame, draws: Sequence[Floats], rates: Rates
) -> Floats:
    """Give each forecast's 80% range, widened or narrowed by how the forecasts before it had come out.

    Of a forecast made at a cutoff, those count whose period was over by then, each with the revenue that had
    been recorded by then.

    Parameters
    ----------
    history : History
        As known at the end of observation.
    forecasts : DataFrame, n rows
        With ``cutoff``, ``period_start`` and ``period_end``.
    draws : sequence of ndarray, n
        The simulated totals behind each row.
    rates : Rates

    Returns
    -------
    ndarray of shape (n, 2)
        Low and high.
    """
    won = sales(history, rates)
    recorded = closing_time(history.deals).reindex(won.index)
    days = (forecasts["period_end"] - forecasts["cutoff"]).dt.total_seconds() / _DAY
    order = forecasts.sort_values(["cutoff", "period_end"], kind="stable").index
    found = np.empty((len(forecasts), 2))
    for cutoff, rows in forecasts.groupby("cutoff", sort=True).groups.items():
        known = won[recorded < cutoff]
        over = [row for row in order if forecasts["period_end"].iloc[row] <= cutoff]
        positions = [_position(forecasts.iloc[row], draws[row], known) for row in over]
        past = PastErrors(tuple(float(days.iloc[row]) for row in over), tuple(positions))
        for row in rows:
            found[row] = np.quantile(draws[row], widened(LEVEL, float(days.iloc[row]), past))
    return found


def _position(forecast: pd.Series, drawn: Floats, known: pd.DataFrame) -> float:
    """Give the share of a forecast's distribution below what had come."""
    closed = known["closed_at"]
    inside = (closed >= forecast["period_start"]) & (closed < forecast["period_end"])
    return float(np.mean(drawn < known["amount"][inside].sum()))
