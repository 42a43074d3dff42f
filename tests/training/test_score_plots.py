"""The plots of scores: reasons add up to the score, effects and truth stand where they belong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crm.history import History
from crm.known import known_at
from crm.simulator import simulate
from features import learn_spec, open_at
from serving.bundle import ModelBundle
from serving.linear import LinearPart, Term
from serving.outcome_model import OutcomeModel
from serving.scoring import Scores, score
from training.plots import shap_sample
from training.score_plots import effects_plot, reasons_plot, truth_plot

UNTIL = pd.Timestamp("2024-10-01", tz="UTC")


@pytest.fixture(scope="module")
def history() -> History:
    """A small simulated CRM."""
    return simulate(300, seed=2, years=1.0).history


@pytest.fixture(scope="module")
def bundle(history: History) -> ModelBundle:
    """A bundle whose only part is linear: a level, and a number that may be missing, among its features."""
    spec = learn_spec(known_at(history, UNTIL), "lead")
    columns = [spec.names.index(name) for name in ("stage", "number_fit_score", "age_days")]
    slopes = ((0, 1.5), (1, 0.4), (2, 0.2))
    terms = tuple(Term(columns[place], "log1p", slope) for place, slope in slopes)
    moment = UNTIL.to_pydatetime()
    model = OutcomeModel("lead", spec, 90.0, linear=LinearPart(terms), base_rate=0.1)
    return ModelBundle({"lead": model}, created_at=moment, trained_through=moment)


@pytest.fixture(scope="module")
def scores(history: History, bundle: ModelBundle) -> Scores:
    """Scores of the leads open then, with two reasons up and two down."""
    ids = list(open_at(history, "lead", UNTIL))
    asked = pd.DataFrame({"record_id": ids, "as_of": UNTIL.as_unit("us")}).astype({"record_id": "str"})
    return score(bundle, history, asked, "lead", top=2)


def test_reasons_lead_from_the_base_to_the_score(scores: Scores) -> None:
    """Each bar begins where the last one ended, the first at the base, the last ends at the score."""
    for row in range(3):
        axes = reasons_plot(scores, row).axes[0]
        effects, ends = axes.containers
        starts = [bar.get_x() for bar in effects]
        steps = [bar.get_width() for bar in effects]
        assert starts[0] == pytest.approx(scores.base_probability)
        assert [a + b for a, b in zip(starts, steps, strict=True)][:-1] == pytest.approx(starts[1:])
        assert starts[-1] + steps[-1] == pytest.approx(scores.probability[row])
        widths = [bar.get_width() for bar in ends]
        assert widths == pytest.approx([scores.base_probability, scores.probability[row]])


def test_reasons_are_named_strongest_first(scores: Scores) -> None:
    """Between base and score, with what they were."""
    axes = reasons_plot(scores, 0).axes[0]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    reasons = sorted((*scores.raising[0], *scores.lowering[0]), key=lambda one: -abs(one.effect))
    told = [f"{one.label}: {one.value}" for one in reasons]
    assert names == ["base", *told, "all other features", "score"]


def test_effects_are_the_model_s_own(history: History, bundle: ModelBundle) -> None:
    """Each dot is a value and its exact contribution; levels are named, what is missing has a line."""
    model = bundle.models["lead"]
    x = shap_sample(history, bundle, "lead")
    figure = effects_plot(model, x, "leads", n=3)
    found = {axes.get_title(): axes for axes in figure.axes}
    assert set(found) == {"Stage", "fit_score", "Age"}
    column = model.spec.names.index("number_fit_score")
    known = np.isfinite(x[:, column])
    assert 0 < known.sum() < len(x)
    dots = next(line for line in found["fit_score"].get_lines() if line.get_marker() == "o")
    assert dots.get_ydata().tolist() == model.contributions(x)[known, column].tolist()
    assert [text.get_text() for text in found["fit_score"].get_legend().get_texts()] == ["where missing"]
    assert found["Age"].get_legend() is None
    assert "new" in {tick.get_text() for tick in found["Stage"].get_xticklabels()}


def test_scores_stand_beside_the_truth() -> None:
    """A record without a score, or without a truth, is left out and not counted."""
    shown, true = np.array([0.1, 0.4, np.nan, 0.2]), np.array([0.2, 0.5, 0.3, np.nan])
    diagonal, dots = truth_plot(shown, true, "leads").axes[0].get_lines()
    assert dots.get_xydata().tolist() == [[0.2, 0.1], [0.5, 0.4]]
    assert dots.get_label() == "2 records"
    assert diagonal.get_xdata().tolist() == diagonal.get_ydata().tolist()


def test_no_record_is_an_empty_frame() -> None:
    """Nothing open is no error in the middle of a story."""
    axes = truth_plot(np.array([]), np.array([]), "deals").axes[0]
    assert axes.get_lines()[1].get_label() == "0 records"
