"""Whether the process lives, whether it can answer, and what it measures of itself."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from crm.errors import StoreError
from crm.store.service.deliveries import waiting_deliveries
from crm.store.service.jobs import Waiting, dead_jobs, waiting_jobs
from serving.http.app import answer
from serving.http.endpoint import ANYBODY, Call, Endpoint
from serving.http.metrics import MEDIA_TYPE, Reading
from serving.http.problems import NOT_READY, STORE_UNAVAILABLE, Refusal

#: The kind of job that ingesting leaves behind.
RESCORE = "rescore"
#: Dead jobs counted at most.
_MOST_DEAD = 1000


class Alive(BaseModel):
    """The process answers."""

    model_config = ConfigDict(extra="forbid")

    alive: bool


class Ready(BaseModel):
    """The service can do what it is asked."""

    model_config = ConfigDict(extra="forbid")

    ready: bool
    version: str
    has_store: bool


async def _livez(call: Call) -> dict[str, bool]:
    """Say that the event loop turns."""
    return {"alive": True}


async def _readyz(call: Call) -> dict[str, Any]:
    """Say whether a model is loaded and, where there is to be a store, whether it answers."""
    state = call.state
    if state.is_closing:
        raise Refusal(NOT_READY, "the service is being stopped")
    bundle = state.served.bundle
    if bundle is None:
        refused = state.served.refused
        raise Refusal(NOT_READY, "" if refused is None else "the bundle cannot be loaded; see the log")
    if not await state.is_store_there():
        raise Refusal(STORE_UNAVAILABLE)
    return {"ready": True, "version": bundle.version, "has_store": state.store is not None}


async def _metrics(call: Call) -> Response:
    """Give the measures of all workers, and what waits in the store."""
    readings = await call.state.run(_readings, call)
    return Response(await call.state.run(call.state.metrics.text, readings), media_type=MEDIA_TYPE)


def _readings(call: Call) -> list[Reading]:
    store = call.state.store
    if store is None:
        return []
    try:
        with store.reading() as connection:
            return [("vigie_store_up", "1 where the store answers", {(): 1.0}), *_waiting(call, connection)]
    except StoreError:
        return [("vigie_store_up", "1 where the store answers", {(): 0.0})]


def _waiting(call: Call, connection: sa.Connection) -> list[Reading]:
    jobs = waiting_jobs(connection)
    letters = waiting_deliveries(connection)
    by_kind = {(("kind", kind),): found for kind, found in jobs.items()}

    def age(waiting: Waiting | None) -> float:
        return 0.0 if waiting is None else max((call.now - waiting.oldest).total_seconds(), 0.0)

    return [
        (
            "vigie_jobs_waiting",
            "Jobs that wait in the store, by kind",
            {labels: float(found.n) for labels, found in by_kind.items()},
        ),
        (
            "vigie_jobs_oldest_seconds",
            "How long the oldest job has waited, by kind",
            {labels: age(found) for labels, found in by_kind.items()},
        ),
        (
            "vigie_jobs_dead",
            "Jobs that failed too often and are kept",
            {(): float(len(dead_jobs(connection, _MOST_DEAD)))},
        ),
        (
            "vigie_ingest_lag_seconds",
            "How long what was ingested last has waited to be scored",
            {(): age(jobs.get(RESCORE))},
        ),
        (
            "vigie_deliveries_waiting",
            "Events that wait to be delivered",
            {(): 0.0 if letters is None else float(letters.n)},
        ),
        (
            "vigie_deliveries_oldest_seconds",
            "How long the oldest event has waited to be delivered",
            {(): age(letters)},
        ),
    ]


async def _index(call: Call) -> Response:
    return answer({"name": "Vigie", "openapi": "/docs.json", "ready": "/readyz"})


class Index(BaseModel):
    """Where to look."""

    model_config = ConfigDict(extra="forbid")

    name: str
    openapi: str
    ready: str


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/",
        operation="index",
        summary="What this is",
        roles=ANYBODY,
        handle=_index,
        answer=Index,
        answer_example={"name": "Vigie", "openapi": "/docs.json", "ready": "/readyz"},
        needs_store=False,
        audited=False,
    ),
    Endpoint(
        method="GET",
        path="/livez",
        operation="livez",
        summary="Whether the process lives",
        roles=ANYBODY,
        handle=_livez,
        answer=Alive,
        answer_example={"alive": True},
        needs_store=False,
        audited=False,
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        operation="readyz",
        summary="Whether a model is loaded and the store answers",
        roles=ANYBODY,
        handle=_readyz,
        answer=Ready,
        problems=(NOT_READY, STORE_UNAVAILABLE),
        answer_example={"ready": True, "version": "9f2c41d07a6be813", "has_store": True},
        needs_store=False,
        audited=False,
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        operation="metrics",
        summary="Measures, for Prometheus",
        description="For keys of admins; for anybody where the setting metrics.open says so.",
        roles=frozenset({"admin"}),
        handle=_metrics,
        answer_example="# HELP vigie_request_seconds Time to answer, by operation\n",
        needs_store=False,
        media_type=MEDIA_TYPE,
        audited=False,
    ),
)
