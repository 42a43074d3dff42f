"""Measures against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.metrics import (
    auc,
    bootstrap_mean,
    calibration_bins,
    calibration_error,
    lift,
    log_losses,
    measures,
)

YES = np.array([True, False, True, False])
P = np.array([0.9, 0.6, 0.6, 0.1])


def test_auc_counts_pairs_and_halves_ties() -> None:
    """Of four pairs, three are right and one is tied."""
    assert auc(YES, P) == pytest.approx(3.5 / 4)


def test_auc_weighs_pairs() -> None:
    """A row of weight two is two rows."""
    twice = auc(np.append(YES, True), np.append(P, 0.6))
    assert auc(YES, P, np.array([1.0, 1.0, 2.0, 1.0])) == pytest.approx(twice)


def test_auc_of_one_class_is_unknown() -> None:
    """Without both outcomes there is no pair."""
    assert np.isnan(auc(np.array([True, True]), np.array([0.2, 0.4])))


def test_log_loss_of_a_certain_error_is_bounded() -> None:
    """One surprise does not decide a mean."""
    assert log_losses(np.array([True]), np.array([0.0]))[0] == pytest.approx(-np.log(1e-4))


def test_calibration_of_honest_probabilities_is_small() -> None:
    """Outcomes drawn from the probabilities leave an error of sampling size; shifted ones do not."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, 20_000)
    happened = rng.random(20_000) < p
    assert calibration_error(happened, p) < 0.015
    assert calibration_error(happened, np.clip(p + 0.1, 0, 1)) > 0.07
    assert sum(row["n"] for row in calibration_bins(happened, p)) == 20_000


def test_lift_compares_the_best_tenth_with_all() -> None:
    """If only the best-scored tenth happens, the lift is ten and the gain is everything."""
    p = np.linspace(0, 1, 100)
    found = lift(p > 0.905, p)
    assert found["lift"] == pytest.approx(10.0) and found["gain"] == 1.0 and found["n"] == 10


def test_the_bootstrap_draws_whole_records() -> None:
    """Copies of the same rows within records do not narrow the interval."""
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, 200)
    single = bootstrap_mean(values, np.arange(200), 400, 0)
    copied = bootstrap_mean(np.repeat(values, 5), np.repeat(np.arange(200), 5), 400, 0)
    assert copied[2] - copied[1] == pytest.approx(single[2] - single[1], rel=1e-9)
    assert single[1] < values.mean() < single[2]


def test_a_row_of_measures_is_complete() -> None:
    """Every measure of the report's table is there."""
    assert set(measures(YES, P)) == {"auc", "log_loss", "brier", "ece", "lift_10"}
