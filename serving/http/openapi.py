"""The service's OpenAPI 3.1 document, made from the catalogue and the types that validate requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.http.endpoint import Endpoint
from serving.http.problems import (
    BAD_KEY,
    FORBIDDEN,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    KEY_IN_USE,
    KEY_REUSED,
    MALFORMED_JSON,
    MEDIA_TYPE,
    NO_KEY,
    NO_KEY_YET,
    NO_STORE,
    NOT_FOUND,
    OVERLOADED,
    STORE_BUSY,
    STORE_UNAVAILABLE,
    TOO_LARGE,
    TOO_MANY,
    TOO_SLOW,
    UNSUPPORTED_MEDIA_TYPE,
    Fault,
    ProblemKind,
)
from serving.http.routes import MAX_ID

API_VERSION: Final = "1.0.0"
_REF: Final = "#/components/schemas/{model}"
_WHAT: Final = (
    "Lead scoring and revenue forecasting: scores with reasons, ranked lists, forecasts, KPIs, and how right "
    "they were. Errors are problem details (RFC 9457) with a code that never changes. Moments are ISO 8601 "
    "with a zone. Unknown and repeated query keys are refused."
)


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    remedy: str
    detail: str | None = None
    errors: list[Fault] | None = None


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Give the document of a catalogue.

    Parameters
    ----------
    endpoints : sequence of Endpoint
    """
    names, definitions = models_json_schema(
        [
            *((one.body, "validation") for one in endpoints if one.body is not None),
            *((one.answer, "serialization") for one in endpoints if one.answer is not None),
            (Problem, "serialization"),
        ],
        ref_template=_REF,
    )
    refs = {key: value["$ref"] for key, value in names.items()}
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Vigie", "version": API_VERSION, "description": _WHAT},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "a key of vigie keys add; until one is made, only the machine that the "
                    "service runs on is answered, without",
                }
            },
        },
    }


def _operation(one: Endpoint, refs: dict[Any, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": one.operation, "summary": one.summary}
    roles = "" if not one.roles else f"Roles: {', '.join(sorted(one.roles))}."
    said = " ".join(part for part in (one.description, roles) if part)
    if said:
        found["description"] = said
    if not one.roles:
        found["security"] = []
    parameters = [*_path_parameters(one), *_query_parameters(one)]
    if one.idempotent:
        parameters.append(_IDEMPOTENCY_KEY)
    if parameters:
        found["parameters"] = parameters
    if one.body is not None:
        content: dict[str, Any] = {"schema": {"$ref": refs[one.body, "validation"]}}
        if one.example is not None:
            content["example"] = one.example
        found["requestBody"] = {"required": True, "content": {"application/json": content}}
    found["responses"] = {str(one.status): _good(one, refs), **_problems(one, refs)}
    return found


_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "of one's own making, for example a UUID: the same request with the same key is done "
    "once, and answered again for a day",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}


def _path_parameters(one: Endpoint) -> Iterable[dict[str, Any]]:
    for name in one.parameters:
        schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(one: Endpoint) -> Iterable[dict[str, Any]]:
    if one.query is None:
        return
    whole = one.query.model_json_schema(by_alias=True, mode="validation")
    examples = one.example if isinstance(one.example, dict) and one.body is None else {}
    for name, given in whole["properties"].items():
        schema = _without_null(given)
        said = schema.pop("description", None)
        parameter: dict[str, Any] = {
            "name": name,
            "in": "query",
            "required": name in whole.get("required", ()),
            "schema": schema,
        }
        if said is not None:
            parameter["description"] = said
        if name in examples:
            parameter["example"] = _typed(examples[name], schema)
        yield parameter


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Give what a query key may be where it is given: leaving it out is the only nothing there is."""
    found = {key: value for key, value in schema.items() if key not in ("title", "anyOf")}
    if found.get("default", 0) is None:
        del found["default"]
    some = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(some) == 1:
        return {**some[0], **found}
    return {**found, "anyOf": some} if some else found


def _typed(text: Any, schema: dict[str, Any]) -> Any:
    """Give an example as its type is, not as the query string has it."""
    kind = schema.get("type")
    if kind == "integer":
        return int(text)
    return float(text) if kind == "number" else text


def _good(one: Endpoint, refs: dict[Any, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"description": one.summary, "headers": {"X-Request-ID": _REQUEST_ID}}
    if one.status == 204:
        return found
    schema: dict[str, Any] = {"type": "object"}
    if one.answer is not None:
        schema = {"$ref": refs[one.answer, "serialization"]}
    elif one.media_type != "application/json":
        schema = {"type": "string"}
    content: dict[str, Any] = {"schema": schema}
    if one.answer_example is not None:
        content["example"] = one.answer_example
    return found | {"content": {one.media_type: content}}


_REQUEST_ID: Final = {
    "description": "the caller's own where it is short and plain, else a new one",
    "schema": {"type": "string"},
}
_RETRY_AFTER: Final = {"description": "seconds until it is worth trying again", "schema": {"type": "integer"}}


def kinds_of(one: Endpoint) -> list[ProblemKind]:
    """Give all that an endpoint may refuse with: what its handler names, and what the edge adds."""
    kinds = [*one.problems, INVALID_REQUEST, INTERNAL_ERROR, TOO_SLOW]
    if one.roles:
        kinds += [NO_KEY, BAD_KEY, NO_KEY_YET, FORBIDDEN, TOO_MANY, OVERLOADED, STORE_BUSY, STORE_UNAVAILABLE]
    if one.needs_store:
        kinds.append(NO_STORE)
    if one.parameters:
        kinds.append(NOT_FOUND)
    if one.method != "GET":
        kinds.append(TOO_LARGE)
    if one.body is not None or one.reads_bytes:
        kinds += [MALFORMED_JSON, UNSUPPORTED_MEDIA_TYPE]
    if one.idempotent:
        kinds += [KEY_IN_USE, KEY_REUSED]
    return list(dict.fromkeys(kinds))


def _problems(one: Endpoint, refs: dict[Any, str]) -> dict[str, Any]:
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in kinds_of(one):
        by_status.setdefault(kind.status, []).append(kind)
    found: dict[str, Any] = {}
    for status, kinds in sorted(by_status.items()):
        found[str(status)] = {
            "description": "; ".join(f"{kind.code}: {kind.title}" for kind in kinds),
            "headers": {"X-Request-ID": _REQUEST_ID},
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": refs[Problem, "serialization"]},
                    "example": _example(kinds[0]),
                }
            },
        }
        if status in (429, 503):
            found[str(status)]["headers"] = {"X-Request-ID": _REQUEST_ID, "Retry-After": _RETRY_AFTER}
    return found


def _example(kind: ProblemKind) -> dict[str, Any]:
    return {
        "type": f"urn:vigie:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "code": kind.code,
        "remedy": kind.remedy,
    }
