"""The plots of forecasts: what they are made of, what came of earlier ones, how far they missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from crm.groups import TOTAL
from serving.forecast.rows import range_names
from training.backtest.charts import short_amount
from training.backtest.words import METHODS, in_order, length_in_words
from training.plot_axes import counted, date_ticks

if TYPE_CHECKING:
    from serving.forecast import Forecast

#: The three parts of a forecast, what they are called, and their colours.
_PARTS = (
    ("closed", "closed already", "#1f5fa8"),
    ("open_mean", "from open deals", "#7fb0e3"),
    ("new_mean", "from deals to come", "#cfe0f3"),
)
_BESIDE = (("stage_weighted", "^", "#b35900"), ("run_rate", "s", "#777777"), ("quota", "_", "#000000"))
_BLUE, _CAME = "#1f5fa8", "#d1495b"
#: Colours of the methods that are no model.
COLOURS = {"vigie": _BLUE, "stage_weighted": "#b35900", "run_rate": "#8a8a8a", "series": "#c9c9c9"}


def parts_plot(found: Forecast, title: str) -> Figure:
    """Draw the total of each period by its parts, with the range and what stands beside it.

    Parameters
    ----------
    found : Forecast
    title : str
    """
    rows = found.rows[found.rows["group"] == TOTAL]
    at = np.arange(len(rows))
    figure = Figure(figsize=(min(2.5 + 1.1 * len(rows), 11), 4.2), layout="constrained")
    axes = figure.add_subplot()
    bottom = np.zeros(len(rows))
    for column, name, colour in _PARTS:
        height = rows[column].to_numpy(np.float64)
        axes.bar(at, height, 0.62, bottom=bottom, color=colour, label=name)
        bottom += height
    low, _, high = (rows[name].to_numpy(np.float64) for name in range_names(found.level))
    mean = rows["mean"].to_numpy(np.float64)
    reach = np.clip([mean - low, high - mean], 0, None)
    axes.errorbar(
        at, mean, reach, fmt="none", ecolor="#222222", capsize=5, label=f"{100 * found.level:g}% range"
    )
    for column, marker, colour in _BESIDE:
        beside = rows[column].to_numpy(np.float64)
        if np.isfinite(beside).any():
            name = METHODS.get(column, column)
            axes.plot(at, beside, marker, color=colour, markersize=11 if marker == "_" else 6, label=name)
    axes.set_xticks(at, [period.name for period in found.periods])
    _money(axes, found.currency)
    axes.set(title=title, ylim=(0, None))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def fan_plot(forecasts: pd.DataFrame, horizon: str) -> Figure:
    """Draw what was forecast at each cutoff for one horizon, with ranges, and what came.

    Parameters
    ----------
    forecasts : DataFrame
        Of a :class:`training.backtest.Backtest`.
    horizon : str
        One of those in it.
    """
    rows = forecasts[forecasts["horizon"] == horizon].sort_values("period_start")
    at = rows["period_start"].dt.tz_localize(None).to_numpy()
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for low, high, share, shade in (("q100", "q900", 80, 0.18), ("q250", "q750", 50, 0.28)):
        axes.fill_between(at, rows[low], rows[high], color=_BLUE, alpha=shade, lw=0, label=f"{share}% range")
        if len(rows) == 1:
            axes.vlines(at, rows[low], rows[high], color=_BLUE, alpha=shade, linewidth=14)
    axes.plot(at, rows["mean"], "o-", color=_BLUE, markersize=4, label="forecast")
    for name in ("stage_weighted", "run_rate"):
        if rows[name].notna().any():
            style = "--" if name == "stage_weighted" else ":"
            axes.plot(at, rows[name], style, color=COLOURS[name], label=METHODS[name])
    came = rows["is_judged"].to_numpy(bool)
    axes.plot(at[came], rows["actual"][came], "D", color=_CAME, markersize=6, label="what came")
    currency = str(rows["currency"].iloc[0]) if len(rows) else ""
    _money(axes, currency)
    title = f"Revenue of the next {length_in_words(horizon)}, as forecast at each cutoff"
    axes.set(title=title, xlabel="forecast made", ylim=(0, None))
    date_ticks(axes, rows["period_start"])
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def miss_plot(horizons: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the WAPE of each method by horizon, with 90% intervals.

    Parameters
    ----------
    horizons : sequence of mapping
        As a backtest's report holds them under ``forecast``.
    """
    names = list(in_order({name: None for one in horizons for name in one["methods"]}))
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / max(len(names), 1)
    for place, name in enumerate(names):
        wapes = [one["methods"].get(name, {}).get("wape") for one in horizons]
        known = [(at, wape) for at, wape in enumerate(wapes) if wape and wape["value"] is not None]
        at = np.array([at for at, _ in known]) + (place - (len(names) - 1) / 2) * width
        values = np.array([wape["value"] for _, wape in known])
        bars = axes.bar(at, values, 0.92 * width, color=COLOURS[name], label=METHODS[name])
        axes.errorbar(at, values, _reach([wape for _, wape in known]), fmt="none", ecolor="#222222", lw=1)
        ink = "#000000" if name == "series" else "#ffffff"
        for bar, value in zip(bars, values, strict=True):
            # At the foot of its bar, where no interval crosses it.
            foot = (bar.get_x() + bar.get_width() / 2, 0)
            text = f"{100 * value:.0f}%"
            axes.annotate(text, foot, (0, 3), textcoords="offset points", ha="center", color=ink, fontsize=9)
    axes.set_xticks(
        range(len(horizons)),
        [f"next {length_in_words(one['horizon'])}\n{counted(one['n'], 'forecast')}" for one in horizons],
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(ylabel="mean miss, share of revenue (WAPE)", title="How far forecasts missed; shorter is better")
    if names:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def coverage_plot(horizons: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw how often the ranges held against how often they were to hold, by horizon.

    Parameters
    ----------
    horizons : sequence of mapping
        As for :func:`miss_plot`.
    """
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="as promised")
    shades = np.linspace(1.0, 0.45, len(horizons))
    for place, (one, shade) in enumerate(zip(horizons, shades, strict=True)):
        shift = 0.012 * (place - (len(horizons) - 1) / 2)
        promised = np.array([row["level"] for row in one["coverage"]]) + shift
        held = np.array([row["value"] for row in one["coverage"]])
        label = f"next {length_in_words(one['horizon'])}, {counted(one['n'], 'forecast')}"
        axes.errorbar(
            promised,
            held,
            _reach(one["coverage"]),
            fmt="o-",
            color=_BLUE,
            alpha=float(shade),
            capsize=3,
            label=label,
        )
    percent = PercentFormatter(1.0, decimals=0)
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    axes.set(xlim=(0.4, 1.02), ylim=(0, 1.05), xlabel="range was to hold", ylabel="range held")
    axes.set_title("Do the ranges hold as often as they promise?")
    axes.legend(loc="lower right", frameon=False)
    return figure


def _reach(found: Sequence[Mapping[str, Any]]) -> np.ndarray[Any, Any]:
    """Give how far intervals reach below and above their figures; nowhere where there is none."""
    rows = [
        (0.0, 0.0) if one["low"] is None else (one["value"] - one["low"], one["high"] - one["value"])
        for one in found
    ]
    return np.clip(np.array(rows, np.float64).reshape(-1, 2).T, 0.0, None)


def _money(axes: Axes, currency: str) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_amount(value)))
    axes.set_ylabel(f"revenue, {currency}" if currency else "revenue")
