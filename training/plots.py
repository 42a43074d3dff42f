"""The plots of a training: calibration, lift, and which features moved the scores (drawn by ``shap``)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from crm.history import History
from crm.known import known_at
from features import build_features, describe, weekly_snapshots
from serving.bundle import ModelBundle
from serving.outcome_model import OutcomeModel
from training.labels import outcomes, with_lead_outcome
from training.samples import untimed_sample

with warnings.catch_warnings():
    # shap's colours are made with a call that Matplotlib is about to deprecate.
    warnings.filterwarnings(
        "ignore", message="The set_(bad|over|under) function", category=PendingDeprecationWarning
    )
    # In a notebook, its progress bars ask for widgets that nothing here needs.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import shap

Floats = npt.NDArray[np.float64]

#: Rows whose effects are drawn; more would only cover one another.
SHAP_ROWS = 500
_SHOWN = 15
_SEED = 7


def calibration_plot(bins: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Draw what was predicted against what happened.

    Parameters
    ----------
    bins : sequence of mapping
        ``predicted``, ``happened`` and ``n``, as the report holds them.
    title : str
    """
    predicted, happened = _column(bins, "predicted"), _column(bins, "happened")
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot()
    top = max(float(max(predicted.max(), happened.max())) * 1.05, 0.05)
    axes.plot([0, top], [0, top], color="#999999", linewidth=1, label="as predicted")
    axes.plot(predicted, happened, "o-", color="#1f5fa8", label="Vigie")
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="mean probability", ylabel="share won", title=title)
    axes.legend(loc="upper left", frameon=False)
    return figure


def lift_plot(bins: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Draw what share of all wins the best-scored records hold.

    Parameters
    ----------
    bins : sequence of mapping
        As for :func:`calibration_plot`; lowest probability first.
    title : str
    """
    worked, won = cumulative_gain(bins)
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="in any order")
    axes.plot(worked, won, "o-", color="#1f5fa8", label="best scores first")
    axes.set(
        xlim=(0, 1), ylim=(0, 1.02), xlabel="share of moments worked", ylabel="share of wins", title=title
    )
    axes.legend(loc="lower right", frameon=False)
    return figure


def cumulative_gain(bins: Sequence[Mapping[str, float]]) -> tuple[Floats, Floats]:
    """Give the share of rows, best first, and the share of wins that they hold.

    Returns
    -------
    worked, won : ndarray of shape (bins + 1,)
        From 0 to 1.

    Examples
    --------
    >>> worked, won = cumulative_gain(
    ...     [{"happened": 0.1, "n": 10}, {"happened": 0.3, "n": 10}]
    ... )
    >>> worked.tolist(), won.tolist()
    ([0.0, 0.5, 1.0], [0.0, 0.75, 1.0])
    """
    # Bins of weighted rows carry the weight they hold; others hold what they count.
    mass = np.array([float(row.get("share", row["n"])) for row in bins])[::-1]
    wins = _column(bins, "happened")[::-1] * mass
    return (
        np.concatenate([[0.0], np.cumsum(mass) / mass.sum()]),
        np.concatenate([[0.0], np.cumsum(wins) / max(wins.sum(), 1e-300)]),
    )


def shap_plot(model: OutcomeModel, x: Floats, title: str) -> Figure:
    """Draw every feature's exact contributions over some records, as ``shap`` draws them.

    Parameters
    ----------
    model : OutcomeModel
        One with signal.
    x : ndarray of shape (rows, features)
    title : str
    """
    values = model.contributions(x)
    explanation = shap.Explanation(
        values=values,
        base_values=np.full(len(x), model.expected_margin),
        data=x,
        feature_names=[describe(model.spec, name, "en") for name in model.spec.names],
    )
    figure = Figure(figsize=(10, 0.42 * min(_SHOWN, values.shape[1]) + 1.6))
    axes = figure.add_subplot()
    # shap scatters its dots with NumPy's shared generator: it is seeded for the drawing and put back.
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(_SEED)  # noqa: NPY002
        shap.plots.beeswarm(
            explanation,
            max_display=_SHOWN,
            ax=axes,
            plot_size=None,
            show=False,
            group_remaining_features=False,
        )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    axes.set_xlabel("contribution, log-odds")
    axes.set_title(title)
    return figure


def shap_sample(history: History, bundle: ModelBundle, entity: str) -> Floats:
    """Give the features of some of the moments that a model learned from.

    Parameters
    ----------
    history : History
        What it was trained on, or the same history later.
    bundle : ModelBundle
    entity : {"lead", "deal"}

    Returns
    -------
    ndarray of shape (at most SHAP_ROWS, features)
    """
    until = pd.Timestamp(bundle.trained_through)
    known = with_lead_outcome(known_at(history, until), str(bundle.config.get("lead_outcome", "auto")))
    spec = bundle.models[entity].spec
    snapshots = weekly_snapshots(known, entity, until)
    if len(snapshots) == 0:
        x = untimed_sample(known, outcomes(known, entity), spec, until).x
        return x[_some(len(x))]
    chosen = snapshots.iloc[_some(len(snapshots))].reset_index(drop=True)
    return build_features(known, chosen, spec).values  # noqa: PD011 - a FeatureMatrix, not a frame


def draw_all(history: History, bundle: ModelBundle) -> dict[str, Figure]:
    """Draw the plots that a training's report supports.

    Parameters
    ----------
    history : History
    bundle : ModelBundle

    Returns
    -------
    dict of str to Figure
        By file name: ``lead.calibration.png``, ``lead.lift.png``, ``lead.shap.png``; likewise ``deal``. A
        model without a later window has no calibration or lift, one without signal no contributions.
    """
    figures: dict[str, Figure] = {}
    sections: Mapping[str, Any] = bundle.report.get("models", {})
    for entity, model in bundle.models.items():
        bins = sections.get(entity, {}).get("window", {}).get("calibration", [])
        if bins:
            what = f"{entity.capitalize()}s of the later window"
            figures[f"{entity}.calibration.png"] = calibration_plot(bins, f"{what}: predicted and happened")
            figures[f"{entity}.lift.png"] = lift_plot(bins, f"{what}: wins found")
        if model.signal and model.spec.names:
            x = shap_sample(history, bundle, entity)
            if len(x):
                figures[f"{entity}.shap.png"] = shap_plot(
                    model, x, f"{entity.capitalize()}s: what moves the score"
                )
    return figures


def _column(bins: Sequence[Mapping[str, float]], name: str) -> Floats:
    return np.array([float(row[name]) for row in bins])


def _some(n: int) -> npt.NDArray[np.intp]:
    if n <= SHAP_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(_SEED).choice(n, SHAP_ROWS, replace=False))
