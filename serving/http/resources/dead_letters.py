"""/v1/dead-letters: events that no attempt could deliver."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa
from starlette.responses import Response

from crm.store.service.deliveries import Delivery, dead_letters, retry_dead_letter
from crm.store.service.subscriptions import subscription
from serving.answering.event_schemas import DeadLetter, DeadLettersAnswer, DeadLettersQuery, RetryAnswer
from serving.http.endpoint import ALL, Call, Endpoint
from serving.http.problems import STORE_BUSY, STORE_FULL, ProblemKind, Refusal
from serving.http.resources.asking import in_store
from serving.http.resources.subscriptions import own_subscriptions, sees
from serving.http.resources.writing import in_store_writing

NO_DEAD_LETTER = ProblemKind(
    "no_dead_letter", 404, "There is no such dead letter", "see GET /v1/dead-letters for those of the key"
)
SUBSCRIPTION_ENDED = ProblemKind(
    "subscription_ended",
    409,
    "The subscription of this event has ended",
    "subscribe again; what the event told is in the letter",
)
#: Numbers of more digits are none of a delivery.
_DIGITS = 18


async def _list(call: Call) -> DeadLettersAnswer:
    """Give a page of dead letters."""
    query: DeadLettersQuery = call.query

    def read(connection: sa.Connection) -> DeadLettersAnswer:
        own = None
        if call.caller.role != "admin":
            own = [one.subscription_id for one in own_subscriptions(call, connection, live_only=False)]
        found = dead_letters(connection, subscription_ids=own, limit=query.limit + 1, before=query.before)
        shown = found[: query.limit]
        return DeadLettersAnswer(
            dead_letters=[_shown(one) for one in shown],
            next_before=shown[-1].delivery_id if len(found) > query.limit else None,
        )

    return await in_store(call, read)


def _shown(one: Delivery) -> DeadLetter:
    return DeadLetter(
        delivery_id=one.delivery_id,
        event_id=one.event_id,
        event_type=one.event_type,
        subscription_id=one.subscription_id,
        attempts=one.attempts,
        error=one.error,
        created_at=one.created_at,
        event=orjson.loads(one.payload),
    )


async def _retry(call: Call) -> Response:
    """Put a dead letter on its way again."""
    named = call.path["delivery_id"]
    if not (named.isascii() and named.isdigit() and len(named) <= _DIGITS):
        raise Refusal(NO_DEAD_LETTER)
    delivery_id = int(named)

    def write(connection: sa.Connection) -> bytes:
        found = [
            one
            for one in dead_letters(connection, limit=1, before=delivery_id + 1)
            if one.delivery_id == delivery_id
        ]
        of = subscription(connection, found[0].subscription_id) if found else None
        if of is None or not sees(call, of):
            raise Refusal(NO_DEAD_LETTER)
        if of.ended_at is not None:
            raise Refusal(SUBSCRIPTION_ENDED)
        retry_dead_letter(connection, delivery_id, call.now)
        return RetryAnswer(delivery_id=delivery_id, due_at=call.now).model_dump_json().encode()

    return await in_store_writing(call, write)


_EXAMPLE: dict[str, Any] = {
    "delivery_id": 4711,
    "event_id": "evt_0f4c2f4b9f0d4b7d8f7b6f5e4d3c2b1a",
    "event_type": "score_changed",
    "subscription_id": "sub_5b0c7f1e9a3d4c2b8f6e7d10",
    "attempts": 8,
    "error": "answered 500",
    "created_at": "2026-03-02T09:00:05+00:00",
    "event": {
        "type": "score_changed",
        "timestamp": "2026-03-02T09:00:05+00:00",
        "data": {"entity": "lead", "id": "L-1042"},
    },
}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/dead-letters",
        operation="list_dead_letters",
        summary="Events that could not be delivered",
        description="Events of the key's subscriptions that no attempt could deliver, the latest first; with "
        "a key of an admin all.",
        roles=ALL,
        handle=_list,
        query=DeadLettersQuery,
        answer=DeadLettersAnswer,
        example={"limit": "20"},
        answer_example={"dead_letters": [_EXAMPLE], "next_before": None},
    ),
    Endpoint(
        method="POST",
        path="/v1/dead-letters/{delivery_id}/retry",
        operation="retry_dead_letter",
        summary="Deliver a dead letter again",
        description="Tries again from the first attempt on, with the same webhook-id.",
        roles=ALL,
        handle=_retry,
        answer=RetryAnswer,
        problems=(NO_DEAD_LETTER, SUBSCRIPTION_ENDED, STORE_BUSY, STORE_FULL),
        answer_example={"delivery_id": 4711, "due_at": "2026-03-03T09:00:00+00:00"},
        idempotent=True,
    ),
)
