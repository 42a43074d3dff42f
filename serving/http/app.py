"""From a call to an answer: what a handler gives, or what went wrong, as a response."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from crm.errors import StoreBusy, StoreError, StoreFull
from crm.store.service.idempotency import AlreadyRemembered
from serving.http.endpoint import Call, Endpoint
from serving.http.problems import (
    INTERNAL_ERROR,
    STORE_BUSY,
    STORE_FULL,
    STORE_UNAVAILABLE,
    Refusal,
)

#: Where the scope of a request holds what answers it, once the edge has let it in.
ANSWERING = "vigie.answering"

_LOG = logging.getLogger("vigie.service")


def answer(content: Any, status: int = 200, media_type: str = "application/json") -> Response:
    """Give a value as a JSON answer; a number that is none becomes null."""
    return Response(to_json(content, inf_nan_mode="null"), status, media_type=media_type)


async def respond(endpoint: Endpoint, call: Call) -> Response:
    """Answer a call; whatever goes wrong is a problem, and what nobody foresaw is logged.

    Raises
    ------
    AlreadyRemembered
        If the same write was done in the meantime.
    """
    try:
        given = await endpoint.handle(call)
        if isinstance(given, Response):
            return given
        if given is None:
            return Response(status_code=endpoint.status)
        return answer(given, endpoint.status, endpoint.media_type)
    except Refusal as refusal:
        return refusal.response()
    except StoreError as error:
        return refusal_of(error, call.request_id).response()
    except AlreadyRemembered:
        raise
    except Exception:
        # Nothing of it may reach the caller; the log names the place.
        facts = {"request_id": call.request_id, "operation": endpoint.operation}
        _LOG.exception("request_failed", extra={"facts": facts})
        return Refusal(INTERNAL_ERROR).response()


def refusal_of(error: StoreError, request_id: str) -> Refusal:
    """Give the problem that a fault of the store is for a caller; the log has what it was."""
    kind = STORE_UNAVAILABLE
    if isinstance(error, StoreBusy):
        kind = STORE_BUSY
    elif isinstance(error, StoreFull):
        kind = STORE_FULL
    facts = {"request_id": request_id, "kind": type(error).__name__, "message": str(error)}
    _LOG.warning("store_failed", extra={"facts": facts})
    return Refusal(kind, retry_after=2.0)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what the edge has let in; an ASGI application, where no framework is between."""
    if scope["type"] != "http":
        return
    run: Callable[[], Awaitable[Response]] = scope[ANSWERING]
    response = await run()
    await response(scope, receive, send)
