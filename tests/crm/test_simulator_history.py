"""The simulated history is valid, repeatable, believable, and ends where it says."""

from __future__ import annotations

import pandas as pd
import pytest

from crm.errors import InputError
from crm.history import History
from crm.simulator import Simulation, simulate
from crm.simulator.activities import NAMES
from crm.validation import orphans, validate_history

END = pd.Timestamp("2024-07-01", tz="UTC")
#: Moments that are plans, and may lie after the end.
PLANS = {("deals", "expected_close_at"), ("targets", "period_end")}


@pytest.fixture(scope="module")
def crm() -> Simulation:
    return simulate(6_000, seed=11, end="2024-07-01T00:00:00+00:00")


@pytest.fixture(scope="module")
def history(crm: Simulation) -> History:
    return crm.history


def test_the_same_seed_gives_the_same_tables_and_another_seed_others() -> None:
    """Every table repeats exactly; another seed changes the leads."""
    first, again, other = simulate(300, seed=5), simulate(300, seed=5), simulate(300, seed=6)
    for name, table in first.history.frames().items():
        pd.testing.assert_frame_equal(table, again.history.frames()[name], obj=name)
    assert not first.history.leads.equals(other.history.leads)


def test_every_table_is_already_valid(history: History) -> None:
    """Validation finds no fault, changes nothing, and no row points at a record that is not there."""
    valid = validate_history(history.frames())
    for name, table in history.frames().items():
        pd.testing.assert_frame_equal(table, valid.frames()[name], obj=name)
        assert len(table) > 0, name
    assert not orphans(history.frames())


def test_nothing_is_known_after_the_end(history: History) -> None:
    """Every moment that is not a plan lies before the end of the history."""
    for name, table in history.frames().items():
        for column in table.select_dtypes("datetimetz"):
            if (name, column) not in PLANS:
                assert not (table[column] >= END).any(), (name, column)


def test_nothing_is_recorded_before_it_happened(history: History) -> None:
    """Rows are recorded when they happen or later, and some work is typed in a day or more late."""
    for name, happened in (("activities", "occurred_at"), ("changes", "changed_at"), ("leads", "created_at")):
        table = getattr(history, name)
        assert (table["recorded_at"] >= table[happened]).all(), name
    activities = history.activities
    late = activities["recorded_at"] - activities["occurred_at"] > pd.Timedelta(days=1)
    assert 0.002 < late.mean() < 0.05
    for table in (history.leads, history.deals):
        assert not (table["closed_recorded_at"] < table["closed_at"]).any()
        assert not (table["recorded_at"] >= table["closed_at"]).any()


def test_a_lead_ends_as_its_deal_ends(history: History) -> None:
    """A lead with a deal has the deal's outcome and times; one without is never won."""
    deals = history.deals.dropna(subset="lead_id").set_index("lead_id")
    assert deals.index.is_unique
    leads = history.leads.set_index("lead_id")
    for column in ("outcome", "closed_at", "closed_recorded_at"):
        pd.testing.assert_series_equal(leads.loc[deals.index, column], deals[column])
    alone = leads.drop(index=deals.index)
    assert set(alone["outcome"].dropna()) == {"lost"}
    assert (leads.loc[deals.index, "stage"] == "converted").all()


def test_present_values_are_those_of_the_last_change(history: History) -> None:
    """Stage, owner, amount and expected close of each record equal the last new value, and chains join."""
    changes = history.changes.sort_values(["changed_at", "change_id"])
    for entity, table, key in (("lead", history.leads, "lead_id"), ("deal", history.deals, "deal_id")):
        of_entity = changes[changes["entity"] == entity]
        for field, of_field in of_entity.groupby("field"):
            by_record = of_field.groupby("record_id")
            previous = by_record["new_value"].shift()
            assert (previous.isna() | (previous == of_field["old_value"])).all(), (entity, field)
            last = by_record["new_value"].last()
            now = table.set_index(key).loc[last.index, str(field)]
            if field == "amount":
                last = last.astype("float64")
            elif field == "expected_close_at":
                last = pd.to_datetime(last)
            assert (last.to_numpy() == now.to_numpy()).all(), (entity, field)
    assert set(changes["field"]) == {"stage", "owner_id", "amount", "expected_close_at"}


def test_a_deal_that_never_changed_stage_stands_in_the_first(history: History) -> None:
    """Without a stage change the stage is the first one, so that rolling back needs no guess."""
    moved = set(history.changes.query("field == 'stage' and entity == 'deal'")["record_id"])
    still = history.deals[~history.deals["deal_id"].isin(moved)]
    assert len(still)
    assert set(still["stage"]) == {"discovery"}
    assert still["outcome"].isna().all()


def test_activities_belong_to_live_records(history: History) -> None:
    """Nothing happens before a record was created, and a deal's activities carry its lead and account."""
    activities = history.activities.dropna(subset="lead_id")
    leads = history.leads.set_index("lead_id").loc[activities["lead_id"]]
    assert (activities["occurred_at"].to_numpy() >= leads["created_at"].to_numpy()).all()
    assert (activities["recorded_at"].to_numpy() >= leads["recorded_at"].to_numpy()).all()
    assert (activities["account_id"].to_numpy() == leads["account_id"].to_numpy()).all()
    on_deals = history.activities.dropna(subset="deal_id")
    deals = history.deals.set_index("deal_id").loc[on_deals["deal_id"]]
    assert (on_deals["occurred_at"].to_numpy() >= deals["created_at"].to_numpy()).all()
    assert set(history.activities["kind"]) == set(NAMES)


def test_the_figures_are_those_of_a_b2b_company(history: History) -> None:
    """Conversion, win rate, cycle length, activities per lead and pushes are in the documented ranges."""
    old = END - pd.Timedelta(days=365)
    leads = history.leads[history.leads["created_at"] < old]
    deals = history.deals[history.deals["created_at"] < old]
    assert 0.07 < (leads["outcome"] == "won").mean() < 0.14
    assert 0.25 < (deals["outcome"] == "won").mean() < 0.40
    assert 35 < (deals["closed_at"] - deals["created_at"]).dt.days.median() < 55
    assert 8 < len(history.activities) / len(history.leads) < 14
    open_share = history.leads["outcome"].isna().mean()
    assert 0.02 < open_share < 0.12
    by_source = leads.assign(won=leads["outcome"] == "won").groupby("source")["won"].mean()
    assert by_source["referral"] > 3 * by_source["cold list"]


def test_seasons_and_weekends_are_visible(history: History) -> None:
    """August is quiet, September busy, nobody sells at a weekend, and quarters end with a rush."""
    months = history.leads["created_at"].dt.month.value_counts(normalize=True)
    assert months[8] < 0.06 < 0.085 < months[9]
    worked = history.activities["kind"].isin(["email sent", "call made"])
    assert (history.activities.loc[worked, "occurred_at"].dt.day_of_week < 5).all()
    assert (history.leads["created_at"].dt.day_of_week >= 5).any()
    won = history.deals.loc[history.deals["outcome"] == "won", "closed_at"].dt.tz_localize(None)
    days_left = (won.dt.to_period("Q").dt.end_time - won).dt.days
    assert (days_left < 14).mean() > 1.35 * 14 / 91.3


def test_a_rep_leaves_and_somebody_takes_over(history: History) -> None:
    """At least one rep loses every open record on one day and is never given another."""
    owners = history.changes[history.changes["field"] == "owner_id"]
    last_lead = history.leads.groupby("owner_id")["created_at"].max()
    gone = []
    for rep, handed in owners.groupby("old_value"):
        day = handed["changed_at"].dt.floor("D").value_counts()
        if day.iloc[0] >= 5 and last_lead.get(rep, END) < day.index[0] + pd.Timedelta(days=1):
            gone.append(rep)
    assert gone
    still_open = history.leads[history.leads["outcome"].isna()]
    assert not still_open["owner_id"].isin(gone).any()


def test_the_closing_note_is_there_only_after_the_outcome(history: History) -> None:
    """The attribute that leaks the outcome is empty on open records and mostly filled on closed ones."""
    for table in (history.leads, history.deals):
        is_closed = table["outcome"].notna()
        assert table.loc[~is_closed, "closing_note"].isna().all()
        assert 0.8 < table.loc[is_closed, "closing_note"].notna().mean() < 0.9


def test_attributes_are_missing_as_documented(history: History) -> None:
    """A share of the attributes is empty, and the marketing score among them."""
    for table, column, share in (
        (history.leads, "fit_score", 0.08),
        (history.leads, "job_level", 0.12),
        (history.accounts, "industry", 0.10),
        (history.accounts, "n_employees", 0.15),
    ):
        assert table[column].isna().mean() == pytest.approx(share, abs=0.02), column
    assert 0.03 < history.accounts["parent_id"].notna().mean() < 0.10


def test_sales_lead_to_contracts_orders_and_quotas(history: History) -> None:
    """Contracts follow deals won, order lines add up to their order, team quotas to their reps'."""
    won = history.deals[history.deals["outcome"] == "won"].set_index("deal_id")
    contracts = history.subscriptions
    assert set(contracts["deal_id"]) <= set(won.index)
    ended = contracts.dropna(subset="ended_at")
    assert 0 < len(ended) < len(contracts)
    assert (ended["ended_at"] > ended["started_at"]).all()
    lines = history.order_lines.groupby("order_id")["amount"].sum()
    orders = history.orders.set_index("order_id")
    assert (lines - orders["amount"]).abs().max() < 0.005
    first = orders.dropna(subset="deal_id")
    assert (first["amount"].to_numpy() == won.loc[first["deal_id"], "amount"].to_numpy()).all()
    quotas = history.targets
    by_scope = quotas.groupby(["scope", "period_start"])["value"].sum()
    pd.testing.assert_series_equal(by_scope["user"], by_scope["team"])


def test_a_small_and_short_history_is_whole() -> None:
    """Fifty leads over half a year still make every table's frame, ending within the day asked."""
    small = simulate(50, seed=1, years=0.5, end="2024-03-10T15:00:00+02:00").history
    assert len(small.leads) == 50
    assert small.activities["recorded_at"].max() < pd.Timestamp("2024-03-10", tz="UTC")
    assert small.leads["created_at"].min() >= pd.Timestamp("2023-09-08", tz="UTC")


def test_sizes_that_say_nothing_are_refused() -> None:
    """Too few leads, too short a span and an end without a time zone are errors that name the value."""
    with pytest.raises(InputError, match="n_leads = 10"):
        simulate(10)
    with pytest.raises(InputError, match=r"years = 0\.1"):
        simulate(500, years=0.1)
    with pytest.raises(ValueError, match="names no time zone"):
        simulate(500, end="2025-01-01")
