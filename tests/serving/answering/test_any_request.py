"""Whatever is sent, the answer is scores, errors or a refusal: nothing else can happen."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from serving.answering.inline import score_inline
from serving.answering.reading import read_batch
from serving.answering.schemas import DealAnswer, LeadAnswer
from serving.bundle import ModelBundle
from serving.http.app import answer
from serving.http.problems import Refusal

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUNDLES: list[ModelBundle] = []


@pytest.fixture(scope="module", autouse=True)
def kept(bundle: ModelBundle) -> None:
    """Keep the bundle for the property tests."""
    BUNDLES.append(bundle)


TEXTS = st.sampled_from(
    ["web", "steel", "", "é\x00\u2028", "1e400", "nan", "-5", "2024-06-01", "acme-3", "ann"]
)
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    datetime.isoformat
)
NUMBERS = st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, MOMENTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["stage", "amount", "owner_id", "account_id", "source", "expected_close_at", "employees", "industry", "x"]
)


def mapping(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Give mappings of the right shape."""
    return st.fixed_dictionaries(required, optional=optional)


ACTIVITIES = mapping(
    {"kind": st.sampled_from(["email", "call", "visit", "dance"]), "occurred_at": MOMENTS},
    {
        "recorded_at": MOMENTS,
        "channel": TEXTS.filter(bool),
        "direction": st.sampled_from(["in", "out"]),
        "status": st.sampled_from(["scheduled", "started", "done", "cancelled"]),
        "user_id": TEXTS.filter(bool),
    },
)
CHANGES = mapping(
    {"field": FIELDS, "changed_at": MOMENTS},
    {"old_value": st.none() | TEXTS | MOMENTS, "new_value": st.none() | TEXTS | MOMENTS},
)


def records(entity: str) -> st.SearchStrategy[dict[str, Any]]:
    """Give records of the right shape with odd contents."""
    optional: dict[str, Any] = {
        "owner_id": TEXTS.filter(bool),
        "account_id": TEXTS.filter(bool),
        "stage": TEXTS.filter(bool),
        "attributes": st.dictionaries(st.sampled_from(["employees", "industry", "x"]), TEXTS | NUMBERS),
        "activities": st.lists(ACTIVITIES, max_size=6),
        "changes": st.lists(CHANGES, max_size=6),
    }
    if entity == "deal":
        optional |= {"amount": NUMBERS, "expected_close_at": MOMENTS, "lead_id": TEXTS.filter(bool)}
    return mapping({f"{entity}_id": st.sampled_from("abcdef"), "created_at": MOMENTS}, optional)


def is_finite(node: Any) -> bool:
    """Say whether every number of an answer is one."""
    if isinstance(node, dict):
        return all(is_finite(value) for value in node.values())
    if isinstance(node, list):
        return all(is_finite(value) for value in node)
    return not isinstance(node, float) or math.isfinite(node)


def ask(entity: Any, body: bytes) -> dict[str, Any] | None:
    """Score a body; None where it is refused."""
    try:
        received = read_batch(body, entity, NOW)
        scored: dict[str, Any] = json.loads(answer(score_inline(BUNDLES[0], received)).body)
    except Refusal as refusal:
        assert 400 <= refusal.kind.status < 500
        json.loads(refusal.content())
        return None
    return scored


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(["lead", "deal"]))
def test_odd_records_are_scored_or_named(data: st.DataObject, entity: str) -> None:
    """Each record of the right shape has a score that adds up or an error, and no number is not finite."""
    sent = data.draw(st.lists(records(entity), min_size=1, max_size=4))
    answered = ask(entity, json.dumps({f"{entity}s": sent, "as_of": "2025-01-01T00:00:00Z"}).encode())
    assert answered is not None
    TypeAdapter({"lead": LeadAnswer, "deal": DealAnswer}[entity]).validate_python(answered)
    places = [one["index"] for one in answered["scores"]] + [one["index"] for one in answered["errors"]]
    assert sorted(places) == list(range(len(sent)))
    assert is_finite(answered)
    for one in answered["scores"]:
        reasons = one["reasons"]
        total = reasons["base_probability"] + reasons["other_effects"]
        total += sum(reason["effect"] for reason in reasons["raising"] + reasons["lowering"])
        probability = one["propensity" if entity == "lead" else "win_probability"]
        assert 0 <= probability <= 1
        assert total == pytest.approx(probability, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(JSON, st.fixed_dictionaries({"leads": st.lists(JSON, max_size=3)}, optional={"as_of": JSON}))
)
def test_any_json_is_answered_or_refused(body: Any) -> None:
    """JSON of any shape raises nothing but a refusal."""
    ask("lead", json.dumps(body).encode())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_answered_or_refused(body: bytes) -> None:
    """Bytes of any kind raise nothing but a refusal."""
    ask("deal", body)
