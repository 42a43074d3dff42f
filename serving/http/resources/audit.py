"""GET /v1/audit: who read or changed what."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from crm.store.service.audit import audit_rows
from serving.answering.schemas import Id, Moment
from serving.http.endpoint import Call, Endpoint
from serving.http.resources.asking import in_store

_CLOSED = ConfigDict(extra="forbid")


class AuditQuery(BaseModel):
    """Which calls."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: Annotated[Moment | None, Field(description="from then on")] = None
    until: Annotated[Moment | None, Field(description="before")] = None
    key: Annotated[Id | None, Field(description="of this key, by its id")] = None
    record: Annotated[Id | None, Field(description="that named this record")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    before: Annotated[int | None, Field(ge=1, le=2**62, description="next_before of the page before")] = None


class AuditEntry(BaseModel):
    """One call."""

    model_config = _CLOSED

    position: int
    at: Moment
    key_id: Annotated[str | None, Field(description="null: no key was needed")]
    role: str
    operation: str
    status: int
    request_id: str
    record_ids: Annotated[list[str], Field(description="read or changed; of many the first")]
    n_records: int


class AuditAnswer(BaseModel):
    """Calls, the latest first."""

    model_config = _CLOSED

    entries: list[AuditEntry]
    next_before: Annotated[int | None, Field(description="null on the last page")]


async def _audit(call: Call) -> dict[str, Any]:
    """Give a page of the log, with what this worker has taken down already."""
    query: AuditQuery = call.query
    await call.state.trail.flush()

    def read(connection: sa.Connection) -> dict[str, Any]:
        found = audit_rows(
            connection,
            since=query.since,
            until=query.until,
            key_id=query.key,
            record_id=query.record,
            limit=query.limit + 1,
            before=query.before,
        )
        page = found[: query.limit]
        return {
            "entries": [{"position": position, **vars(row)} for position, row in page],
            "next_before": page[-1][0] if len(found) > query.limit else None,
        }

    return await in_store(call, read)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/audit",
        operation="get_audit",
        summary="Who read or changed what",
        description="Each call by whom, of what, and how it ended; what was sent is not in it.",
        roles=frozenset({"admin"}),
        handle=_audit,
        query=AuditQuery,
        answer=AuditAnswer,
        example={"record": "D-7", "limit": "20"},
        answer_example={
            "entries": [
                {
                    "position": 1041,
                    "at": "2026-03-02T09:00:00Z",
                    "key_id": "1f0c22a94be7",
                    "role": "rep",
                    "operation": "get_deal",
                    "status": 200,
                    "request_id": "6f1f6c1b0a6e4f0a8d5e2f3b4c5d6e7f",
                    "record_ids": ["D-7"],
                    "n_records": 1,
                }
            ],
            "next_before": None,
        },
    ),
)
