"""The OpenAPI documents: 3.1, and 3.0 for importers that want it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

from serving.http.endpoint import ANYBODY, Call, Endpoint
from serving.http.openapi import document
from serving.http.openapi_30 import rendered_30


async def _docs(write: Callable[[], bytes], call: Call) -> Response:
    return Response(await call.state.run(write), media_type="application/json")


def with_docs(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Give endpoints, and with them those that describe all of them."""

    @cache
    def written() -> bytes:
        return to_json(document(every))

    @cache
    def written_30() -> bytes:
        return to_json(rendered_30(document(every)))

    def one(path: str, operation: str, version: str, write: Callable[[], bytes]) -> Endpoint:
        example: dict[str, Any] = {"openapi": version, "info": {"title": "Vigie"}}
        return Endpoint(
            method="GET",
            path=path,
            operation=operation,
            summary=f"This document, as OpenAPI {version[:3]}",
            roles=ANYBODY,
            handle=partial(_docs, write),
            answer_example=example,
            needs_store=False,
            audited=False,
        )

    every = (
        *endpoints,
        one("/docs.json", "docs", "3.1.0", written),
        one("/openapi-3.0.json", "docs_30", "3.0.3", written_30),
    )
    return every
