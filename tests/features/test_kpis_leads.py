"""KPIs of leads, computed by hand: how many, how many qualified and converted, and how soon answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from crm.history import History, utc
from crm.periods import parse_period
from crm.validation import validate_history
from features.kpis import KpiSettings, measure_kpis

MARCH = parse_period("2026-03")


def history(facts: dict[str, str] | None = None, **tables: dict[str, object]) -> History:
    """Give a history of these tables."""
    frames = {name: pd.DataFrame(columns) for name, columns in tables.items()}
    valid = validate_history(frames)
    return History.of(valid.frames(), facts)


def rows(known: History, name: str, as_of: str = "2026-06-01T00:00Z", **options: Any) -> pd.DataFrame:
    """Measure one KPI over March 2026."""
    return measure_kpis(known, [options.pop("period", MARCH)], utc(as_of), names=[name], **options)


def total(known: History, name: str, as_of: str = "2026-06-01T00:00Z", **options: Any) -> dict[str, Any]:
    """Give the total of one KPI over March 2026."""
    found = rows(known, name, as_of, **options).set_index("group").loc[["total"]]
    assert len(found) == 1
    return dict(found.iloc[0])


def at(*days: str) -> list[str]:
    """Give moments of 2026: a month, a day and an hour."""
    return [f"2026-{day}:00Z" for day in days]


#: Five leads of March, one of April: bought, lost, open, open with a deal, gone.
LEADS = {
    "lead_id": ["L1", "L2", "L3", "L4", "L5", "L6"],
    "created_at": at("03-01T00", "03-10T00", "03-20T00", "03-31T23", "03-05T00", "04-01T00"),
    "outcome": ["won", "lost", None, None, None, None],
    "closed_at": [*at("04-10T00", "03-12T00"), None, None, None, None],
    "gone_at": [None, None, None, None, *at("05-01T00"), None],
    "owner_id": ["U1", "U1", "U2", "U2", "U1", "U1"],
}
DEALS = {
    "deal_id": ["D1", "D4"],
    "created_at": at("03-15T00", "04-05T00"),
    "lead_id": ["L1", "L4"],
    "outcome": ["won", None],
    "closed_at": [*at("04-10T00"), None],
}


def test_the_leads_of_a_period_are_counted_by_the_day_they_came_in() -> None:
    """The last hour of March is March's, the first of April is not."""
    assert total(history(leads=LEADS), "leads_created")["value"] == 5


def test_the_conversion_rate_is_that_of_the_leads_that_came_in() -> None:
    """One of five bought; two may still, one is lost and one gone."""
    found = total(history(leads=LEADS, deals=DEALS), "lead_conversion_rate")
    assert (found["value"], found["numerator"], found["denominator"], found["n"]) == (0.2, 1, 5, 5)
    assert found["censored"] == 2
    # Wilson 1927: (0.2 + z²/10 ± z √(0.16/5 + z²/100)) / (1 + z²/5), z = 1.96
    assert found["low"] == pytest.approx(0.0362, abs=5e-5)
    assert found["high"] == pytest.approx(0.6245, abs=5e-5)


def test_a_conversion_counts_from_the_day_it_was_known() -> None:
    """On 10 April at midnight the purchase of that moment is not known yet; a microsecond later it is."""
    known = history(leads=LEADS, deals=DEALS)
    assert total(known, "lead_conversion_rate", "2026-04-10T00:00Z")["numerator"] == 0
    assert total(known, "lead_conversion_rate", "2026-04-10T00:00:00.000001Z")["numerator"] == 1


def test_a_conversion_is_a_purchase_where_deals_are_linked_else_what_the_crm_records() -> None:
    """A lead marked won whose deal is still open has not bought; without deals, or if so asked, it has."""
    open_deal = DEALS | {"outcome": [None, None], "closed_at": [None, None]}
    assert total(history(leads=LEADS, deals=open_deal), "lead_conversion_rate")["numerator"] == 0
    assert total(history(leads=LEADS), "lead_conversion_rate")["numerator"] == 1
    asked = history({"lead_outcome": "leads"}, leads=LEADS, deals=open_deal)
    assert total(asked, "lead_conversion_rate")["numerator"] == 1


def test_nothing_of_nothing_is_not_a_number() -> None:
    """A period without leads, and a history without any, give NaN of 0 in 0, not 0%."""
    for known in (history(leads=LEADS), History()):
        for name in ("lead_conversion_rate", "qualification_rate", "lead_activation_rate"):
            found = total(known, name, period=parse_period("2026-01"))
            assert np.isnan(found["value"])
            assert (found["numerator"], found["denominator"], found["n"], found["censored"]) == (0, 0, 0, 0)
            assert np.isnan(found["low"])
        for name in ("lead_response_time", "lead_response_time_km"):
            found = total(known, name, period=parse_period("2026-01"))
            assert np.isnan(found["value"])
            assert found["n"] == 0


def test_leads_without_a_time_are_in_no_period_and_it_is_said() -> None:
    """An export that gives no time of creation leaves a remark."""
    known = history(leads={"lead_id": ["L1", "L2"], "recorded_at": at("03-01T00", "03-01T00")})
    found = total(known, "leads_created")
    assert found["value"] == 0
    assert found["note"] == "2 without a time of creation are in no period"


def test_a_month_ends_where_the_clocks_say() -> None:
    """In Paris, 23:00 UTC of 31 March is April; 23:00 UTC of 28 February is March."""
    known = history(
        leads={"lead_id": ["L1", "L2", "L3"], "created_at": at("02-28T23", "03-31T21", "03-31T22")}
    )
    assert total(known, "leads_created")["value"] == 2
    assert total(known, "leads_created", period=parse_period("2026-03", "Europe/Paris"))["value"] == 2
    paris_day = parse_period("2026-03-29", "Europe/Paris")
    hourly = pd.date_range("2026-03-28T12:00Z", "2026-03-30T12:00Z", freq="h")
    many = history(leads={"lead_id": [f"L{i}" for i in range(len(hourly))], "created_at": hourly})
    assert total(many, "leads_created", period=paris_day)["value"] == 23


def changes(*rows_: tuple[str, str | None, str, str]) -> dict[str, object]:
    """Give changes of a lead's stage: lead, old stage, new stage, moment."""
    record, old, new, when = zip(*rows_, strict=True)
    return {
        "change_id": [f"C{i}" for i in range(len(rows_))],
        "entity": ["lead"] * len(rows_),
        "record_id": record,
        "field": ["stage"] * len(rows_),
        "old_value": old,
        "new_value": new,
        "changed_at": at(*when),
    }


def test_a_lead_is_qualified_by_a_deal_a_purchase_or_a_stage_that_says_so() -> None:
    """L1 bought, L4 has a deal, L3 was once in a stage that says so; L2's and L5's say the contrary."""
    stages = ["new", "Disqualified", "new", "new", "not qualified", "new"]
    known = history(
        leads=LEADS | {"stage": stages},
        deals=DEALS,
        changes=changes(
            ("L3", "new", "Sales qualified", "03-21T00"), ("L3", "Sales qualified", "new", "03-22T00")
        ),
    )
    found = total(known, "qualification_rate")
    assert (found["numerator"], found["denominator"], found["censored"]) == (3, 5, 0)
    before = total(known, "qualification_rate", "2026-03-20T12:00Z")
    assert (before["numerator"], before["denominator"], before["censored"]) == (1, 4, 2)


def test_a_team_may_say_which_stages_are_qualified() -> None:
    """With stages of its own, the names do not matter."""
    known = history(
        leads=LEADS | {"stage": ["SAL", "qualified", None, None, None, None]},
        changes=changes(("L5", None, "SAL", "03-06T00")),
    )
    # L1 is converted too; L2's stage says qualified, and was not asked for.
    asked = total(known, "qualification_rate", settings=KpiSettings(qualified_stages=("SAL",)))
    assert asked["numerator"] == 2
    assert total(known, "qualification_rate")["numerator"] == 2


@pytest.fixture
def answered() -> History:
    """Leads called after 2 and 30 hours, moved after 24, lost after 5, never answered, and one too young."""
    leads = {
        "lead_id": ["L1", "L2", "L3", "L4", "L5", "L6"],
        "created_at": at("03-02T00", "03-02T00", "03-02T00", "03-02T00", "03-02T00", "03-09T12"),
        "outcome": [None, None, None, "lost", None, None],
        "closed_at": [None, None, None, *at("03-02T05"), None, None],
    }
    return history(
        leads=leads,
        activities={
            "activity_id": [f"E{i}" for i in range(8)],
            "lead_id": ["L1", "L2", "L2", "L5", "L5", "L5", "L6", "L1"],
            "kind": ["call"] * 8,
            "direction": ["out", "out", "in", "in", None, "out", "out", "out"],
            "user_id": [None, None, None, None, None, "U1", None, None],
            "status": ["done", "done", "done", "done", "done", "scheduled", "done", "done"],
            "occurred_at": at(
                "03-02T02",
                "03-03T06",
                "03-02T01",
                "03-02T01",
                "03-02T01",
                "03-02T01",
                "03-09T13",
                "03-01T23",
            ),
        },
        changes=changes(("L3", None, "new", "03-02T00"), ("L3", "new", "contacted", "03-03T00")),
    )


def test_activation_is_an_answer_within_the_hours_set(answered: History) -> None:
    """Called after 2 h, moved after exactly 24, closed after 5: three of five; the young one is not counted.

    What the prospect did, what nobody is named for, what is only planned, what came before the lead and the
    stage that it was given at first are no answers.
    """
    found = total(answered, "lead_activation_rate", "2026-03-10T00:00Z")
    assert (found["numerator"], found["denominator"], found["n"], found["censored"]) == (3, 5, 6, 1)
    assert found["value"] == 0.6
    assert found["note"] == "within 24 hours"
    day_later = total(answered, "lead_activation_rate", "2026-03-11T00:00Z")
    assert (day_later["numerator"], day_later["denominator"], day_later["censored"]) == (4, 6, 0)
    in_three = KpiSettings(answer_hours=3)
    assert total(answered, "lead_activation_rate", "2026-03-10T00:00Z", settings=in_three)["numerator"] == 2


def test_a_rep_named_without_a_direction_answers() -> None:
    """Where a CRM gives no direction, an activity by a rep is ours."""
    known = history(
        leads={"lead_id": ["L1"], "created_at": at("03-02T00")},
        activities={
            "activity_id": ["E1"],
            "lead_id": ["L1"],
            "kind": ["call"],
            "user_id": ["U1"],
            "occurred_at": at("03-02T07"),
        },
    )
    assert total(known, "lead_response_time")["value"] == 7


def test_the_median_answer_of_those_answered_and_of_all(answered: History) -> None:
    """Answered after 1, 2, 5, 24 and 30 hours: 5. With the one that still waits, half remain at 5 h: 24."""
    found = total(answered, "lead_response_time", "2026-03-20T00:00Z")
    assert (found["value"], found["n"]) == (5, 5)
    fair = total(answered, "lead_response_time_km", "2026-03-20T00:00Z")
    assert (fair["value"], fair["n"], fair["censored"]) == (24, 6, 1)
    assert fair["low"] <= 24 <= fair["high"]


def test_an_answer_recorded_late_is_known_late_and_counts_when_it_happened() -> None:
    """A call of 9:00 entered two days later answers after 9 hours, once it is known."""
    known = history(
        leads={"lead_id": ["L1"], "created_at": at("03-02T00")},
        activities={
            "activity_id": ["E1"],
            "lead_id": ["L1"],
            "kind": ["call"],
            "direction": ["out"],
            "occurred_at": at("03-02T09"),
            "recorded_at": at("03-04T00"),
        },
    )
    assert total(known, "lead_activation_rate", "2026-03-04T00:00Z")["numerator"] == 0
    assert total(known, "lead_activation_rate", "2026-03-04T01:00Z")["numerator"] == 1
    assert total(known, "lead_response_time", "2026-03-04T01:00Z")["value"] == 9


def test_a_history_without_activities_says_that_answers_are_not_seen() -> None:
    """Only closings count then, and a rate made of those alone has a remark."""
    found = total(history(leads=LEADS), "lead_activation_rate")
    assert found["numerator"] == 0
    assert "the history has no activities" in found["note"]


def test_one_lead_is_enough() -> None:
    """One record gives every KPI of leads a value, or says that there is none; none fails."""
    known = history(leads={"lead_id": ["L1"], "created_at": at("03-02T00")})
    found = measure_kpis(known, [MARCH], utc("2026-06-01T00:00Z")).set_index("kpi")["value"]
    assert found["leads_created"] == 1
    assert found["lead_conversion_rate"] == 0
    assert np.isnan(found["lead_response_time"])


def test_groups_have_rows_of_their_own() -> None:
    """Each owner's leads are apart, and all of them make the total."""
    found = rows(history(leads=LEADS), "leads_created", by="owner").set_index("group")["value"]
    assert found.to_dict() == {"total": 5, "U1": 3, "U2": 2}
