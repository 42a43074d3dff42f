"""Ranked lists and single records, from stored scores: no model is asked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from crm.store.layout import STORED
from crm.store.service import models, scores
from features import FeatureSpec
from features.entry import Language
from serving.answering.cursors import Place
from serving.answering.record_facts import Facts, LastContact, facts_of, last_contacts
from serving.answering.stored_reasons import Wording, spec_of

Sort = Literal["propensity", "expected_value", "change"]


@dataclass(frozen=True)
class ListQuestion:
    """Which records, in which order.

    Parameters
    ----------
    entity : {"lead", "deal"}
    sort : {"propensity", "expected_value", "change"}
    owners : frozenset of str, or None
        Of the records; None for all, also those without an owner.
    stage, grade, account : str or None
    min_probability : float or None
    limit : int
    after : Place or None
        The last record of the page before.
    """

    entity: str
    sort: Sort
    owners: frozenset[str] | None
    stage: str | None
    grade: str | None
    account: str | None
    min_probability: float | None
    limit: int
    after: Place | None


def owners_asked(
    connection: sa.Connection, seen: frozenset[str] | None, owner: str | None, team: str | None
) -> frozenset[str] | None:
    """Give the owners whose records are asked for, of those that may be seen.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    seen : frozenset of str, or None
        None for all.
    owner, team : str or None
        The filters.
    """
    found = seen
    if owner is not None:
        found = frozenset({owner}) if found is None else found & {owner}
    if team is not None:
        users = STORED["users"].c
        members = frozenset(connection.execute(sa.select(users.user_id).where(users.team == team)).scalars())
        found = members if found is None else found & members
    return found


def sort_key(score: scores.StoredScore, sort: Sort) -> float | None:
    """Give what a list is sorted by."""
    if sort == "propensity":
        return score.probability
    if sort == "expected_value":
        return score.expected_value
    return change_of(score)


def change_of(score: scores.StoredScore) -> float | None:
    """Give how far a score moved since the one before; None where there is none."""
    before = score.previous_probability
    return None if before is None else score.probability - before


def specs_behind(
    connection: sa.Connection, entity: str, versions: Collection[str]
) -> dict[tuple[str, str], FeatureSpec]:
    """Give the specs of the models that made some scores, where the store has kept them."""
    found = {}
    for version in versions:
        kept = models.spec_of(connection, version, entity)
        if kept is not None:
            found[version, entity] = spec_of(kept)
    return found


def shown_score(score: scores.StoredScore, wording: Wording, top: int) -> dict[str, Any]:
    """Give a stored score as :class:`serving.answering.list_schemas.ShownScore` describes it."""
    return {
        "probability": score.probability,
        "grade": score.grade,
        "change": change_of(score),
        "expected_amount": score.expected_amount,
        "expected_value": score.expected_value,
        "close_p10": score.close_p10,
        "close_p50": score.close_p50,
        "close_p90": score.close_p90,
        "reasons": wording.read(score.model_version, score.entity, score.reasons, top),
        "risks": list(score.risks),
        "as_of": score.as_of,
        "scored_at": score.scored_at,
        "model_version": score.model_version,
    }


def shown_facts(facts: Facts, contact: LastContact | None) -> dict[str, Any]:
    """Give what the CRM says as :class:`serving.answering.list_schemas.RecordFacts` describes it."""
    shown = {name: value for name, value in vars(facts).items() if name not in ("outcome", "closed_at")}
    return shown | {"last_contact": None if contact is None else dict(vars(contact))}


def listed(
    connection: sa.Connection,
    question: ListQuestion,
    seen: frozenset[str] | None,
    *,
    top: int,
    language: Language,
    now: datetime,
) -> tuple[list[dict[str, Any]], Place | None]:
    """Give a page, and the place where the next one begins; None where there is none.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    question : ListQuestion
    seen : frozenset of str, or None
        The owners whose records may be seen now: a score may have been stored under the owner before.
    top : int
        Reasons of each record.
    language : {"en", "fr"}
    now : datetime
    """
    found = scores.list_scores(
        connection,
        question.entity,
        sort=question.sort,
        owners=question.owners,
        stage=question.stage,
        grade=question.grade,
        account_id=question.account,
        min_probability=question.min_probability,
        limit=question.limit + 1,
        after=question.after,
    )
    page = found[: question.limit]
    rows = with_facts(connection, question.entity, page, seen, top=top, language=language, now=now)
    last = page[-1] if len(found) > question.limit else None
    return rows, None if last is None else Place(sort_key(last, question.sort), last.record_id)


def with_facts(
    connection: sa.Connection,
    entity: str,
    page: Sequence[scores.StoredScore],
    seen: frozenset[str] | None,
    *,
    top: int,
    language: Language,
    now: datetime,
) -> list[dict[str, Any]]:
    """Give scores with what the CRM says of their records, in their order."""
    ids = [score.record_id for score in page]
    facts = facts_of(connection, entity, ids)
    contacts = last_contacts(connection, entity, ids, now)
    wording = Wording(specs_behind(connection, entity, {one.model_version for one in page}), language)
    return [
        {
            **shown_facts(facts[score.record_id], contacts.get(score.record_id)),
            "score": shown_score(score, wording, top),
        }
        for score in page
        if score.record_id in facts and may_see(facts[score.record_id], seen)
    ]


def may_see(facts: Facts, seen: frozenset[str] | None) -> bool:
    """Say whether a record is of one of these owners."""
    return seen is None or facts.owner_id in seen
