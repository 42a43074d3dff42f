"""The table lookups give LightGBM's own contributions."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from woodelf import WoodelfExplainer

from serving.contributions import FEW, TreeContributions

ROWS, WIDTH = 800, 8


def random_rows(rows: int, seed: int) -> np.ndarray:
    """Give rows with missing values, counts, and a category in column 3."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, WIDTH))
    x[:, 1] = rng.poisson(2, rows)
    x[:, 3] = rng.integers(0, 7, rows)
    x[rng.random(x.shape) < 0.1] = np.nan
    # Column 0 has no missing value in training, so LightGBM reads one as 0 later.
    x[:, 0] = np.nan_to_num(x[:, 0])
    return x


def fit(categories: list[int], **parameters: Any) -> lgb.Booster:
    """Fit a small booster to soft labels, and read it back from its text."""
    x = random_rows(ROWS, 0)
    z = np.nan_to_num(x)
    y = 1 / (1 + np.exp(-(z[:, 0] + z[:, 1] * z[:, 2] / 2 + (z[:, 3] % 3 == 1))))
    options = {"objective": "cross_entropy", "num_leaves": 7, "min_data_in_leaf": 5, "verbose": -1, "seed": 1}
    options |= {"num_threads": 1, "min_data_per_group": 1, "cat_smooth": 1.0} | parameters
    data = lgb.Dataset(x, y, categorical_feature=categories)
    return lgb.Booster(model_str=lgb.train(options, data, 30).model_to_string())


def odd_rows() -> np.ndarray:
    """Give rows as training never saw them."""
    x = random_rows(300, 1)
    x[::5, 0] = np.nan
    x[::7, 3] = np.random.default_rng(2).choice([-3, -0.5, 0.5, 6.9, 7, 40, 3e9], len(x[::7]))
    x[3, 2], x[4, 2] = np.inf, -np.inf
    return x


@pytest.mark.parametrize("categories", [[], [3]], ids=["numbers", "categories"])
@pytest.mark.parametrize("leaves", [2, 7, 31])
def test_equal_to_pred_contrib(categories: list[int], leaves: int) -> None:
    """Contributions and expected margin are LightGBM's to 12 digits, for odd values and large trees too."""
    booster = fit(categories, num_leaves=leaves)
    explainer = TreeContributions(booster)
    x = odd_rows()
    theirs = np.asarray(booster.predict(x, pred_contrib=True))
    assert explainer.is_tabled
    assert len(x) > FEW
    np.testing.assert_allclose(explainer(x), theirs[:, :-1], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(explainer(x)[:FEW], explainer(x[:FEW]))
    assert explainer.expected == pytest.approx(theirs[0, -1], abs=1e-12)


def test_equal_to_woodelf() -> None:
    """An independent vectorised implementation agrees within its single precision."""
    booster = fit([])
    x = odd_rows()
    frame = pd.DataFrame(x, columns=booster.feature_name())
    theirs = WoodelfExplainer(booster).shap_values(frame, verbose=False)
    np.testing.assert_allclose(TreeContributions(booster)(x), theirs, rtol=0, atol=2e-6)


def test_too_deep_trees_are_left_to_lightgbm() -> None:
    """A path over more features than a table has bits still gives exact contributions."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4000, 14))
    y = 1 / (1 + np.exp(-np.prod(np.sign(x[:, :2]), axis=1) - x.sum(axis=1)))
    options = {"objective": "cross_entropy", "num_leaves": 200, "min_data_in_leaf": 1, "verbose": -1}
    booster = lgb.train(options | {"num_threads": 1, "min_data_in_bin": 1}, lgb.Dataset(x, y), 3)
    explainer = TreeContributions(booster)
    assert not explainer.is_tabled
    theirs = np.asarray(booster.predict(x[:50], pred_contrib=True))
    np.testing.assert_array_equal(explainer(x[:50]), theirs[:, :-1])


def test_a_booster_that_never_splits_contributes_nothing() -> None:
    """Constant labels make a constant margin: no feature has an effect, and the margin is expected."""
    booster = lgb.train(
        {"objective": "cross_entropy", "verbose": -1, "num_threads": 1},
        lgb.Dataset(random_rows(ROWS, 0), np.full(ROWS, 0.25)),
        3,
    )
    explainer = TreeContributions(booster)
    x = odd_rows()
    assert not explainer(x).any()
    np.testing.assert_allclose(booster.predict(x, raw_score=True), explainer.expected, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 299), min_size=1, max_size=80), st.sampled_from([7, 31]))
def test_a_row_is_the_same_in_any_company(rows: list[int], leaves: int) -> None:
    """A row's contributions are equal bit for bit alone, in a batch, and in another order."""
    explainer, x = FITTED[leaves], odd_rows()
    together = explainer(x[rows])
    for place, row in enumerate(rows[:5]):
        np.testing.assert_array_equal(together[place], explainer(x[[row]])[0])


FITTED: dict[int, TreeContributions] = {}


@pytest.fixture(scope="module", autouse=True)
def fitted() -> None:
    """Fit the boosters of the property test once."""
    FITTED.update({leaves: TreeContributions(fit([3], num_leaves=leaves)) for leaves in (7, 31)})
