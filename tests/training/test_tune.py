"""Tuning: what it looks at, what it may change, and when it leaves things alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crm.history import History
from crm.known import known_at
from crm.simulator import simulate
from crm.validation import validate_history
from training.labels import outcomes
from training.later import open_window
from training.settings import DistillSettings, HazardSettings, TrainSettings
from training.tune import search, tune

END = pd.Timestamp("2025-01-01", tz="UTC")
GIVEN = TrainSettings(
    every_days=14,
    linear_weights=(0.0,),
    resamples=50,
    hazard=HazardSettings(intervals=5, fewest_rounds=1, most_rounds=10, rows_per_leaf=30, threads=1),
    distill=DistillSettings(rounds=5, threads=1),
)


@pytest.fixture(scope="module")
def history() -> History:
    """Give the deals of a simulated CRM."""
    whole = simulate(500, seed=11, years=1.5, end=END.isoformat()).history
    activities = whole.activities[whole.activities["deal_id"].notna()].reset_index(drop=True)
    return History.of({"users": whole.users, "deals": whole.deals, "activities": activities})


def test_tuning_never_looks_at_the_reported_window(history: History) -> None:
    """Turning every outcome of the window that training reports on changes no trial."""
    window = open_window(history, outcomes(history, "deal"), "deal", END, GIVEN, ())
    assert window is not None
    assert window.opened is not None
    late = history.deals["closed_at"] >= window.opened
    assert late.sum() > 10
    turned = history.deals["outcome"].map({"won": "lost", "lost": "won"})
    altered = History.of(
        {
            **history.frames(),
            "deals": history.deals.assign(outcome=history.deals["outcome"].mask(late, turned)),
        }
    )
    found, again = (search(one, END, GIVEN, 5, trials=3) for one in (history, altered))
    assert [trial.loss for trial in found.trials] == [trial.loss for trial in again.trials]
    assert found == again


def test_the_first_trial_is_what_was_given(history: History) -> None:
    """The given settings are tried first and score exactly 1; each further trial tries others."""
    found = search(history, END, GIVEN, 5, trials=3)
    assert len(found.trials) == 3
    assert found.trials[0].loss == pytest.approx(1.0)
    assert found.trials[0].hazard == {
        "leaves": 7,
        "rows_per_leaf": 30,
        "features_per_tree": 0.25,
        "learning_rate": pytest.approx(0.08),
        "intervals": 5,
    }
    assert found.trials[1].hazard != found.trials[0].hazard
    assert found.to_json_dict()["trials"][0]["loss"] == found.trials[0].loss


def test_a_certain_gain_is_taken_and_changes_only_the_trees(history: History) -> None:
    """From settings that learn next to nothing, tuning finds better ones; all else stays as given."""
    poor = replace(GIVEN, hazard=replace(GIVEN.hazard, learning_rate=0.0005))
    found = search(history, END, poor, 5, trials=4)
    assert found.improved
    assert found.low > 0
    assert found.settings.hazard.learning_rate > 0.0005
    assert replace(found.settings, hazard=poor.hazard) == poor
    kept = ("rounds", "most_rounds", "patience", "seed", "threads", "half_life_days")
    assert all(getattr(found.settings.hazard, name) == getattr(poor.hazard, name) for name in kept)


def test_without_a_certain_gain_the_settings_stay(history: History) -> None:
    """With only the given settings tried there is nothing to gain."""
    said: list[str] = []
    assert tune(history, END, GIVEN, 5, said.append, trials=1) == GIVEN
    assert "the settings stay as they are" in said[-1]


def test_nothing_is_logged_beside_what_is_said(history: History, capfd: pytest.CaptureFixture[str]) -> None:
    """Optuna's own messages do not come between the lines that the user is told."""
    search(history, END, GIVEN, 5, trials=1)
    assert capfd.readouterr() == ("", "")


def test_too_little_history_is_left_alone(history: History) -> None:
    """Where no window can be opened before the reported one, tuning says so and changes nothing."""
    said: list[str] = []
    early = known_at(history, pd.Timestamp("2023-10-01", tz="UTC"))
    found = search(early, pd.Timestamp("2023-10-01", tz="UTC"), GIVEN, 5, said.append)
    assert found.settings == GIVEN
    assert found.trials == ()
    assert said == ["too little has closed to tune on: the settings stay as they are"]


def test_no_trial_begins_after_the_time_is_up(history: History) -> None:
    """A budget that is over at once leaves the settings as they are, and says so."""
    said: list[str] = []
    assert search(history, END, GIVEN, 0.0, said.append).settings == GIVEN
    assert "the time was over" in said[-1]


def test_records_without_times_are_tuned_before_the_reported_ones() -> None:
    """The last 30% by order are what training reports on: turning their outcomes changes no trial."""
    rng = np.random.default_rng(3)
    n = 200
    keen = rng.random(n) < 0.5
    leads = pd.DataFrame(
        {
            "lead_id": [f"L{i}" for i in range(n)],
            "recorded_at": pd.Timestamp("2024-01-01", tz="UTC"),
            "visits": rng.poisson(np.where(keen, 6, 3)).astype(float),
            "outcome": np.where(rng.random(n) < np.where(keen, 0.8, 0.2), "won", "lost"),
            "sequence": np.arange(n, dtype=float),
        }
    )
    turned = leads["outcome"].map({"won": "lost", "lost": "won"})
    altered = leads.assign(outcome=leads["outcome"].mask(leads["sequence"] >= 0.7 * n, turned))
    until = pd.Timestamp("2024-02-01", tz="UTC")
    found, again = (
        search(validate_history({"leads": frame}), until, GIVEN, 5, trials=2) for frame in (leads, altered)
    )
    assert len(found.trials) == 2
    assert found == again
