"""What is asked at the same moment is answered together, and nobody can tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from serving.answering.inline import rows_sent
from serving.answering.questions import Question, answer_questions
from serving.answering.reading import read_batch
from serving.answering.scorer import Scorer
from serving.answering.together import MOST, Together
from serving.bundle import ModelBundle
from serving.http.problems import Refusal

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AS_OF = "2024-08-01T00:00:00+00:00"


def body(entity: str, record_id: str, *, account: str = "steel", **options: Any) -> bytes:
    """Give a batch of one record, whose content follows from its id."""
    size = sum(map(ord, record_id))
    record = {
        f"{entity}_id": record_id,
        "created_at": "2024-06-01T00:00:00Z",
        "owner_id": ("ann", "bob")[size % 2],
        "stage": ("new", "talk", "offer")[size % 3],
        "attributes": {"employees": size},
        "account": {"account_id": "acme-1", "attributes": {"industry": account}},
        "activities": [
            {
                "kind": "email",
                "channel": "email",
                "direction": "in",
                "occurred_at": f"2024-07-{day:02}T09:00:00Z",
            }
            for day in range(1, 2 + size % 20)
        ],
    }
    return json.dumps({"as_of": AS_OF, **options, f"{entity}s": [record]}).encode()


def alone(bundle: ModelBundle, entity: Any, sent: bytes) -> Any:
    """Give a batch's answer when nobody else asks."""
    received = read_batch(sent, entity, NOW)
    return answer_questions(bundle, [Question(received, rows_sent(received))])[0]


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_company_of_other_callers_changes_nothing(bundle: ModelBundle, entity: Any) -> None:
    """Callers of one moment, some with equal ids and other accounts, get the answers they get alone."""
    sent = [
        body(entity, "same"),
        body(entity, "same", account="food"),
        body(entity, "same", as_of="2024-07-15T00:00:00+00:00", language="fr", reasons=1),
        body(entity, "other", helps=0),
        body(entity, "third", reasons=10, expected_close=True),
    ]
    received = [read_batch(one, entity, NOW) for one in sent]
    questions = [Question(one, rows_sent(one, mark)) for mark, one in enumerate(received)]
    assert answer_questions(bundle, questions) == [alone(bundle, entity, one) for one in sent]


def test_what_is_asked_at_once_is_answered_in_one_go(bundle: ModelBundle) -> None:
    """Twenty concurrent callers cost one call of the kernel, and a lone one waits for nobody."""
    sizes: list[int] = []

    def counting(bundle: ModelBundle, questions: Sequence[Question]) -> list[dict[str, Any]]:
        sizes.append(len(questions))
        return answer_questions(bundle, questions)

    async def run() -> list[bytes]:
        scorer = Scorer(_together=Together(counting))
        calls = (scorer.score(bundle, "lead", body("lead", f"L{i}"), NOW) for i in range(20))
        found = await asyncio.gather(*calls)
        await scorer.score(bundle, "lead", body("lead", "alone"), NOW)
        return found

    answers = [json.loads(one) for one in asyncio.run(run())]
    assert sizes == [20, 1]
    assert [one["scores"][0]["lead_id"] for one in answers] == [f"L{i}" for i in range(20)]


def test_leads_and_deals_are_answered_apart_and_many_in_turns(bundle: ModelBundle) -> None:
    """Questions of two kinds, and more than one go takes, are all answered."""

    async def run() -> list[bytes]:
        scorer = Scorer()
        calls = [scorer.score(bundle, "lead", body("lead", f"L{i}"), NOW) for i in range(MOST + 5)]
        calls += [scorer.score(bundle, "deal", body("deal", f"D{i}"), NOW) for i in range(3)]
        return await asyncio.gather(*calls)

    answers = [json.loads(one) for one in asyncio.run(run())]
    ids = [one["scores"][0].get("lead_id") or one["scores"][0]["deal_id"] for one in answers]
    assert ids == [*(f"L{i}" for i in range(MOST + 5)), "D0", "D1", "D2"]


def test_one_callers_failure_is_not_the_others(bundle: ModelBundle) -> None:
    """Where one question breaks the call, each is answered alone and only that one fails."""

    def fragile(bundle: ModelBundle, questions: Sequence[Question]) -> list[dict[str, Any]]:
        if any(one.received.records[0]["lead_id"] == "L2" for one in questions):
            raise RuntimeError("broken")
        return answer_questions(bundle, questions)

    async def run() -> list[bytes | BaseException]:
        scorer = Scorer(_together=Together(fragile))
        calls = [scorer.score(bundle, "lead", body("lead", f"L{i}"), NOW) for i in range(4)]
        return await asyncio.gather(*calls, return_exceptions=True)

    found = asyncio.run(run())
    assert [isinstance(one, RuntimeError) for one in found] == [False, False, True, False]


def test_a_caller_that_left_holds_nobody_up(bundle: ModelBundle) -> None:
    """A call that is cancelled while it waits is left out, and the others are answered."""

    async def run() -> list[bytes | BaseException]:
        scorer = Scorer()
        calls = [
            asyncio.ensure_future(scorer.score(bundle, "lead", body("lead", f"L{i}"), NOW)) for i in "ab"
        ]
        await asyncio.sleep(0)
        calls[0].cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    left, stayed = asyncio.run(run())
    assert isinstance(left, asyncio.CancelledError)
    assert isinstance(stayed, bytes)


def test_a_large_body_is_answered_beside_the_loop_alike(bundle: ModelBundle) -> None:
    """A body that goes to a thread gets the same answer as a small one."""
    note = {"attributes": {f"note {i}": "x" * 1900 for i in range(60)}}
    small = json.loads(body("lead", "L"))
    large = json.loads(body("lead", "L"))
    large["leads"][0]["attributes"] |= note["attributes"]

    async def run(sent: Any) -> Any:
        return json.loads(await Scorer().score(bundle, "lead", json.dumps(sent).encode(), NOW))

    assert len(json.dumps(large)) > 64 * 1024
    assert asyncio.run(run(large)) == asyncio.run(run(small))


def test_another_version_is_refused(bundle: ModelBundle) -> None:
    """An answer by a version that is not served is refused with 409, one by that which is served is given."""

    async def run(version: str) -> bytes:
        return await Scorer().score(bundle, "lead", body("lead", "L", model_version=version), NOW)

    assert json.loads(asyncio.run(run(bundle.version)))["model"]["version"] == bundle.version
    with pytest.raises(Refusal) as caught:
        asyncio.run(run("0123456789abcdef"))
    assert (caught.value.kind.status, caught.value.kind.code) == (409, "model_gone")
