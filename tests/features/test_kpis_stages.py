"""Stages and engagement, computed by hand: where records go, how long it takes, and who answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from crm.history import History, utc
from crm.known import known_at
from crm.periods import parse_period
from crm.validation import validate_history
from features.kpis import KpiSettings, measure_kpis
from features.kpis.stays import stage_stays

MARCH = parse_period("2026-03")
JUNE = "2026-06-01T00:00Z"


def history(**tables: dict[str, object]) -> History:
    """Give a history of these tables."""
    return validate_history({name: pd.DataFrame(columns) for name, columns in tables.items()})


def rows(known: History, name: str, as_of: str = JUNE, **options: Any) -> pd.DataFrame:
    """Measure one KPI over March 2026, in total, by detail."""
    found = measure_kpis(known, [MARCH], utc(as_of), names=[name], **options)
    return found[found["group"] == "total"].set_index("detail")


def at(*days: str | None) -> list[str | None]:
    """Give midnights of 2026, by month and day."""
    return [day and f"2026-{day}T00:00Z" for day in days]


def moves(entity: str, *steps: tuple[str, str | None, str, str]) -> dict[str, object]:
    """Give changes of stage: record, old stage, new stage, day."""
    record, old, new, day = zip(*steps, strict=True)
    return {
        "change_id": [f"C{i}" for i in range(len(steps))],
        "entity": [entity] * len(steps),
        "record_id": record,
        "field": ["stage"] * len(steps),
        "old_value": old,
        "new_value": new,
        "changed_at": at(*day),
    }


@pytest.fixture
def deals() -> History:
    """Four deals: won through both stages, lost from the first without a change, still there, and gone."""
    return history(
        deals={
            "deal_id": ["D1", "D2", "D3", "D4"],
            "created_at": at("03-01", "03-02", "03-03", "03-04"),
            "owner_id": ["U1", "U1", "U2", "U2"],
            "stage": ["closed won", "talk", "offer", "talk"],
            "outcome": ["won", "lost", None, None],
            "closed_at": at("03-21", "03-08", None, None),
            "gone_at": at(None, None, None, "03-30"),
        },
        changes=moves(
            "deal",
            ("D1", "talk", "offer", "03-06"),
            ("D1", "offer", "closed won", "03-21"),
            ("D2", "lead in", "talk", "03-04"),
            ("D3", "talk", "offer", "04-01"),
        ),
    )


def test_stays_follow_the_changes_that_are_known(deals: History) -> None:
    """Each stay led somewhere; the stage in which a deal was won is none; one of a deal gone led nowhere."""
    stays = stage_stays(known_at(deals, utc(JUNE)), "deal")
    found = [
        (row, stage, f"{entered:%m-%d}", None if pd.isna(left) else f"{left:%m-%d}", to)
        for row, stage, entered, left, to in stays.astype({"to": object}).itertuples(index=False)
    ]
    assert [tuple(None if pd.isna(one) else one for one in stay) for stay in found] == [
        (0, "talk", "03-01", "03-06", "offer"),
        (0, "offer", "03-06", "03-21", "closed won"),
        (1, "lead in", "03-02", "03-04", "talk"),
        (1, "talk", "03-04", "03-08", "(lost)"),
        (2, "talk", "03-03", "04-01", "offer"),
        (2, "offer", "04-01", None, None),
        (3, "talk", "03-04", "03-30", None),
    ]


def test_stages_lead_where_they_led(deals: History) -> None:
    """Of four stays in talk that began in March two led to the offer and one was lost; one deal is gone."""
    found = rows(deals, "deal_stage_conversion")
    shares = {detail: (row["numerator"], row["denominator"]) for detail, row in found.iterrows()}
    assert shares == {
        "lead in → talk": (1, 1),
        "offer → closed won": (1, 1),
        "talk → (lost)": (1, 4),
        "talk → offer": (2, 4),
    }
    assert found.loc["talk → offer", "value"] == 0.5


def test_a_stay_that_lasts_is_censored(deals: History) -> None:
    """On 10 March D3 and D4 are still in talk: a rate of one in four each, which may still rise."""
    found = rows(deals, "deal_stage_conversion", "2026-03-10T00:00Z")
    assert found.loc["talk → offer", ["numerator", "denominator", "censored"]].tolist() == [1, 4, 2]


def test_groups_of_stays_are_their_records(deals: History) -> None:
    """U1's deals went to the offer and were lost, of two; U2's one of two."""
    found = measure_kpis(deals, [MARCH], utc(JUNE), names=["deal_stage_conversion"], by="owner")
    found = found.set_index(["group", "detail"])
    assert found.loc[("U1", "talk → offer"), ["numerator", "denominator"]].tolist() == [1, 2]
    assert found.loc[("U2", "talk → offer"), ["numerator", "denominator"]].tolist() == [1, 2]
    assert found.loc[("U2", "talk → (lost)"), ["numerator", "denominator"]].tolist() == [0, 2]
    assert found.loc[("U2", "lead in → talk"), ["numerator", "denominator"]].tolist() == [0, 0]
    assert np.isnan(found.loc[("U2", "lead in → talk"), "value"])


def test_the_median_time_in_a_stage_counts_those_still_in_it(deals: History) -> None:
    """In talk 4, 5, 26 (gone) and 29 days: S is 3/4, 1/2, 0 at 29 days. On 10 March it is not below half."""
    found = rows(deals, "deal_time_in_stage")
    assert found.loc["talk", ["value", "n", "censored"]].tolist() == [29, 4, 1]
    assert found.loc["offer", ["value", "n", "censored"]].tolist() == [15, 1, 0]
    early = rows(deals, "deal_time_in_stage", "2026-03-10T00:00Z")
    assert np.isnan(early.loc["talk", "value"])
    assert early.loc["talk", ["n", "censored"]].tolist() == [4, 2]


def test_the_time_between_stages_is_that_of_the_moves_of_the_period(deals: History) -> None:
    """In March one deal went from talk to the offer, after 5 days; the other did on 1 April."""
    found = rows(deals, "deal_time_between_stages")
    assert found["value"].to_dict() == {
        "lead in → talk": 2,
        "offer → closed won": 15,
        "talk → (lost)": 4,
        "talk → offer": 5,
    }


def test_a_history_without_changes_of_stage_says_so(deals: History) -> None:
    """An export that holds only the present cannot say where records went: one row, and why."""
    known = History.of(deals.frames() | {"changes": deals.changes.iloc[:0]})
    for entity in ("lead", "deal"):
        for name in ("stage_conversion", "time_in_stage", "time_between_stages"):
            found = rows(known, f"{entity}_{name}")
            assert found["note"].tolist() == [f"the history has no changes of a {entity}'s stage"]
            assert found["n"].fillna(0).tolist() == [0]
            assert found["value"].isna().all()


def test_leads_have_stages_too() -> None:
    """A lead never moved is in the stage it has; one disqualified at its closing moved there."""
    known = history(
        leads={
            "lead_id": ["L1", "L2"],
            "created_at": at("03-01", "03-02"),
            "stage": ["no", "new"],
            "outcome": ["lost", None],
            "closed_at": at("03-05", None),
        },
        changes=moves("lead", ("L1", "new", "no", "03-05")),
    )
    found = rows(known, "lead_stage_conversion")
    assert found.loc["new → no", ["numerator", "denominator", "censored"]].tolist() == [1, 2, 1]


#: L1 was mailed twice and answered after 3 days by phone; L2 called, answered after 8; L3 mailed, no answer.
ACTIVITIES = {
    "activity_id": [f"E{i}" for i in range(9)],
    "lead_id": ["L1", "L1", "L1", "L2", "L2", "L3", None, "L1", "L3"],
    "deal_id": [None, None, None, None, None, None, "D3", None, None],
    "kind": ["x"] * 9,
    "channel": ["email", "email", "call", "call", "email", "email", "call", "email", "call"],
    "direction": ["out", "out", "in", "out", "in", "out", "out", "in", "out"],
    "status": ["done"] * 8 + ["cancelled"],
    "user_id": ["U1", "U1", None, "U2", None, "U2", "U2", None, "U2"],
    "occurred_at": at("03-02", "03-03", "03-05", "03-10", "03-18", "03-30", "03-20", "03-01", "03-20"),
}
ENGAGED = {
    "leads": {
        "lead_id": ["L1", "L2", "L3"],
        "created_at": at("03-01", "03-01", "03-01"),
        "owner_id": ["U1", "U2", "U2"],
    },
    "deals": {
        "deal_id": ["D1", "D3"],
        "created_at": at("03-04", "03-15"),
        "lead_id": ["L1", "L3"],
        "owner_id": ["U1", "U2"],
        "outcome": ["won", "won"],
        "closed_at": at("03-06", "03-20"),
    },
    "activities": ACTIVITIES,
}


def test_activities_are_counted_by_channel_and_direction() -> None:
    """What was done in March, not what was cancelled; what a prospect did is their rep's."""
    known = history(**ENGAGED)
    assert rows(known, "activities")["value"].to_dict() == {
        "call, in": 1,
        "call, out": 2,
        "email, in": 2,
        "email, out": 3,
    }
    by_owner = measure_kpis(known, [MARCH], utc(JUNE), names=["activities"], by="owner")
    by_owner = by_owner.set_index(["group", "detail"])["value"]
    assert by_owner[("U1", "email, in")] == by_owner[("U2", "email, in")] == 1


def test_engagement_is_an_action_soon_after_the_first_outreach() -> None:
    """By mail L1 acted within 7 days and L3 did not, of two; called, L2 acted on the eighth day, and the deal
    of L3 did nothing: none of two."""
    known = history(**ENGAGED)
    found = rows(known, "engagement")
    assert found.loc["email", ["numerator", "denominator", "censored"]].tolist() == [1, 2, 0]
    assert found.loc["call", ["numerator", "denominator", "censored"]].tolist() == [0, 2, 0]
    in_eight = rows(known, "engagement", settings=KpiSettings(reply_days=8))
    assert in_eight.loc["call", "numerator"] == 1
    assert in_eight.loc["call", "note"] == "within 8 days"


def test_outreach_too_recent_to_be_answered_is_censored() -> None:
    """On 3 April L3's mail of 30 March is 4 days old: one of one answered, and one that may still be."""
    found = rows(history(**ENGAGED), "engagement", "2026-04-03T00:00Z")
    assert found.loc["email", ["value", "numerator", "denominator", "censored"]].tolist() == [1, 1, 1, 1]


def test_activities_per_won_deal_count_what_was_done_for_it_until_then() -> None:
    """D1: four with its lead until 6 March; D3: its own call of 20 March, what came later not: 5 for 2."""
    known = history(**ENGAGED)
    found = rows(known, "activities_per_won_deal").loc[""]
    assert (found["value"], found["numerator"], found["denominator"]) == (2.5, 5, 2)
    no_deals = History.of(known.frames() | {"deals": known.deals.iloc[:0]})
    none = rows(no_deals, "activities_per_won_deal").loc[""]
    assert np.isnan(none["value"])
    assert (none["numerator"], none["denominator"]) == (0, 0)
