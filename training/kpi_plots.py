"""The plot of KPIs over time, each beside the range that its own past made normal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from crm.groups import TOTAL
from features.kpis import KPIS
from training.backtest.charts import short_amount
from training.plot_axes import date_ticks

Floats = npt.NDArray[np.float64]

_BLUE, _FLAG = "#1f5fa8", "#d1495b"
_COLUMNS = 2
#: Share of the values' height that is left free above and below them.
_ROOM = 0.6


def trend_plot(trends: pd.DataFrame) -> Figure:
    """Draw the total of each KPI over time, its normal range, and where it left it.

    Parameters
    ----------
    trends : DataFrame
        Of :func:`features.kpis.trends.find_trends`.
    """
    totals = trends[(trends["group"] == TOTAL) & (trends["detail"] == "") & trends["value"].notna()]
    names = list(totals["kpi"].unique())
    n_rows = max(-(-len(names) // _COLUMNS), 1)
    figure = Figure(figsize=(10, 2.6 * n_rows), layout="constrained")
    for place, name in enumerate(names):
        rows = totals[totals["kpi"] == name].sort_values("period_start")
        _draw(figure.add_subplot(n_rows, _COLUMNS, place + 1), str(name), rows)
    return figure


def _draw(axes: Axes, name: str, rows: pd.DataFrame) -> None:
    at = rows["period_start"].dt.tz_localize(None).to_numpy()
    low, high, value = (rows[column].to_numpy(np.float64) for column in ("low", "high", "value"))
    has_range = np.isfinite(low) & np.isfinite(high)
    axes.fill_between(at, low, high, where=has_range, color=_BLUE, alpha=0.15, lw=0, label="normal range")
    axes.plot(at, value, "o-", color=_BLUE, markersize=3, label="measured")
    flagged = rows["is_flagged"].to_numpy(bool)
    if flagged.any():
        axes.plot(at[flagged], value[flagged], "o", color=_FLAG, markersize=8, label="outside")
    unit = str(rows["unit"].iloc[0])
    # A range made of a short past may be so wide that the values would be a flat line beside it.
    bottom, top = min(float(value.min()), 0.0), max(float(value.max()), 0.0)
    room = max(_ROOM * (top - bottom), 1e-9)
    axes.set_ylim(bottom - room if bottom < 0 else 0.0, top + room)
    percent = PercentFormatter(1.0, decimals=0)
    axes.yaxis.set_major_formatter(percent if unit == "ratio" else FuncFormatter(_short))
    date_ticks(axes, rows["period_start"], most=6)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_title(KPIS[name].label_en if unit == "ratio" else f"{KPIS[name].label_en}, {unit}", fontsize=10)
    axes.legend(loc="best", frameon=False, fontsize=8)


def _short(value: float, _: int) -> str:
    return short_amount(value)
