"""``Idempotency-Key``: a write that is sent again is answered again, and done once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from starlette.responses import Response

from crm.store.service.idempotency import AlreadyRemembered, Remembered, recall, remember
from serving.http.problems import INVALID_REQUEST, KEY_IN_USE, KEY_REUSED, Fault, Refusal

if TYPE_CHECKING:
    from serving.http.endpoint import Endpoint
    from serving.http.state import State

HEADER: Final = "idempotency-key"
#: Says of an answer that it is the one of the first time.
REPLAYED: Final = "Idempotency-Replayed"
_FORM = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class Idempotency:
    """One write that is to be done once.

    Parameters
    ----------
    key_id : str
        Of the caller; another caller's keys are others. Empty where no key was needed.
    operation : str
    name : str
        What the caller calls this write.
    body_hash : str
        Of all that was asked.
    now : datetime
    """

    key_id: str
    operation: str
    name: str
    body_hash: str
    now: datetime

    def remember(self, connection: sa.Connection, status: int, answer: bytes, media_type: str) -> None:
        """Keep the answer, in the transaction of the write itself.

        Raises
        ------
        AlreadyRemembered
            If the same was done in the meantime; the transaction must be undone.
        """
        kept = Remembered(self.body_hash, status, answer, media_type)
        remember(connection, self.key_id, self.operation, self.name, kept, self.now)

    def recall(self, connection: sa.Connection) -> Remembered | None:
        """Give the answer of the first time.

        Raises
        ------
        Refusal
            If it was given to another request.
        """
        found = recall(connection, self.key_id, self.operation, self.name)
        if found is not None and found.body_hash != self.body_hash:
            raise Refusal(KEY_REUSED)
        return found


def idempotency_of(
    endpoint: Endpoint, headers: Mapping[str, str], key_id: str | None, asked: str, body: bytes, now: datetime
) -> Idempotency | None:
    """Give what is to be done once; None where the caller did not ask for that.

    Parameters
    ----------
    endpoint : Endpoint
    headers : mapping of str to str
    key_id : str or None
    asked : str
        Path and query, which belong to the request.
    body : bytes
    now : datetime

    Raises
    ------
    Refusal
        If the header holds no key.
    """
    name = headers.get(HEADER)
    if name is None or not endpoint.idempotent:
        return None
    if _FORM.fullmatch(name) is None:
        fault = Fault(
            field="Idempotency-Key",
            code="invalid_header",
            value="",
            remedy="must be 1 to 255 printable characters of ASCII without spaces, for example a UUID",
        )
        raise Refusal(INVALID_REQUEST, "the header Idempotency-Key cannot be used", (fault,))
    digest = hashlib.sha256(asked.encode() + b"\0" + body).hexdigest()
    return Idempotency(key_id or "", endpoint.operation, name, digest, now)


async def answer_once(
    state: State, idempotency: Idempotency, run: Callable[[], Awaitable[Response]]
) -> Response:
    """Give the answer of the first time where there is one; else do it.

    Parameters
    ----------
    state : State
    idempotency : Idempotency
    run : async function
        Does it, and remembers its answer.

    Raises
    ------
    Refusal
        Where the same is in progress, or the key was used for something else.
    """
    mine = (idempotency.key_id, idempotency.operation, idempotency.name)
    if mine in state.once:
        raise Refusal(KEY_IN_USE)
    state.once.add(mine)
    try:
        found = await state.run(_recall, state, idempotency)
        if found is None:
            try:
                return await run()
            except AlreadyRemembered:
                # Another worker did it in the meantime, and what was done here is undone.
                found = await state.run(_recall, state, idempotency)
        if found is None:
            raise Refusal(KEY_IN_USE)
        return Response(found.answer, found.status, {REPLAYED: "true"}, found.media_type)
    finally:
        state.once.discard(mine)


def _recall(state: State, idempotency: Idempotency) -> Remembered | None:
    if state.store is None:  # the edge refuses before
        raise RuntimeError("an idempotent endpoint was called without a store")
    with state.store.reading() as connection:
        return idempotency.recall(connection)
