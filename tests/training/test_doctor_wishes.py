"""Which columns the doctor would like, and what the catalogue offers for them."""

from __future__ import annotations

import pandas as pd
import pytest

from crm.history import History, empty_frame
from crm.schema import TABLES
from crm.simulator import simulate
from features import learn_spec
from training.doctor import Wish, diagnose

END = pd.Timestamp("2025-01-01", tz="UTC")


@pytest.fixture(scope="module")
def whole() -> History:
    return simulate(300, seed=4).history


def wishes(history: History, entity: str) -> dict[str, Wish]:
    return {one.column: one for one in diagnose(history, END).wishes if one.entity == entity}


def without(history: History, table: str, **values: object) -> History:
    """Give the history with columns of one table replaced."""
    frames = history.frames()
    return History.of({**frames, table: frames[table].assign(**values)})


def test_a_whole_export_lacks_nothing(whole: History) -> None:
    """Where every column is there, nothing is wished for."""
    assert diagnose(whole, END).wishes == ()


def test_no_direction_means_no_silence_of_the_prospect(whole: History) -> None:
    """Without activities.direction the waiting time and the first response are wished for."""
    one = wishes(without(whole, "activities", direction=None), "deal")["activities.direction"]
    assert {"days_unanswered", "first_response_days", "days_since_in"} <= set(one.features)
    assert "Days since the last: actions of the prospect" in one.examples


def test_no_history_of_the_close_date_means_no_pushes(whole: History) -> None:
    """Without changes of expected_close_at the number of pushes is wished for."""
    changes = whole.changes[whole.changes["field"] != "expected_close_at"].reset_index(drop=True)
    found = wishes(History.of({**whole.frames(), "changes": changes}), "deal")
    assert {"close_pushed", "days_pushed"} <= set(found["changes of expected_close_at"].features)
    assert "deals.expected_close_at" not in found


def test_unlinked_deals_mean_no_purchases(whole: History) -> None:
    """Without deals.lead_id the leads wish for the link that makes purchases their outcome."""
    found = wishes(without(whole, "deals", lead_id=None), "lead")
    assert "purchase" in found["deals.lead_id"].remedy
    assert {"open_deals", "deal_amount"} <= set(found["deals.lead_id"].features)


def test_no_activities_at_all_are_one_wish(whole: History) -> None:
    """Without the table its columns are not wished for one by one."""
    found = wishes(History.of({**whole.frames(), "activities": empty_frame(TABLES["activities"])}), "deal")
    assert "activities" in found
    assert not [column for column in found if column.startswith("activities.")]


@pytest.mark.parametrize(
    ("table", "column", "feature"),
    [
        ("activities", "channel", "count_channel_email"),
        ("activities", "user_id", "users"),
        ("deals", "owner_id", "rep_win_rate"),
        ("deals", "account_id", "account_won"),
        ("deals", "source", "attribute_source"),
    ],
)
def test_each_empty_column_is_wished_for(whole: History, table: str, column: str, feature: str) -> None:
    """An emptied column is wished for, with the feature that it makes possible."""
    emptied = without(whole, table, **{column: None})
    changes = emptied.changes[emptied.changes["field"] != column].reset_index(drop=True)
    one = wishes(History.of({**emptied.frames(), "changes": changes}), "deal")[f"{table}.{column}"]
    assert feature in one.features


def test_what_is_promised_comes_with_the_column(whole: History) -> None:
    """The features promised for the direction are those that the history with it really has."""
    promised = wishes(without(whole, "activities", direction=None), "lead")["activities.direction"]
    assert set(promised.features) <= set(learn_spec(whole, "lead").names)


def test_teams_and_quotas_are_wished_for_reports(whole: History) -> None:
    """Without teams and targets the doctor says what reports cannot do."""
    frames = whole.frames() | {"targets": empty_frame(TABLES["targets"])}
    poor = without(History.of(frames), "users", team=None)
    assert {"users.team", "targets.value"} <= set(wishes(poor, ""))
