"""The distribution of closing times: quantiles, the shortest interval, the share won."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crm.errors import BundleError
from serving.timing import HazardModel, Timing

EDGES = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0])


def timing(hazards: list[tuple[float, float]]) -> Timing:
    """Make the timing of one record from (won, lost) hazards of each interval."""
    still, won, lost = 1.0, [0.0], [0.0]
    for win, lose in hazards:
        won.append(won[-1] + still * win)
        lost.append(lost[-1] + still * lose)
        still *= 1 - win - lose
    return Timing(EDGES, np.array([won]), np.array([lost]))


HAZARDS = st.lists(
    st.tuples(st.floats(0, 0.45), st.floats(0, 0.45)), min_size=len(EDGES) - 1, max_size=len(EDGES) - 1
)
LEVELS = st.lists(st.floats(0, 0.999), min_size=1, max_size=8)


@given(HAZARDS, LEVELS)
def test_quantile_undoes_the_distribution(hazards: list[tuple[float, float]], levels: list[float]) -> None:
    """The chance to be closed by a quantile is the quantile's level, in the tail too."""
    times = timing(hazards)
    asked = np.array([levels])
    days = times.quantile(asked)
    near = days < 36525.0
    np.testing.assert_allclose(times.closed_by(days)[near], asked[near], atol=1e-6)


@given(HAZARDS, st.sampled_from([0.5, 0.8, 0.9]))
def test_shortest_interval_holds_its_mass(hazards: list[tuple[float, float]], mass: float) -> None:
    """It holds the mass, is no longer than the central one nor than any of 200 others, and has the median."""
    times = timing(hazards)
    start, end = times.shortest_interval(mass)
    if end[0] >= 36525.0:
        return
    held = times.closed_by(np.array([[start[0], end[0]]]))[0]
    assert held[1] - held[0] == pytest.approx(mass, abs=1e-6)
    begins = np.append(np.linspace(0, 1 - mass, 200), (1 - mass) / 2)[None, :]
    others = times.quantile(np.minimum(begins + mass, 1 - 1e-9)) - times.quantile(begins)
    assert end[0] - start[0] <= others.min() * 1.01 + 1e-6
    median = times.quantile(np.full((1, 1), 0.5))[0, 0]
    assert start[0] - 1e-9 <= median <= end[0] + 1e-9


def test_by_hand() -> None:
    """Hazards worked out by hand: half closes on the first day, nothing until day 16, the rest by day 32."""
    times = timing([(0.25, 0.25), (0, 0), (0, 0), (0, 0), (0, 0), (0.5, 0.49)])
    assert times.quantile(np.array([[0.25, 0.5, 0.75]]))[0] == pytest.approx(
        [0.5, 1.0, 16 + 16 * 0.25 / 0.495]
    )
    assert times.quantile(np.array([[0.5]]), latest=True)[0, 0] == pytest.approx(16.0)
    assert times.shortest_interval(0.4)[1][0] - times.shortest_interval(0.4)[0][0] == pytest.approx(0.8)


@given(HAZARDS)
def test_share_won_rises_to_one(hazards: list[tuple[float, float]]) -> None:
    """The share of the eventual wins never falls with time, starts at 0 and ends at 1."""
    times = timing(hazards)
    share = times.won_share_by(np.array([[0.0, 0.5, 3.0, 20.0, 32.0, 100.0, 1e6]]))[0]
    assert (np.diff(share) >= -1e-12).all()
    assert share[0] == 0
    assert share[-1] == pytest.approx(1, abs=1e-6)


def test_nothing_ever_closes() -> None:
    """Without any hazard the record closes once in ten years, and no number is missing."""
    times = timing([(0.0, 0.0)] * 6)
    assert times.quantile(np.array([[0.5]]))[0, 0] == pytest.approx(32 + 3653 * np.log(2))
    assert np.isfinite(times.shortest_interval()).all()
    assert times.won_share_by(np.array([[100.0]]))[0, 0] == pytest.approx(0.0182, abs=1e-3)


@pytest.mark.parametrize("edges", [(), (0.0,), (1.0, 2.0), (0.0, 2.0, 2.0), (0.0, float("inf"))])
def test_edges_must_rise_from_zero(edges: tuple[float, ...]) -> None:
    """Edges that are no intervals are refused with a reason."""
    with pytest.raises(BundleError, match="edges_days"):
        HazardModel("", edges)


def test_one_record_is_the_same_in_a_batch() -> None:
    """Every number of a record is equal bit for bit alone and among others."""
    rng = np.random.default_rng(0)
    won = np.cumsum(rng.random((500, len(EDGES))) * 0.07, axis=1)
    won -= won[:, :1]
    lost: NDArray[np.float64] = won[::-1] * 0.9
    many = Timing(EDGES, won, lost)
    for row in (0, 17, 499):
        one = Timing(EDGES, won[[row]], lost[[row]])
        for whole, single in zip(many.shortest_interval(), one.shortest_interval(), strict=True):
            assert whole[row] == single[0]
        assert many.quantile(np.full((500, 1), 0.5))[row] == one.quantile(np.full((1, 1), 0.5))[0]


def hazard(edges: int) -> HazardModel:
    """Fit a small hazard of three classes to chance."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(1500, 3)), rng.integers(0, edges - 1, 1500)])
    x[rng.random(1500) < 0.1, 1] = np.nan
    classes = np.digitize(x[:, 0] + x[:, 3] / 4 + rng.normal(size=1500), [1.0, 2.0])
    options = {"objective": "multiclass", "num_class": 3, "num_leaves": 7, "verbose": -1, "num_threads": 1}
    booster = lgb.train(options, lgb.Dataset(x, classes), 12)
    return HazardModel(booster.model_to_string(), tuple(np.arange(edges) ** 1.5))


@pytest.mark.parametrize("rows", [0, 1, 5, 700])
def test_chances_are_those_of_lightgbm_s_own_prediction(rows: int) -> None:
    """The incidence is that of LightGBM's softmax at each interval, one row after the other, to 12 digits."""
    model = hazard(9)
    x = np.random.default_rng(1).normal(size=(rows, 3))
    x[::3, 1] = np.nan
    times = model.predict(x)
    each = np.column_stack([np.repeat(x, 8, axis=0), np.tile(np.arange(8), rows)])
    theirs = np.asarray(lgb.Booster(model_str=model.booster).predict(each)) if rows else np.zeros((0, 3))
    won, lost = np.zeros((rows, 9)), np.zeros((rows, 9))
    still = np.ones(rows)
    for step in range(8):
        stay, win, lose = theirs.reshape(rows, 8, 3)[:, step].T
        won[:, step + 1] = won[:, step] + still * win
        lost[:, step + 1] = lost[:, step] + still * lose
        still = still * stay
    np.testing.assert_allclose(times.won, won, rtol=0, atol=1e-12)
    np.testing.assert_allclose(times.lost, lost, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(model.predict(x, threads=2).won, times.won)
    np.testing.assert_array_equal(model.predict(x[-1:]).lost, times.lost[-1:])


def test_trees_too_large_for_a_word_are_left_to_lightgbm() -> None:
    """A hazard of 100 leaves a tree has the chances of LightGBM's own prediction all the same."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(3000, 3)), rng.integers(0, 4, 3000)])
    options = {"objective": "multiclass", "num_class": 3, "num_leaves": 100, "min_data_in_leaf": 2}
    booster = lgb.train(
        options | {"verbose": -1, "num_threads": 1}, lgb.Dataset(x, rng.integers(0, 3, 3000)), 2
    )
    times = HazardModel(booster.model_to_string(), (0.0, 1.0, 2.0, 3.0, 4.0)).predict(x[:7, :3])
    first = np.asarray(booster.predict(np.column_stack([x[:7, :3], np.zeros(7)])))
    np.testing.assert_allclose(times.won[:, 1], first[:, 1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(times.lost[:, 1], first[:, 2], rtol=0, atol=1e-12)
