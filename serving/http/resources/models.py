"""GET /v1/models: the card of the model that answers, those beside it, and what could not be loaded."""

from __future__ import annotations

from typing import Any

from crm.store.service.models import cards
from serving.answering.figure_schemas import Models
from serving.answering.model_card import model_card
from serving.http.endpoint import ALL, Call, Endpoint
from serving.http.problems import NOT_READY, STORE_BUSY, STORE_UNAVAILABLE, Refusal


async def _models(call: Call) -> dict[str, Any]:
    """Give the card of what is served, and what else the store has scores of."""
    state = call.state
    bundle = state.served.bundle
    if bundle is None:
        raise Refusal(NOT_READY)
    kept = {} if state.store is None else await state.run(_kept, call)
    facts = state.served.facts()
    failures = [] if facts["refused"] is None else [{"message": facts["refused"]}]
    return {
        "models": [model_card(bundle)],
        "known": [
            {"version": version, "role": "champion" if version == bundle.version else "earlier", "card": card}
            for version, card in sorted(kept.items())
        ],
        # What is wrong with a directory of the server is for who runs it.
        "failures": failures if call.caller.role == "admin" else [{} for _ in failures],
    }


def _kept(call: Call) -> dict[str, dict[str, Any]]:
    store = call.state.store
    if store is None:
        return {}
    with store.reading() as connection:
        return cards(connection)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/models",
        operation="list_models",
        summary="Which model answers",
        description="Its card: what it was trained on, what was left out, how good it was in backtests, how "
        "it is calibrated; and the versions that stored scores were made by.",
        roles=ALL,
        handle=_models,
        answer=Models,
        problems=(NOT_READY, STORE_BUSY, STORE_UNAVAILABLE),
        answer_example={
            "models": [
                {
                    "name": "vigie",
                    "version": "9f2c41d07a6be813",
                    "trained_through": "2026-09-01T00:00:00Z",
                    "created_at": "2026-09-01T03:12:44Z",
                    "entities": [
                        {
                            "entity": "deal",
                            "horizon_days": None,
                            "signal": True,
                            "base_rate": 0.31,
                            "n_features": 65,
                            "features": ["days_in_stage", "n_activities_30d"],
                            "calibration": {"kind": "platt", "slope": 0.97, "offset": 0.02, "knots": []},
                            "report": {},
                        }
                    ],
                    "data": {"span": None, "records": {"deal": None}, "snapshots": {"deal": 41200}},
                    "audit": {},
                    "backtest": None,
                    "forecast": None,
                    "config": {},
                }
            ],
            "known": [],
            "failures": [],
        },
        needs_store=False,
    ),
)
