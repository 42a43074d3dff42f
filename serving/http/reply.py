"""How answers leave: with the headers that each has, compressed where that pays, errors as problems."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Final

import anyio.to_thread
from starlette.types import Message, Send

from serving.http.problems import BY_STATUS, INTERNAL_ERROR, MEDIA_TYPE, ProblemKind, Refusal

#: What is said of every answer: it may be about people, and is of no other type than it says.
ALWAYS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
#: A larger answer is compressed in a thread, so that others are answered meanwhile.
SMALL: Final = 64 * 1024
#: Fast: four fifths of what the best would spare, for a tenth of its time.
LEVEL: Final = 1

Headers = list[tuple[bytes, bytes]]


class Reply:
    """Sends one answer; one that is an error without being a problem becomes one.

    Parameters
    ----------
    send : ASGI send
    own : sequence of (bytes, bytes)
        Headers of this answer, beside those of every one.
    compress_from : int or None
        Bytes from which it is compressed; None for a caller that does not take gzip.

    Attributes
    ----------
    status : int
        0 until it has begun.
    """

    def __init__(
        self, send: Send, own: Sequence[tuple[bytes, bytes]] = (), compress_from: int | None = None
    ) -> None:
        self._send = send
        self._own = (*ALWAYS, *own)
        self._compress_from = compress_from
        self._start: Message | None = None
        self._is_replaced = False
        self.status = 0

    async def __call__(self, message: Message) -> None:
        """Take a message of the application."""
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif not self._is_replaced:
            await self._go_on(message)

    async def refuse(self, refusal: Refusal, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self.status and self._start is None:
            return
        self._start, self._is_replaced = None, True
        content = refusal.content()
        self.status = refusal.kind.status
        said = {"content-type": MEDIA_TYPE, "content-length": str(len(content)), **refusal.all_headers()}
        named = [(name.lower().encode(), value.encode("latin-1")) for name, value in said.items()]
        whole = [*headers, *named, *self._own]
        await self._send({"type": "http.response.start", "status": self.status, "headers": whole})
        await self._send({"type": "http.response.body", "body": content})

    async def _begin(self, message: Message) -> None:
        if self.status:
            return
        headers: Headers = list(message.get("headers", ()))
        if message["status"] >= 400 and dict(headers).get(b"content-type", b"") != MEDIA_TYPE.encode():
            kind = BY_STATUS.get(message["status"]) or _unnamed(message["status"])
            await self.refuse(Refusal(kind), [one for one in headers if one[0] == b"allow"])
            return
        self.status = message["status"]
        # Held until the body is there, which says whether it is worth compressing.
        self._start = {**message, "headers": headers}

    async def _go_on(self, message: Message) -> None:
        start, self._start = self._start, None
        if start is not None:
            headers: Headers = start["headers"]
            least = self._compress_from
            body: bytes = message.get("body", b"")
            if least is not None and len(body) >= least and not message.get("more_body", False):
                body = await _compressed(body)
                message = {**message, "body": body}
                headers = [one for one in headers if one[0] != b"content-length"]
                headers += [(b"content-length", str(len(body)).encode()), (b"content-encoding", b"gzip")]
                headers.append((b"vary", b"Accept-Encoding"))
            headers += self._own
            await self._send({**start, "headers": headers})
        await self._send(message)


async def _compressed(body: bytes) -> bytes:
    if len(body) <= SMALL:
        return gzip.compress(body, LEVEL, mtime=0)
    return await anyio.to_thread.run_sync(lambda: gzip.compress(body, LEVEL, mtime=0))


def _unnamed(status: int) -> ProblemKind:
    """Give a kind for a status that no part of this service answers with."""
    if status >= 500:
        return INTERNAL_ERROR
    return ProblemKind("refused", status, "The request was refused", "see /docs.json for what is offered")
