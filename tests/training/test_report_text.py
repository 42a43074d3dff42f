"""The report as text: each verdict in plain words, the figures beside the baselines, what was left out."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from training.report_text import render_report


def shown(section: dict[str, Any], audit: dict[str, Any] | None = None, width: int = 200) -> str:
    """Print a report of one model, and give its words."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    entity = section["entity"]
    report = {
        "trained_through": "2024-06-01T00:00:00+00:00",
        "span": {"from": "2022-01-03T10:00:00+00:00", "users": 3, "deals": 7},
        "models": {entity: section},
    }
    console.print(render_report(report, {} if audit is None else {entity: audit}))
    return console.file.getvalue()


def words(*arguments: Any) -> str:
    """Give a report in one line."""
    return " ".join(shown(*arguments).split())


def row(**figures: float | None) -> dict[str, float | None]:
    """Give the measures of one method."""
    return {"auc": 0.5, "log_loss": 0.6, "brier": 0.2, "ece": 0.03, "lift_10": 1.0, **figures}


@pytest.fixture
def section() -> dict[str, Any]:
    """Give the section of a model of leads with skill."""
    return {
        "entity": "lead",
        "outcome": "a deal linked to the lead is won",
        "horizon_days": 90.0,
        "counts": {"records": 1200, "won": 100, "lost": 1000, "open": 100, "untimed": 0},
        "status": "signal",
        "base_rate": 0.1234,
        "needed": {"won": 10, "closed": 20},
        "skill": {"gain": 0.05, "low": 0.02, "high": 0.08, "n": 500, "question": "won by then"},
        "window": {
            "opened": "2024-01-01T00:00:00+00:00",
            "question": "won by then",
            "n_later": 500,
            "n_won": 60,
            "measures": {
                "plain [LightGBM]": row(gain=-0.03, gain_low=-0.05, gain_high=-0.01),
                "base rate": row(gain=0.05, gain_low=0.02, gain_high=0.08),
                "stage rates": row(gain=0.01, gain_low=-0.01, gain_high=0.03, auc=None),
                "vigie": row(auc=0.847, ece=0.012),
            },
            "calibration": [
                {"predicted": 0.1, "happened": 0.05, "n": 400},
                {"predicted": 0.5, "happened": 0.6, "n": 100},
            ],
            "lift": {"lift": 3.2, "gain": 0.32, "n": 50},
        },
        "importance": [
            {"feature": "a", "label_en": "Time [in] stage", "label_fr": "", "mean_effect_log_odds": 0.4},
            {"feature": "b", "label_en": "Calls", "label_fr": "", "mean_effect_log_odds": 0.2},
        ],
    }


def test_skill_is_told_in_words_and_figures(section: dict[str, Any]) -> None:
    """What was found, how sure it is, ranking, lift and calibration as a manager would say them."""
    said = words(section)
    assert (
        "Learned from the history from 2022-01-03 until 2024-06-01. Beside leads and deals: 3 reps." in said
    )
    assert "1,200 leads: 100 won, 1,000 lost and 100 open." in said
    assert "beat the base rate in log loss by +0.050 (+0.020 to +0.080), with 90% confidence" in said
    assert "Judged on 500 later moments since 2024-01-01" in said
    assert "it had the higher score 85 times in 100" in said
    assert "won 3.2 times as often as all, and holds 32% of the wins" in said
    # 0.8 * 10% + 0.2 * 50% were said, 0.8 * 5% + 0.2 * 60% happened.
    assert "on average Vigie said 18.0% and 16.0% were won; by level of score it is off by 1.2 points" in said


def test_each_baseline_is_judged_by_its_interval(section: dict[str, Any]) -> None:
    """Better, worse, or no sure difference; a loss is told as plainly as a win."""
    expected = "better than base rate; no sure difference from stage rates; worse than plain [LightGBM]."
    assert f"Log loss: {expected}" in words(section)


def test_the_table_begins_with_vigie_and_the_base_rate(section: dict[str, Any]) -> None:
    """A saved report has its names in alphabetical order; the table has not. Nothing is read as markup."""
    lines = [line.split("  ")[1] for line in shown(section).splitlines() if line.startswith("  ")]
    names = [name for name in lines if name in section["window"]["measures"] or name == "Vigie"]
    assert names == ["Vigie", "base rate", "plain [LightGBM]", "stage rates"]
    assert "Time [in] stage" in words(section)


def test_the_table_fits_a_narrow_terminal(section: dict[str, Any]) -> None:
    """At 80 columns every method keeps its row and its interval."""
    lines = shown(section, None, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("plain [LightGBM]" in line and "-0.030 (-0.050 to -0.010)" in line for line in lines)


def test_no_skill_is_said_with_what_is_served_instead(section: dict[str, Any]) -> None:
    """The base rate is named, and what was learned is shown as not served."""
    section["status"] = "no_signal"
    section["skill"] |= {"gain": 0.001, "low": -0.01, "high": 0.02, "question": "won rather than lost"}
    said = words(section)
    assert "No skill was found: every lead gets the base rate, 12.3%." in said
    assert "Asked was: won rather than lost; the gain in log loss, +0.001 (-0.010 to +0.020)" in said
    assert "knowing how long deals take helps by itself" in said
    assert "learned, not served" in said
    assert "What moves the scores" not in said


def test_too_early_counts_what_is_missing(section: dict[str, Any]) -> None:
    """After a single win and nothing else the report says that no score is given."""
    section["status"] = "too_early"
    section["counts"] = {"records": 40, "won": 1, "lost": 0, "open": 39, "untimed": 0}
    for name in ("skill", "window", "importance"):
        del section[name]
    said = words(section)
    assert "Too early: 1 of 10 wins and 1 of 20 outcomes needed. No lead gets a score until then." in said
    assert "40 leads: 1 won and 39 open." in said


def test_untested_is_not_called_skill(section: dict[str, Any]) -> None:
    """Where too little closed lately nothing is proven, and the base rate is served."""
    section["status"] = "untested"
    for name in ("skill", "window", "importance"):
        del section[name]
    assert "too little has closed lately to prove any skill, so every lead gets the base rate" in words(
        section
    )


def test_outcomes_without_a_time_are_told(section: dict[str, Any]) -> None:
    """A window held out by order has no date, and the count of untimed outcomes is given."""
    section["counts"]["untimed"] = 1100
    section["window"]["opened"] = None
    section["horizon_days"] = None
    said = words(section)
    assert "of 1,100 the time of the outcome is not known" in said
    assert "500 later moments held out by their order" in said
    assert "Leads: the chance of a purchase ─" in said


def test_what_the_audit_left_out_is_told_with_its_reason_and_its_claim(section: dict[str, Any]) -> None:
    """Fields left out, by the audit or the user, and those kept against it; never those that passed."""
    findings = [
        {"field": "Tags", "verdict": "excluded", "rule": "r", "reason": "filled for 90% [of] the closed"},
        {"field": "Mood", "verdict": "excluded by the user", "rule": "", "reason": "looks fine"},
        {"field": "Score", "verdict": "kept by the user", "rule": "r", "reason": "it was written after"},
        {"field": "Source", "verdict": "kept", "rule": "", "reason": "known beforehand"},
    ]
    audit = {"findings": findings, "claimed": {"auc_all": 0.981, "auc_kept": 0.874}}
    said = words(section, audit)
    assert "2 of 4 fields left out" in said
    assert "claimed an AUC of 0.98 on later records; without, the fields alone give 0.87" in said
    assert "Tags: filled for 90% [of] the closed" in said
    assert "Mood: left out by the configuration" in said
    assert "Score: kept by the configuration, although it was written after" in said
    assert "Source" not in said
    clean = {"findings": findings[3:], "claimed": None}
    assert "1 fields looked at, none left out" in words(section, clean)
