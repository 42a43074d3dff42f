"""POST /v1/ingest: what a CRM knows, as it learns of it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from pydantic_core import to_json
from starlette.responses import Response

from serving.answering.ingest_reading import ReadBatch, read_ingest
from serving.answering.ingest_schemas import IngestAnswer, IngestBatch
from serving.answering.ingesting import take_in
from serving.http.endpoint import Call, Endpoint
from serving.http.problems import (
    INVALID_REQUEST,
    MALFORMED_JSON,
    STORE_BUSY,
    STORE_FULL,
    STORE_UNAVAILABLE,
)
from serving.http.resources.writing import in_store_writing

#: Ids that the audit log names of one call; it counts the others.
NAMED = 20

EXAMPLE: dict[str, Any] = {
    "users": [{"user_id": "ann", "name": "Ann Ash", "team": "North"}],
    "accounts": [{"account_id": "A-7", "name": "Acme", "attributes": {"region": "north"}}],
    "leads": [
        {
            "lead_id": "L-1042",
            "updated_at": "2026-02-24T14:00:00+00:00",
            "created_at": "2026-02-20T10:15:00+00:00",
            "account_id": "A-7",
            "owner_id": "ann",
            "source": "fair",
            "stage": "qualified",
            "attributes": {"industry": "steel", "employees": 120},
        }
    ],
    "deals": [
        {
            "deal_id": "D-7",
            "updated_at": "2026-02-25T09:00:00+00:00",
            "created_at": "2026-02-25T09:00:00+00:00",
            "lead_id": "L-1042",
            "account_id": "A-7",
            "owner_id": "ann",
            "stage": "offer",
            "amount": 12500,
            "currency": "EUR",
        }
    ],
    "activities": [
        {
            "activity_id": "T-1",
            "lead_id": "L-1042",
            "kind": "call",
            "channel": "call",
            "direction": "out",
            "occurred_at": "2026-02-23T08:00:00+00:00",
        }
    ],
    "changes": [
        {
            "change_id": "H-1",
            "entity": "lead",
            "record_id": "L-1042",
            "field": "stage",
            "old_value": "new",
            "new_value": "qualified",
            "changed_at": "2026-02-24T14:00:00+00:00",
        }
    ],
}
ANSWER_EXAMPLE: dict[str, Any] = {
    "learned_at": "2026-03-02T09:00:00.000000+00:00",
    "tables": {
        "leads": {"new": 1, "changed": 0, "unchanged": 0},
        "activities": {"new": 1, "changed": 0, "unchanged": 0},
    },
    "errors": [
        {
            "table": "deals",
            "index": 0,
            "id": "D-7",
            "code": "invalid_record",
            "faults": [
                {
                    "field": "amount",
                    "code": "float_type",
                    "value": "12,500",
                    "remedy": "must be a number, without quotes",
                }
            ],
        }
    ],
    "notices": [],
    "rescoring": {"leads": 1, "deals": 0},
}
DESCRIPTION = (
    "Users, accounts, leads, deals, activities and changes in one body, at most 5,000 in all, each taken in "
    "whole or not at all. What was sent before changes nothing; what comes late or out of order finds its "
    "place, for of each field the last thing known counts, by the moment at which the CRM had it so. A field "
    "that is not sent keeps its value, null clears it. All that is new is known from learned_at on: scores "
    "as of an earlier moment stay what they were. Open records that are affected are scored anew within "
    "seconds. What is answered with 200 is stored; a record that cannot be used is named in errors."
)


async def _ingest(call: Call) -> Response:
    """Take in one batch."""
    read = await call.state.run(read_ingest, call.body, call.now)
    call.seen, call.n_seen = named(read)

    def write(connection: sa.Connection) -> bytes:
        source = f"api: {call.caller.name}"
        return written(take_in(connection, read, source=source, clock=call.state.clock))

    return await in_store_writing(call, write)


def written(answer: IngestAnswer) -> bytes:
    """Give an answer as JSON."""
    return to_json(answer)


def named(read: ReadBatch) -> tuple[tuple[str, ...], int]:
    """Give ids of records that a batch is about, for the audit log, and how many records it holds."""
    ids: dict[str, None] = {}
    for table, key in (("leads", "lead_id"), ("deals", "deal_id"), ("accounts", "account_id")):
        ids |= dict.fromkeys(one[key] for _, one in read.records.get(table, ()))
    for _, one in read.records.get("activities", ()):
        ids |= dict.fromkeys(one[key] for key in ("lead_id", "deal_id") if one.get(key))
    ids |= dict.fromkeys(one["record_id"] for _, one in read.records.get("changes", ()))
    return tuple(ids)[:NAMED], sum(map(len, read.records.values()))


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/ingest",
        operation="ingest",
        summary="Take in records",
        description=DESCRIPTION,
        roles=frozenset({"crm", "admin"}),
        handle=_ingest,
        body=IngestBatch,
        answer=IngestAnswer,
        problems=(MALFORMED_JSON, INVALID_REQUEST, STORE_BUSY, STORE_UNAVAILABLE, STORE_FULL),
        example=EXAMPLE,
        answer_example=ANSWER_EXAMPLE,
        idempotent=True,
        reads_bytes=True,
    ),
)
