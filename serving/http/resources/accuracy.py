"""GET /v1/accuracy: how right past forecasts and past scores were."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from serving.answering.accuracy_figures import AccuracyQuestion, accuracy_figures
from serving.answering.figure_schemas import AccuracyAnswer, AccuracyQuery
from serving.http.endpoint import Call, Endpoint
from serving.http.problems import NOT_READY, Refusal
from serving.http.resources.asking import (
    FIGURE_ROLES,
    NOT_ENOUGH_DATA,
    figure,
    in_store,
    money_of,
    scope_of,
    source_of,
)


async def _accuracy(call: Call) -> Any:
    """Say how right Vigie was."""
    query: AccuracyQuery = call.query
    if call.state.served.bundle is None:
        raise Refusal(NOT_READY)

    def look(connection: sa.Connection) -> tuple[Any, AccuracyQuestion]:
        scope = scope_of(call, connection)
        return source_of(call, connection), AccuracyQuestion(
            query.period, query.by, query.as_of, call.now, scope, **money_of(call)
        )

    known, asked = await in_store(call, look)
    return await figure(call, accuracy_figures, asked, known)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/accuracy",
        operation="get_accuracy",
        summary="How right past forecasts and scores were",
        description="The ledger's forecasts beside what came, by horizon and group; the scores that were "
        "kept beside what came, by band of probability.",
        roles=FIGURE_ROLES,
        handle=_accuracy,
        query=AccuracyQuery,
        answer=AccuracyAnswer,
        problems=(NOT_ENOUGH_DATA, NOT_READY),
        example={"by": "owner"},
        answer_example={
            "as_of": "2026-09-07T04:00:00+00:00",
            "scope": "all",
            "forecasts": None,
            "forecasts_missing": "the ledger holds no such forecast yet; keep one with vigie forecast --keep",
            "scores": [
                {
                    "entity": "deal",
                    "horizon_days": None,
                    "n_judged": 100,
                    "n_pending": 41,
                    "n_after_the_fact": 0,
                    "brier": 0.18,
                    "brier_of_share": 0.21,
                    "bands": [
                        {
                            "low": 0.7,
                            "high": 0.8,
                            "n": 100,
                            "n_came": 74,
                            "shown": 0.748,
                            "came": 0.74,
                            "came_low": 0.646,
                            "came_high": 0.816,
                            "n_pending": 41,
                        }
                    ],
                }
            ],
        },
    ),
)
