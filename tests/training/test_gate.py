"""The gate: what it lets through, what it refuses, and why."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crm.errors import NotEnoughData
from crm.history import History
from crm.known import known_at
from crm.simulator import simulate
from crm.validation import validate_history
from features import learn_spec
from serving.bundle import ModelBundle
from serving.linear import LinearPart, Term
from serving.outcome_model import OutcomeModel
from training.comparison import Comparison, chance, settings_of
from training.gate import decide, first_champion, observed_until
from training.settings import AuditSettings, DistillSettings, HazardSettings, TrainSettings

END = pd.Timestamp("2025-01-01", tz="UTC")
SUMMER = pd.Timestamp("2024-07-01", tz="UTC")
FAST = TrainSettings(
    every_days=14,
    half_lives=(),
    linear_weights=(0.5,),
    resamples=100,
    hazard=HazardSettings(
        intervals=6, rounds=8, fewest_rounds=5, most_rounds=10, rows_per_leaf=30, threads=1
    ),
    distill=DistillSettings(rounds=15, leaves=7, threads=1),
)


@pytest.fixture(scope="module")
def history() -> History:
    """Give the deals of a simulated CRM."""
    whole = simulate(500, seed=11, years=1.0, end=END.isoformat()).history
    activities = whole.activities[whole.activities["deal_id"].notna()].reset_index(drop=True)
    return History.of({"users": whole.users, "deals": whole.deals, "activities": activities})


def _bundle(history: History, through: pd.Timestamp, rate: float, **changes: Any) -> ModelBundle:
    """Give a bundle that says the same of every deal."""
    spec = learn_spec(known_at(history, through), "deal")
    model = OutcomeModel("deal", spec, None, signal=False, base_rate=rate)
    model = replace(model, **{key: value for key, value in changes.items() if key != "config"})
    moment = through.to_pydatetime()
    config = changes.get("config", FAST).to_json_dict()
    return ModelBundle({"deal": model}, created_at=moment, trained_through=moment, config=config)


def test_a_worse_challenger_is_refused_with_the_figures(history: History) -> None:
    """A claim of 90% for every deal loses to one near the truth; words and figures agree."""
    champion, challenger = (_bundle(history, SUMMER, rate) for rate in (0.3, 0.9))
    decision = decide(history, champion, challenger, END)
    assert not decision.promoted
    (found,) = decision.figures["comparisons"]
    assert found["how"] == "as_they_are"
    assert found["low"] > 0
    assert found["difference"] == pytest.approx(found["challenger"] - found["champion"])
    assert f"{found['challenger']:.4f} against the champion's {found['champion']:.4f}" in decision.reason
    assert f"{found['records']:,} deals" in decision.reason


def test_a_better_challenger_passes(history: History) -> None:
    """The same two the other way round: the challenger is let through."""
    champion, challenger = (_bundle(history, SUMMER, rate) for rate in (0.9, 0.3))
    decision = decide(history, champion, challenger, END)
    assert decision.promoted
    assert decision.figures["comparisons"][0]["high"] < 0
    assert decision.reason.startswith("not worse: deals")


def test_losses_are_of_moments_after_both_were_trained(history: History) -> None:
    """The window opens when the later of the two was trained; its loss is that of a plain count."""
    challenger = _bundle(history, SUMMER, 0.3)
    champion = _bundle(history, SUMMER - pd.Timedelta(days=60), 0.5)
    (found,) = decide(history, champion, challenger, END).figures["comparisons"]
    assert found["since"] == SUMMER.isoformat()
    # A claim of one half costs log 2 at every moment, whatever happens.
    assert found["champion"] == pytest.approx(np.log(2))


def test_nothing_known_at_the_end_or_later_counts(history: History) -> None:
    """The same gate on a history cut at the end of observation finds the same."""
    end = pd.Timestamp("2024-12-01", tz="UTC")
    champion, challenger = (_bundle(history, SUMMER, rate) for rate in (0.3, 0.5))
    whole = decide(history, champion, challenger, end)
    assert whole == decide(known_at(history, end), champion, challenger, end)
    assert whole.figures["comparisons"][0]["until"] == end.isoformat()


def test_a_difference_that_chance_explains_passes_within_the_tolerance(history: History) -> None:
    """A touch worse than the best constant passes; much worse is refused even before it is certain."""
    (found,) = decide(history, _bundle(history, SUMMER, 0.3), _bundle(history, SUMMER, 0.5), END).figures[
        "comparisons"
    ]
    # The loss of a constant claim says how often it came true, and that share is the best constant.
    share = (found["champion"] + np.log(0.7)) / (np.log(0.7) - np.log(0.3))
    best = _bundle(history, SUMMER, share)
    touch = decide(history, best, _bundle(history, SUMMER, share + 0.01), END)
    assert touch.promoted
    assert touch.figures["comparisons"][0]["difference"] > 0
    early = pd.Timestamp("2024-11-20", tz="UTC")
    (few,) = decide(
        history, _bundle(history, early, share), _bundle(history, early, share + 0.1), END
    ).figures["comparisons"]
    refusal = Comparison(**{**few, "low": -0.1, "challenger": 0.8, "champion": 0.7, "difference": 0.1})
    assert refusal.objection.startswith("the challenger is more than 2% worse, though chance may explain it")


def test_the_same_bundle_is_no_challenger(history: History) -> None:
    """What is equal to the byte is not promoted."""
    bundle = _bundle(history, SUMMER, 0.3)
    decision = decide(history, bundle, replace(bundle), END)
    assert not decision.promoted
    assert bundle.version in decision.reason


def test_a_challenger_that_lost_a_model_is_refused(history: History) -> None:
    """Where the champion scores deals and the challenger finds it too early, the champion stays."""
    champion = _bundle(history, SUMMER, 0.3)
    challenger = _bundle(history, SUMMER, 0.3, too_early=True)
    decision = decide(history, champion, challenger, END)
    assert not decision.promoted
    assert decision.reason == "the challenger cannot score deals, the champion can"
    assert decide(history, challenger, champion, END).promoted


def test_the_same_settings_on_newer_data_pass_where_nothing_tells_them_apart(history: History) -> None:
    """No outcome since, the recipe unchanged: newer data replace older, and never the other way round."""
    older, newer = (_bundle(history, END - pd.Timedelta(days=days), 0.3) for days in (10, 1))
    decision = decide(history, older, newer, END)
    assert decision.promoted
    assert "the same settings, trained on 9 more days" in decision.reason
    back = decide(history, newer, older, END)
    assert not back.promoted
    assert "has seen nothing newer" in back.reason


def test_losing_skill_without_new_outcomes_is_refused(history: History) -> None:
    """A champion with signal is not replaced by a base rate before outcomes can say which is right."""
    linear = LinearPart((Term(0, "log1p", 0.1),))
    champion = _bundle(history, END - pd.Timedelta(days=10), 0.3, signal=True, linear=linear)
    decision = decide(history, champion, _bundle(history, END - pd.Timedelta(days=1), 0.3), END)
    assert not decision.promoted
    assert "no longer shows skill" in decision.reason


def test_other_settings_are_rehearsed_at_an_earlier_moment(history: History) -> None:
    """Nothing has closed since: both recipes learn from an earlier moment and meet on what came after it."""
    through = END - pd.Timedelta(days=1)
    other = replace(FAST, hazard=replace(FAST.hazard, intervals=3), audit=AuditSettings(drop=("stage",)))
    champion, challenger = _bundle(history, through, 0.3), _bundle(history, through, 0.3, config=other)
    said: list[str] = []
    decision = decide(history, champion, challenger, END, say=said.append)
    (found,) = decision.figures["comparisons"]
    assert found["how"] == "rehearsed"
    assert pd.Timestamp(found["since"]) < through - pd.Timedelta(days=20)
    assert found["closed"] >= 20
    assert f"{pd.Timestamp(found['since']):%Y-%m-%d}" in said[0]
    assert decision.promoted is not (found["low"] > 0 or found["difference"] > 0.02 * found["champion"])


def test_a_champion_older_than_the_rehearsal_stands_as_it_is(history: History) -> None:
    """It is not trained again: what serves now is what must be beaten."""
    champion = _bundle(history, pd.Timestamp("2024-06-01", tz="UTC"), 0.5)
    other = replace(FAST, hazard=replace(FAST.hazard, intervals=3))
    challenger = _bundle(history, END - pd.Timedelta(days=1), 0.3, config=other)
    (found,) = decide(history, champion, challenger, END).figures["comparisons"]
    assert found["how"] == "rehearsed"
    assert found["champion"] == pytest.approx(np.log(2))


def test_too_few_outcomes_for_other_settings_are_refused(history: History) -> None:
    """A handful of closed deals proves nothing: refused, with what to do."""
    few = History.of({**history.frames(), "deals": history.deals.head(25)})
    champion = _bundle(history, END - pd.Timedelta(days=1), 0.3)
    challenger = _bundle(history, END - pd.Timedelta(days=1), 0.3, config=replace(FAST, seed=8))
    decision = decide(few, champion, challenger, END)
    assert not decision.promoted
    assert "wait for more outcomes, or force it" in decision.reason


def test_records_without_times_are_rehearsed_by_their_order() -> None:
    """Outcomes without a time are held out by the order the export gives."""
    rng = np.random.default_rng(3)
    n = 240
    keen = rng.random(n) < 0.5
    leads = pd.DataFrame(
        {
            "lead_id": [f"L{i}" for i in range(n)],
            "recorded_at": pd.Timestamp("2024-01-01", tz="UTC"),
            "source": np.where(keen, "referral", "list"),
            "outcome": np.where(rng.random(n) < np.where(keen, 0.8, 0.2), "won", "lost"),
            "sequence": np.arange(n, dtype=float),
        }
    )
    history = validate_history({"leads": leads})
    through = pd.Timestamp("2024-02-01", tz="UTC")
    spec = learn_spec(history, "lead")

    def bundle(config: TrainSettings) -> ModelBundle:
        model = OutcomeModel("lead", spec, None, signal=False, base_rate=0.5)
        moment = through.to_pydatetime()
        return ModelBundle(
            {"lead": model}, created_at=moment, trained_through=moment, config=config.to_json_dict()
        )

    blind = replace(FAST, audit=AuditSettings(drop=("source",)))
    decision = decide(history, bundle(FAST), bundle(blind), through)
    (found,) = decision.figures["comparisons"]
    assert found["how"] == "rehearsed_by_order"
    assert found["n"] == 60
    assert not decision.promoted
    assert re.search(r"the challenger is (worse|more than 2% worse)", decision.reason)


def test_without_timing_the_chance_is_the_probability_shown(history: History) -> None:
    """A bundle that does not know when a deal closes is asked whether it is won."""
    model = _bundle(history, SUMMER, 0.3).models["deal"]
    x = np.zeros((3, len(model.spec.names)))
    moments = np.full(3, np.datetime64("2024-06-01", "us"))
    assert chance(model, x, moments, np.array([1.0, 30.0, 400.0])).tolist() == [0.3, 0.3, 0.3]


def test_the_first_champion_needs_something_to_score(history: History) -> None:
    """A base rate is an answer; too early is none."""
    assert first_champion(_bundle(history, SUMMER, 0.3)).promoted
    assert not first_champion(_bundle(history, SUMMER, 0.3, too_early=True)).promoted


def test_settings_come_back_from_a_bundle(history: History) -> None:
    """What was logged is what is trained again; a setting of another version is left aside."""
    bundle = _bundle(history, SUMMER, 0.3)
    assert settings_of(bundle) == FAST
    assert settings_of(replace(bundle, config={**bundle.config, "of_another_version": 1})) == FAST
    assert settings_of(replace(bundle, config={})) == TrainSettings()


def test_observation_ends_just_after_the_last_thing_known(history: History) -> None:
    """The end is later than every row, by a second at most; an empty history has none."""
    end = observed_until(history)
    assert known_at(history, end).activities.equals(history.activities)
    before = known_at(history, end - pd.Timedelta(seconds=1))
    assert not all(frame.equals(history.frames()[name]) for name, frame in before.frames().items())
    with pytest.raises(NotEnoughData, match="the history holds nothing yet"):
        observed_until(History())
