"""What was known at a moment, case by case."""

from __future__ import annotations

import pandas as pd
import pytest

from crm.history import History, utc
from crm.known import closing_time, known_at
from crm.validation import validate_history

DAYS = [utc("2024-01-01T00:00:00Z") + pd.Timedelta(days=d) for d in range(40)]


def history(**tables: dict[str, object]) -> History:
    """Give a history of these tables."""
    return validate_history({name: pd.DataFrame(columns) for name, columns in tables.items()})


def changes(
    entity: str, record: str, *rows: tuple[str, str | None, str | None, pd.Timestamp]
) -> dict[str, object]:
    """Give changes of one record: field, old value, new value, moment."""
    field, old, new, at = zip(*rows, strict=True)
    n = len(rows)
    return {
        "change_id": [f"{record}-{i}" for i in range(n)],
        "entity": [entity] * n,
        "record_id": [record] * n,
        "field": field,
        "old_value": old,
        "new_value": new,
        "changed_at": at,
    }


def test_known_means_strictly_before() -> None:
    """A row recorded exactly at the moment is not known, one recorded a microsecond before is."""
    h = history(leads={"lead_id": ["L1"], "recorded_at": [DAYS[5]]})
    assert known_at(h, DAYS[5]).leads.empty
    assert len(known_at(h, DAYS[5] + pd.Timedelta(microseconds=1)).leads) == 1


def test_an_event_counts_from_the_later_of_its_moments() -> None:
    """Work recorded late, and work planned ahead, are both absent until the later moment."""
    h = history(
        activities={
            "activity_id": ["late", "ahead"],
            "kind": ["call", "meeting"],
            "occurred_at": [DAYS[1], DAYS[9]],
            "recorded_at": [DAYS[6], DAYS[2]],
        }
    )
    assert known_at(h, DAYS[6]).activities.empty
    assert known_at(h, DAYS[7]).activities["activity_id"].tolist() == ["late"]
    assert len(known_at(h, DAYS[10]).activities) == 2


@pytest.mark.parametrize("table", ["leads", "deals"])
def test_an_outcome_is_known_from_its_recording(table: str) -> None:
    """Before closed_recorded_at a record is open, with no trace of its end; from then on it is whole."""
    key = table.removesuffix("s") + "_id"
    h = history(
        **{
            table: {
                key: ["won", "untimed", "open"],
                "created_at": [DAYS[0]] * 3,
                "outcome": ["won", "lost", None],
                "closed_at": [DAYS[3], None, None],
                "closed_recorded_at": [DAYS[5], None, None],
            }
        }
    )
    ends = ["outcome", "closed_at", "closed_recorded_at"]
    before = getattr(known_at(h, DAYS[5]), table).set_index(key)
    assert before.loc["won", ends].isna().all()
    assert before.loc["untimed", "outcome"] == "lost"
    after = getattr(known_at(h, DAYS[6]), table)
    pd.testing.assert_frame_equal(after, getattr(h, table))
    assert closing_time(getattr(h, table)).fillna(DAYS[0]).tolist() == [DAYS[5], DAYS[0], DAYS[0]]


def test_the_closing_time_without_a_recording_is_the_closing_itself() -> None:
    """A frame whose closed_recorded_at is empty closes at closed_at."""
    deals = history(deals={"deal_id": ["D1"], "created_at": [DAYS[0]], "closed_at": [DAYS[3]]}).deals
    unrecorded = deals.assign(closed_recorded_at=deals["closed_recorded_at"].mask([True]))
    assert closing_time(unrecorded).tolist() == [DAYS[3]]


def test_a_record_is_not_gone_before_it_is() -> None:
    """gone_at of leads, deals and accounts is empty until then."""
    h = history(
        leads={"lead_id": ["L1"], "recorded_at": [DAYS[0]], "gone_at": [DAYS[5]]},
        accounts={"account_id": ["A1"], "recorded_at": [DAYS[0]], "gone_at": [DAYS[5]]},
    )
    for day, gone in ((5, False), (6, True)):
        known = known_at(h, DAYS[day])
        assert known.leads["gone_at"].notna().tolist() == [gone]
        assert known.accounts["gone_at"].notna().tolist() == [gone]


def test_a_contract_runs_until_its_end_is_recorded() -> None:
    """An end that was announced is known before it comes; one recorded later is not."""
    h = history(
        subscriptions={
            "subscription_id": ["announced", "found out"],
            "account_id": ["A", "A"],
            "started_at": [DAYS[0]] * 2,
            "ended_at": [DAYS[20], DAYS[3]],
            "ended_recorded_at": [DAYS[4], DAYS[8]],
        }
    )
    known = known_at(h, DAYS[6]).subscriptions
    assert known["ended_at"].notna().tolist() == [True, False]
    assert known["ended_recorded_at"].notna().tolist() == [True, False]


def test_a_line_is_known_with_its_order() -> None:
    """Order lines have no time of their own."""
    h = history(
        orders={"order_id": ["O1", "O2"], "ordered_at": [DAYS[1], DAYS[5]]},
        order_lines={"order_line_id": ["a", "b", "c"], "order_id": ["O1", "O2", "O2"], "product": ["p"] * 3},
    )
    assert known_at(h, DAYS[3]).order_lines["order_line_id"].tolist() == ["a"]


@pytest.mark.parametrize(
    ("day", "stage", "amount", "expected", "size", "tier"),
    [
        (1, "new", 100.0, DAYS[20], 5.0, "low"),
        (3, "met", 100.0, DAYS[20], 5.0, "low"),
        (5, "offer", 250.5, DAYS[20], 5.0, None),
        (9, "offer", None, DAYS[30], 8.0, "high"),
    ],
)
def test_tracked_fields_go_back_in_time(
    day: int, stage: str, amount: float | None, expected: pd.Timestamp, size: float, tier: str | None
) -> None:
    """Text, numbers, moments and attributes take their last known new value, else the first old one."""
    h = history(
        deals={
            "deal_id": ["D0", "D1"],
            "created_at": [DAYS[0]] * 2,
            "stage": ["won", "offer"],
            "amount": [7.0, None],
            "expected_close_at": [DAYS[1], DAYS[30]],
            "size": [1, 8],
            "tier": [None, "high"],
        },
        changes=changes(
            "deal",
            "D1",
            ("stage", "new", "met", DAYS[2]),
            ("stage", "met", "offer", DAYS[4]),
            ("amount", "100", "250.5", DAYS[4]),
            ("amount", "250.5", None, DAYS[6]),
            ("expected_close_at", "2024-01-21T01:00:00+01:00", "2024-01-31T00:00:00+00:00", DAYS[7]),
            ("size", "5", "8", DAYS[8]),
            ("tier", "low", None, DAYS[4]),
            ("tier", None, "high", DAYS[8]),
            ("no such field", "1", "2", DAYS[8]),
        ),
    )
    known = known_at(h, DAYS[day])
    row = known.deals.set_index("deal_id").loc["D1"]
    found = [row[n] for n in ("stage", "amount", "expected_close_at", "size", "tier")]
    wanted = [stage, amount, expected, size, tier]
    assert [None if pd.isna(v) else v for v in found] == wanted
    pd.testing.assert_series_equal(known.deals.dtypes, h.deals.dtypes)
    untouched = known.deals.set_index("deal_id").loc["D0"]
    assert untouched["stage"] == "won"
    assert untouched["amount"] == 7.0


def test_a_change_recorded_late_counts_from_its_recording() -> None:
    """Until the CRM knew of the change, the old value stood there."""
    rows = changes("lead", "L1", ("stage", "new", "met", DAYS[2])) | {"recorded_at": [DAYS[6]]}
    h = history(leads={"lead_id": ["L1"], "recorded_at": [DAYS[0]], "stage": ["met"]}, changes=rows)
    assert known_at(h, DAYS[4]).leads["stage"].tolist() == ["new"]
    assert known_at(h, DAYS[4]).changes.empty
    assert known_at(h, DAYS[7]).leads["stage"].tolist() == ["met"]


def test_changes_belong_to_their_kind_of_record() -> None:
    """A change of a lead does not touch the deal or account of the same id."""
    same = {"recorded_at": [DAYS[0]], "tier": ["now"]}
    h = history(
        leads={"lead_id": ["1"]} | same,
        deals={"deal_id": ["1"]} | same,
        accounts={"account_id": ["1"]} | same,
        changes=changes("account", "1", ("tier", "then", "now", DAYS[3])),
    )
    known = known_at(h, DAYS[2])
    assert [f["tier"].iloc[0] for f in (known.leads, known.deals, known.accounts)] == ["now", "now", "then"]


def test_what_the_changes_say_of_an_outcome_does_not_show_it_early() -> None:
    """A reopened deal is open until it ends for good: only its closing time tells the outcome."""
    h = history(
        deals={"deal_id": ["D1"], "created_at": [DAYS[0]], "outcome": ["won"], "closed_at": [DAYS[9]]},
        changes=changes(
            "deal", "D1", ("outcome", None, "lost", DAYS[2]), ("outcome", "lost", "won", DAYS[9])
        ),
    )
    assert known_at(h, DAYS[5]).deals["outcome"].isna().all()
    assert known_at(h, DAYS[10]).deals["outcome"].tolist() == ["won"]


def test_the_moment_needs_a_time_zone() -> None:
    """A naive moment is refused."""
    with pytest.raises(ValueError, match="names no time zone"):
        known_at(History(), pd.Timestamp("2024-01-01"))


def test_an_empty_history_is_known_as_empty() -> None:
    """No table needs a row."""
    for name, frame in known_at(History(), DAYS[0]).frames().items():
        pd.testing.assert_frame_equal(frame, History().frames()[name])
