"""Errors over HTTP, as RFC 9457 problem details with a stable code and a remedy."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, Field
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Fault(BaseModel):
    """One fault in a request or one of its records."""

    field: Annotated[str, Field(description="path in the request or record, parts divided by /")]
    code: str
    value: Annotated[str, Field(description="as it was read, shortened")]
    remedy: str


@dataclass(frozen=True)
class ProblemKind:
    """One kind of problem.

    Parameters
    ----------
    code : str
        Never changes; programs may rely on it.
    status : int
    title : str
    remedy : str
    """

    code: str
    status: int
    title: str
    remedy: str


MALFORMED_JSON = ProblemKind(
    "malformed_json", 400, "The body is not JSON", "send one JSON object in UTF-8, nested at most 200 deep"
)
NOT_FOUND = ProblemKind("not_found", 404, "There is nothing here", "see /docs.json for what there is")
NO_MODEL = ProblemKind(
    "no_model", 404, "The model bundle cannot score this kind of record", "see /v1/models for what it can"
)
NO_RECORD = ProblemKind("no_record", 404, "There is no such record", "send an id that the store has")
NO_STORE = ProblemKind(
    "no_store",
    404,
    "The service has no history store",
    "start it with one: vigie serve --history URL, or VIGIE_HISTORY",
)
NO_KEY = ProblemKind(
    "no_key", 401, "A key is required", "send the header Authorization: Bearer, with a key of vigie keys add"
)
BAD_KEY = ProblemKind(
    "bad_key",
    401,
    "The key is not valid",
    "send the whole key as it was shown; ask for a new one if it was revoked",
)
NO_KEY_YET = ProblemKind(
    "no_key_yet",
    401,
    "Until a key is made, only this machine is answered",
    "make one on the server: vigie keys add NAME --role ROLE",
)
FORBIDDEN = ProblemKind("forbidden", 403, "The key's role may not do this", "use a key with a role that may")
METHOD_NOT_ALLOWED = ProblemKind(
    "method_not_allowed", 405, "This address is not used with this method", "use one that Allow names"
)
MODEL_GONE = ProblemKind(
    "model_gone",
    409,
    "That version of the model is not served",
    "leave model_version out, or send one that /v1/models lists",
)
KEY_IN_USE = ProblemKind(
    "idempotency_key_in_use",
    409,
    "A request with this Idempotency-Key is in progress",
    "wait for its answer, then send the same request again",
)
TOO_LARGE = ProblemKind("body_too_large", 413, "The body is too large", "send fewer records in one call")
UNSUPPORTED_MEDIA_TYPE = ProblemKind(
    "unsupported_media_type",
    415,
    "The body is of a kind that is not read here",
    "send JSON, uncompressed, with the header Content-Type: application/json",
)
INVALID_REQUEST = ProblemKind(
    "invalid_request", 422, "The request cannot be used", "correct what errors names"
)
KEY_REUSED = ProblemKind(
    "idempotency_key_reused",
    422,
    "This Idempotency-Key was used for another request",
    "send a new key with a new request, and the same key only with the same request",
)
TOO_MANY = ProblemKind(
    "too_many_requests", 429, "The key calls too often", "try again after Retry-After seconds"
)
INTERNAL_ERROR = ProblemKind(
    "internal_error", 500, "The service failed", "report X-Request-ID of this answer to who runs the service"
)
NOT_READY = ProblemKind("not_ready", 503, "No model is loaded yet", "try again after Retry-After seconds")
TOO_SLOW = ProblemKind(
    "too_slow",
    503,
    "No answer was ready in time",
    "send fewer records in one call, or try again after Retry-After seconds",
)

OVERLOADED = ProblemKind(
    "overloaded", 503, "The service has as much to do as it can", "try again after Retry-After seconds"
)
STORE_BUSY = ProblemKind(
    "store_busy", 503, "The history store is locked", "try again after Retry-After seconds"
)
STORE_UNAVAILABLE = ProblemKind(
    "store_unavailable",
    503,
    "The history store cannot be reached",
    "try again after Retry-After seconds; if it goes on, tell who runs the service",
)
STORE_FULL = ProblemKind(
    "store_full", 503, "The history store cannot take more", "tell who runs the service: its disk is full"
)

#: What stands for a status that something else than this service answered.
BY_STATUS = {
    kind.status: kind
    for kind in (
        MALFORMED_JSON,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        TOO_LARGE,
        UNSUPPORTED_MEDIA_TYPE,
        INVALID_REQUEST,
        INTERNAL_ERROR,
        NOT_READY,
    )
}


# Not frozen: a context manager that an exception passes through sets its traceback.
@dataclass(eq=False)
class Refusal(Exception):
    """A request that gets a problem for an answer.

    Parameters
    ----------
    kind : ProblemKind
    detail : str
        What is the matter with this request; says nothing of what it held.
    faults : tuple of Fault
    retry_after : float
        Seconds, said with 429 and 503.
    headers : tuple of (str, str)
        Further headers of the answer.
    """

    kind: ProblemKind
    detail: str = ""
    faults: tuple[Fault, ...] = field(default=())
    retry_after: float = 1.0
    headers: tuple[tuple[str, str], ...] = field(default=())

    def content(self) -> bytes:
        """Give the problem as JSON."""
        body: dict[str, object] = {
            "type": f"urn:vigie:problem:{self.kind.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "code": self.kind.code,
            "remedy": self.kind.remedy,
        }
        if self.detail:
            body["detail"] = self.detail
        if self.faults:
            body["errors"] = [fault.model_dump() for fault in self.faults]
        return json.dumps(body, ensure_ascii=False).encode()

    def all_headers(self) -> dict[str, str]:
        """Give the headers that belong to the answer."""
        given = dict(self.headers)
        if self.kind.status in (429, 503):
            given["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        return given

    def response(self) -> Response:
        """Give the answer."""
        return Response(self.content(), self.kind.status, self.all_headers(), MEDIA_TYPE)
