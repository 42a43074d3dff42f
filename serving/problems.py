"""Errors over HTTP, as RFC 9457 problem details with a stable code and a remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.responses import Response

from serving.schemas import Fault

MEDIA_TYPE = "application/problem+json"


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
METHOD_NOT_ALLOWED = ProblemKind(
    "method_not_allowed", 405, "This address is not used with this method", "use one that Allow names"
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


@dataclass(frozen=True)
class Refusal(Exception):
    """A request that gets a problem for an answer.

    Parameters
    ----------
    kind : ProblemKind
    detail : str
        What is the matter with this request; says nothing of what it held.
    faults : tuple of Fault
    """

    kind: ProblemKind
    detail: str = ""
    faults: tuple[Fault, ...] = field(default=())

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

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that belong to the answer."""
        return {"Retry-After": "1"} if self.kind.status == 503 else {}

    def response(self) -> Response:
        """Give the answer."""
        return Response(self.content(), self.kind.status, dict(self.headers), MEDIA_TYPE)
