"""The edge: what HTTP demands of every request and every answer, whatever answers it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm.errors import StoreError
from crm.store.service.audit import AuditRow
from serving.http.access import Caller
from serving.http.app import ANSWERING, refusal_of, respond
from serving.http.cors import cors_headers, preflight
from serving.http.endpoint import Call, Endpoint
from serving.http.idempotent import answer_once, idempotency_of
from serving.http.languages import language_of
from serving.http.problems import (
    FORBIDDEN,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MALFORMED_JSON,
    NO_STORE,
    STORE_UNAVAILABLE,
    TOO_LARGE,
    TOO_SLOW,
    UNSUPPORTED_MEDIA_TYPE,
    Refusal,
)
from serving.http.query import fault_of, read_query
from serving.http.reply import Reply
from serving.http.routes import Routes

if TYPE_CHECKING:
    from serving.http.state import State

_LOG = logging.getLogger("vigie.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON = re.compile(r"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?", re.IGNORECASE)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Who is counted where no key was needed.
_NOBODY: Final = Caller(None, "anybody", "crm")


@dataclass(slots=True)
class _Seen:
    """What became known of a request, for the log."""

    endpoint: Endpoint | None = None
    call: Call | None = None
    is_noted: bool = False


class Edge:
    """ASGI middleware: routes, keys, roles, limits, bodies, problems, request ids, metrics, logs.

    Parameters
    ----------
    app : ASGI application
        Calls what stands in the scope under :data:`serving.http.app.ANSWERING`, for endpoints that are
        ``by_framework``; it sees no other request.
    state : State
    endpoints : iterable of Endpoint
    """

    def __init__(self, app: ASGIApp, state: State, endpoints: Iterable[Endpoint]) -> None:
        self._app = app
        self._state = state
        self._routes = Routes(endpoints)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state, began = self._state, time.perf_counter()
        settings = state.settings.http
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = _request_id(headers)
        own = [(b"x-request-id", request_id.encode())]
        if settings.cors_origins:
            own += cors_headers(headers, settings.cors_origins)
        reply = Reply(send, own, settings.compress_from if _takes_gzip(headers) else None)
        seen = _Seen()
        state.metrics.begin()
        try:
            async with asyncio.timeout(settings.deadline_seconds):
                await self._answer(scope, receive, headers, request_id, reply, seen)
        except Refusal as refusal:
            await reply.refuse(refusal)
        except StoreError as error:
            await reply.refuse(refusal_of(error, request_id))
        except TimeoutError:
            detail = f"no answer within {settings.deadline_seconds:g} s"
            await reply.refuse(Refusal(TOO_SLOW, detail))
        except Exception:
            # The caller gets a problem whatever it was; the log names the place.
            _LOG.exception("request_failed", extra={"facts": {"request_id": request_id}})
            await reply.refuse(Refusal(INTERNAL_ERROR))
        finally:
            self._note(seen, scope["method"], request_id, reply.status, time.perf_counter() - began)

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        headers: Mapping[str, str],
        request_id: str,
        reply: Reply,
        seen: _Seen,
    ) -> None:
        state = self._state
        path = _path(scope)
        origins = state.settings.http.cors_origins
        if origins and preflight(scope["method"], headers, origins):
            await reply({"type": "http.response.start", "status": 204, "headers": []})
            await reply({"type": "http.response.body", "body": b""})
            return
        endpoint, parts = self._routes.find(scope["method"], path)
        seen.endpoint = endpoint
        is_open = not endpoint.roles or endpoint.operation in state.opened
        if is_open and endpoint.method == "GET":
            # Who watches the service is answered under any load.
            await self._go(endpoint, parts, _NOBODY, scope, receive, headers, request_id, reply, seen)
            return
        units = state.admission.enter(_length(headers))
        try:
            caller = _NOBODY if is_open else await self._caller(endpoint, headers, scope)
            await self._go(endpoint, parts, caller, scope, receive, headers, request_id, reply, seen)
        finally:
            state.admission.leave(units)

    async def _caller(self, endpoint: Endpoint, headers: Mapping[str, str], scope: Scope) -> Caller:
        """Say who calls, if that one may call this, now."""
        state, client = self._state, scope.get("client")
        caller = await state.access.caller(headers, client[0] if client else None, state.clock())
        if caller.role not in endpoint.roles:
            raise Refusal(FORBIDDEN, f"the key is one of role {caller.role}")
        if caller.key_id is not None:
            state.rates.take(caller.key_id)
        return caller

    async def _go(
        self,
        endpoint: Endpoint,
        parts: dict[str, str],
        caller: Caller,
        scope: Scope,
        receive: Receive,
        headers: Mapping[str, str],
        request_id: str,
        reply: Reply,
        seen: _Seen,
    ) -> None:
        state = self._state
        if endpoint.needs_store and state.store is None:
            if state.wants_store:
                raise Refusal(STORE_UNAVAILABLE, "the history store is not open yet")
            raise Refusal(NO_STORE)
        query = read_query(scope["query_string"], endpoint.query)
        content = b""
        if endpoint.method != "GET":
            limit = state.settings.http.max_body if endpoint.max_body is None else endpoint.max_body
            content = await _read_body(endpoint, headers, receive, limit)
        call = seen.call = Call(
            state=state,
            caller=caller,
            query=query,
            body=content if endpoint.reads_bytes else _fill(endpoint, content),
            path=parts,
            now=state.clock(),
            request_id=request_id,
            language=language_of(headers.get("accept-language")),
            headers=headers,
        )
        if endpoint.by_framework:
            scope[ANSWERING] = partial(respond, endpoint, call)
            await self._app(scope, receive, reply)
            return
        if endpoint.idempotent:
            asked = f"{_path(scope)}?{scope['query_string'].decode('latin-1')}"
            call.idempotency = idempotency_of(endpoint, headers, caller.key_id, asked, content, call.now)
        run = partial(respond, endpoint, call)
        response = await (run() if call.idempotency is None else answer_once(state, call.idempotency, run))
        if endpoint.method != "GET" and endpoint.audited and response.status_code < 400:
            # Who changed something is written down before the caller is told that it is changed.
            seen.is_noted = True
            state.trail.note(_row(endpoint, call, response.status_code))
            await state.trail.flush()
        await response(scope, receive, reply)

    def _note(self, seen: _Seen, method: str, request_id: str, status: int, seconds: float) -> None:
        """Write the access log, the audit log and the metrics; none holds what was sent."""
        state, endpoint, call = self._state, seen.endpoint, seen.call
        operation = "other" if endpoint is None else endpoint.operation
        state.metrics.end(operation, status, seconds)
        if endpoint is not None and call is not None:
            if call.n_seen:
                state.metrics.batch(operation, call.n_seen)
            # Who has no key and is refused is nobody, of whom there may be very many.
            if endpoint.audited and not seen.is_noted and (endpoint.roles or status < 400):
                state.trail.note(_row(endpoint, call, status))
        if _LOG.isEnabledFor(logging.INFO):
            facts = {
                "request_id": request_id,
                "method": method if method in _METHODS else "other",
                "path": "other" if endpoint is None else endpoint.path,
                "operation": operation,
                "status": status,
                "milliseconds": round(seconds * 1000, 2),
            }
            _LOG.info("request", extra={"facts": facts})


def _row(endpoint: Endpoint, call: Call, status: int) -> AuditRow:
    caller = call.caller
    return AuditRow(
        at=call.now,
        key_id=caller.key_id,
        role=caller.role,
        operation=endpoint.operation,
        status=status,
        request_id=call.request_id,
        record_ids=call.seen,
        n_records=max(call.n_seen, len(call.seen)),
    )


def _path(scope: Scope) -> str:
    """Give the path as it was sent, with its percent signs."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        return str(scope["path"])
    return raw.partition(b"?")[0].decode("latin-1")


def _request_id(headers: Mapping[str, str]) -> str:
    """Give the caller's own id of the request, where it is a plain one, else a new one."""
    given = headers.get("x-request-id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _takes_gzip(headers: Mapping[str, str]) -> bool:
    given = headers.get("accept-encoding")
    if given is None or "gzip" not in given:
        return False
    found = next((one for one in given.split(",") if one.strip().startswith("gzip")), "")
    return re.search(r";\s*q\s*=\s*0(\.0*)?\s*$", found) is None


def _length(headers: Mapping[str, str]) -> int:
    given = headers.get("content-length", "0")
    return int(given) if given.isdigit() and len(given) < 16 else 0


async def _read_body(endpoint: Endpoint, headers: Mapping[str, str], receive: Receive, limit: int) -> bytes:
    """Read a body; refuse one of another kind, or too large, as early as that is known."""
    takes_one = endpoint.body is not None or endpoint.reads_bytes
    if takes_one:
        if _JSON.fullmatch(headers.get("content-type", "").strip()) is None:
            raise Refusal(UNSUPPORTED_MEDIA_TYPE, "Content-Type is not application/json in UTF-8")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(UNSUPPORTED_MEDIA_TYPE, "the body is compressed")
    if _length(headers) > limit:
        raise Refusal(TOO_LARGE, f"the limit is {limit} bytes")
    parts: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise Refusal(TOO_LARGE, f"the limit is {limit} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _fill(endpoint: Endpoint, content: bytes) -> BaseModel | None:
    """Validate a body that is one object."""
    model: type[BaseModel] | None = endpoint.body
    if model is None:
        return None
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        details: Any = error.errors(include_url=False, include_context=False)
    if details[0]["type"] == "json_invalid":
        # The message names a place in the body, never what stands there.
        raise Refusal(MALFORMED_JSON, details[0]["msg"])
    known = ", ".join(model.model_fields)
    faults = tuple(fault_of(detail, known) for detail in details[:10])
    raise Refusal(INVALID_REQUEST, "the body cannot be used", faults)
