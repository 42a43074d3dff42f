"""The numbers that the audit rests on: bounds, levels and the skill of one field."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.audit.bounds import near_odds_ratio, wilson
from training.audit.levels import MISSING, to_levels
from training.audit.skill import foretell, gain_beyond, skill


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_bounds_hold_the_true_share(share: float) -> None:
    """Of a thousand samples hardly any has the true share outside its three-sigma bounds."""
    hits = np.random.default_rng(1).binomial(80, share, 1000)
    bounds = np.array([wilson(float(hit), 80.0, 3.0) for hit in hits])
    assert np.mean((bounds[:, 0] <= share) & (share <= bounds[:, 1])) > 0.99


def test_the_near_odds_ratio_is_the_same_both_ways_round() -> None:
    """Which group is called the first does not matter."""
    assert near_odds_ratio(90, 100, 20, 100, 3.0) == pytest.approx(near_odds_ratio(20, 100, 90, 100, 3.0))


def test_a_number_becomes_values_and_ranges() -> None:
    """A frequent zero is a level of its own; the rest falls into ranges of about equal size."""
    numbers = np.concatenate([np.zeros(500), np.linspace(1, 2, 1000), [np.nan] * 7])
    levels = to_levels(pd.Series(numbers))
    sizes = np.bincount(levels.codes)
    assert levels.names[:2] == ("(missing)", "0")
    assert sizes[:2].tolist() == [7, 500]
    assert sizes[2:].sum() == 1000
    assert sizes[2:].min() >= 99


def test_a_column_without_values_is_all_missing() -> None:
    """Neither an empty text nor an empty number column has a level."""
    for values in (pd.Series([None] * 4, dtype="str"), pd.Series([np.nan] * 4)):
        assert to_levels(values).codes.tolist() == [MISSING] * 4


def test_a_stretch_is_foretold_from_earlier_ones_only() -> None:
    """Turning the outcomes of the last stretch over changes no foretold rate."""
    rng = np.random.default_rng(2)
    codes, won = rng.integers(0, 3, 500), rng.random(500) < 0.5
    turned = won.copy()
    turned[400:] = ~turned[400:]
    np.testing.assert_array_equal(foretell(codes, won), foretell(codes, turned))


def test_noise_has_no_skill_and_a_copy_has_all() -> None:
    """The bound of noise is below zero; the outcome itself takes nearly all uncertainty away."""
    rng = np.random.default_rng(3)
    won = rng.random(2000) < 0.3
    assert skill(rng.integers(0, 20, 2000), won, 3.0).bound < 0
    copy = skill(won.astype("int64"), won, 3.0)
    assert copy.gain > 0.9
    assert copy.auc == 1.0


def test_finer_levels_that_say_nothing_new_gain_nothing() -> None:
    """Splitting levels at random does not look like information."""
    rng = np.random.default_rng(4)
    won = rng.random(2000) < 0.3
    known = (won ^ (rng.random(2000) < 0.2)).astype("int64")
    assert gain_beyond(known, known * 2 + rng.integers(0, 2, 2000), won, 3.0)[1] <= 0
