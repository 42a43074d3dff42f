"""Replayed forecasts, the calendar's rhythm, the time before outcomes were recorded, and typical sales."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crm.history import History
from crm.known import known_at
from crm.moments import DAY, NEVER
from crm.money import Rates
from crm.observed import outcomes_since
from crm.simulator import simulate
from crm.validation import validate_history
from serving.forecast.evidence import gather
from serving.outcome_model import OutcomeModel
from serving.rhythm import Beat, CalendarRhythm
from training.forecasting import Replay, _level, _shock, learn_forecast
from training.labels import LOST, OPEN, WON, Labels, Outcomes
from training.learning import learn
from training.person_periods import person_periods
from training.rhythm import find_rhythm, settle, start_of
from training.settings import DistillSettings, HazardSettings, TrainSettings
from training.typical import amount_spread, typical_amount

UNTIL = pd.Timestamp("2024-07-01", tz="UTC").as_unit("us")
FAST = TrainSettings(
    every_days=14,
    snapshots=3000,
    half_lives=(),
    linear_weights=(0.0,),
    resamples=50,
    hazard=HazardSettings(intervals=6, rounds=10, fewest_rounds=5, most_rounds=12, learning_rate=0.2),
    timing=HazardSettings(intervals=12, rounds=20, learning_rate=0.2, rows_per_leaf=30),
    distill=DistillSettings(rounds=15, leaves=7),
)


@pytest.fixture(scope="module")
def history() -> History:
    return simulate(900, seed=5, years=2, end=pd.Timestamp("2024-12-01", tz="UTC")).history


@pytest.fixture(scope="module")
def model(history: History) -> OutcomeModel:
    learned = learn(known_at(history, UNTIL), "deal", UNTIL, FAST, (), lambda _: None)
    assert learned is not None
    return learned.model


def test_replays_know_nothing_of_later(history: History, model: OutcomeModel) -> None:
    """What is learned from replays of the known history is the same whatever is recorded after it."""
    first = learn_forecast(known_at(history, UNTIL), model, UNTIL, 7, lambda _: None)
    later = history.deals.assign(
        amount=history.deals["amount"].where(history.deals["recorded_at"] < UNTIL, 9e9)
    )
    second = learn_forecast(known_at(replace(history, deals=later), UNTIL), model, UNTIL, 7, lambda _: None)
    assert first is not None and second is not None
    assert first.to_json_dict() == second.to_json_dict()
    assert first.horizons_days[:3] == (7.0, 14.0, 28.0)
    assert all(0.4 < level < 2.0 for level in first.levels)
    assert first.typical is not None and first.typical.mean > 0


def test_a_model_that_knows_too_little_has_no_forecast(history: History, model: OutcomeModel) -> None:
    """Too early to score is too early to forecast; and without amounts there is nothing to learn from."""
    known = known_at(history, UNTIL)
    assert learn_forecast(known, replace(model, too_early=True), UNTIL, 7, lambda _: None) is None
    bare = replace(known, deals=known.deals.assign(amount=np.nan), changes=known.changes.iloc[:0])
    assert learn_forecast(bare, model, UNTIL, 7, lambda _: None) is None


def _replays(ratio: float, n: int, luck: float = 0.0) -> list[Replay]:
    return [Replay(float(n - i), 100.0, 100.0 * ratio, 0.0, 0.0, luck) for i in range(n)]


def test_levels_follow_what_came_as_far_as_it_can_be_told_from_luck() -> None:
    """Twenty weeks at 80% move the level most of the way; with great luck in each, hardly."""
    assert _level(_replays(0.8, 20), 7.0, 0.05) == pytest.approx(0.8, abs=0.02)
    assert _level(_replays(0.8, 20, luck=250_000.0), 7.0, 0.05) > 0.97
    assert _level(_replays(1.0, 20), 7.0, 0.05) == pytest.approx(1.0)


def test_shocks_are_what_luck_does_not_explain() -> None:
    """Revenue that swings by a half shows a large shock, and a small one where deals explain it."""
    swings = [
        replace(one, open_brought=100.0 * (1.5 if i % 2 else 0.6)) for i, one in enumerate(_replays(1, 40))
    ]
    assert _shock(swings, 7.0, 1.0) > 0.35
    assert _shock([replace(one, chance_variance=4000.0) for one in swings], 7.0, 1.0) < 0.1


def test_weekdays_show_in_the_rhythm() -> None:
    """Records won from Monday to Friday and lost on Saturdays give those days the weight; few give none."""
    monday = 19_000 * DAY - (19_000 + 3) % 7 * DAY
    won = monday + (np.arange(200) % 5 + 7 * (np.arange(200) // 5)) * DAY
    lost = monday + (5 + 7 * np.arange(40)) * DAY
    found = Outcomes(
        pd.Index(range(240)),
        np.array([WON] * 200 + [LOST] * 40, np.int8),
        np.concatenate([won, lost]),
        np.zeros(240, bool),
        "",
        np.full(240, monday),
    )
    until = np.array([monday + 280 * DAY]).view("datetime64[us]")[0]
    rhythm = find_rhythm(found, until)
    won, lost = np.array(rhythm.won.weekdays), np.array(rhythm.lost.weekdays)
    assert won[:5].min() > 25 * won[5:].max()
    assert lost[5] > 25 * np.delete(lost, 5).max()
    few = replace(found, events=np.where(np.arange(240) < 30, found.events, OPEN).astype(np.int8))
    assert find_rhythm(few, until) == CalendarRhythm()


def test_the_hazard_starts_from_the_closings_relative_to_the_week() -> None:
    """Deals won only on working days have even odds once the weekend's exposure is taken off."""
    monday = np.datetime64("2024-01-01", "us")
    n = 7 * 400
    as_of = monday + (np.arange(n) % 7) * np.timedelta64(1, "D")
    weekday = (np.arange(n) % 7) < 5
    rng = np.random.default_rng(2)
    won = weekday & (rng.random(n) < 0.14)
    labels = Labels(np.where(won, 0.5, 1.0), np.where(won, WON, OPEN).astype(np.int8), np.ones(n))
    rhythm = CalendarRhythm(Beat((1.4,) * 4 + (1.3998,) + (1e-4,) * 2))
    start = start_of(labels, as_of, (0.0, 1.0), rhythm, None)
    assert start.base[0][0] == pytest.approx(0.1 / (1 - 0.1), rel=0.15)
    model = start.model("", (0.0, 1.0))
    assert model.rhythm == rhythm


def test_settling_makes_the_sums_agree(model: OutcomeModel) -> None:
    """A hazard that says too much everywhere is scaled to what was seen, whatever the features."""
    assert model.hazard is not None
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, model.hazard.n_features))
    as_of = np.full(400, np.datetime64("2024-05-06", "us"))
    edge = model.hazard.edges_days[1]
    events = np.where(rng.random(400) < 0.5, WON, OPEN).astype(np.int8)
    labels = Labels(np.where(events == WON, edge / 2, edge), events, np.full(400, edge))
    settled = settle(model.hazard, x, labels, as_of, None)
    expected = settled.hazards(x, as_of)[:, 0, 0].sum()
    before = model.hazard.hazards(x, as_of)[:, 0, 0].sum()
    assert abs(expected - events.sum()) < 0.5 * abs(before - events.sum())


def test_the_time_before_outcomes_were_recorded_is_left_out() -> None:
    """Old records of a new CRM say nothing until the first ending; a slow start of a full history does."""
    started = np.arange(400) * DAY
    ends = started + 20 * DAY
    assert outcomes_since(started, ends) == 0
    assert outcomes_since(started, np.where(ends < 200 * DAY, NEVER, ends)) == 200 * DAY
    assert outcomes_since(started, np.full(400, NEVER)) == 0
    labels = Labels(np.array([9.0]), np.array([OPEN], np.int8), np.array([9.0]), np.array([3.5]))
    assert person_periods(labels, (0.0, 2.0, 4.0, 6.0, 8.0)).interval.tolist() == [2, 3]


def _deals(rng: np.random.Generator) -> History:
    product = rng.choice(["small", "large"], 200)
    deals = pd.DataFrame(
        {
            "deal_id": [f"d{i}" for i in range(200)],
            "created_at": UNTIL - pd.Timedelta(days=200),
            "outcome": np.where(np.arange(200) < 150, "won", None),
            "closed_at": pd.Series([UNTIL - pd.Timedelta(days=9)] * 150 + [pd.NaT] * 50),
            "amount": np.where(product == "large", 1000.0, 10.0) * rng.uniform(0.9, 1.1, 200),
            "product": product,
            "noise": rng.choice(["a", "b", "c"], 200),
        }
    )
    changes = pd.DataFrame(
        {
            "change_id": ["c0", "c1"],
            "entity": "deal",
            "record_id": ["d0", "d1"],
            "field": "amount",
            "old_value": [str(2 * deals["amount"][0]), str(deals["amount"][1] / 2)],
            "new_value": [str(deals["amount"][0]), str(deals["amount"][1])],
            "changed_at": UNTIL - pd.Timedelta(days=20),
        }
    )
    return validate_history({"deals": deals, "changes": changes})


def test_the_attribute_that_tells_of_amounts_is_found() -> None:
    """Products a hundred times apart tell most; noise tells nothing; the spread is that of two changes."""
    evidence = gather(_deals(np.random.default_rng(1)), UNTIL, None, Rates.none(), "UTC")
    found = typical_amount(evidence)
    assert found is not None and found.attribute == "product"
    assert found.by_level["large"] == pytest.approx(1000.0, rel=0.05)
    assert amount_spread(evidence) == pytest.approx(np.log(2.0) * np.sqrt(2 / 150), rel=1e-6)
