"""GET /v1/leads/{lead_id}/history and /v1/deals/{deal_id}/history: a score over time, with reasons."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from crm.store.service import scores
from serving.answering.grades import grade
from serving.answering.list_schemas import HistoryAnswer, HistoryQuery
from serving.answering.ranked_lists import may_see, specs_behind
from serving.answering.record_facts import facts_of
from serving.answering.stored_reasons import Wording
from serving.http.endpoint import ALL, Call, Endpoint
from serving.http.problems import NO_RECORD, Refusal
from serving.http.resources.asking import in_store

_ENTITIES: Final = ("lead", "deal")


async def _history(entity: str, call: Call) -> dict[str, Any]:
    """Give the scores that a record had, the latest first."""
    query: HistoryQuery = call.query
    record_id = call.path[f"{entity}_id"]
    language = query.language or call.language

    def read(connection: sa.Connection) -> dict[str, Any]:
        facts = facts_of(connection, entity, [record_id]).get(record_id)
        if facts is None or not may_see(facts, call.caller.owners(connection)):
            raise Refusal(NO_RECORD)
        # One more than is shown: the change of the last point, and whether there is another page.
        found = scores.score_log(connection, entity, record_id, limit=query.limit + 1, before=query.before)
        wording = Wording(specs_behind(connection, entity, {one.model_version for one in found}), language)
        before = [*(one.probability for one in found[1:]), None]
        points = [
            {
                "as_of": one.as_of,
                "scored_at": one.scored_at,
                "probability": one.probability,
                "change": None if earlier is None else one.probability - earlier,
                "grade": grade(one.probability),
                "model_version": one.model_version,
                "reasons": wording.read(one.model_version, entity, one.reasons, query.reasons),
            }
            for one, earlier in zip(found, before, strict=True)
        ][: query.limit]
        is_more = len(found) > query.limit
        return {"id": record_id, "points": points, "next_before": points[-1]["as_of"] if is_more else None}

    call.seen = (record_id,)
    return await in_store(call, read)


ENDPOINTS: tuple[Endpoint, ...] = tuple(
    Endpoint(
        method="GET",
        path=f"/v1/{entity}s/{{{entity}_id}}/history",
        operation=f"get_{entity}_history",
        summary=f"A {entity}'s score over time",
        description="The scores that were kept, the latest first: where the probability moved, or another "
        "model looked at the record.",
        roles=ALL,
        handle=partial(_history, entity),
        query=HistoryQuery,
        answer=HistoryAnswer,
        problems=(NO_RECORD,),
        example={"limit": "30"},
        answer_example={
            "id": "D-7",
            "points": [
                {
                    "as_of": "2026-03-02T03:00:00+00:00",
                    "scored_at": "2026-03-02T03:00:04+00:00",
                    "probability": 0.42,
                    "change": 0.05,
                    "grade": "B",
                    "model_version": "9f2c41d07a6be813",
                    "reasons": [],
                }
            ],
            "next_before": None,
        },
    )
    for entity in _ENTITIES
)
