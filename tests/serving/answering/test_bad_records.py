"""Every bad input that a CRM may send: one clear error for the bad record, and answers for the others."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from serving.answering.schemas import MAX_RECORDS
from serving.answering.scorer import Scorer
from serving.bundle import ModelBundle
from serving.http.problems import Refusal

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AS_OF = "2024-08-01T00:00:00+00:00"
GOOD = {"lead_id": "good", "created_at": "2024-06-01T00:00:00Z", "stage": "talk", "owner_id": "ann"}


def bad(**fields: Any) -> dict[str, Any]:
    """Give a lead with something wrong."""
    return {"lead_id": "bad", "created_at": "2024-06-01T00:00:00Z"} | fields


def ask(bundle: ModelBundle, body: bytes) -> dict[str, Any]:
    """Score a body as the service does."""
    found: dict[str, Any] = json.loads(asyncio.run(Scorer().score(bundle, "lead", body, NOW)))
    return found


def batch(*records: Any, **options: Any) -> bytes:
    """Give a batch of leads."""
    return json.dumps({"as_of": AS_OF, "leads": records, **options}).encode()


CASES: dict[str, tuple[Any, str, str, str]] = {
    "unknown field": (bad(colour="red"), "invalid_record", "colour", "attributes"),
    "wrong type": (bad(stage=3), "invalid_record", "stage", "must be text"),
    "unknown account field": (
        bad(account={"account_id": "A", "turnover": 7}),
        "invalid_record",
        "account/turnover",
        "attributes",
    ),
    "wrong type in the account": (
        bad(account={"account_id": "A", "attributes": {"size": [1]}}),
        "invalid_record",
        "account/attributes/size",
        "text, a finite number or null",
    ),
    "another account": (
        bad(account_id="A", account={"account_id": "B"}),
        "invalid_record",
        "account/account_id",
        "send the account",
    ),
    "10 MB string": (
        bad(attributes={"note": "x" * 10_000_000}),
        "invalid_record",
        "attributes/note",
        "text, a finite number or null",
    ),
    "10 MB id": (bad(lead_id="x" * 10_000_000), "invalid_record", "lead_id", "200 characters"),
    "created after as_of": (bad(created_at="2024-08-02T00:00:00Z"), "not_known_yet", "", "later moment"),
    "duplicate id": (GOOD | {"stage": "offer"}, "duplicate_id", "lead_id", "at index 0"),
    "an id alone without a store": ({"lead_id": "bad"}, "invalid_record", "created_at", "no store"),
    "5,001 activities": (
        bad(activities=[{"kind": "call", "occurred_at": "2024-07-01T00:00:00Z"}] * 5001),
        "invalid_record",
        "activities",
        "5000",
    ),
    "a record nested deep": (
        bad(attributes={"deep": json.loads("[" * 100 + "]" * 100)}),
        "invalid_record",
        "attributes/deep",
        "text, a finite number or null",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_a_bad_record_has_one_clear_error(bundle: ModelBundle, what: str) -> None:
    """The error names the record, field and remedy in few words, and the records around it are scored."""
    record, code, field, remedy = CASES[what]
    answered = ask(bundle, batch(GOOD, record, GOOD | {"lead_id": "after"}))
    assert [one["lead_id"] for one in answered["scores"]] == ["good", "after"]
    (error,) = answered["errors"]
    assert (error["index"], error["code"]) == (1, code)
    (fault,) = error["faults"]
    assert fault["field"] == field
    assert remedy in fault["remedy"]
    assert len(json.dumps(error)) < 1500


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_no_number_is_an_error_of_its_record(bundle: ModelBundle, literal: str) -> None:
    """NaN, infinities and numbers beyond all numbers stop only the record they are in."""
    body = batch(GOOD, bad(attributes={"employees": "HERE"})).replace(b'"HERE"', literal.encode())
    answered = ask(bundle, body)
    assert [one["lead_id"] for one in answered["scores"]] == ["good"]
    assert answered["errors"][0]["faults"][0]["field"] == "attributes/employees"


def test_an_unseen_category_is_scored_and_said(bundle: ModelBundle) -> None:
    """A value that training never saw counts as missing, and a warning names it."""
    unseen = bad(source="carrier pigeon", attributes={"industry": "space", "employees": 5})
    missing = bad(lead_id="missing", attributes={"employees": 5})
    one, other = ask(bundle, batch(unseen, missing))["scores"]
    assert one["propensity"] == other["propensity"]
    assert sorted((w["field"], w["code"], w["value"]) for w in one["warnings"]) == [
        ("industry", "unseen_value", "space"),
        ("source", "unseen_value", "carrier pigeon"),
    ]
    assert other["warnings"] == []


def test_a_renamed_stage_is_scored_and_said(bundle: ModelBundle) -> None:
    """A stage under a new name, in the record and its changes, is no error; the answer says what to do."""
    change = {
        "field": "stage",
        "old_value": "talk",
        "new_value": "discussion",
        "changed_at": "2024-07-01T00:00:00Z",
    }
    answered = ask(bundle, batch(bad(stage="discussion", changes=[change]), GOOD))
    assert [one["lead_id"] for one in answered["scores"]] == ["bad", "good"]
    (warning,) = answered["scores"][0]["warnings"]
    assert (warning["field"], warning["value"]) == ("stage", "discussion")
    assert "train again" in warning["remedy"]


def test_an_activity_after_as_of_is_left_out_and_counted(bundle: ModelBundle) -> None:
    """What happens later than as_of changes nothing but the count of what was left out."""
    later = {"kind": "email", "occurred_at": "2024-08-15T00:00:00Z"}
    with_later, without = ask(bundle, batch(bad(activities=[later]), bad(lead_id="x")))["scores"]
    assert (with_later["rows_not_known_yet"], without["rows_not_known_yet"]) == (1, 0)
    assert with_later["propensity"] == without["propensity"]


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "future as_of": (
        batch(GOOD, as_of=(NOW + timedelta(hours=1)).isoformat()),
        422,
        "in_the_future",
    ),
    "empty list": (batch(), 422, "too_short"),
    "100,000 records": (
        b'{"leads":[' + b",".join([b'{"lead_id":"a"}'] * 100_000) + b"]}",
        422,
        "too_long",
    ),
    "one record too many": (batch(*[GOOD] * (MAX_RECORDS + 1)), 422, "too_long"),
    "on top of no store": (batch(GOOD, use_store=True), 422, "no_store"),
    "invalid UTF-8": (b'{"leads":[{"lead_id":"\xc3\x28"}]}', 400, ""),
    "nested bomb": (b'{"leads":' + b'[{"a":' * 100_000 + b"1" + b"}]" * 100_000 + b"}", 400, ""),
    "cut off": (batch(GOOD)[:-10], 400, ""),
    "unknown key": (batch(GOOD, colour="red"), 422, "extra_forbidden"),
    "NaN as reasons": (batch(GOOD, reasons=0).replace(b'"reasons": 0', b'"reasons": NaN'), 422, ""),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_batch_that_cannot_be_used_is_refused_at_once(bundle: ModelBundle, what: str) -> None:
    """A body that is wrong as a whole gets one short problem, quickly, whatever its size."""
    body, status, code = REFUSED[what]
    began = time.perf_counter()
    with pytest.raises(Refusal) as caught:
        ask(bundle, body)
    assert time.perf_counter() - began < 2.0
    assert caught.value.kind.status == status
    if code:
        assert [fault.code for fault in caught.value.faults] == [code]
    assert len(caught.value.content()) < 1500
