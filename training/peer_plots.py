"""The plots that put Vigie beside what people use today, from a backtest's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from training.backtest.words import METHODS, in_order

_BLUE, _GREY = "#1f5fa8", "#8a8a8a"
#: How each method's line is drawn.
_LINES: Mapping[str, tuple[str, str]] = {
    "vigie": (_BLUE, "-"),
    "base_rate": ("#bbbbbb", "-"),
    "stage_rates": ("#b35900", "--"),
    "logistic_regression": ("#5a8f3c", "-."),
    "plain_lightgbm": ("#8d5aa8", ":"),
}
#: Colour of a gain whose interval is above zero, holds it, or is below it.
_SURE, _UNSURE, _WORSE = _BLUE, "#8a8a8a", "#d1495b"


def reliability_plot(section: Mapping[str, Any], title: str) -> Figure:
    """Draw the share won against the chance shown, by tenth of the scale, with 90% intervals.

    Parameters
    ----------
    section : mapping
        ``deals`` or ``leads`` of a backtest's report, judged.
    title : str
    """
    rows = section["reliability"]
    shown, happened = (np.array([row[name] for row in rows]) for name in ("shown", "happened"))
    ends = [
        (row["happened"], row["happened"]) if row["low"] is None else (row["low"], row["high"])
        for row in rows
    ]
    reach = np.clip([happened - [low for low, _ in ends], [high for _, high in ends] - happened], 0, None)
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="as shown")
    axes.errorbar(shown, happened, reach, fmt="none", ecolor=_BLUE, capsize=3, lw=1)
    size = np.array([row["n"] for row in rows], np.float64)
    axes.scatter(
        shown,
        happened,
        20 + 160 * size / size.max(),
        color=_BLUE,
        label="Vigie; area: how many",
        zorder=3,
        clip_on=False,
    )
    percent = PercentFormatter(1.0, decimals=0)
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="chance shown", ylabel="share won", title=title)
    axes.legend(loc="upper left", frameon=False)
    return figure


def gains_plot(section: Mapping[str, Any], title: str) -> Figure:
    """Draw what share of all wins the best-scored records hold, by method.

    Parameters
    ----------
    section : mapping
        As for :func:`reliability_plot`.
    title : str
    """
    shares = section["gain_shares"]
    figure = Figure(figsize=(5.8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in reversed(in_order(section["gains"]).items()):
        colour, line = _LINES[name]
        width = 2.2 if name == "vigie" else 1.4
        axes.plot(shares, curve, line, color=colour, linewidth=width, label=METHODS[name])
    percent = PercentFormatter(1.0, decimals=0)
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), title=title)
    axes.set(xlabel="share of records worked, best score first", ylabel="share of wins among them")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="lower right", frameon=False)
    return figure


def advantage_plot(measures: Mapping[str, Mapping[str, Any]], gain: str, title: str, xlabel: str) -> Figure:
    """Draw by how much Vigie is better than each baseline, with the 90% interval.

    Parameters
    ----------
    measures : mapping
        By method, as a backtest's report holds them under ``measures`` or a horizon's ``methods``.
    gain : str
        Which one: ``log_loss_gain``, ``auc_gain``, ``brier_gain``, ``wape_gain`` or ``crps_gain``.
    title, xlabel : str
    """
    found = {name: row[gain] for name, row in in_order(measures).items() if gain in row}
    found = {name: one for name, one in found.items() if one["value"] is not None}
    at = np.arange(len(found))[::-1]
    figure = Figure(figsize=(7, 1.4 + 0.42 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="#444444", linewidth=1)
    for y, one in zip(at, found.values(), strict=True):
        low, high = (one["value"] if one[end] is None else one[end] for end in ("low", "high"))
        colour = _SURE if low > 0 else _WORSE if high < 0 else _UNSURE
        axes.plot([low, high], [y, y], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot(one["value"], y, "o", color=colour, markersize=8)
    axes.set_yticks(at, [f"than {METHODS[name]}" for name in found])
    axes.set(ylim=(-0.7, len(found) - 0.3), xlabel=f"{xlabel}\n← Vigie worse · Vigie better →", title=title)
    return figure


def calls_plot(calls: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw what share of the wins is reached by so many calls a rep, by whom to call first.

    Parameters
    ----------
    calls : sequence of mapping
        As a backtest's report holds them.
    title : str
    """
    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    axes = figure.add_subplot()
    at = np.arange(len(calls))
    kinds = (
        ("vigie", "best score first", _BLUE),
        ("newest_first", "newest first", "#b35900"),
        ("random", "in any order", _GREY),
    )
    for place, (name, label, colour) in enumerate(kinds):
        share = [call[name]["value"] for call in calls]
        bars = axes.bar(at + 0.27 * (place - 1), share, 0.25, color=colour, label=label)
        axes.bar_label(bars, [f"{100 * value:.0f}%" for value in share], fontsize=8, padding=1)
    axes.set_xticks(at, [f"{call['k']} calls a rep\n{100 * call['called']:.0f}% of all" for call in calls])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(ylim=(0, 1.1), ylabel="share of wins reached", title=title)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure
