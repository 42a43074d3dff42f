"""The measures of a backtest against values worked out by hand, and against slower ways to the same."""

from __future__ import annotations

import numpy as np
import pytest

from training.backtest.probabilities import Judged, Ranking, gain_curves, measure, reliability
from training.backtest.resampling import Resamples, blocks, interval, turned_interval
from training.metrics import auc, calibration_error, crps, interval_scores, log_losses

YES = np.array([True, False, True, False])
P = np.array([0.9, 0.6, 0.6, 0.1])


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Give outcomes and coarse probabilities, many of them tied."""
    rng = np.random.default_rng(seed)
    p = rng.integers(1, 10, n) / 10
    return rng.random(n) < p, p


def judged(happened: np.ndarray, records: np.ndarray, **answers: np.ndarray) -> Judged:
    """Give rows with a base rate beside the answers."""
    base = np.full(len(happened), happened.mean())
    return Judged(happened, records.astype(np.int64), {"base_rate": base, **answers})


def test_ranking_by_hand() -> None:
    """Three pairs are right and one is tied; one win is found at once, the other with a miss."""
    found = Ranking(YES, P).measures(np.ones(4))
    assert found["auc"] == pytest.approx(3.5 / 4)
    # Precision 1 at the first win; 2 of 3 where the tied win and miss come together.
    assert found["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # A tenth of four rows is 0.4 of the best row, which is a win: 0.4 of 2 wins.
    assert found["gain_10"] == pytest.approx(0.2) and found["lift_10"] == pytest.approx(2.0)


def test_ranking_agrees_with_the_plain_measures() -> None:
    """AUC and calibration error are those of training.metrics, weighted or not."""
    happened, p = draw(500, 0)
    weights = np.random.default_rng(1).integers(0, 4, 500).astype(float)
    for w in (np.ones(500), weights):
        assert Ranking(happened, p).measures(w)["auc"] == pytest.approx(auc(happened, p, w))
    smooth = p + np.random.default_rng(2).uniform(-0.04, 0.04, 500)
    assert Ranking(happened, smooth).measures(np.ones(500))["ece"] == pytest.approx(
        calibration_error(happened, smooth)
    )


def test_a_weight_is_so_many_copies() -> None:
    """Every measure of weighted rows is that of repeated rows."""
    happened, p = draw(60, 3)
    weights = np.random.default_rng(4).integers(0, 3, 60)
    copies = np.repeat(np.arange(60), weights)
    by_weight = Ranking(happened, p).measures(weights.astype(float))
    by_copy = Ranking(happened[copies], p[copies]).measures(np.ones(len(copies)))
    for name in ("auc", "average_precision", "lift_10", "gain_10"):
        assert by_weight[name] == pytest.approx(by_copy[name]), name


def test_tied_scores_rank_as_chance_does() -> None:
    """One probability for all gives an AUC of a half, a lift of one and a straight curve of gains."""
    happened, _ = draw(200, 5)
    found = Ranking(happened, np.full(200, 0.3))
    assert found.measures(np.ones(200))["auc"] == 0.5
    assert found.measures(np.ones(200))["lift_10"] == pytest.approx(1.0)
    assert np.allclose(found.gains(), np.linspace(0, 1, 21))


def test_one_class_has_no_ranking() -> None:
    """Without both outcomes AUC is unknown, and calibration is not."""
    found = Ranking(np.array([True, True]), np.array([0.5, 0.7])).measures(np.ones(2))
    assert np.isnan(found["auc"]) and found["ece"] == pytest.approx(0.4)


def test_brier_skill_and_gains_are_against_the_others() -> None:
    """The base rate has no skill; a gain is the other's loss less Vigie's."""
    happened, p = draw(400, 6)
    rows = judged(happened, np.arange(400), vigie=p, plain_lightgbm=np.clip(p + 0.3, 0, 0.99))
    found = measure(rows, 50, 0)
    assert found["base_rate"]["brier_skill"].value == pytest.approx(0.0)
    brier = ((p - happened) ** 2).mean()
    base = ((happened.mean() - happened) ** 2).mean()
    assert found["vigie"]["brier_skill"].value == pytest.approx(1 - brier / base)
    gain = found["plain_lightgbm"]["log_loss_gain"]
    losses = [log_losses(happened, rows.answers[name]).mean() for name in ("plain_lightgbm", "vigie")]
    assert gain.value == pytest.approx(losses[0] - losses[1]) and gain.low > 0
    assert "log_loss_gain" not in found["vigie"]


def test_intervals_draw_records_not_rows() -> None:
    """Every row five times over within its record leaves each interval as it was."""
    happened, p = draw(150, 7)
    once = measure(judged(happened, np.arange(150), vigie=p), 60, 3)["vigie"]
    copied = judged(np.repeat(happened, 5), np.repeat(np.arange(150), 5), vigie=np.repeat(p, 5))
    often = measure(copied, 60, 3)["vigie"]
    for name in ("auc", "log_loss", "brier", "lift_10"):
        assert often[name].low == pytest.approx(once[name].low), name
        assert often[name].high == pytest.approx(once[name].high), name
    # As rows of their own they would claim to know more than twice as well.
    rows = measure(judged(np.repeat(happened, 5), np.arange(750), vigie=np.repeat(p, 5)), 60, 3)["vigie"]
    assert rows["auc"].high - rows["auc"].low < 0.6 * (once["auc"].high - once["auc"].low)


def test_reliability_counts_what_was_shown() -> None:
    """Rows, records and wins of each tenth that was shown, with the share and its range."""
    shown = np.array([0.72, 0.78, 0.75, 0.1, 0.999])
    happened = np.array([True, True, False, False, True])
    rows = reliability(judged(happened, np.array([0, 0, 1, 2, 3]), vigie=shown), 40, 0)
    assert [(row["from"], row["n"], row["records"], row["won"]) for row in rows] == [
        (0.1, 1, 1, 0), (0.7, 3, 2, 2), (0.9, 1, 1, 1),
    ]  # fmt: skip
    assert rows[1]["happened"] == pytest.approx(2 / 3) and rows[1]["shown"] == pytest.approx(0.75)
    assert rows[1]["low"] == 0.0 and rows[1]["high"] == 1.0


def test_curves_of_gains_end_at_everything() -> None:
    """The best-scored half of P holds both wins but for the tie."""
    curve = gain_curves(judged(YES, np.arange(4), vigie=P))["vigie"]
    assert curve[0] == 0.0 and curve[-1] == pytest.approx(1.0)
    assert curve[10] == pytest.approx(0.75)


def test_ratios_are_of_sums() -> None:
    """A share over records is that of all rows, not the mean of the records' shares."""
    records = np.array([0, 0, 0, 1])
    found = Resamples(records, 200, 0).ratios(np.array([[1.0], [1.0], [1.0], [0.0]]), np.ones((4, 1)))
    assert found[0].value == pytest.approx(0.75)
    assert (found[0].low, found[0].high) == (0.0, 1.0)


def test_a_resample_without_the_denominator_says_nothing() -> None:
    """Where only one record has wins, resamples without it are left out, and none of all is unknown."""
    found = Resamples(np.array([0, 1]), 50, 0).ratios(
        np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 0.0]])
    )
    assert (found[0].value, found[0].low, found[0].high) == (0.5, 0.5, 0.5)
    assert found[1].to_json_dict() == {"value": None, "low": None, "high": None}


def test_the_interval_of_a_calibration_error_is_turned() -> None:
    """Resamples err upwards, so the interval is mirrored at the figure, and never below zero."""
    drawn = np.linspace(0.05, 0.15, 101)
    plain, turned = interval(0.06, drawn), turned_interval(0.06, drawn)
    assert turned.low == 0.0 and turned.high == pytest.approx(0.12 - plain.low)


def test_blocks_keep_neighbours_together() -> None:
    """Each block is so many consecutive rows, around the end; a block as long as all is all of them."""
    drawn = blocks(6, 3, 50, 1)
    steps = np.diff(drawn, axis=1) % 6
    assert (steps[:, [0, 1, 3, 4]] == 1).all() and (steps[:, 2] != 1).any()
    assert (np.sort(blocks(4, 9, 10, 1), axis=1) == np.arange(4)).all()


def test_crps_by_hand_and_by_pairs() -> None:
    """That of one draw is the absolute error; of many it is E|X - y| less half of E|X - X'|."""
    assert crps(np.array([[3.0]]), np.array([5.0]))[0] == 2.0
    draws = np.random.default_rng(0).normal(10, 3, (2, 40))
    actual = np.array([9.0, 20.0])
    pairs = np.abs(draws[:, :, None] - draws[:, None, :]).mean(axis=(1, 2))
    slow = np.abs(draws - actual[:, None]).mean(axis=1) - pairs / 2
    assert crps(draws, actual) == pytest.approx(slow)


def test_interval_scores_by_hand() -> None:
    """The width, and ten times what lies outside an 80% range."""
    low, high = np.array([1.0, 1.0, 1.0]), np.array([4.0, 4.0, 4.0])
    assert interval_scores(low, high, np.array([2.0, 0.5, 6.0]), 0.8) == pytest.approx([3.0, 8.0, 23.0])
