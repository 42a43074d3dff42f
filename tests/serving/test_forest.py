"""Sums of trees without walking them: LightGBM's own, bit for bit or to 12 digits."""

from __future__ import annotations

from functools import cache
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.forest import FEW, Forest
from serving.trees import TooDeep

Floats = NDArray[np.float64]
ROWS, WIDTH, STEPS = 900, 6, 9


def random_rows(rows: int, seed: int) -> Floats:
    """Give rows with missing values, counts, and a category in column 3."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, WIDTH))
    x[:, 1] = rng.poisson(2, rows)
    x[:, 3] = rng.integers(0, 7, rows)
    x[rng.random(x.shape) < 0.15] = np.nan
    # Column 0 has no missing value in training, so LightGBM reads one as 0 later.
    x[:, 0] = np.nan_to_num(x[:, 0])
    return x


@cache
def fit(leaves: int, classes: int, **parameters: Any) -> lgb.Booster:
    """Fit a small booster on the columns and, where it has classes, on an interval after them."""
    x, rng = random_rows(ROWS, 0), np.random.default_rng(1)
    if classes > 1:
        x = np.column_stack([x, rng.integers(0, STEPS, ROWS)])
    z = np.nan_to_num(x)
    score = z[:, 0] + z[:, 1] * z[:, 2] / 2 + (z[:, 3] % 3 == 1) - z[:, -1] * z[:, 4] / 4
    y = 1 / (1 + np.exp(-score)) if classes == 1 else np.digitize(score, [-1.0, 1.0])
    options: dict[str, Any] = (
        {"objective": "cross_entropy"} if classes == 1 else {"objective": "multiclass", "num_class": 3}
    )
    options |= {"num_leaves": leaves, "min_data_in_leaf": 5, "min_data_per_group": 1, "cat_smooth": 1.0}
    options |= {"verbose": -1, "num_threads": 1, "seed": 1} | parameters
    data = lgb.Dataset(x, y, categorical_feature=[3])
    return lgb.Booster(model_str=lgb.train(options, data, 25).model_to_string())


@cache
def forest(leaves: int, classes: int) -> Forest:
    """Give the forest of a booster, made once."""
    swept = {"swept": WIDTH, "steps": STEPS} if classes > 1 else {}
    return Forest(fit(leaves, classes), **swept)


def every_step(x: Floats) -> Floats:
    """Give each row once for every interval."""
    return np.column_stack([np.repeat(x, STEPS, axis=0), np.tile(np.arange(STEPS), len(x))])


VALUES = st.one_of(
    st.floats(-4, 4),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, 6.9, 7.0, 40.0, 3e9, -1.0, -0.5]),
    st.sampled_from([float("nan"), float("inf"), float("-inf"), 1e-40]),
)
MANY = st.lists(st.lists(VALUES, min_size=WIDTH, max_size=WIDTH), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(MANY, st.sampled_from([2, 7, 31, 50]))
def test_one_output_is_lightgbm_s_bit_for_bit(rows: list[list[float]], leaves: int) -> None:
    """Missing, endless, odd and unseen values go the way LightGBM sends them, few rows or many."""
    x = np.array(rows)
    theirs = np.asarray(fit(leaves, 1).predict(x, raw_score=True, num_threads=1))
    np.testing.assert_array_equal(forest(leaves, 1)(x)[0, 0], theirs)
    many = np.concatenate([random_rows(FEW, 2), x])
    np.testing.assert_array_equal(forest(leaves, 1)(many)[0, 0, FEW:], theirs)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(MANY, st.sampled_from([2, 7, 31, 50]))
def test_all_intervals_at_once_are_lightgbm_s(rows: list[list[float]], leaves: int) -> None:
    """Swept over the interval, each class and interval has LightGBM's sum to 12 digits."""
    x = np.array(rows)
    theirs = np.asarray(fit(leaves, 3).predict(every_step(x), raw_score=True, num_threads=1))
    ours = forest(leaves, 3)(x)
    assert ours.shape == (3, STEPS, len(x))
    np.testing.assert_allclose(ours.transpose(2, 1, 0).reshape(-1, 3), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("classes", [1, 3])
def test_a_row_is_the_same_in_any_company(classes: int) -> None:
    """A row's sums are equal bit for bit alone, among few and among many."""
    x = random_rows(FEW + 40, 3)
    many = forest(31, classes)(x)
    np.testing.assert_array_equal(forest(31, classes)(x[: FEW // 2]), many[:, :, : FEW // 2])
    for row in (0, 17, FEW + 39):
        np.testing.assert_array_equal(forest(31, classes)(x[[row]]), many[:, :, [row]])


def test_the_trees_of_the_test_have_what_is_hard() -> None:
    """Both kinds of split, both default directions and both readings of missing values occur."""
    text = fit(31, 3).trees_to_dataframe()
    splits = text[text["split_feature"].notna()]
    assert set(splits["decision_type"]) == {"<=", "=="}
    assert {"NaN", "None"} <= set(splits["missing_type"])
    assert set(splits["missing_direction"]) == {"left", "right"}
    assert "Column_6" in set(splits["split_feature"])


def test_trees_that_never_split_are_constant() -> None:
    """A booster fitted to constant labels has one sum for every row."""
    options = {"objective": "cross_entropy", "verbose": -1, "num_threads": 1}
    booster = lgb.train(options, lgb.Dataset(random_rows(ROWS, 0), np.full(ROWS, 0.25)), 3)
    x = random_rows(5, 1)
    np.testing.assert_array_equal(Forest(booster)(x)[0, 0], booster.predict(x, raw_score=True))


def test_only_the_interval_may_be_asked_for() -> None:
    """Trees that split on the interval alone give every row the same sums at each interval."""
    interval = np.arange(600) % STEPS
    x = np.column_stack([np.zeros((600, WIDTH)), interval])
    options = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}
    booster = lgb.train(options, lgb.Dataset(x, interval % 3), 5)
    rows = random_rows(FEW + 1, 1)
    theirs = np.asarray(booster.predict(every_step(rows[:2]), raw_score=True)).reshape(2, STEPS, 3)
    ours = Forest(booster, swept=WIDTH, steps=STEPS)(rows).transpose(2, 1, 0)
    np.testing.assert_allclose(ours, np.broadcast_to(theirs[0], ours.shape), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"zero_as_missing": True}, {"num_leaves": 100}, {"linear_tree": True}])
def test_what_no_word_holds_is_refused(options: dict[str, Any]) -> None:
    """Zeros taken for missing, too many leaves and linear leaves are left to LightGBM."""
    x = np.random.default_rng(0).normal(size=(2000, 3))
    base = {"objective": "regression", "min_data_in_leaf": 3, "verbose": -1, "num_threads": 1}
    booster = lgb.train(base | options, lgb.Dataset(x, x.sum(axis=1), params=options), 2)
    with pytest.raises(TooDeep):
        Forest(booster)
