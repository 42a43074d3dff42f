"""The edge: what HTTP demands of every request and every answer, whatever is behind."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.problems import (
    BY_STATUS,
    INTERNAL_ERROR,
    MEDIA_TYPE,
    NOT_FOUND,
    TOO_LARGE,
    TOO_SLOW,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemKind,
    Refusal,
)

#: Largest body, in bytes.
MAX_BODY = 16 * 1024 * 1024
#: Seconds until an answer must have begun.
DEADLINE = 20.0

_LOG = logging.getLogger("vigie.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON = re.compile(r"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?", re.IGNORECASE)


class Edge:
    """ASGI middleware: limits, media types, problems, request ids, the access log.

    Parameters
    ----------
    app : ASGI application
    hidden : iterable of str
        Paths of the framework that this service does not offer.
    known : iterable of str
        Paths that the access log may name; any other is logged as ``other``, for it may hold anything.
    max_body : int
    deadline : float
    """

    def __init__(
        self,
        app: ASGIApp,
        hidden: Iterable[str] = (),
        known: Iterable[str] = (),
        max_body: int = MAX_BODY,
        deadline: float = DEADLINE,
    ) -> None:
        self._app = app
        self._hidden = tuple(hidden)
        self._known = frozenset(known)
        self._max_body = max_body
        self._deadline = deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            # A redirect would be made of the Host header, which anybody can set.
            router = getattr(scope.get("app"), "router", None)
            if router is not None:
                router.redirect_slashes = False
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        answer = _Answer(send, _request_id(scope))
        try:
            async with asyncio.timeout(self._deadline):
                body = await self._check(scope, receive)
                await self._app(scope, _replay(body, receive), answer)
        except Refusal as refusal:
            await answer.refuse(refusal)
        except TimeoutError:
            await answer.refuse(Refusal(TOO_SLOW, f"no answer within {self._deadline:g} s"))
        except Exception:
            _LOG.exception("request_failed", extra={"facts": {"request_id": answer.request_id}})
            await answer.refuse(Refusal(INTERNAL_ERROR))
        path = scope["path"]
        facts = {
            "request_id": answer.request_id,
            "method": scope["method"] if scope["method"] in _METHODS else "other",
            "path": path if path in self._known else "other",
            "status": answer.status,
            "milliseconds": round((time.perf_counter() - began) * 1000, 2),
        }
        _LOG.info("request", extra={"facts": facts})

    async def _check(self, scope: Scope, receive: Receive) -> bytes:
        """Refuse what no route should see; give the body."""
        path = scope["path"]
        if any(path == one or path.startswith(one + "/") for one in self._hidden):
            raise Refusal(NOT_FOUND)
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            return b""
        headers = dict(scope["headers"])
        if not _JSON.fullmatch(headers.get(b"content-type", b"").decode("latin-1").strip()):
            raise Refusal(UNSUPPORTED_MEDIA_TYPE, "Content-Type is not application/json in UTF-8")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refusal(UNSUPPORTED_MEDIA_TYPE, "the body is compressed")
        if (
            headers.get(b"content-length", b"0").isdigit()
            and int(headers.get(b"content-length", b"0")) > self._max_body
        ):
            raise Refusal(TOO_LARGE, f"the limit is {self._max_body} bytes")
        return await self._read(receive)

    async def _read(self, receive: Receive) -> bytes:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b""
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_body:
                raise Refusal(TOO_LARGE, f"the limit is {self._max_body} bytes")
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _request_id(scope: Scope) -> str:
    """Give the caller's own id of the request, where it is a plain one, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value.decode("latin-1")):
            return str(value.decode("latin-1"))
    return uuid.uuid4().hex


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read to the application, once."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


class _Answer:
    """Sends an answer, with the request's id; one that is an error without being a problem becomes one."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0
        self._replaced = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self.status:
                return
            headers = list(message.get("headers", ()))
            kind = dict(headers).get(b"content-type", b"")
            if message["status"] >= 400 and kind != MEDIA_TYPE.encode():
                self._replaced = True
                allow = [(name, value) for name, value in headers if name == b"allow"]
                problem = BY_STATUS.get(message["status"]) or _unnamed(message["status"])
                await self._problem(Refusal(problem), allow)
                return
            self.status = message["status"]
            headers.append((b"x-request-id", self.request_id.encode()))
            await self._send({**message, "headers": headers})
        elif not self._replaced:
            await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a problem, unless an answer has begun."""
        if not self.status:
            self._replaced = True
            await self._problem(refusal, [])

    async def _problem(self, refusal: Refusal, headers: list[tuple[bytes, bytes]]) -> None:
        content = refusal.content()
        self.status = refusal.kind.status
        own = {"content-type": MEDIA_TYPE, "content-length": str(len(content)), **refusal.all_headers()}
        own["x-request-id"] = self.request_id
        headers = headers + [(name.lower().encode(), value.encode()) for name, value in own.items()]
        await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": content})


def _unnamed(status: int) -> ProblemKind:
    """Give a kind for a status that no part of this service answers with."""
    if status >= 500:
        return INTERNAL_ERROR
    return ProblemKind("refused", status, "The request was refused", "see /docs.json for what is offered")
