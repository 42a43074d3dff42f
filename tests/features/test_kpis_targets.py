"""Targets: attainment, pace, what is missing, and what becomes of those that cannot count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from crm.history import History, utc
from crm.periods import Period, parse_period
from crm.validation import validate_history
from features.kpis import KPIS, measure_kpis
from features.kpis.targets import FLOWS, LOWER, target_findings, with_targets

QUARTER = parse_period("2025-Q1")
USERS = {"user_id": ["U1", "U2", "U3"], "team": ["North", "North", "South"]}


def company(*targets: dict[str, Any]) -> History:
    """Three reps, two with a deal won in the quarter (60 and 40), and these targets."""
    deals = {
        "deal_id": ["1", "2"],
        "created_at": ["2025-01-02T00:00Z"] * 2,
        "owner_id": ["U1", "U2"],
        "amount": [60.0, 40.0],
        "outcome": ["won"] * 2,
        "closed_at": ["2025-01-20T00:00Z"] * 2,
    }
    usual = {
        "kpi": "revenue",
        "scope": "company",
        "scope_id": None,
        "period_start": QUARTER.start,
        "period_end": QUARTER.end,
        "recorded_at": utc("2024-12-01T00:00Z"),
    }
    goals = [usual | {"target_id": f"T{n}"} | target for n, target in enumerate(targets)]
    tables = {"deals": pd.DataFrame(deals), "users": pd.DataFrame(USERS)}
    return validate_history(tables | ({"targets": pd.DataFrame(goals)} if goals else {}))


def measured(
    known: History,
    kpi: str = "revenue",
    by: str | None = None,
    period: Period = QUARTER,
    day: str = "2025-01-31",
) -> pd.DataFrame:
    """Measure one KPI, by group, by default when a third of the quarter is gone."""
    found = measure_kpis(known, [period], utc(f"{day}T00:00Z"), names=[kpi], by=by)
    return found.set_index("group")


def columns(row: pd.Series) -> list[float]:
    """Give target, attainment, pace and what is missing."""
    return row[["target", "attainment", "pace", "still_missing"]].to_list()


def test_a_sums_pace_is_the_share_attained_less_the_share_of_time_gone() -> None:
    """100 of 200 after 30 of 90 days: half attained, a sixth ahead, 100 missing."""
    found = measured(company({"value": 200.0})).loc["total"]
    assert columns(found) == pytest.approx([200, 0.5, 0.5 - 30 / 90, 100])


def test_after_the_period_all_of_its_time_is_gone() -> None:
    """In May, 100 of 80: a quarter above, and nothing is missing."""
    found = measured(company({"value": 80.0}), day="2025-05-01").loc["total"]
    assert columns(found) == pytest.approx([80, 1.25, 0.25, 0])


def test_a_ratios_pace_is_its_distance() -> None:
    """A win rate of 100% against 80% is 20 points ahead, whatever the day."""
    found = measured(company({"value": 0.8, "kpi": "win_rate"}), kpi="win_rate").loc["total"]
    assert columns(found) == pytest.approx([0.8, 1.25, 0.2, 0])


def test_of_what_should_be_low_less_is_better() -> None:
    """A cycle of 18 days against 15: five sixths attained, three days too many."""
    known = company({"value": 15.0, "kpi": "cycle_won_mean"})
    assert columns(measured(known, kpi="cycle_won_mean").loc["total"]) == pytest.approx([15, 15 / 18, -3, 3])


def test_users_teams_and_the_company_have_targets_of_their_own() -> None:
    """By owner a user's counts, by team a team's; the total keeps the company's."""
    known = company(
        {"value": 120.0, "scope": "user", "scope_id": "U1"},
        {"value": 400.0, "scope": "team", "scope_id": "North"},
        {"value": 500.0},
    )
    by_owner = measured(known, by="owner")["target"]
    assert by_owner.loc[["total", "U1"]].to_list() == [500, 120]
    assert np.isnan(by_owner["U2"])
    assert measured(known, by="team").loc[["total", "North"], "target"].to_list() == [500, 400]


def test_without_a_company_target_the_total_of_a_flow_has_that_of_its_parts() -> None:
    """Teams' targets add up, before users'; a ratio's do not."""
    parts = [
        {"value": 120.0, "scope": "user", "scope_id": "U1"},
        {"value": 300.0, "scope": "team", "scope_id": "North"},
        {"value": 100.0, "scope": "team", "scope_id": "South"},
    ]
    assert measured(company(*parts)).loc["total", "target"] == 400
    assert measured(company(parts[0])).loc["total", "target"] == 120
    ratio = measured(company(parts[1] | {"kpi": "win_rate"}), kpi="win_rate")
    assert np.isnan(ratio.loc["total", "target"])


def test_a_rep_of_whom_nothing_is_measured_has_a_row_for_the_target() -> None:
    """U3 has won nothing of 50: 0 of a sum; of a ratio there is no value."""
    target = {"value": 50.0, "scope": "user", "scope_id": "U3"}
    found = measured(company(target), by="owner").loc["U3"]
    assert [found["value"], *columns(found)] == pytest.approx([0, 50, 0, -30 / 90, 50])
    assert found["note"] == "nothing measured"
    ratio = measured(company(target | {"kpi": "win_rate"}), kpi="win_rate", by="owner").loc["U3"]
    assert np.isnan(ratio["value"])
    assert ratio["target"] == 50


def test_a_target_for_an_unknown_user_is_named_everywhere() -> None:
    """It has a row without a value by owner, is noted on the total, and is a finding; none is an error."""
    known = company({"value": 70.0, "scope": "user", "scope_id": "ghost"}, {"value": 200.0})
    by_owner = measured(known, by="owner")
    assert np.isnan(by_owner.loc["ghost", "value"])
    assert by_owner.loc["ghost", ["target", "note"]].to_list() == [70, "target T0 names an unknown user"]
    assert measured(known).loc["total", "note"] == "target T0 names an unknown user, ghost"
    assert measured(known).loc["total", "target"] == 200
    problems = target_findings(known.targets, known.users, list(KPIS))
    assert [str(problem) for problem in problems] == [
        "targets, target_id T0: scope_id = 'ghost': no user is called so; "
        "correct it, or add the user to the users"
    ]


def test_findings_name_unknown_kpis_teams_and_what_is_replaced() -> None:
    """Each once, with its target_id and what to do."""
    known = company(
        {"value": 1.0, "kpi": "happiness"},
        {"value": 2.0, "scope": "team", "scope_id": "West"},
        {"value": 3.0},
        {"value": 4.0},
    )
    found = target_findings(known.targets, known.users, list(KPIS))
    assert [(p.where[-2:], p.field, p.value) for p in found] == [
        ("T0", "kpi", "happiness"),
        ("T1", "scope_id", "West"),
        ("T2", "value", "3"),
    ]


def test_of_two_targets_the_one_recorded_last_counts_as_soon_as_it_is_known() -> None:
    """100, corrected to 200 on 15 January; before, nobody knew of it."""
    correction = {"value": 200.0, "recorded_at": utc("2025-01-15T00:00Z"), "target_id": "A"}
    known = company({"value": 100.0, "target_id": "B"}, correction)
    assert measured(known).loc["total", "target"] == 200
    assert measured(known, day="2025-01-15").loc["total", "target"] == 100


def test_only_the_same_period_counts_unless_prorating_is_asked_for() -> None:
    """January has 31 of 90 for the quarter's 90 days; the quarter its months' sum, if none is missing."""
    known = company({"value": 90.0})
    january = parse_period("2025-01")
    rows = measured(known, period=january).reset_index()
    assert np.isnan(rows.loc[0, "target"])
    prorated = with_targets(rows, known.targets, known.users, utc("2025-01-31T00:00Z"), prorate=True)
    assert prorated.loc[0, "target"] == pytest.approx(31)
    months = [parse_period(f"2025-0{n}") for n in (1, 2, 3)]
    goals = [
        {"value": 10.0 * n, "period_start": m.start, "period_end": m.end} for n, m in enumerate(months, 1)
    ]
    for some, target in ((goals, 60), (goals[:2], np.nan), ([goals[0], goals[2]], np.nan)):
        known = company(*some)
        rows = measured(known).reset_index()
        assert np.isnan(rows.loc[0, "target"])
        found = with_targets(rows, known.targets, known.users, utc("2025-01-31T00:00Z"), prorate=True)
        assert found.loc[0, "target"] == pytest.approx(target, nan_ok=True)


def test_prorated_targets_that_overlap_do_not_count_twice() -> None:
    """Two targets that cover February both are no answer for the quarter; a ratio keeps the one around it."""
    halves = [
        {"value": 10.0, "period_start": QUARTER.start, "period_end": utc("2025-03-01T00:00Z")},
        {"value": 10.0, "period_start": utc("2025-02-01T00:00Z"), "period_end": QUARTER.end},
    ]
    known = company(*halves)
    found = with_targets(measured(known).reset_index(), known.targets, known.users, QUARTER.end, prorate=True)
    assert np.isnan(found.loc[0, "target"])
    ratio = company({"value": 0.5, "kpi": "win_rate"})
    rows = measured(ratio, kpi="win_rate", period=parse_period("2025-01")).reset_index()
    found = with_targets(rows, ratio.targets, ratio.users, QUARTER.end, prorate=True)
    assert found.loc[0, "target"] == 0.5


def test_a_target_by_dates_fits_the_quarter_wherever_its_days_begin() -> None:
    """A quarter of Paris begins an hour before that of UTC; a day's target is no other day's."""
    known = company({"value": 200.0})
    assert measured(known, period=parse_period("2025-Q1", "Europe/Paris")).loc["total", "target"] == 200
    day = parse_period("2025-01-20")
    known = company({"value": 5.0, "period_start": day.start, "period_end": day.end})
    assert measured(known, period=day).loc["total", "target"] == 5
    assert np.isnan(measured(known, period=parse_period("2025-01-19")).loc["total", "target"])


def test_a_target_of_nothing_divides_nothing() -> None:
    """A target of 0 has no attainment, and is not missed."""
    found = measured(company({"value": 0.0})).loc["total"]
    assert np.isnan(found["attainment"])
    assert found["still_missing"] == 0
    assert measured(company()).loc["total", ["target", "attainment", "pace"]].isna().all()


def test_the_lists_of_flows_and_of_what_should_be_low_are_the_catalogues() -> None:
    """Whichever KPI is added, its direction is known here."""
    assert {name for name, kpi in KPIS.items() if kpi.better == "lower"} == LOWER
    assert set(KPIS) >= FLOWS
