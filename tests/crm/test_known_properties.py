"""What was known at a moment, for any history: the future changes nothing, and the past nests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from crm.history import History, utc
from crm.known import known_at
from crm.schema import TABLES
from crm.validation import validate, validate_history
from crm.values import plain

START = utc("2024-01-01T00:00:00Z")
LAST = 30
STAGES = ("new", "met", "offer", None)


def day(number: float | None) -> pd.Timestamp | None:
    """Give the moment of a day of the history."""
    return None if number is None else START + pd.Timedelta(days=number)


def generate(seed: int) -> History:
    """Make a history in which the changes of each field follow each other up to its present value."""
    rng = np.random.default_rng(seed)
    deals, changes, activities, contracts, orders, lines = [], [], [], [], [], []
    for number in range(int(rng.integers(0, 6))):
        deal = f"D{number}"
        created = int(rng.integers(0, LAST))
        closed = created + int(rng.integers(0, 10)) if rng.random() < 0.6 else None
        row = {
            "deal_id": deal,
            "created_at": day(created),
            "recorded_at": day(created + int(rng.integers(0, 3))),
            "outcome": None if closed is None and rng.random() < 0.7 else str(rng.choice(["won", "lost"])),
            "closed_at": day(closed),
            "closed_recorded_at": day(None if closed is None else closed + int(rng.integers(0, 4))),
            "gone_at": day(int(rng.integers(created, LAST + 9))) if rng.random() < 0.3 else None,
        }
        for field, values in {
            "stage": STAGES,
            "amount": (100.0, 0.5, None),
            "size": (1.0, 2.5, None),
            "expected_close_at": (day(3), day(LAST), None),
            "outcome": ("won", "lost", None),
        }.items():
            value = values[int(rng.integers(len(values)))]
            for _ in range(int(rng.integers(0, 4))):
                new = values[int(rng.integers(len(values)))]
                at = int(rng.integers(0, LAST))
                changes.append([deal, field, value, new, at, at + int(rng.integers(0, 3))])
                value = new
            if field != "outcome":
                row[field] = value
        deals.append(row)
        for _ in range(int(rng.integers(0, 4))):
            at = int(rng.integers(0, LAST))
            activities.append(
                {
                    "activity_id": f"X{len(activities)}",
                    "deal_id": deal,
                    "kind": "call",
                    "occurred_at": day(at),
                    "recorded_at": day(at + int(rng.integers(-3, 4)) + 5),
                }
            )
        end = created + int(rng.integers(0, 9)) if rng.random() < 0.5 else None
        contracts.append(
            {
                "subscription_id": f"S{number}",
                "account_id": "A",
                "started_at": day(created),
                "ended_at": day(end),
                "ended_recorded_at": day(None if end is None else end + int(rng.integers(-3, 4)) + 4),
            }
        )
        orders.append({"order_id": f"O{number}", "ordered_at": day(int(rng.integers(0, LAST)))})
        lines.append({"order_line_id": f"P{number}", "order_id": f"O{number}", "product": "pump"})
    columns = ["record_id", "field", "old_value", "new_value", "changed_at", "recorded_at"]
    frame = pd.DataFrame(changes, columns=columns)
    for name in ("old_value", "new_value"):
        frame[name] = [None if v is None or pd.isna(v) else plain(v) for v in frame[name]]
    for name in ("changed_at", "recorded_at"):
        frame[name] = pd.Series([day(d) for d in frame[name]], dtype="datetime64[us, UTC]")
    frame["change_id"] = [f"C{i}" for i in range(len(frame))]
    frame["entity"] = "deal"
    tables = {
        "deals": (deals, ["deal_id", "recorded_at", "size"]),
        "activities": (activities, ["activity_id", "kind", "occurred_at"]),
        "subscriptions": (contracts, ["subscription_id", "account_id", "started_at"]),
        "orders": (orders, ["order_id", "ordered_at"]),
        "order_lines": (lines, ["order_line_id", "order_id", "product"]),
    }
    frames = {
        name: pd.DataFrame(rows, columns=None if rows else named) for name, (rows, named) in tables.items()
    }
    return validate_history(frames | {"changes": frame})


def with_a_future(history: History, as_of: pd.Timestamp, seed: int) -> History:
    """Add to a history what may be recorded at ``as_of`` or later, as a CRM would."""
    rng = np.random.default_rng(seed)
    frames = history.frames()

    def later() -> pd.Timestamp:
        return as_of + pd.Timedelta(days=int(rng.integers(0, 5)))

    deals = frames["deals"].copy()
    n_before = len(frames["changes"])
    known = frames["changes"][["changed_at", "recorded_at"]].max(axis=None)
    added = []
    for row in range(len(deals)):
        # A value that changes from what it is now, after every change so far.
        moment = max(later(), known) if n_before else later()
        for field, new in (("stage", "future"), ("amount", 999.0), ("size", None)):
            if rng.random() < 0.5:
                old = deals.loc[row, field]
                added.append(
                    {
                        "change_id": f"F{len(added)}",
                        "entity": "deal",
                        "record_id": deals.loc[row, "deal_id"],
                        "field": field,
                        "old_value": None if pd.isna(old) else plain(old),
                        "new_value": None if new is None else plain(new),
                        "changed_at": moment,
                        "recorded_at": moment,
                    }
                )
                deals.loc[row, field] = np.nan if new is None else new
        if pd.isna(deals.loc[row, "outcome"]) and pd.isna(deals.loc[row, "closed_at"]) and rng.random() < 0.5:
            deals.loc[row, "outcome"] = "won"
            deals.loc[row, "closed_at"] = max(as_of - pd.Timedelta(days=2), deals.loc[row, "created_at"])
            deals.loc[row, "closed_recorded_at"] = later()
        if pd.isna(deals.loc[row, "gone_at"]) and rng.random() < 0.5:
            deals.loc[row, "gone_at"] = later()
    new_deal = pd.DataFrame(
        {"deal_id": ["future"], "created_at": [START], "recorded_at": [later()], "size": [9.0]}
    )
    past = START - pd.Timedelta(days=1)
    new = {
        "deals": new_deal,
        "changes": pd.DataFrame(added),
        "activities": pd.DataFrame(
            {
                "activity_id": ["F1", "F2"],
                "kind": ["call", "mail"],
                "occurred_at": [past, later()],
                "recorded_at": [later(), past],
            }
        ),
        "subscriptions": pd.DataFrame(
            {"subscription_id": ["F"], "account_id": ["A"], "started_at": [past], "recorded_at": [later()]}
        ),
        "orders": pd.DataFrame({"order_id": ["F"], "ordered_at": [past], "recorded_at": [later()]}),
        "order_lines": pd.DataFrame({"order_line_id": ["F"], "order_id": ["F"], "product": ["pump"]}),
    }
    frames["deals"] = deals
    joined = {
        name: pd.concat([frames[name], validate(TABLES[name], f, name)], ignore_index=True)
        for name, f in new.items()
        if len(f)
    }
    return History.of(frames | joined)


def assert_same(found: History, expected: History) -> None:
    """Compare two histories exactly."""
    for name, frame in expected.frames().items():
        assert_frame_equal(found.frames()[name], frame, obj=name)


seeds = st.integers(0, 2**32 - 1)
days = st.integers(0, LAST + 8)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=seeds, future=seeds, at=days)
def test_nothing_recorded_later_changes_what_was_known(seed: int, future: int, at: int) -> None:
    """Any row, change, outcome, end or departure recorded at as_of or after leaves known_at(as_of) equal."""
    history, as_of = generate(seed), START + pd.Timedelta(days=at)
    assert_same(known_at(with_a_future(history, as_of, future), as_of), known_at(history, as_of))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=seeds, at=st.tuples(days, days))
def test_the_past_of_the_past_is_the_past(seed: int, at: tuple[int, int]) -> None:
    """What was known at t1 is the same seen from today and seen from t2; with t1 = t2, known_at repeats."""
    history = generate(seed)
    first, second = (START + pd.Timedelta(days=number) for number in sorted(at))
    assert_same(known_at(known_at(history, second), first), known_at(history, first))
    assert_same(known_at(known_at(history, second), second), known_at(history, second))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=seeds, at=days)
def test_nothing_known_has_a_later_time_of_knowledge(seed: int, at: int) -> None:
    """No moment of recording left in the tables is as_of or later."""
    as_of = START + pd.Timedelta(days=at)
    for frame in known_at(generate(seed), as_of).frames().values():
        for name in ("recorded_at", "closed_recorded_at", "ended_recorded_at", "gone_at"):
            if name in frame:
                assert not (frame[name] >= as_of).any()
