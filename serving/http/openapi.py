"""The service's OpenAPI 3.1 document, made from the same types that validate requests."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.answering.schemas import DealAnswer, DealBatch, LeadAnswer, LeadBatch, ModelFacts, Moment
from serving.http.problems import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MALFORMED_JSON,
    MEDIA_TYPE,
    NO_MODEL,
    NOT_READY,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    Fault,
    ProblemKind,
)

API_VERSION = "1.0.0"


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    remedy: str
    detail: str | None = None
    errors: list[Fault] | None = None


class EntityCard(BaseModel):
    """What one model of a bundle does."""

    entity: str
    horizon_days: float | None
    signal: bool
    base_rate: float
    n_features: int


class ModelCard(ModelFacts):
    """A bundle that is served."""

    created_at: Moment
    entities: list[EntityCard]


class Models(BaseModel):
    """The bundles that are served."""

    models: list[ModelCard]


_REF = "#/components/schemas/{model}"

_LEAD_EXAMPLE = {
    "as_of": "2026-03-02T09:00:00+00:00",
    "language": "en",
    "leads": [
        {
            "lead_id": "L-1042",
            "created_at": "2026-02-20T10:15:00+00:00",
            "owner_id": "ann",
            "source": "fair",
            "stage": "qualified",
            "attributes": {"industry": "steel", "employees": 120},
            "activities": [
                {
                    "kind": "email",
                    "channel": "email",
                    "direction": "in",
                    "occurred_at": "2026-02-27T08:00:00+00:00",
                }
            ],
            "changes": [
                {
                    "field": "stage",
                    "old_value": "new",
                    "new_value": "qualified",
                    "changed_at": "2026-02-24T14:00:00+00:00",
                }
            ],
        }
    ],
}
_DEAL_EXAMPLE = {
    "deals": [
        {
            "deal_id": "D-7",
            "created_at": "2026-01-12T10:00:00+01:00",
            "owner_id": "bob",
            "stage": "offer",
            "amount": 12500,
            "currency": "EUR",
            "expected_close_at": "2026-04-30T00:00:00+02:00",
        }
    ]
}


def document() -> dict[str, Any]:
    """Give the document."""
    _, definitions = models_json_schema(
        [
            (LeadBatch, "validation"),
            (DealBatch, "validation"),
            *((model, "serialization") for model in (LeadAnswer, DealAnswer, Models, Problem)),
        ],
        ref_template=_REF,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Vigie",
            "version": API_VERSION,
            "description": "Scores of leads and deals, each with its reasons.",
        },
        "paths": {
            "/v1/leads/score": {
                "post": _scoring("score_leads", "Score leads", "LeadBatch", "LeadAnswer", _LEAD_EXAMPLE)
            },
            "/v1/deals/score": {
                "post": _scoring("score_deals", "Score deals", "DealBatch", "DealAnswer", _DEAL_EXAMPLE)
            },
            "/v1/models": {
                "get": {
                    "operationId": "list_models",
                    "summary": "Which model answers",
                    "responses": {"200": _json("The bundles served", "Models"), **_problems(NOT_READY)},
                }
            },
            "/livez": {
                "get": {
                    "operationId": "livez",
                    "summary": "Whether the process lives",
                    "responses": {"200": {"description": "It does"}},
                }
            },
            "/readyz": {
                "get": {
                    "operationId": "readyz",
                    "summary": "Whether a model is loaded",
                    "responses": {"200": {"description": "It is"}, **_problems(NOT_READY)},
                }
            },
        },
        "components": {"schemas": definitions["$defs"]},
    }


def _ref(model: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=model)}


def _json(description: str, model: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(model)}}}


def _problems(*kinds: ProblemKind) -> dict[str, Any]:
    return {
        str(kind.status): {
            "description": kind.title,
            "content": {MEDIA_TYPE: {"schema": _ref("Problem")}},
        }
        for kind in kinds
    }


def _scoring(
    operation: str, summary: str, batch: str, scores: str, example: dict[str, Any]
) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "description": "Each record on its own: one that cannot be used is named in errors, the others are "
        "scored. What was not known before as_of is left out.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref(batch), "example": example}},
        },
        "responses": {
            "200": _json("Scores, and the records without one", scores),
            **_problems(
                MALFORMED_JSON,
                NO_MODEL,
                TOO_LARGE,
                UNSUPPORTED_MEDIA_TYPE,
                INVALID_REQUEST,
                INTERNAL_ERROR,
                NOT_READY,
            ),
        },
    }
