"""What the doctor finds odd in a history, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from crm.history import History
from crm.schema import TABLES
from crm.validation import validate
from training.doctor import Finding, diagnose

NOW = pd.Timestamp("2024-12-30", tz="UTC")
DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2024-01-01 08:13", tz="UTC")


def stamps(n: int, *, seed: int = 0, days: float = 360.0) -> list[pd.Timestamp]:
    """Give moments spread evenly over the year, each at another time of day."""
    noise = np.random.default_rng(seed).uniform(0, 1, n)
    return [START + pd.Timedelta(days=days * (k + u) / n) for k, u in enumerate(noise)]


def frame(table: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    return validate(TABLES[table], pd.DataFrame(rows), table)


def busy(
    activity_times: list[pd.Timestamp] | None = None, activities: list[dict[str, Any]] | None = None
) -> History:
    """Give a year of deals without a fault, and calls with the first of them."""
    deals = [
        {"deal_id": f"d{n}", "created_at": t, "amount": 10.0, "owner_id": "u1", "currency": "EUR",
         "outcome": ("won", "lost")[n % 2] if t < NOW - pd.Timedelta(days=40) else None,
         "closed_at": t + pd.Timedelta(days=30) if t < NOW - pd.Timedelta(days=40) else None}
        for n, t in enumerate(stamps(400))
    ]  # fmt: skip
    times = activity_times if activity_times is not None else stamps(800, seed=1)
    calls = [{"activity_id": f"a{n}", "deal_id": "d0", "kind": "call", "occurred_at": t}
             for n, t in enumerate(times)]  # fmt: skip
    return History.of(
        {"deals": frame("deals", deals), "activities": frame("activities", activities or calls)}
    )


def found_in(history: History, code: str) -> list[Finding]:
    return [one for one in diagnose(history, NOW).findings if one.code == code]


def test_a_clean_history_has_nothing_to_look_into() -> None:
    """A year of deals and calls without a fault gives no finding at all."""
    assert diagnose(busy(), NOW).findings == ()


def test_silent_weeks_in_the_middle_are_a_gap() -> None:
    """Four weeks without a call among busy ones are told, with their dates."""
    times = [t for t in stamps(800, seed=1) if not (t.month == 5 or (t.month == 6 and t.day < 3))]
    (gap,) = found_in(busy(times), "gap")
    assert gap.table == "activities" and gap.n == 4
    assert "between 2024-04-30 and 2024-06-03 (33 days)" in gap.text


def test_a_quiet_history_has_no_gaps() -> None:
    """Where two calls a month are usual, a month without one is no gap."""
    times = [t for t in stamps(24, seed=1) if t.month != 6]
    assert found_in(busy(times), "gap") == []


def test_activities_that_begin_late_or_end_early_are_told() -> None:
    """Calls only from April to September are both begun late and ended early."""
    times = [t for t in stamps(800, seed=1) if 4 <= t.month <= 9]
    assert [one.table for one in found_in(busy(times), "begins_late")] == ["activities"]
    assert [one.table for one in found_in(busy(times), "ends_early")] == ["activities"]


def test_a_slow_business_may_close_its_first_deal_late() -> None:
    """Closings that begin after a typical cycle are no finding; with a cycle of days they are."""
    deals = busy().deals
    late = deals["closed_at"] >= pd.Timestamp("2024-05-01", tz="UTC")
    for lasted, expected in ((pd.Timedelta(days=100), []), (pd.Timedelta(days=3), ["closed_at"])):
        ends = (deals["created_at"] + lasted).where(late & deals["closed_at"].notna())
        changed = deals.assign(
            closed_at=ends, closed_recorded_at=ends, outcome=deals["outcome"].where(ends.notna())
        )
        history = History.of({"deals": changed})
        assert [one.column for one in found_in(history, "begins_late")] == expected


def test_future_moments_are_told_and_plans_are_not() -> None:
    """A call that was done next year is a fault; one that is planned for then is not."""
    future = NOW + pd.Timedelta(days=400)
    calls = [
        {"activity_id": "done", "deal_id": "d0", "kind": "call", "occurred_at": future, "recorded_at": NOW},
        {"activity_id": "plan", "deal_id": "d0", "kind": "call", "occurred_at": future, "recorded_at": NOW,
         "status": "scheduled"},
    ]  # fmt: skip
    (one,) = found_in(busy(activities=calls), "future")
    assert one.n == 1 and one.examples == ("done",)


def test_a_row_recorded_before_it_happened_is_told() -> None:
    """recorded_at before occurred_at is a fault for work done, not for work planned."""
    early = START + pd.Timedelta(days=50)
    calls = [
        {"activity_id": f"{status}", "deal_id": "d0", "kind": "call", "status": status,
         "occurred_at": early + pd.Timedelta(hours=2), "recorded_at": early}
        for status in ("done", "scheduled")
    ]  # fmt: skip
    (one,) = found_in(busy(activities=calls), "recorded_before")
    assert one.examples == ("done",)


def test_a_closing_recorded_before_it_happened_is_told() -> None:
    """closed_recorded_at before closed_at is told under its own column."""
    history = busy()
    known = history.deals["closed_recorded_at"] - pd.Timedelta(days=1)
    (one,) = found_in(
        History.of({"deals": history.deals.assign(closed_recorded_at=known)}), "recorded_before"
    )
    assert one.column == "closed_recorded_at" and one.n == history.deals["closed_at"].notna().sum()


def test_a_closing_before_creation_is_told() -> None:
    """A history built past the importer's checks still has its reversed deals told."""
    deals = busy().deals
    deals.loc[3, "closed_at"] = deals.loc[3, "created_at"] - pd.Timedelta(days=2)
    (one,) = found_in(History.of({"deals": deals}), "closed_before_created")
    assert one.examples == ("d3",)


def test_events_on_a_day_before_their_record_are_told() -> None:
    """A call the day before the deal is told; one an hour before, or with the deal's lead, is not."""
    history = busy()
    born = history.deals["created_at"].iloc[200].floor("D") + pd.Timedelta(hours=12)
    deals = history.deals.assign(
        created_at=history.deals["created_at"].where(history.deals.index != 200, born)
    )
    calls = [
        {"activity_id": "before", "deal_id": "d200", "kind": "call", "occurred_at": born - DAY},
        {"activity_id": "sloppy", "deal_id": "d200", "kind": "call", "occurred_at": born - DAY / 24},
        {"activity_id": "lead's", "deal_id": "d200", "lead_id": "l1", "kind": "call",
         "occurred_at": born - 9 * DAY},
    ]  # fmt: skip
    (one,) = found_in(
        History.of({"deals": deals, "activities": frame("activities", calls)}), "before_creation"
    )
    assert one.examples == ("before",)


def test_a_change_before_its_record_is_told() -> None:
    """A stage change months before the deal was created is told as such."""
    change = {"change_id": "c1", "entity": "deal", "record_id": "d399", "field": "stage", "new_value": "new",
              "changed_at": START + pd.Timedelta(days=5)}  # fmt: skip
    history = History.of({"deals": busy().deals, "changes": frame("changes", [change])})
    (one,) = found_in(history, "before_creation")
    assert (one.table, one.n) == ("changes", 1)


def test_dates_without_times_are_told_also_in_a_zone_with_summer_time() -> None:
    """Days at midnight are told, and so are the two hours that a local midnight has in UTC."""
    days = [t.floor("D") for t in stamps(800, seed=1)]
    assert [one.column for one in found_in(busy(days), "no_time_of_day")] == ["occurred_at"]
    local = [t.tz_convert("Europe/Paris").normalize().tz_convert("UTC") for t in stamps(800, seed=1)]
    assert len({t.hour for t in local}) == 2
    assert [one.column for one in found_in(busy(local), "no_time_of_day")] == ["occurred_at"]


def test_a_bulk_load_is_told() -> None:
    """A quarter of the calls at one instant are a bulk load; a tenth are not."""
    times = stamps(800, seed=1)
    (one,) = found_in(busy([times[400]] * 250 + times[:600]), "burst")
    assert (one.table, one.n) == ("activities", 251)
    assert found_in(busy([times[400]] * 80 + times), "burst") == []


def test_rows_entered_twice_are_told() -> None:
    """The same call with the same deal at the same instant under another id is told once."""
    moment = START + pd.Timedelta(days=3)
    calls = [
        {"activity_id": "a", "deal_id": "d0", "kind": "call", "occurred_at": moment},
        {"activity_id": "b", "deal_id": "d0", "kind": "call", "occurred_at": moment},
        {"activity_id": "c", "deal_id": "d0", "kind": "email", "occurred_at": moment},
        {"activity_id": "d", "deal_id": "d1", "kind": "call", "occurred_at": moment + pd.Timedelta(hours=1)},
    ]  # fmt: skip
    (one,) = found_in(busy(activities=calls), "double")
    assert (one.n, one.examples) == (1, ("b",))


def test_deals_without_amount_or_owner_are_told() -> None:
    """Open deals without owner or amount are counted among the open ones, won ones without amount too."""
    deals = busy().deals
    is_open, won = deals["outcome"].isna(), deals["outcome"].eq("won")
    lacking = deals.assign(
        amount=deals["amount"].mask(is_open | won), owner_id=deals["owner_id"].mask(deals.index >= 395)
    )
    history = History.of({"deals": lacking})
    amounts = found_in(history, "no_amount")
    assert [(one.n, one.of) for one in amounts] == [(is_open.sum(), is_open.sum()), (won.sum(), won.sum())]
    (owner,) = found_in(history, "no_owner")
    assert (owner.n, owner.of) == (5, is_open.sum())


def test_amounts_in_several_currencies_are_told() -> None:
    """Amounts that cannot be added up are told."""
    deals = busy().deals
    mixed = deals.assign(currency=deals["currency"].where(deals.index > 9, "USD"))
    (one,) = found_in(History.of({"deals": mixed}), "currencies")
    assert one.n == 10 and "EUR, USD" in one.text
