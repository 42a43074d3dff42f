"""The hazard's rows, the base rate beside it, and the copy that is served."""

from __future__ import annotations

import numpy as np
import pytest

from training.distill import distill
from training.hazard import choose_edges, fit_hazard
from training.labels import LOST, OPEN, WON, Labels
from training.linear import complete_labels, fit_linear
from training.marginal import count, won_within
from training.person_periods import period_weights, person_periods
from training.samples import hold_out
from training.settings import DistillSettings, HazardSettings

EDGES = (0.0, 1.0, 2.0, 4.0)


def labels(*rows: tuple[float, int, float]) -> Labels:
    durations, events, observed = zip(*rows, strict=True)
    return Labels(np.array(durations), np.array(events, np.int8), np.array(observed))


def test_an_interval_counts_only_when_it_was_seen_whole() -> None:
    """An interval that observation cut short is left out, whether the record closed in it or not."""
    periods = person_periods(labels((2.5, WON, 3.0), (3.0, OPEN, 3.0), (2.5, LOST, 9.0)), EDGES)
    rows = set(
        zip(periods.snapshot.tolist(), periods.interval.tolist(), periods.outcome.tolist(), strict=True)
    )
    assert rows == {
        (0, 0, OPEN),
        (0, 1, OPEN),
        (1, 0, OPEN),
        (1, 1, OPEN),
        (2, 0, OPEN),
        (2, 1, OPEN),
        (2, 2, LOST),
    }


def test_a_closing_at_the_instant_of_the_snapshot_is_in_the_first_interval() -> None:
    """A duration of nothing is not lost."""
    periods = person_periods(labels((0.0, WON, 5.0)), EDGES)
    assert periods.outcome.tolist() == [WON]


def test_edges_rise_in_whole_days_and_are_finer_where_more_closes() -> None:
    """Most closings are early, so the early edges are close together."""
    durations = np.concatenate([np.linspace(0.1, 5, 95), np.linspace(20, 100, 5)])
    edges = choose_edges(
        Labels(durations, np.full(100, WON, np.int8), np.full(100, 200.0)), HazardSettings(intervals=10)
    )
    steps = np.diff(edges)
    assert edges[0] == 0 and edges[-1] == 100
    assert (steps >= 1).all() and steps[0] <= 2 and steps[-1] > 20


def test_the_base_rate_is_aalen_johansen() -> None:
    """Three won, one lost, one open, counted by hand: S(1) = 3/5, then 1/3 won, then 1/2 lost."""
    seen = labels((0.5, WON, 9.0), (0.7, WON, 9.0), (1.5, WON, 9.0), (3.0, LOST, 9.0), (9.0, OPEN, 9.0))
    periods = person_periods(seen, EDGES)
    found = count(periods, EDGES, np.ones(len(periods.snapshot)))
    np.testing.assert_allclose(found.timing.won[0], [0, 0.4, 0.6, 0.6])
    np.testing.assert_allclose(found.timing.lost[0], [0, 0, 0, 0.2])
    assert found.probability(1.0) == pytest.approx(0.4)


def test_who_outlives_every_win_counts_as_not_won_where_no_loss_is_ever_marked() -> None:
    """Sixty won and nothing lost does not make the silent ones certain."""
    seen = labels(*[(1.5, WON, 9.0)] * 6, *[(9.0, OPEN, 9.0)] * 6)
    periods = person_periods(seen, EDGES)
    found = count(periods, EDGES, np.ones(len(periods.snapshot)))
    assert found.settled == 0.0
    assert found.probability(None) == pytest.approx(0.5)


def test_the_past_loses_weight_by_the_interval_and_not_by_the_snapshot() -> None:
    """What an old snapshot went through last week is last week's news."""
    seen = labels((8.0, OPEN, 8.0))
    periods = person_periods(seen, EDGES)
    weights = period_weights(seen, periods, EDGES, 4.0, np.array([2.0]))
    np.testing.assert_allclose(weights, 2.0 * 0.5 ** (np.array([8.0, 7.0, 6.0]) / 4.0))


def learnable(n: int = 3000) -> tuple[np.ndarray, Labels]:
    """Deals that win faster and more often where x is high."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (n, 2))
    won_rate, lost_rate = 0.15 * np.exp(1.5 * x[:, 0]), np.full(n, 0.15)
    durations = rng.exponential(1 / (won_rate + lost_rate))
    won = rng.random(n) < won_rate / (won_rate + lost_rate)
    observed = rng.uniform(1, 15, n)
    events = np.where(durations < observed, np.where(won, WON, LOST), OPEN).astype(np.int8)
    return x, Labels(np.minimum(durations, observed), events, observed)


def test_the_hazard_finds_the_true_probability_under_censoring() -> None:
    """With many records still open, P(won) is found within a few points of the truth."""
    x, seen = learnable()
    settings = HazardSettings(features_per_tree=1.0, rounds=60)
    edges = choose_edges(seen, settings)
    model = fit_hazard(x, seen, edges, settings).model
    grid = np.column_stack([np.linspace(-0.9, 0.9, 7), np.zeros(7)])
    truth = 1 / (1 + 1 / np.exp(1.5 * grid[:, 0]))
    found = won_within(model.predict(grid), None, 1.0)
    assert np.abs(found - truth).max() < 0.1
    assert (seen.events == OPEN).mean() > 0.15


def test_thinned_rows_stand_for_those_left_out() -> None:
    """With a tenth of the rows, the mean probability stays."""
    x, seen = learnable()
    settings = HazardSettings(features_per_tree=1.0, rounds=60)
    edges = choose_edges(seen, settings)
    whole = won_within(fit_hazard(x, seen, edges, settings).model.predict(x[:500]), None, 1.0)
    few = HazardSettings(features_per_tree=1.0, rounds=60, periods=3000)
    thin = won_within(fit_hazard(x, seen, edges, few).model.predict(x[:500]), None, 1.0)
    assert abs(whole.mean() - thin.mean()) < 0.03


def test_the_copy_says_what_the_hazard_says() -> None:
    """On records it has not seen, the booster is within a tenth in log-odds."""
    x, _ = learnable()
    soft = 1 / (1 + np.exp(-1.5 * x[:, 0] - 0.5 * x[:, 1]))
    unseen = hold_out(np.arange(len(x)), 0.2, 1)
    copy = distill(x, soft, unseen, DistillSettings(features_per_tree=1.0))
    assert copy.gap < 0.1


def test_completed_labels_keep_what_is_known_and_fill_the_rest() -> None:
    """Closed records keep their outcome; an open one gets its conditional chance, between 0 and 1."""
    x, seen = learnable(600)
    settings = HazardSettings(features_per_tree=1.0, rounds=20)
    timing = fit_hazard(x, seen, choose_edges(seen, settings), settings).model.predict(x)
    target = complete_labels(seen, timing, won_within(timing, None, 1.0), None)
    assert (target[seen.events == WON] == 1).all() and (target[seen.events == LOST] == 0).all()
    pending = target[seen.events == OPEN]
    assert ((pending > 0) & (pending < 1)).all()


def test_the_linear_part_follows_a_curve_and_missing_values() -> None:
    """Steps let the sum follow an effect that rises and falls; a missing value has an effect of its own."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4000, 1))
    truth = np.where(np.abs(x[:, 0]) < 0.5, 0.8, 0.2)
    x[::10] = np.nan
    truth[::10] = 0.5
    part = fit_linear(x, truth, (), 1.0, np.ones(len(x)))
    assert part is not None
    found = 1 / (1 + np.exp(-part.margin(np.array([[0.0], [0.95], [np.nan]]))))
    np.testing.assert_allclose(found, [0.8, 0.2, 0.5], atol=0.08)
