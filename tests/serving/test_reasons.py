"""Effects add up to the probability shown, and are the scaled contributions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle import ModelBundle
from serving.calibration import Calibrator
from serving.outcome_model import OutcomeModel
from serving.reasons import SMALLEST_EFFECT, Groups, explain, strongest

MODELS: dict[str, OutcomeModel] = {}
CALIBRATORS = {
    "identity": Calibrator(),
    "platt": Calibrator("platt", 2.5, -1.0),
    "isotonic": Calibrator("isotonic", knots=((-1.0, 0.0), (-0.2, 0.3), (0.2, 0.3), (0.4, 1.0))),
}


@pytest.fixture(scope="module", autouse=True)
def models(bundle: ModelBundle) -> None:
    """Keep the models for the property tests."""
    MODELS.update(bundle.models)


def random_rows(model: OutcomeModel, rows: int, seed: int) -> np.ndarray:
    """Give any features: numbers of any size, and missing ones."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, len(model.spec.names))) * rng.choice([0.1, 3, 100], (rows, 1))
    x[rng.random(x.shape) < 0.3] = np.nan
    return x


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["lead", "deal"]),
    st.sampled_from(list(CALIBRATORS)),
    st.integers(1, 30),
    st.integers(0, 10_000),
)
def test_effects_sum_to_the_probability(entity: str, calibrator: str, rows: int, seed: int) -> None:
    """Base and effects sum to the calibrated probability, with a linear part and without, by any map."""
    model = dataclasses.replace(MODELS[entity], calibrator=CALIBRATORS[calibrator])
    x = random_rows(model, rows, seed)
    found = explain(model, x)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.probability, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(found.probability, model.probability(model.margin(x)))
    groups = Groups.of(model.spec).effects(found.values)
    np.testing.assert_allclose(groups.sum(axis=1), found.values.sum(axis=1), rtol=0, atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["lead", "deal"]), st.integers(0, 10_000))
def test_effects_are_the_contributions_scaled(entity: str, seed: int) -> None:
    """All effects of a record are its log-odds contributions times one number that is not negative."""
    model = MODELS[entity]
    x = random_rows(model, 5, seed)
    contributions = model.contributions(x)
    np.testing.assert_allclose(
        model.expected_margin + contributions.sum(axis=1), model.margin(x), rtol=0, atol=1e-9
    )
    values = explain(model, x).values
    scale = (values * contributions).sum(axis=1) / (contributions**2).sum(axis=1)
    np.testing.assert_allclose(values, scale[:, None] * contributions, rtol=0, atol=1e-12)
    assert (scale >= 0).all()


def test_a_margin_that_does_not_move_divides_by_nothing() -> None:
    """Where contributions cancel out, effects follow the map's slope instead of 0 divided by 0."""
    lead = MODELS["lead"]
    x = random_rows(lead, 1, 3)
    contributions = lead.contributions(x)

    class Balanced(OutcomeModel):
        def contributions(self, x: np.ndarray) -> np.ndarray:
            moved = contributions.copy()
            moved[0, 0] -= moved.sum()
            return moved

        def margin(self, x: np.ndarray) -> np.ndarray:
            return np.array([self.expected_margin])

        def explained(self, x: np.ndarray, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
            return self.margin(x), self.contributions(x)

    fields = {f.name: getattr(lead, f.name) for f in dataclasses.fields(lead)}
    model = Balanced(**fields | {"calibrator": Calibrator()})
    found = explain(model, x)
    slope = found.base * (1 - found.base)
    np.testing.assert_allclose(found.values, model.contributions(x) * slope, rtol=1e-6, atol=1e-12)
    assert found.base + found.values.sum() == pytest.approx(found.probability[0], abs=1e-15)
    assert np.abs(found.values).max() > 0.001


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_some_rows_can_be_left_without_reasons(entity: str) -> None:
    """Rows that are not explained have the probability they would have, and change nothing of the others."""
    model = MODELS[entity]
    x = random_rows(model, 7, 5)
    some, everything = explain(model, x, 3), explain(model, x)
    np.testing.assert_array_equal(some.probability, everything.probability[:3])
    np.testing.assert_array_equal(some.values, everything.values[:3])
    np.testing.assert_array_equal(some.further, everything.probability[3:])


def test_no_signal_gives_the_base_rate_and_no_effect() -> None:
    """Where training found no skill, every record gets the base rate and nothing is said to matter."""
    model = dataclasses.replace(MODELS["deal"], signal=False, base_rate=0.31)
    found = explain(model, random_rows(model, 4, 0))
    assert found.base == 0.31
    assert (found.probability == 0.31).all()
    assert not found.values.any()


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["lead", "deal"]), st.integers(2, 60), st.integers(0, 10_000))
def test_one_record_alone_is_explained_as_in_a_batch(entity: str, rows: int, seed: int) -> None:
    """A record's probability and effects are equal bit for bit alone and in a batch."""
    model = MODELS[entity]
    x = random_rows(model, rows, seed)
    many = explain(model, x)
    for row in (0, rows - 1):
        one = explain(model, x[[row]])
        np.testing.assert_array_equal(one.probability[0], many.probability[row])
        np.testing.assert_array_equal(one.values[0], many.values[row])


def test_windows_of_one_thing_are_one_reason() -> None:
    """Counts of one group over 7, 30 and 90 days are one group; the count of all time is another."""
    spec = MODELS["lead"].spec
    groups = [{spec.names[c] for c in row if c >= 0} for row in Groups.of(spec).members]
    assert {"count_activity_7d", "count_activity_30d", "count_activity_90d"} in groups
    assert {"count_activity"} in groups
    assert sorted(name for group in groups for name in group) == sorted(spec.names)


def test_strongest_are_in_order_and_large_enough() -> None:
    """The strongest come first, the first of equals wins, and what rounds to nothing is left out."""
    values = np.array([[0.1, -0.2, 0.3, 0.1, SMALLEST_EFFECT / 2, -0.01]])
    raising, lowering = strongest(values, 4)
    assert raising.tolist() == [[2, 0, 3, -1]]
    assert lowering.tolist() == [[1, 5, -1, -1]]


def test_a_group_shows_the_member_that_does_most_of_it() -> None:
    """Of a group that lowers, the member that lowers most is shown, not one that raises."""
    groups = Groups(np.array([[0, 1, 2], [3, -1, -1]]))
    values = np.array([[0.05, -0.10, -0.02, 0.2]])
    assert groups.effects(values).round(9).tolist() == [[-0.07, 0.2]]
    assert groups.shown(values, np.array([[0, -1]]), -1.0).tolist() == [[1, -1]]
    assert groups.shown(values, np.array([[1]]), 1.0).tolist() == [[3]]
