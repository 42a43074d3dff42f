"""The plots of scores: one record's reasons, what single features do, and scores beside the truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from features import categorical_names, describe, format_value
from serving.outcome_model import OutcomeModel
from serving.scoring import Scores
from training.plot_axes import counted, in_lines

Floats = npt.NDArray[np.float64]

_BLUE, _RED, _GREY = "#1f5fa8", "#d1495b", "#8a8a8a"
_COLUMNS = 3


def reasons_plot(scores: Scores, row: int) -> Figure:
    """Draw how one record's probability is made: from the base, reason by reason.

    Parameters
    ----------
    scores : Scores
    row : int
        The place of a record that has a score.
    """
    reasons = sorted((*scores.raising[row], *scores.lowering[row]), key=lambda one: -abs(one.effect))
    names = [f"{one.label}: {one.value}" for one in reasons]
    effects = np.array([*(one.effect for one in reasons), float(scores.other_effects[row])])
    starts = scores.base_probability + np.concatenate([[0.0], np.cumsum(effects)[:-1]])
    probability = float(scores.probability[row])
    figure = Figure(figsize=(9, 1.5 + 0.36 * (len(effects) + 2)), layout="constrained")
    axes = figure.add_subplot()
    at = np.arange(len(effects)) + 1
    axes.barh(at, effects, left=starts, color=np.where(effects > 0, _BLUE, _RED), height=0.6)
    axes.barh([0, len(effects) + 1], [scores.base_probability, probability], color=_GREY, height=0.6)
    ends = [scores.base_probability, *np.maximum(starts, starts + effects), probability]
    points = [f"{100 * effect:+.1f}" for effect in effects]
    texts = [f"{100 * scores.base_probability:.1f}%", *points, f"{100 * probability:.1f}%"]
    for y, (end, text) in enumerate(zip(ends, texts, strict=True)):
        axes.annotate(text, (end, y), (4, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(texts)), ["base", *names, "all other features", "score"])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.margins(x=0.08)
    axes.set(xlim=(0, None), xlabel="probability", title=f"Why {scores.record_id[row]} has its score")
    return figure


def effects_plot(model: OutcomeModel, x: Floats, title: str, n: int = 6) -> Figure:
    """Draw the exact contributions of the features that move scores most, over their values.

    Parameters
    ----------
    model : OutcomeModel
        One with signal.
    x : ndarray of shape (rows, features)
    title : str
    n : int
        How many features, at most.
    """
    values = model.contributions(x)
    strongest = np.argsort(-np.abs(values).mean(axis=0), kind="stable")[:n]
    n_rows = max(-(-len(strongest) // _COLUMNS), 1)
    figure = Figure(figsize=(11, 2.9 * n_rows), layout="constrained")
    figure.suptitle(title)
    for place, column in enumerate(strongest):
        name = model.spec.names[column]
        axes = figure.add_subplot(n_rows, _COLUMNS, place + 1)
        axes.axhline(0, color="#999999", linewidth=1)
        known = np.isfinite(x[:, column])
        axes.plot(x[known, column], values[known, column], "o", color=_BLUE, markersize=3, alpha=0.4)
        if not known.all():
            # What is missing has an effect of its own.
            axes.axhline(values[~known, column].mean(), color=_RED, linestyle=":", label="where missing")
            axes.legend(loc="best", frameon=False, fontsize=8)
        if name in categorical_names(model.spec):
            codes = np.unique(x[known, column])
            levels = [format_value(model.spec, name, code, "en") for code in codes.tolist()]
            axes.set_xticks(codes, levels, rotation=30, ha="right", fontsize=8)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_title(in_lines(describe(model.spec, name, "en")), fontsize=9)
        if place % _COLUMNS == 0:
            axes.set_ylabel("contribution, log-odds")
    return figure


def truth_plot(shown: Floats, true: Floats, title: str) -> Figure:
    """Draw the probabilities shown against the true ones, which only a simulation knows.

    Parameters
    ----------
    shown, true : ndarray of shape (n,)
        Rows in which one of them is NaN are left out.
    title : str
    """
    both = np.isfinite(shown) & np.isfinite(true)
    top = min(1.0, 1.1 * max(shown[both].max(initial=0.0), true[both].max(initial=0.0), 0.05))
    figure = Figure(figsize=(5.2, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, top], [0, top], color="#999999", linewidth=1, label="the truth")
    label = counted(int(both.sum()), "record")
    axes.plot(true[both], shown[both], "o", color=_BLUE, markersize=4, alpha=0.5, label=label)
    percent = PercentFormatter(1.0, decimals=0)
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="true probability", ylabel="probability shown", title=title)
    axes.set_aspect("equal")
    axes.legend(loc="upper left", frameon=False)
    return figure
