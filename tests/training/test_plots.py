"""The plots: what they draw is what the report and the model say."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from crm.history import History
from crm.known import known_at
from crm.simulator import simulate
from features import learn_spec
from serving.bundle import ModelBundle
from serving.linear import LinearPart, Term
from serving.outcome_model import OutcomeModel
from training.plots import (
    SHAP_ROWS,
    calibration_plot,
    cumulative_gain,
    draw_all,
    lift_plot,
    shap_plot,
    shap_sample,
)

BINS = [{"predicted": 0.1, "happened": 0.05, "n": 50}, {"predicted": 0.6, "happened": 0.7, "n": 50}]
UNTIL = pd.Timestamp("2024-10-01", tz="UTC")


@pytest.fixture(scope="module")
def history() -> History:
    """Give a small simulated CRM."""
    return simulate(300, seed=2, years=1.0).history


@pytest.fixture(scope="module")
def bundle(history: History) -> ModelBundle:
    """Give a bundle whose only part is linear, with a report of two bins."""
    spec = learn_spec(known_at(history, UNTIL), "lead")
    terms = tuple(Term(column, "log1p", 0.3) for column in range(5))
    model = OutcomeModel("lead", spec, 90.0, linear=LinearPart(terms))
    moment = UNTIL.to_pydatetime()
    report = {"models": {"lead": {"window": {"calibration": BINS}}}}
    return ModelBundle({"lead": model}, created_at=moment, trained_through=moment, report=report)


def test_calibration_shows_each_bin() -> None:
    """The line runs through predicted and happened, the diagonal beside it."""
    axes = calibration_plot(BINS, "deals").axes[0]
    diagonal, line = axes.get_lines()
    assert line.get_xydata().tolist() == [[0.1, 0.05], [0.6, 0.7]]
    assert np.diff(diagonal.get_xydata(), axis=1).tolist() == [[0.0], [0.0]]
    assert axes.get_title() == "deals"


def test_lift_starts_with_the_best_scores() -> None:
    """Half of the moments, the best scored, hold 14 of 15 wins."""
    line = lift_plot(BINS, "deals").axes[0].get_lines()[1]
    assert line.get_xydata() == pytest.approx(np.array([[0, 0], [0.5, 0.7 / 0.75], [1, 1]]))


def test_lift_counts_bins_by_their_weight() -> None:
    """Where rows are weighted, a bin is as wide as the weight it holds."""
    weighted = [{**BINS[0], "share": 0.75}, {**BINS[1], "share": 0.25}]
    worked, won = cumulative_gain(weighted)
    assert worked.tolist() == [0.0, 0.25, 1.0]
    assert won[1] == pytest.approx(0.25 * 0.7 / (0.25 * 0.7 + 0.75 * 0.05))


def test_the_shap_plot_draws_exact_contributions(history: History, bundle: ModelBundle) -> None:
    """The dots of the strongest feature lie at its contributions, under its label."""
    model = bundle.models["lead"]
    x = shap_sample(history, bundle, "lead")
    assert 50 < len(x) <= SHAP_ROWS
    axes = shap_plot(model, x, "leads").axes[0]
    strength = np.abs(model.contributions(x)).mean(axis=0)
    strongest = int(np.argmax(strength))
    drawn = np.sort(np.concatenate([dots.get_offsets()[:, 0] for dots in axes.collections]))
    wanted = model.contributions(x)[:, strongest]
    assert np.isin(np.round(wanted, 9), np.round(drawn, 9)).all()
    assert axes.get_xlabel() == "contribution, log-odds"


def test_the_same_training_draws_the_same_picture(history: History, bundle: ModelBundle) -> None:
    """Drawing twice gives the same dots, and leaves NumPy's shared generator where it was."""
    x = shap_sample(history, bundle, "lead")
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    pictures = []
    for _ in range(2):
        buffer = io.BytesIO()
        shap_plot(bundle.models["lead"], x, "leads").savefig(buffer, format="raw")
        pictures.append(buffer.getvalue())
    assert pictures[0] == pictures[1]
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_the_sample_holds_nothing_known_later(history: History, bundle: ModelBundle) -> None:
    """The drawn moments are the same, whatever was recorded after the training."""
    cut = shap_sample(known_at(history, UNTIL), bundle, "lead")
    assert np.array_equal(shap_sample(history, bundle, "lead"), cut, equal_nan=True)


def test_only_what_the_report_supports_is_drawn(history: History, bundle: ModelBundle) -> None:
    """Without a window no calibration or lift, without signal no contributions."""
    assert set(draw_all(history, bundle)) == {"lead.calibration.png", "lead.lift.png", "lead.shap.png"}
    model = bundle.models["lead"]
    moment = UNTIL.to_pydatetime()
    dull = OutcomeModel("lead", model.spec, 90.0, signal=False)
    assert draw_all(history, ModelBundle({"lead": dull}, created_at=moment, trained_through=moment)) == {}
