"""What resources that write share: one transaction, which also remembers the answer."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from starlette.responses import Response

from serving.http.endpoint import Call

JSON = "application/json"


async def in_store_writing(
    call: Call, write: Callable[[sa.Connection], bytes], status: int = 200
) -> Response:
    """Write to the store in one transaction, off the event loop.

    Parameters
    ----------
    call : Call
        Where it names an ``Idempotency-Key``, the answer is remembered in the same transaction.
    write : function of a Connection
        Gives the answer as JSON; empty where there is none.
    status : int
        Of the answer.
    """
    store = call.state.store
    if store is None:  # the catalogue refuses before
        raise RuntimeError("an endpoint that needs the store was called without one")

    def run() -> bytes:
        with store.writing() as connection:
            content = write(connection)
            if call.idempotency is not None:
                call.idempotency.remember(connection, status, content, JSON)
        return content

    content = await call.state.run(run)
    return Response(content, status, media_type=JSON) if content else Response(status_code=status)
