"""The parts a forecast is made of: cents, arrivals, cohorts, shocks, widening, and what the bundle keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.errors import BundleError
from crm.moments import DAY, NEVER
from serving.forecast import ForecastModel, PastErrors, TypicalAmount
from serving.forecast.arrivals import forecast_arrivals, weekly_counts
from serving.forecast.cents import split_cents, to_cents
from serving.forecast.cohorts import learn_cohorts
from serving.forecast.simulation import NewPart, OpenPart, centre, common_shocks, draw_new, draw_open
from serving.forecast.widening import widened
from serving.rhythm import EVEN, Beat, CalendarRhythm, days_of

MONDAY = 20_000 * DAY - (20_000 + 3) % 7 * DAY


@given(
    total=st.integers(-(10**12), 10**12),
    weights=st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=40),
)
def test_cents_that_are_split_add_up_again(total: int, weights: list[float]) -> None:
    """Whatever the weights, nothing is lost or made, and no share is off by a cent or more."""
    given_weights = np.array(weights)
    parts = split_cents(total, given_weights)
    assert parts.sum() == total
    if given_weights.sum() > 0:
        exact = total * given_weights / given_weights.sum()
        assert (np.abs(parts - exact) < 1.0 + 1e-6 * abs(total)).all()


def test_there_is_nobody_to_split_among() -> None:
    """Nothing can be split among nobody; something cannot."""
    assert len(split_cents(0, np.zeros(0))) == 0
    with pytest.raises(ValueError, match="among nobody"):
        split_cents(1, np.zeros(0))


def test_cents_round_to_the_nearest() -> None:
    """12.345 and -0.005 are whole cents after rounding."""
    assert to_cents(np.array([12.344, 12.346, -3.0])).tolist() == [1234, 1235, -300]


def test_steady_arrivals_go_on_on_the_same_weekdays() -> None:
    """Two deals each Monday and one each Wednesday, for 20 weeks, are expected again on those days."""
    weeks = np.arange(20)
    recorded = np.concatenate([MONDAY + (7 * weeks + day) * DAY + DAY // 2 for day in (0, 0, 2)])
    found = forecast_arrivals(recorded, MONDAY + 140 * DAY, 14)
    assert found.total == pytest.approx(6.0, rel=0.05)
    assert found.daily[0] > 1.5 * found.daily[2] > 9 * found.daily[4]


def test_arrivals_later_than_now_do_not_count() -> None:
    """What is recorded at the moment or after it is not known."""
    recorded = MONDAY + np.arange(40) * DAY
    assert weekly_counts(recorded, MONDAY + 21 * DAY).tolist() == [7.0, 7.0, 7.0]
    assert forecast_arrivals(recorded, MONDAY, 14).total == 0.0


def test_a_yearly_season_comes_back() -> None:
    """Four years with a summer twice as busy as the winter: the next summer is expected to be busier."""
    rng = np.random.default_rng(3)
    weeks = np.arange(208)
    counts = rng.poisson(30 + 10 * np.sin(2 * np.pi * weeks / 52.18))
    recorded = np.repeat(MONDAY + weeks * 7 * DAY, counts)
    found = forecast_arrivals(recorded, MONDAY + 208 * 7 * DAY, 364)
    by_week = found.daily.reshape(52, 7).sum(axis=1)
    truth = 30 + 10 * np.sin(2 * np.pi * (208 + np.arange(52)) / 52.18)
    assert np.corrcoef(by_week, truth)[0, 1] > 0.95
    assert by_week.sum() == pytest.approx(truth.sum(), rel=0.06)


def test_cohorts_by_hand() -> None:
    """Four deals: won at 10 and lost at 20 days, one open for 15 days, one for 40: counted with censoring."""
    now = MONDAY + 100 * DAY
    age = np.array([10, 20, 15, 40])
    recorded = now - np.array([60, 60, 15, 40]) * DAY
    closed = np.where(age < [1000, 1000, 0, 0], recorded + age * DAY, NEVER)
    won = np.array([True, False, False, False])
    found = learn_cohorts(recorded, closed, won, np.array([80.0, 50.0, 9.0, 9.0]), now, EVEN)
    weights = np.power(0.5, np.array([60, 60, 15, 40]) / 365.0)
    share = weights[0] / weights.sum()
    revenue, wins = found.between(np.zeros(1), 0.0, 30.0)
    assert wins[0] == pytest.approx(share)
    assert revenue[0] == pytest.approx(80.0 * share)
    assert found.between(np.zeros(1), 12.0, 30.0)[0][0] == 0.0
    assert found.amounts.tolist() == [80.0]


def test_a_closing_to_come_is_not_known_to_the_cohorts() -> None:
    """A deal won after now counts as open."""
    now = MONDAY + 50 * DAY
    recorded = np.full(5, now - 30 * DAY)
    closed = np.full(5, now + DAY)
    found = learn_cohorts(recorded, closed, np.ones(5, bool), np.full(5, 10.0), now, EVEN)
    assert found.wins.max() == 0.0 and len(found.amounts) == 0


def test_the_week_s_rhythm_passes_as_its_days_do() -> None:
    """With no sales at weekends, a Friday's evening and a Monday's morning are the same age."""
    working = (1.4, 1.4, 1.4, 1.4, 1.399999, 5e-7, 5e-7)
    friday, monday = Beat(working).passed(np.array([5.0, 7.0]))
    assert monday - friday == pytest.approx(1e-6, abs=1e-7)
    assert monday == pytest.approx(7.0, rel=1e-4)
    assert days_of(np.array([MONDAY]).view("datetime64[us]"))[0] % 7 == 0.0


def test_exposure_follows_the_moment_of_the_week() -> None:
    """From a Friday on, the first day holds all of Friday's share and the next two the weekend's."""
    rhythm = CalendarRhythm(Beat((1.4, 1.4, 1.4, 1.4, 1.3, 0.05, 0.05)))
    moments = (np.array([MONDAY, MONDAY + 4 * DAY])).view("datetime64[us]")
    place, table = rhythm.exposure(np.array([0.0, 1.0, 3.0, 7.0]), moments)
    assert table[place[1], :, 0] == pytest.approx([1.3, 0.05, 1.4], rel=1e-4)
    assert table[place[0], :, 0] == pytest.approx([1.4, 1.4, (1.4 + 1.3 + 0.1) / 4], rel=1e-4)
    assert table[:, :, 1] == pytest.approx(1.0)


def test_a_rhythm_that_is_none_is_refused() -> None:
    """Days of 0 come from a broken bundle."""
    with pytest.raises(BundleError, match="must be 7 numbers above 0"):
        Beat((7.0, 0, 0, 0, 0, 0, 0))


def test_draws_of_open_deals_have_the_chances_they_are_asked_for() -> None:
    """Without a shock the mean and variance of the draws are those of independent deals, split by period."""
    chance = np.linspace(0.05, 0.9, 50)
    parts = [OpenPart(0 * chance, chance / 2), OpenPart(chance / 2, chance)]
    amount, group = np.full(50, 10.0), np.arange(50) % 3
    drawn = draw_open(parts, amount, group, 3, np.ones((2, 20_000)), 0.0, seed=5)
    total = drawn.sum(axis=(0, 1))
    assert total.mean() == pytest.approx(10 * chance.sum(), rel=0.01)
    assert total.var() == pytest.approx(100 * (chance * (1 - chance)).sum(), rel=0.05)
    assert drawn[1].sum(axis=0).mean() == pytest.approx(5 * chance.sum(), rel=0.02)


def test_draws_of_new_deals_have_the_mean_they_are_asked_for() -> None:
    """A compound Poisson number of sales, shared among groups in proportion."""
    drawn = draw_new(
        [NewPart(12.0, 600.0)],
        np.array([40.0, 60.0]),
        np.ones(2),
        np.array([0, 1]),
        np.array([3.0, 1.0]),
        2,
        np.ones((1, 20_000)),
        seed=3,
    )
    assert drawn.sum(axis=1).mean() == pytest.approx(600.0, rel=0.01)
    assert drawn[0, 0].mean() == pytest.approx(450.0, rel=0.02)
    assert drawn.sum(axis=1).var() == pytest.approx(12 * np.mean([40.0**2, 60.0**2]), rel=0.05)


def test_shocks_mean_one_and_are_centred_away() -> None:
    """A shock moves draws, never the mean."""
    factors = common_shocks(np.array([0.0, 0.3]), 4_000, seed=1)
    assert factors[0].tolist() == [1.0] * 4_000
    assert factors[1].mean() == pytest.approx(1.0, abs=0.01)
    assert np.log(factors[1]).std() == pytest.approx(0.3, rel=0.05)
    drawn = np.random.default_rng(1).random((2, 3, 50))
    assert centre(drawn, np.array([7.0, 9.0])).sum(axis=1).mean(axis=1) == pytest.approx([7.0, 9.0])


def test_few_past_forecasts_correct_nothing() -> None:
    """Seven are too few to say anything; other horizons do not count."""
    assert widened(0.8, 28.0, PastErrors((28.0,) * 7, (0.99,) * 7)) == (0.1, 0.9)
    assert widened(0.8, 28.0, PastErrors((91.0,) * 30, (0.99,) * 30)) == (0.1, 0.9)


def test_ranges_that_always_held_become_narrower() -> None:
    """Truths that fell in the middle forty times make an 80% range narrower, slowly."""
    low, high = widened(0.8, 7.0, PastErrors((7.0,) * 40, (0.5,) * 40))
    assert 0.1 < low < 0.35 and high == pytest.approx(1 - low)


def test_in_the_long_run_the_corrected_range_holds_what_it_says() -> None:
    """Distributions that are half as wide as they should be hold 80% once corrected (Gibbs and Candès)."""
    rng = np.random.default_rng(11)
    from scipy.stats import norm

    positions = norm.cdf(2.0 * rng.standard_normal(1500))
    held = 0
    for place in range(500, 1500):
        low, high = widened(0.8, 28.0, PastErrors((28.0,) * 60, tuple(positions[place - 60 : place])))
        held += low <= positions[place] <= high
    naive = ((positions >= 0.1) & (positions <= 0.9)).mean()
    assert naive < 0.55
    assert held / 1000 > naive + 0.15


def test_the_forecast_model_reads_back() -> None:
    """Every part survives the way through JSON."""
    model = ForecastModel(
        (7.0, 28.0), (0.9, 1.0), (0.1, 0.2), TypicalAmount(5.0, "product", {"a": 1.0}), 0.25, ({"n": 3},)
    )
    assert ForecastModel.from_json_dict(model.to_json_dict()) == model
    assert model.level(np.array([1.0, 7.0, 14.0, 90.0])) == pytest.approx([0.9, 0.9, 0.95, 1.0])


@pytest.mark.parametrize(
    "parts", [((28.0, 7.0), (1.0, 1.0), (0.1, 0.1)), ((7.0,), (0.0,), (0.1,)), ((), (), ())]
)
def test_a_forecast_model_that_cannot_be_is_refused(parts: tuple[tuple[float, ...], ...]) -> None:
    """Horizons that fall, a level of 0, or nothing at all come from a broken bundle."""
    with pytest.raises(BundleError, match="train again"):
        ForecastModel(*parts)
