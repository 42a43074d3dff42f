"""What a batch may hold: every fault is named, and stops only the record it is in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from serving.answering.reading import Received, read_batch
from serving.answering.schemas import MAX_RECORDS
from serving.http.problems import Refusal

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD: dict[str, Any] = {"lead_id": "good", "created_at": "2026-02-01T00:00:00Z"}
ACTIVITY = {"kind": "email", "occurred_at": "2026-02-02T00:00:00+01:00"}


def read(body: Any, entity: Any = "lead") -> Received:
    """Read a body, given as JSON or as bytes."""
    return read_batch(body if isinstance(body, bytes) else json.dumps(body).encode(), entity, NOW)


def bad(**fields: Any) -> dict[str, Any]:
    """Give a lead with something wrong."""
    return {"lead_id": "bad", "created_at": "2026-02-01T00:00:00Z"} | fields


FAULTY_RECORDS: dict[str, tuple[Any, str, str]] = {
    "unknown field": (bad(colour="red"), "colour", "put a CRM's own fields into attributes"),
    "no id": ({"created_at": "2026-02-01T00:00:00Z"}, "lead_id", "is required"),
    "no creation": ({"lead_id": "bad"}, "created_at", "is required"),
    "number for text": (bad(stage=3), "stage", "must be text"),
    "empty id": (bad(lead_id=""), "lead_id", "must not be empty"),
    "no time zone": (bad(created_at="2026-02-01T00:00:00"), "created_at", "names no time zone"),
    "a day only": (bad(created_at="2026-02-01"), "created_at", "must be a moment"),
    "seconds for a moment": (bad(created_at=1770000000), "created_at", "must be a moment"),
    "absurd moment": (bad(created_at="9999-12-31T00:00:00Z"), "created_at", "2200"),
    "truth value for an attribute": (
        bad(attributes={"vip": True}),
        "attributes/vip",
        "text, a finite number",
    ),
    "list for an attribute": (bad(attributes={"tags": ["a"]}), "attributes/tags", "text, a finite number"),
    "column as attribute": (bad(attributes={"stage": "new"}), "attributes/stage", "beside attributes"),
    "long text": (bad(attributes={"note": "x" * 2001}), "attributes/note", "text, a finite number"),
    "many attributes": (bad(attributes={str(i): 1 for i in range(301)}), "attributes", "at most 300"),
    "unknown direction": (
        bad(activities=[ACTIVITY | {"direction": "up"}]),
        "activities/0/direction",
        "'in' or 'out'",
    ),
    "activity without kind": (
        bad(activities=[ACTIVITY, {"occurred_at": "2026-02-01T00:00:00Z"}]),
        "activities/1/kind",
        "is required",
    ),
    "change without field": (
        bad(changes=[{"changed_at": "2026-02-01T00:00:00Z"}]),
        "changes/0/field",
        "is required",
    ),
    "end without outcome": (bad(closed_at="2026-02-05T00:00:00Z"), "outcome", "won or lost"),
    "no object": (7, "", "must be an object"),
    "nothing": (None, "", "must be an object"),
}


@pytest.mark.parametrize("what", FAULTY_RECORDS)
def test_a_faulty_record_is_named_and_the_other_kept(what: str) -> None:
    """The error names index, field and remedy; the record before and after it are kept, with their places."""
    record, field, remedy = FAULTY_RECORDS[what]
    received = read({"leads": [GOOD, record, GOOD | {"lead_id": "after"}]})
    assert [one["lead_id"] for one in received.records] == ["good", "after"]
    assert received.places == [0, 2]
    assert [error.index for error in received.errors] == [1]
    assert received.errors[0].code == "invalid_record"
    fault = received.errors[0].faults[0]
    assert fault.field == field
    assert remedy in fault.remedy


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(literal: str) -> None:
    """NaN and infinities, which JSON does not have, are faults of their record."""
    body = f'{{"deals":[{{"deal_id":"d","created_at":"2026-02-01T00:00:00Z","amount":{literal}}}]}}'
    received = read(body.encode(), "deal")
    assert received.records == []
    assert received.errors[0].faults[0].field == "amount"
    assert "finite" in received.errors[0].faults[0].remedy


def test_all_faults_of_a_record_are_named_once() -> None:
    """A record with several faults has one error that names them all."""
    received = read({"leads": [bad(stage=3, colour="red", created_at="2026-02-01")]})
    assert received.records == []
    (error,) = received.errors
    assert sorted(fault.field for fault in error.faults) == ["colour", "created_at", "stage"]
    assert error.id == "bad"


def test_a_value_is_quoted_shortened() -> None:
    """A fault quotes at most 60 characters of the value."""
    received = read({"leads": [bad(created_at="y" * 100_000)]})
    assert len(received.errors[0].faults[0].value) == 60


def test_the_second_of_two_equal_ids_is_an_error() -> None:
    """Of two records with one id the first is scored, and the second says where that one stands."""
    received = read({"leads": [GOOD, GOOD | {"stage": "other"}]})
    assert len(received.records) == 1
    assert received.errors[0].code == "duplicate_id"
    assert "index 0" in received.errors[0].faults[0].remedy


def test_options_are_read_when_every_record_is_faulty() -> None:
    """Without any usable record, as_of and language are still those of the body."""
    received = read({"as_of": "2026-02-10T00:00:00Z", "language": "fr", "leads": [7]})
    assert (received.records, received.places, received.language) == ([], [], "fr")
    assert received.as_of == datetime(2026, 2, 10, tzinfo=UTC)


def test_now_is_the_moment_when_none_is_named() -> None:
    """Without as_of, the moment is the one the caller of the reader gave."""
    assert read({"leads": [GOOD]}).as_of == NOW


def test_a_clock_may_be_a_little_fast() -> None:
    """An as_of a minute ahead is taken as it stands; one an hour ahead is refused."""
    soon = (NOW + timedelta(minutes=1)).isoformat()
    assert read({"as_of": soon, "leads": [GOOD]}).as_of.isoformat() == soon
    with pytest.raises(Refusal, match="future") as caught:
        read({"as_of": (NOW + timedelta(hours=1)).isoformat(), "leads": [GOOD]})
    assert caught.value.faults[0].field == "as_of"


UNUSABLE: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b"{", 400, ""),
    "empty body": (b"", 400, ""),
    "invalid UTF-8": (b'{"leads": "\xff"}', 400, ""),
    "lone surrogate": (b'{"leads": [{"lead_id": "\\ud800"}]}', 400, ""),
    "deep nesting": (b'{"leads":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, ""),
    "a list": ([GOOD], 422, ""),
    "no leads": ({}, 422, "leads"),
    "empty list": ({"leads": []}, 422, "leads"),
    "too many": ({"leads": [GOOD] * (MAX_RECORDS + 1)}, 422, "leads"),
    "leads is no list": ({"leads": {"0": GOOD}}, 422, "leads"),
    "unknown key": ({"leads": [GOOD], "model": "best"}, 422, "model"),
    "unknown language": ({"leads": [GOOD], "language": "de"}, 422, "language"),
    "too many reasons": ({"leads": [GOOD], "reasons": 11}, 422, "reasons"),
    "truth value for a number": ({"leads": [GOOD], "reasons": True}, 422, "reasons"),
    "as_of without zone": ({"leads": [GOOD], "as_of": "2026-02-01T00:00:00"}, 422, "as_of"),
    "deals for leads": ({"deals": [{"deal_id": "d"}]}, 422, "leads"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_batch_that_cannot_be_used_is_refused_whole(what: str) -> None:
    """A body that is no JSON gets 400, one of the wrong shape 422 with the field that is wrong."""
    body, status, field = UNUSABLE[what]
    with pytest.raises(Refusal) as caught:
        read(body)
    assert caught.value.kind.status == status
    if status == 422:
        assert field in [fault.field for fault in caught.value.faults]
        assert all(fault.remedy for fault in caught.value.faults)


def test_a_refusal_quotes_nothing_of_a_broken_body() -> None:
    """What stands in a body that is no JSON does not come back in the problem."""
    with pytest.raises(Refusal) as caught:
        read(b'{"leads": [{"lead_id": "Jane Doe"')
    assert b"Jane" not in caught.value.content()


def test_a_thousand_leads_of_thirty_activities_are_read() -> None:
    """The largest batch is read whole."""
    leads = [GOOD | {"lead_id": str(i), "activities": [ACTIVITY] * 30} for i in range(MAX_RECORDS)]
    assert len(read({"leads": leads}).records) == MAX_RECORDS
