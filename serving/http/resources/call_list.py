"""GET /v1/call-list: whom to call first today; and what reps say of the records on it."""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from pydantic_core import to_json
from starlette.responses import Response

from crm.errors import InputError
from crm.store.service import marks, scores
from serving.answering.call_effects import CallEffects, call_effects
from serving.answering.call_list import Candidate, Suggestion, rank_calls
from serving.answering.days import day_around
from serving.answering.list_schemas import CallAnswer, CallQuery, MarkAnswer, MarkBody
from serving.answering.ranked_lists import (
    may_see,
    owners_asked,
    shown_facts,
    shown_score,
    specs_behind,
)
from serving.answering.record_facts import Facts, LastContact, facts_of, last_contacts
from serving.answering.stored_reasons import Wording
from serving.http.endpoint import Call, Endpoint, Role
from serving.http.problems import NO_MODEL, NO_RECORD, NOT_READY, STORE_BUSY, STORE_FULL, Refusal
from serving.http.resources.asking import NOT_ENOUGH_DATA, in_store, refuse, refusing, source_of
from serving.http.resources.lists import shown_mark

_ENTITIES: Final = ("lead", "deal")
#: Records of each kind that are looked at, those of the highest expected value first.
LOOKED_AT: Final = 500
#: A mark that says done counts until the day is over wherever the rep is: so long at most.
DONE_FOR: Final = timedelta(hours=24)
#: The longest snooze.
MOST_SNOOZED: Final = timedelta(days=366)
_ROLES: frozenset[Role] = frozenset({"rep", "manager", "admin"})


class _Open(NamedTuple):
    """A record that could be called."""

    entity: str
    score: scores.StoredScore
    facts: Facts
    contact: LastContact | None


class _Found(NamedTuple):
    candidates: list[_Open]
    n_contacted_today: int
    n_marked: int


async def _effects(call: Call) -> CallEffects:
    """Give what the model says of contacts and silence; it is asked anew when the history has moved on."""
    state = call.state
    if state.served.bundle is None:
        raise Refusal(NOT_READY)
    source, _, _ = await in_store(call, lambda connection: source_of(call, connection))
    run = functools.partial(state.heavy.run, call_effects, source, None, call.now)
    with refusing():
        # One bundle's effects move little within an hour, whatever came in.
        key = ("call_effects", replace(source, revision=0))
        found: CallEffects = await state.effects.get(key, run, time.monotonic())
    return found


async def _call_list(call: Call) -> dict[str, Any]:
    """Give the records to call first."""
    query: CallQuery = call.query
    try:
        began, _ = day_around(call.now, query.zone)
    except InputError as error:
        raise refuse("zone", "unknown_zone", "", str(error)) from None
    effects = await _effects(call)

    def read(connection: sa.Connection) -> dict[str, Any]:
        seen = call.caller.owners(connection)
        owners = owners_asked(connection, seen, query.owner, None)
        looks = [_open(connection, entity, owners, seen, began, call.now) for entity in _ENTITIES]
        candidates = {(one.entity, one.facts.id): one for look in looks for one in look.candidates}
        ranked = rank_calls([_candidate(one) for one in candidates.values()], effects, call.now)
        language = query.language or call.language
        shown = [candidates[one.candidate.entity, one.candidate.record_id] for one in ranked[: query.n]]
        wordings = {
            entity: Wording(
                specs_behind(
                    connection, entity, {one.score.model_version for one in shown if one.entity == entity}
                ),
                language,
            )
            for entity in _ENTITIES
        }
        return {
            "as_of": call.now,
            "day_began_at": began,
            "model_version": effects.model_version,
            "n_candidates": len(ranked),
            "n_contacted_today": sum(look.n_contacted_today for look in looks),
            "n_marked": sum(look.n_marked for look in looks),
            "calls": [
                _shown(one, suggestion, place, wordings[one.entity], query.reasons)
                for place, (one, suggestion) in enumerate(zip(shown, ranked, strict=False), 1)
            ],
        }

    answer = await in_store(call, read)
    call.seen = tuple(one["id"] for one in answer["calls"])
    return answer


def _open(
    connection: sa.Connection,
    entity: str,
    owners: frozenset[str] | None,
    seen: frozenset[str] | None,
    began: datetime,
    now: datetime,
) -> _Found:
    """Give the records of a kind that may be called, and how many are left out."""
    top = scores.list_scores(
        connection,
        entity,
        sort="propensity" if entity == "lead" else "expected_value",
        owners=owners,
        limit=LOOKED_AT,
    )
    ids = [one.record_id for one in top]
    facts = facts_of(connection, entity, ids)
    contacts = last_contacts(connection, entity, ids, now)
    marked = marks.marks_at(connection, entity, now)
    found, n_contacted, n_marked = [], 0, 0
    for one in top:
        mine, contact = facts.get(one.record_id), contacts.get(one.record_id)
        if mine is None or mine.outcome is not None or not may_see(mine, seen):
            continue
        if one.record_id in marked:
            n_marked += 1
        elif contact is not None and contact.at >= began:
            n_contacted += 1
        else:
            found.append(_Open(entity, one, mine, contact))
    return _Found(found, n_contacted, n_marked)


def _candidate(one: _Open) -> Candidate:
    last = None if one.contact is None else one.contact.at
    return Candidate(one.entity, one.facts.id, one.score.probability, one.score.expected_amount, last)


def _shown(one: _Open, found: Suggestion, place: int, wording: Wording, top: int) -> dict[str, Any]:
    return {
        **shown_facts(one.facts, one.contact),
        "entity": one.entity,
        "place": place,
        "value": found.value,
        "is_typical_value": found.candidate.amount is None and found.value is not None,
        "if_contacted": found.if_contacted,
        "if_left": found.if_left,
        "gain": found.gain,
        "silent_days": found.silent_days,
        "suggested_kind": found.kind,
        "suggested_channel": found.channel,
        "score": shown_score(one.score, wording, top),
    }


async def _mark(entity: str, call: Call) -> Response:
    """Note what a rep says of a record."""
    body: MarkBody = call.body
    store, record_id = call.state.store, call.path[f"{entity}_id"]
    if body.until is not None and not call.now < body.until <= call.now + MOST_SNOOZED:
        raise refuse("until", "out_of_range", body.until.isoformat(), "must lie ahead, by a year at most")
    if store is None:  # the edge refuses before
        raise RuntimeError("a mark was to be set without a store")

    def write() -> bytes:
        with store.writing() as connection:
            facts = facts_of(connection, entity, [record_id]).get(record_id)
            if facts is None or not may_see(facts, call.caller.owners(connection)):
                raise Refusal(NO_RECORD)
            mark = None
            if body.action == "undo":
                marks.drop_mark(connection, entity, record_id)
            else:
                until = call.now + DONE_FOR if body.until is None else body.until
                kind = "done" if body.action == "done" else "snoozed"
                mark = marks.Mark(kind, until, call.now, call.caller.key_id)  # type: ignore[arg-type]
                marks.set_mark(connection, entity, record_id, mark)
            content = to_json({"id": record_id, "mark": shown_mark(mark)})
            if call.idempotency is not None:
                call.idempotency.remember(connection, 200, content, "application/json")
        return content

    call.seen = (record_id,)
    return Response(await call.state.run(write), media_type="application/json")


_CALL = {
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
    "entity": "deal",
    "place": 1,
    "value": 12000.0,
    "is_typical_value": False,
    "if_contacted": 0.47,
    "if_left": 0.38,
    "gain": 1080.0,
    "silent_days": 3.0,
    "suggested_kind": "call made",
    "suggested_channel": "call",
    "score": {
        "probability": 0.42,
        "grade": "B",
        "change": 0.05,
        "expected_amount": 12000.0,
        "expected_value": 5040.0,
        "close_p10": None,
        "close_p50": None,
        "close_p90": None,
        "reasons": [],
        "risks": [],
        "as_of": "2026-03-02T03:00:00+00:00",
        "scored_at": "2026-03-02T03:00:04+00:00",
        "model_version": "9f2c41d07a6be813",
    },
}


def _marking(entity: str) -> Endpoint:
    return Endpoint(
        method="POST",
        path=f"/v1/{entity}s/{{{entity}_id}}/mark",
        operation=f"mark_{entity}",
        summary=f"Take a {entity} off the call list, or put it back",
        description="Done for the day (24 hours at most), put off until a moment, or either taken back.",
        roles=_ROLES,
        handle=partial(_mark, entity),
        body=MarkBody,
        answer=MarkAnswer,
        problems=(NO_RECORD, STORE_BUSY, STORE_FULL),
        example={"action": "done"},
        answer_example={
            "id": "D-7" if entity == "deal" else "L-1042",
            "mark": {"kind": "done", "until": "2026-03-03T09:00:00Z", "at": "2026-03-02T09:00:00Z"},
        },
        idempotent=True,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/call-list",
        operation="get_call_list",
        summary="Whom to call first today",
        description="By value times the chance associated with a contact now, less that after a week of "
        "silence: associations, no promises.",
        roles=_ROLES,
        handle=_call_list,
        query=CallQuery,
        answer=CallAnswer,
        problems=(NOT_READY, NO_MODEL, NOT_ENOUGH_DATA),
        example={"n": "10", "zone": "Europe/Paris"},
        answer_example={
            "as_of": "2026-03-02T09:00:00Z",
            "day_began_at": "2026-03-01T23:00:00Z",
            "model_version": "9f2c41d07a6be813",
            "n_candidates": 118,
            "n_contacted_today": 4,
            "n_marked": 2,
            "calls": [_CALL],
        },
    ),
    *(_marking(entity) for entity in _ENTITIES),
)
