"""Score leads and deals: sent whole, by id from the store, or sent on top of what the store has."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from serving.answering.reading import Entity, Received
from serving.answering.schemas import DealAnswer, DealBatch, LeadAnswer, LeadBatch
from serving.http.endpoint import Endpoint
from serving.http.problems import (
    INVALID_REQUEST,
    MALFORMED_JSON,
    MODEL_GONE,
    NO_MODEL,
    NOT_READY,
    STORE_BUSY,
    STORE_UNAVAILABLE,
    Refusal,
)

if TYPE_CHECKING:
    from serving.http.endpoint import Call

_DESCRIPTION = (
    "A record is sent whole (with created_at), named by its id alone to be read from the store, or sent in "
    "part to be laid on top of what the store has. Each record on its own: one that cannot be used is named "
    "in errors, the others are scored. What was not known before as_of is left out. The same record, as_of "
    "and model_version give the same answer again, but for rank and since, which are of the moment."
)

LEAD_EXAMPLE: dict[str, Any] = {
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
            "account": {"account_id": "A-7", "attributes": {"region": "north"}},
        }
    ],
}
DEAL_EXAMPLE: dict[str, Any] = {
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
_RECEIPT: dict[str, Any] = {
    "model": "vigie",
    "version": "9f2c41d07a6be813",
    "trained_through": "2026-03-01T00:00:00Z",
    "as_of": "2026-03-02T09:00:00Z",
    "input_hash": "5c1b0f8e2d6a49731c0e4f5a6b7d8e9f",
    "valid_until": "2026-03-03T09:00:00Z",
}
_SCORE: dict[str, Any] = {
    "index": 0,
    "grade": "B",
    "rank": 12,
    "ranked_among": 310,
    "percentile": 96.45,
    "close_p10": None,
    "close_p50": None,
    "close_p90": None,
    "reasons": {
        "base_probability": 0.35,
        "raising": [
            {"feature": "days_in_stage", "label": "Time in this stage", "value": "4 days", "effect": 0.06}
        ],
        "lowering": [],
        "other_effects": 0.01,
    },
    "helps": [
        {
            "action": "call",
            "label": "Call",
            "text": "Records that were called just now had a probability 2 points higher, all else equal.",
            "effect": 0.02,
        }
    ],
    "since": None,
    "rows_not_known_yet": 0,
    "warnings": [],
    "receipt": _RECEIPT,
}
_ANSWER: dict[str, Any] = {
    "model": {name: _RECEIPT[name] for name in ("version", "trained_through")} | {"name": "vigie"},
    "as_of": "2026-03-02T09:00:00Z",
    "signal": True,
    "errors": [],
}
LEAD_ANSWER: dict[str, Any] = _ANSWER | {
    "horizon_days": 90.0,
    "scores": [_SCORE | {"lead_id": "L-1042", "propensity": 0.42, "horizon_days": 90.0}],
}
DEAL_ANSWER: dict[str, Any] = _ANSWER | {
    "horizon_days": None,
    "scores": [
        _SCORE
        | {
            "deal_id": "D-7",
            "win_probability": 0.42,
            "horizon_days": None,
            "close_p10": "2026-03-09T09:00:00Z",
            "close_p50": "2026-03-30T09:00:00Z",
            "close_p90": "2026-05-11T09:00:00Z",
            "expected_amount": 12000.0,
            "expected_value": 5040.0,
            "risks": [],
        }
    ],
}


async def _score(call: Call, *, entity: Entity) -> Response:
    """Answer one batch."""
    state = call.state
    bundle = state.served.bundle
    if bundle is None:
        raise Refusal(NOT_READY)

    def saw(received: Received) -> None:
        ids = [record[f"{entity}_id"] for record in received.records]
        call.seen, call.n_seen = tuple(ids[:20]), len(ids)

    content = await state.scorer.score(
        bundle,
        entity,
        call.body,
        call.now,
        call.caller.owners,
        saw,
        sees_all=call.caller.role in ("admin", "crm"),
    )
    return Response(content, media_type="application/json")


def _endpoint(entity: Entity, batch: Any, answer: Any, example: Any, answer_example: Any) -> Endpoint:
    return Endpoint(
        method="POST",
        path=f"/v1/{entity}s/score",
        operation=f"score_{entity}s",
        summary=f"Score {entity}s",
        description=_DESCRIPTION,
        handle=partial(_score, entity=entity),
        body=batch,
        answer=answer,
        problems=(
            MALFORMED_JSON,
            INVALID_REQUEST,
            NO_MODEL,
            MODEL_GONE,
            NOT_READY,
            STORE_BUSY,
            STORE_UNAVAILABLE,
        ),
        example=example,
        answer_example=answer_example,
        needs_store=False,
        reads_bytes=True,
        by_framework=True,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    _endpoint("lead", LeadBatch, LeadAnswer, LEAD_EXAMPLE, LEAD_ANSWER),
    _endpoint("deal", DealBatch, DealAnswer, DEAL_EXAMPLE, DEAL_ANSWER),
)
