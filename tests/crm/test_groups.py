"""Groups of records: through their owner, through what they refer to, and by their own columns."""

from __future__ import annotations

import pandas as pd
import pytest

from crm.errors import InputError
from crm.groups import NOBODY, can_group, group_of, groups_there_are, owner_of
from crm.history import History
from crm.validation import validate_history

THEN = "2026-01-01T00:00Z"


@pytest.fixture
def history() -> History:
    """Two reps of one team and manager, one who left, one lead, four deals, four activities, two orders."""
    tables: dict[str, dict[str, object]] = {
        "users": {
            "user_id": ["U1", "U2"],
            "team": ["North", "total"],
            "manager_id": ["M1", None],
            "region": ["France", None],
        },
        "accounts": {"account_id": ["A1"], "recorded_at": [THEN], "industry": ["retail"], "size": [50.0]},
        "leads": {
            "lead_id": ["L1"],
            "recorded_at": [THEN],
            "owner_id": ["U1"],
            "account_id": ["A1"],
            "campaign": ["spring"],
        },
        "deals": {
            "deal_id": ["D1", "D2", "D3", "D4"],
            "recorded_at": [THEN] * 4,
            "owner_id": ["U2", None, "gone", None],
            "lead_id": [None, "L1", None, None],
            "account_id": ["A1", None, None, None],
            "product": ["Suite", None, "Suite", None],
        },
        "activities": {
            "activity_id": ["E1", "E2", "E3", "E4"],
            "kind": ["call"] * 4,
            "occurred_at": [THEN] * 4,
            "user_id": ["U2", None, None, None],
            "deal_id": ["D2", "D1", "D2", None],
        },
        "orders": {
            "order_id": ["O1", "O2"],
            "ordered_at": [THEN] * 2,
            "deal_id": ["D2", "D4"],
            "amount": [1.0, 2.0],
        },
    }
    return validate_history({name: pd.DataFrame(columns) for name, columns in tables.items()})


def test_a_record_belongs_to_its_owner_and_a_deal_without_one_to_that_of_its_lead(history: History) -> None:
    """A rep who left is still a group; a record that names nobody is too."""
    assert group_of(history, history.deals, "owner").tolist() == ["U2", "U1", "gone", NOBODY]


def test_an_activity_belongs_to_who_did_it_else_to_the_owner_of_its_deal(history: History) -> None:
    """What the prospect did has no rep, and counts for the deal's."""
    assert group_of(history, history.activities, "owner").tolist() == ["U2", "U2", "U1", NOBODY]


def test_teams_managers_and_regions_are_the_owners(history: History) -> None:
    """A rep unknown to the users has none; a team called total is quoted, so that it is not the total."""
    deals = history.deals
    assert group_of(history, deals, "team").tolist() == ['"total"', "North", NOBODY, NOBODY]
    assert group_of(history, deals, "manager").tolist() == [NOBODY, "M1", NOBODY, NOBODY]
    assert group_of(history, deals, "region").tolist() == [NOBODY, "France", NOBODY, NOBODY]


def test_the_records_own_region_counts_where_users_name_none(history: History) -> None:
    """Users' regions come first; without any, an attribute of that name groups."""
    deals = history.deals.assign(region=pd.Series(["EU", None, "EU", "US"], dtype="str"))
    assert group_of(history, deals, "region").tolist() == [NOBODY, "France", NOBODY, NOBODY]
    unnamed = history.users.assign(region=pd.Series([None, None], dtype="str"))
    others = History.of(history.frames() | {"users": unnamed})
    assert group_of(others, deals, "region").tolist() == ["EU", NOBODY, "EU", "US"]


def test_any_column_groups(history: History) -> None:
    """An attribute groups as text, and a number without its decimal point."""
    assert group_of(history, history.deals, "product").tolist() == ["Suite", NOBODY, "Suite", NOBODY]
    assert group_of(history, history.accounts, "size").tolist() == ["50"]


def test_what_a_record_refers_to_groups(history: History) -> None:
    """The account is the record's own, else that of its deal or lead, however far."""
    assert group_of(history, history.deals, "account.industry").tolist() == [
        "retail",
        "retail",
        NOBODY,
        NOBODY,
    ]
    assert group_of(history, history.orders, "account.size").tolist() == ["50", NOBODY]
    assert group_of(history, history.orders, "lead.campaign").tolist() == ["spring", NOBODY]
    assert group_of(history, history.orders, "deal.product").tolist() == [NOBODY, NOBODY]


def test_the_index_of_the_records_stays(history: History) -> None:
    """Groups align with the records they were asked for, in whatever order."""
    some = history.deals.iloc[[2, 0]]
    assert group_of(history, some, "owner").to_dict() == {2: "gone", 0: "U2"}
    assert owner_of(history, some).to_dict() == {2: "gone", 0: "U2"}


@pytest.mark.parametrize("by", ["colour", "account.colour", "team.name", "", "deal."])
def test_an_unknown_group_is_refused_with_what_there_is(history: History, by: str) -> None:
    """The message names it and lists the others."""
    assert not can_group(history, history.orders, by)
    with pytest.raises(InputError, match="owner, team, manager, region") as caught:
        group_of(history, history.orders, by)
    assert repr(by) in str(caught.value)
    assert "account.industry" in str(caught.value)


def test_every_group_that_is_listed_can_group(history: History) -> None:
    """The list of what there is holds nothing that would then be refused."""
    for records in (history.leads, history.deals, history.activities, history.orders, history.accounts):
        for by in groups_there_are(history, records):
            assert can_group(history, records, by)
            assert len(group_of(history, records, by)) == len(records)


def test_no_record_has_no_group() -> None:
    """An empty history groups to nothing, by any owner's group."""
    for by in ("owner", "team", "manager", "region"):
        assert group_of(History(), History().deals, by).empty
