"""KPIs of deals, computed by hand: won, worth, how long they took, and what the pipeline holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from crm.errors import InputError
from crm.history import History, utc
from crm.money import Rates
from crm.periods import parse_period
from crm.validation import validate_history
from features.kpis import measure_kpis

MARCH = parse_period("2026-03")


def history(**tables: dict[str, object]) -> History:
    """Give a history of these tables."""
    return validate_history({name: pd.DataFrame(columns) for name, columns in tables.items()})


def rows(known: History, name: str, as_of: str = "2026-06-01T00:00Z", **options: Any) -> pd.DataFrame:
    """Measure one KPI over March 2026, by group."""
    found = measure_kpis(known, [options.pop("period", MARCH)], utc(as_of), names=[name], **options)
    return found.set_index("group")


def total(known: History, name: str, as_of: str = "2026-06-01T00:00Z", **options: Any) -> dict[str, Any]:
    """Give the total of one KPI over March 2026."""
    found = rows(known, name, as_of, **options).loc[["total"]]
    assert len(found) == 1
    return dict(found.iloc[0])


def at(*days: str | None) -> list[str | None]:
    """Give midnights of 2026, by month and day."""
    return [day and f"2026-{day}T00:00Z" for day in days]


#: Won 100 after 10 days and 300 after 20, lost 200 after 4, won nothing said; two open; one won in April.
DEALS = {
    "deal_id": ["D1", "D2", "D3", "D4", "D5", "D6", "D7"],
    "created_at": at("03-01", "02-28", "03-02", "03-03", "03-05", "01-30", "03-20"),
    "owner_id": ["U1", "U2", "U1", "U1", "U2", "U2", "U1"],
    "stage": ["won", "won", "lost", "won", "offer", "talk", "won"],
    "amount": [100.0, 300.0, 200.0, None, 1000.0, 500.0, 50.0],
    "currency": ["EUR"] * 7,
    "outcome": ["won", "won", "lost", "won", None, None, "won"],
    "closed_at": at("03-11", "03-20", "03-06", "03-31", None, None, "04-01"),
    "expected_close_at": at(None, None, None, None, "03-31", "04-15", None),
}


def test_deals_are_counted_and_added_up_by_the_day_they_were_won() -> None:
    """Three won in March for 400, one of them without an amount; the deal won on 1 April is April's."""
    known = history(deals=DEALS)
    assert total(known, "deals_created")["value"] == 5
    assert total(known, "deals_won")["value"] == 3
    found = total(known, "revenue")
    assert (found["value"], found["unit"], found["n"], found["note"]) == (
        400,
        "EUR",
        3,
        "1 without an amount",
    )


def test_the_win_rate_is_of_deals_closed_by_count_and_by_value() -> None:
    """Three of four closed, whatever is open; 400 of 600, the one without an amount left out."""
    known = history(deals=DEALS)
    found = total(known, "win_rate")
    assert (found["value"], found["numerator"], found["denominator"]) == (0.75, 3, 4)
    # Wilson 1927: (0.75 + z²/8 ± z √(0.1875/4 + z²/64)) / (1 + z²/4)
    assert (found["low"], found["high"]) == (pytest.approx(0.3006, abs=5e-5), pytest.approx(0.9544, abs=5e-5))
    by_value = total(known, "win_rate_by_value")
    assert (by_value["value"], by_value["numerator"], by_value["denominator"]) == (400 / 600, 400, 600)
    assert (by_value["n"], by_value["note"]) == (3, "1 without an amount")
    assert np.isnan(by_value["low"])


def test_the_average_and_median_value_are_of_won_deals_with_an_amount() -> None:
    """Of 100 and 300: 200 both; with a third of 1,100 they differ."""
    known = history(deals=DEALS)
    mean = total(known, "deal_value_mean")
    assert (mean["value"], mean["numerator"], mean["denominator"], mean["n"]) == (200, 400, 2, 2)
    assert total(known, "deal_value_median")["value"] == 200
    three = history(deals=DEALS | {"amount": [100.0, 300.0, 200.0, 1100.0, 1000.0, 500.0, 50.0]})
    assert total(three, "deal_value_mean")["value"] == 500
    assert total(three, "deal_value_median")["value"] == 300


def test_cycles_of_won_and_lost_deals_are_apart() -> None:
    """Won after 10, 20 and 28 days, lost after 4."""
    known = history(deals=DEALS)
    assert total(known, "cycle_won_mean")["value"] == pytest.approx(58 / 3)
    assert (total(known, "cycle_won_median")["value"], total(known, "cycle_won_median")["n"]) == (20, 3)
    assert total(known, "cycle_lost_mean")["value"] == total(known, "cycle_lost_median")["value"] == 4


def test_the_censoring_aware_cycle_counts_deals_still_open() -> None:
    """Closed after 4, 10, 20 and 28 days, watched from the age at which March began.

    At 4 days D1, D3, D4, D5 and D7 are at risk (D2 entered March at 1 day, so it is too; D6 entered at 30):
    1 of 6 ends, at 10 days 1 of 5, at 20 days 1 of 3 (D7 left the watch at 12 days), at 28 days the last but
    one of 2: S = 5/6, 4/6, 4/9, 2/9. The first below one half is at 20 days. D5, D6, D7 are censored.
    """
    found = total(history(deals=DEALS), "sales_cycle_km")
    assert found["value"] == pytest.approx(20)
    assert (found["n"], found["censored"]) == (7, 3)
    assert found["low"] <= 20 <= found["high"]


def test_the_naive_cycle_is_biased_while_deals_are_open() -> None:
    """One closed after 2 days and four open for 30: a median of 2 days, and by Kaplan and Meier none yet."""
    deals = {
        "deal_id": [f"D{i}" for i in range(5)],
        "created_at": at(*["03-01"] * 5),
        "outcome": ["won", None, None, None, None],
        "closed_at": at("03-03", None, None, None, None),
    }
    known = history(deals=deals)
    assert total(known, "cycle_won_median")["value"] == 2
    found = total(known, "sales_cycle_km")
    assert np.isnan(found["value"])
    assert (found["n"], found["censored"]) == (5, 4)


def test_a_deal_closed_the_moment_it_was_opened_or_the_period_began_counts() -> None:
    """A duration of nothing is one; so is a deal of ten days that ends with the first moment of March."""
    deals = {
        "deal_id": ["D1", "D2"],
        "created_at": at("03-05", "02-19"),
        "outcome": ["won", "lost"],
        "closed_at": at("03-05", "03-01"),
    }
    one = history(deals={name: values[:1] for name, values in deals.items()})
    other = history(deals={name: values[1:] for name, values in deals.items()})
    assert total(one, "sales_cycle_km")["value"] == 0
    assert total(other, "sales_cycle_km")["value"] == pytest.approx(10)


def test_nothing_of_nothing_is_not_a_number() -> None:
    """A period in which nothing was closed, and a history without deals, give NaN of 0 in 0."""
    for known in (history(deals=DEALS), History()):
        for name in ("win_rate", "win_rate_by_value", "deal_value_mean", "cycle_won_mean", "cycle_lost_mean"):
            found = total(known, name, period=parse_period("2025-01"))
            assert np.isnan(found["value"])
            assert (found["numerator"], found["denominator"], found["n"]) == (0, 0, 0)
        for name in ("deal_value_median", "cycle_won_median", "sales_cycle_km", "sales_velocity"):
            assert np.isnan(total(known, name, period=parse_period("2025-01"))["value"])
        for name in ("deals_won", "revenue", "open_deals", "pipeline_value"):
            assert total(known, name, period=parse_period("2025-01"))["value"] == 0


def test_deals_closed_without_a_time_are_in_no_period_and_it_is_said() -> None:
    """An export that gives no moment of the end leaves a remark, and no deal among the open ones."""
    known = history(
        deals={"deal_id": ["D1"], "recorded_at": at("03-01"), "outcome": ["won"], "amount": [5.0]}
    )
    found = total(known, "revenue")
    assert (found["value"], found["note"]) == (0, "1 closed without a time are in no period")
    assert total(known, "open_deals")["value"] == 0
    assert total(known, "sales_cycle_km")["n"] == 0


def test_amounts_are_in_the_reporting_currency_at_the_rate_of_their_month() -> None:
    """Dollars won in March at March's rate, those open at as_of at its month's; a missing rate is named."""
    known = history(deals=DEALS | {"currency": ["EUR", "USD", "EUR", "EUR", "USD", "EUR", "EUR"]})
    rates = Rates("EUR", {("2026-03", "USD"): 0.9, ("2026-04", "USD"): 0.8})
    found = total(known, "revenue", "2026-04-15T00:00Z", rates=rates)
    assert (found["value"], found["unit"]) == (100 + 270, "EUR")
    assert total(known, "pipeline_value", "2026-04-15T00:00Z", rates=rates)["value"] == 900 + 500 + 50
    april = total(known, "pipeline_value", "2026-04-15T00:00Z", rates=rates, period=parse_period("2026-05"))
    assert april["value"] == 800 + 500
    with pytest.raises(InputError, match=r"no rate for USD in 2026-05"):
        total(known, "pipeline_value", "2026-05-15T00:00Z", rates=rates, period=parse_period("2026-05"))
    with pytest.raises(InputError, match=r"several currencies \(EUR, USD\)"):
        total(known, "revenue")


def test_the_pipeline_is_what_was_open_at_the_end_of_the_period() -> None:
    """At the end of March D5, D6 and D7 were open, as they were then; in May two are, as they are now."""
    changed = {
        "change_id": ["C1", "C2"],
        "entity": ["deal", "deal"],
        "record_id": ["D5", "D5"],
        "field": ["amount", "stage"],
        "old_value": ["700", "talk"],
        "new_value": ["1000", "offer"],
        "changed_at": at("04-10", "04-10"),
    }
    known = history(deals=DEALS, changes=changed)
    assert total(known, "open_deals")["value"] == 3
    assert total(known, "pipeline_value")["value"] == 700 + 500 + 50
    now = parse_period("2026-05")
    assert total(known, "pipeline_value", period=now)["value"] == 1000 + 500
    by_stage = rows(known, "pipeline_by_stage", period=now).set_index("detail")["value"]
    assert by_stage.to_dict() == {"offer": 1000, "talk": 500}
    then = rows(known, "pipeline_by_stage").set_index("detail")["value"]
    assert then.to_dict() == {"talk": 700 + 500, "won": 50}


def test_a_deal_that_is_gone_is_not_open() -> None:
    """What a later export no longer holds is no pipeline, and is censored in cycles from then on."""
    known = history(deals=DEALS | {"gone_at": at(None, None, None, None, "03-25", None, None)})
    assert total(known, "pipeline_value", period=parse_period("2026-05"))["value"] == 500
    assert total(known, "sales_cycle_km")["censored"] == 3


def test_velocity_is_deals_times_rate_times_value_over_cycle() -> None:
    """Three open at the end of March × 0.75 × 200 € / (58/3 days)."""
    found = total(history(deals=DEALS), "sales_velocity")
    assert found["value"] == pytest.approx(3 * 0.75 * 200 / (58 / 3))
    assert (found["unit"], found["n"]) == ("EUR per day", 3)
    assert found["denominator"] == pytest.approx(58 / 3)


@pytest.fixture
def with_quota() -> History:
    """The deals, two reps of a team, and quotas: of the company 1,000, of the team 800, of U1 400."""
    return history(
        deals=DEALS,
        users={"user_id": ["U1", "U2"], "team": ["North", "North"]},
        targets={
            "target_id": ["T1", "T2", "T3"],
            "kpi": ["revenue"] * 3,
            "scope": ["company", "team", "user"],
            "scope_id": [None, "North", "U1"],
            "period_start": at("03-01", "03-01", "03-01"),
            "period_end": at("04-01", "04-01", "04-01"),
            "value": [1000.0, 800.0, 400.0],
        },
    )


def test_attainment_is_revenue_over_quota(with_quota: History) -> None:
    """400 of 1,000 for the company, of 800 for the team; 100 of 400 for U1; U2 has no quota, as is said."""
    found = total(with_quota, "quota_attainment")
    assert (found["value"], found["numerator"], found["denominator"]) == (0.4, 400, 1000)
    assert rows(with_quota, "quota_attainment", by="team").loc["North", "value"] == 0.5
    by_owner = rows(with_quota, "quota_attainment", by="owner")
    assert by_owner.loc["U1", "value"] == 0.25
    assert np.isnan(by_owner.loc["U2", "value"])
    assert by_owner.loc["U2", "note"] == "no target for revenue"


def test_coverage_is_what_is_due_over_what_is_missing(with_quota: History) -> None:
    """On 25 March: D5 is due (1,000), D4 and D7 have no date (0 and 50), D6 is for April; 600 are missing."""
    found = total(with_quota, "pipeline_coverage", "2026-03-25T00:00Z")
    assert (found["numerator"], found["denominator"], found["n"]) == (1050, 600, 3)
    assert found["value"] == 1050 / 600
    u1 = rows(with_quota, "pipeline_coverage", "2026-03-25T00:00Z", by="owner").loc["U1"]
    assert (u1["numerator"], u1["denominator"]) == (50, 300)


def test_coverage_of_a_period_that_is_over_is_that_with_which_it_began(with_quota: History) -> None:
    """On 1 March at midnight D2 was open with no date, 300, against the whole 1,000; D6 was for April."""
    found = total(with_quota, "pipeline_coverage", "2026-04-01T00:00Z")
    assert (found["numerator"], found["denominator"], found["n"]) == (300, 1000, 1)


def test_a_quota_that_is_reached_or_not_there_has_no_coverage(with_quota: History) -> None:
    """Nothing is missing, or nobody knows what is: NaN, and the note says which."""
    small = with_quota.targets.assign(value=400.0)
    reached = total(
        History.of(with_quota.frames() | {"targets": small}), "pipeline_coverage", "2026-03-25T00:00Z"
    )
    assert np.isnan(reached["value"])
    assert reached["denominator"] == 0
    assert "the quota is reached" in reached["note"]
    none = total(history(deals=DEALS), "pipeline_coverage", "2026-03-25T00:00Z")
    assert np.isnan(none["value"])
    assert "no target for revenue" in none["note"]


def test_a_deal_without_an_owner_and_one_of_a_rep_who_left_have_groups() -> None:
    """Both are in the total, and in groups of their own."""
    known = history(
        deals=DEALS | {"owner_id": [None, "gone", "U1", "U1", "U2", "U2", "U1"]},
        users={"user_id": ["U1", "U2"], "team": ["North", "South"]},
    )
    assert rows(known, "revenue", by="owner")["value"].to_dict() == {
        "total": 400,
        "(none)": 100,
        "U1": 0,
        "U2": 0,
        "gone": 300,
    }
    assert rows(known, "revenue", by="team")["value"].to_dict() == {
        "total": 400,
        "(none)": 400,
        "North": 0,
        "South": 0,
    }
