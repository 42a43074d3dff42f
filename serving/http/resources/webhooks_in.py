"""POST /v1/hooks/{name}: what a program sends that can sign, but not send a key."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping

from starlette.responses import Response

from crm.errors import InputError
from crm.store.service.idempotency import AlreadyRemembered, Remembered, recall, remember
from serving.answering.ingest_reading import read_ingest
from serving.answering.ingest_schemas import IngestAnswer, IngestBatch
from serving.answering.ingesting import take_in
from serving.answering.webhook_signing import check, read_secret
from serving.http.endpoint import ANYBODY, Call, Endpoint
from serving.http.problems import (
    INVALID_REQUEST,
    KEY_IN_USE,
    MALFORMED_JSON,
    NOT_FOUND,
    STORE_BUSY,
    STORE_FULL,
    STORE_UNAVAILABLE,
    ProblemKind,
    Refusal,
)
from serving.http.resources.ingest import ANSWER_EXAMPLE, EXAMPLE, named, written

BAD_SIGNATURE = ProblemKind(
    "bad_signature",
    401,
    "The signature of this webhook is not valid",
    "sign webhook-id, webhook-timestamp and the body with the hook's secret, as Standard Webhooks does",
)
OLD_SIGNATURE = ProblemKind(
    "old_signature",
    401,
    "The moment of this webhook is more than five minutes away",
    "set the sender's clock, and sign each attempt anew",
)
NO_SECRET = ProblemKind(
    "hook_without_secret",
    503,
    "The hook has no usable secret",
    "tell who runs the service: the log names the environment variable that must hold it",
)
REPLAYED = ProblemKind(
    "webhook_id_reused",
    409,
    "This webhook-id was used for another message",
    "give each message an id of its own",
)

_OPERATION = "ingest_hook"
_LOG = logging.getLogger("vigie.webhooks")


def secrets_of(variable: str, environment: Mapping[str, str] = os.environ) -> list[bytes]:
    """Give the secrets that an environment variable holds: one, or two while one takes the other's place.

    Raises
    ------
    InputError
        If it holds none.
    """
    found = [read_secret(one) for one in environment.get(variable, "").split()]
    if not found:
        raise InputError(f"the environment variable {variable} holds no secret")
    return found


async def _take_hook(call: Call) -> Response:
    """Take in a signed batch once, however often it comes."""
    store, state, name = call.state.store, call.state, call.path["name"]
    if store is None:  # the catalogue refuses before
        raise RuntimeError("a hook was called without a store")
    variable = state.settings.webhooks.secrets.get(name)
    if variable is None:
        raise Refusal(NOT_FOUND)
    try:
        secrets = secrets_of(variable)
    except InputError as error:
        _LOG.error("hook_without_secret", extra={"facts": {"variable": variable, "message": str(error)}})
        raise Refusal(NO_SECRET, retry_after=60.0) from None
    fault = check(secrets, call.headers, call.body, call.now)
    if fault is not None:
        raise Refusal(OLD_SIGNATURE if fault == "bad_timestamp" else BAD_SIGNATURE)
    owner, message = f"hook {name}", call.headers["webhook-id"]
    body_hash = hashlib.sha256(call.body).hexdigest()

    def seen_before() -> bytes | None:
        with store.reading() as connection:
            found = recall(connection, owner, _OPERATION, message)
        if found is not None and found.body_hash != body_hash:
            raise Refusal(REPLAYED)
        return None if found is None else found.answer

    def run() -> bytes:
        answered = seen_before()
        if answered is not None:
            return answered
        read = read_ingest(call.body, call.now)
        call.seen, call.n_seen = named(read)
        try:
            with store.writing() as connection:
                content = written(take_in(connection, read, source=f"hook: {name}", clock=state.clock))
                kept = Remembered(body_hash, 200, content, "application/json")
                remember(connection, owner, _OPERATION, message, kept, call.now)
        except AlreadyRemembered:
            # The same message came twice at once, and this one was undone.
            answered = seen_before()
            if answered is None:
                raise Refusal(KEY_IN_USE) from None
            return answered
        return content

    return Response(await state.run(run), media_type="application/json")


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/hooks/{name}",
        operation=_OPERATION,
        summary="Take in a signed batch",
        description="The body is that of POST /v1/ingest. It needs no key: it is signed as Standard Webhooks "
        "does, with the headers webhook-id, webhook-timestamp and webhook-signature, with the secret of the "
        "hook. The moment may be five minutes away; a message with the same webhook-id is taken in once, and "
        "answered as it was the first time.",
        roles=ANYBODY,
        handle=_take_hook,
        body=IngestBatch,
        answer=IngestAnswer,
        problems=(
            MALFORMED_JSON,
            INVALID_REQUEST,
            NOT_FOUND,
            BAD_SIGNATURE,
            OLD_SIGNATURE,
            REPLAYED,
            NO_SECRET,
            STORE_BUSY,
            STORE_UNAVAILABLE,
            STORE_FULL,
        ),
        example=EXAMPLE,
        answer_example=ANSWER_EXAMPLE,
        reads_bytes=True,
    ),
)
