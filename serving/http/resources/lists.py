"""GET /v1/leads and /v1/deals: ranked lists of stored scores; and one record of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from crm.store.service import marks, scores
from serving.answering.cursors import Place, question_digest, read_cursor, write_cursor
from serving.answering.list_schemas import ListAnswer, ListQuery, RecordAnswer, RecordQuery
from serving.answering.ranked_lists import (
    ListQuestion,
    listed,
    may_see,
    owners_asked,
    shown_facts,
    shown_score,
    specs_behind,
)
from serving.answering.ranks import standing
from serving.answering.record_facts import facts_of, last_contacts
from serving.answering.stored_reasons import Wording
from serving.http.endpoint import ALL, Call, Endpoint
from serving.http.problems import NO_RECORD, Refusal
from serving.http.resources.asking import in_store, refuse

_ENTITIES: Final = ("lead", "deal")


async def _list(entity: str, call: Call) -> dict[str, Any]:
    """Give a page of a ranked list."""
    query: ListQuery = call.query
    language = query.language or call.language

    def read(connection: sa.Connection) -> dict[str, Any]:
        seen = call.caller.owners(connection)
        question = question_digest(
            entity,
            *(query.sort, query.owner, query.team, query.stage, query.grade, query.account),
            *(query.min_probability, None if seen is None else sorted(seen)),
        )
        rows, following = listed(
            connection,
            ListQuestion(
                entity=entity,
                sort=query.sort,
                owners=owners_asked(connection, seen, query.owner, query.team),
                stage=query.stage,
                grade=query.grade,
                account=query.account,
                min_probability=query.min_probability,
                limit=query.limit,
                after=_place(query.cursor, question),
            ),
            seen,
            top=query.reasons,
            language=language,
            now=call.now,
        )
        cursor = None if following is None else write_cursor(following, question)
        return {"records": rows, "next_cursor": cursor}

    answer = await in_store(call, read)
    call.seen = tuple(row["id"] for row in answer["records"])
    return answer


def _place(cursor: str | None, question: str) -> Place | None:
    if cursor is None:
        return None
    place = read_cursor(cursor, question)
    if place is None:
        raise refuse(
            "cursor",
            "invalid_cursor",
            "",
            "is not of this question, or was altered: send next_cursor as it came, with the same key and the "
            "same sort and filters; or begin again without it",
        )
    return place


async def _record(entity: str, call: Call) -> dict[str, Any]:
    """Give one record with its stored score."""
    query: RecordQuery = call.query
    record_id = call.path[f"{entity}_id"]
    language = query.language or call.language

    def read(connection: sa.Connection) -> dict[str, Any]:
        facts = facts_of(connection, entity, [record_id]).get(record_id)
        if facts is None or not may_see(facts, call.caller.owners(connection)):
            raise Refusal(NO_RECORD)
        contact = last_contacts(connection, entity, [record_id], call.now).get(record_id)
        found = scores.score_of(connection, entity, record_id)
        wording = Wording(
            specs_behind(connection, entity, set() if found is None else {found.model_version}), language
        )
        return {
            **shown_facts(facts, contact),
            "outcome": facts.outcome,
            "closed_at": facts.closed_at,
            "mark": shown_mark(marks.marks_of(connection, entity, [record_id]).get(record_id)),
            "score": None if found is None else _whole(found, wording, query.reasons),
        }

    answer = await in_store(call, read)
    if answer["score"] is not None:
        await call.state.ranks.fresh()
        probability = answer["score"]["probability"]
        place = standing(call.state.ranks.ordered(entity), probability, own=probability)
        answer["score"] |= {"rank": place.rank, "of": place.among}
    call.seen = (record_id,)
    return answer


def _whole(found: scores.StoredScore, wording: Wording, top: int) -> dict[str, Any]:
    shown = shown_score(found, wording, top)
    told = sum(reason["effect"] for reason in shown["reasons"])
    return {
        **shown,
        "base_probability": found.base_probability,
        "other_effects": found.probability - found.base_probability - told,
        "previous_probability": found.previous_probability,
        "previous_as_of": found.previous_as_of,
        "change_reasons": wording.read(found.model_version, found.entity, found.change_reasons, top),
        "valid_until": found.valid_until,
        "input_hash": found.input_hash,
    }


def shown_mark(mark: Any) -> dict[str, Any] | None:
    """Give a mark as :class:`serving.answering.list_schemas.Mark` describes it."""
    return None if mark is None else {"kind": mark.kind, "until": mark.until, "at": mark.at}


Handler = Callable[[Call], Awaitable[Any]]
_EXAMPLE = {
    "id": "D-7",
    "name": "Acme",
    "account_id": "A-3",
    "account_name": "Acme",
    "owner_id": "ann",
    "owner_name": "Ann Ash",
    "team": "North",
    "source": "fair",
    "stage": "offer",
    "amount": 12500.0,
    "currency": "EUR",
    "expected_close_at": "2026-04-30T00:00:00+00:00",
    "created_at": "2026-01-12T09:00:00+00:00",
    "last_contact": {"at": "2026-02-27T08:00:00+00:00", "kind": "call made", "channel": "call"},
}
_SCORE = {
    "probability": 0.42,
    "grade": "B",
    "change": 0.05,
    "expected_amount": 12000.0,
    "expected_value": 5040.0,
    "close_p10": "2026-03-09T09:00:00+00:00",
    "close_p50": "2026-03-30T09:00:00+00:00",
    "close_p90": "2026-05-11T09:00:00+00:00",
    "reasons": [
        {"feature": "days_in_stage", "label": "Time in this stage", "value": "4 days", "effect": 0.06}
    ],
    "risks": [],
    "as_of": "2026-03-02T03:00:00+00:00",
    "scored_at": "2026-03-02T03:00:04+00:00",
    "model_version": "9f2c41d07a6be813",
}


def _endpoints(entity: str) -> tuple[Endpoint, Endpoint]:
    return (
        Endpoint(
            method="GET",
            path=f"/v1/{entity}s",
            operation=f"list_{entity}s",
            summary=f"Ranked open {entity}s",
            description=f"Open {entity}s with a stored score, ranked, in pages that stay in step while "
            "records come and go.",
            roles=ALL,
            handle=partial(_list, entity),
            query=ListQuery,
            answer=ListAnswer,
            example={"sort": "expected_value", "limit": "20"},
            answer_example={"records": [{**_EXAMPLE, "score": _SCORE}], "next_cursor": None},
        ),
        Endpoint(
            method="GET",
            path=f"/v1/{entity}s/{{{entity}_id}}",
            operation=f"get_{entity}",
            summary=f"One {entity}",
            description=f"What the CRM says of a {entity}, and its stored score with all that is kept of it.",
            roles=ALL,
            handle=partial(_record, entity),
            query=RecordQuery,
            answer=RecordAnswer,
            problems=(NO_RECORD,),
            example={"reasons": "5"},
            answer_example={
                **_EXAMPLE,
                "outcome": None,
                "closed_at": None,
                "mark": None,
                "score": {
                    **_SCORE,
                    "base_probability": 0.35,
                    "other_effects": 0.01,
                    "rank": 12,
                    "of": 310,
                    "previous_probability": 0.37,
                    "previous_as_of": "2026-03-01T03:00:00+00:00",
                    "change_reasons": [],
                    "valid_until": "2026-03-03T03:00:00+00:00",
                    "input_hash": "5c1b0f8e2d6a49731c0e4f5a6b7d8e9f",
                },
            },
        ),
    )


ENDPOINTS: tuple[Endpoint, ...] = tuple(one for entity in _ENTITIES for one in _endpoints(entity))
