"""Scores of open records, and how they moved: one row a record, and a log that only grows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
import orjson
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite

from crm.ingesting.rows import pieces
from crm.schema import TABLE_OF
from crm.store.layout import STORED
from crm.store.service.layout import SCORE_LOG, SCORES
from crm.store.service.moments import to_micros, to_moment
from crm.store.service.revision import raise_revision

#: A probability that moved by less since the log had it is not logged again.
LOGGED_FROM: Final = 0.0005

Sort = Literal["propensity", "expected_value", "change"]
#: A feature, its number (None where it has none), and its effect in probability.
Effect = tuple[str, float | None, float]
_COLUMN_OF: dict[Sort, str] = {
    "propensity": "probability",
    "expected_value": "expected_value",
    "change": "moved",
}


class Place(Protocol):
    """The last record of a page."""

    @property
    def key(self) -> float | None: ...
    @property
    def record_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class StoredScore:
    """The last score of a record.

    Parameters
    ----------
    entity, record_id : str
    as_of, scored_at : datetime
        What it knew, and when it was made.
    model_version : str
    probability, base_probability : float
    grade : str
    close_p10, close_p50, close_p90 : datetime or None
        Of a deal.
    expected_amount, expected_value : float or None
        The second is the first times the probability.
    reasons : tuple of Effect
    other_effects : float
        What all effects that ``reasons`` does not name sum to.
    previous_probability, previous_as_of : float, datetime or None
        Of the score before.
    change_reasons : tuple of Effect
        What moved it since.
    risks : tuple of dict
        Signs of a deal at risk, as they are answered.
    valid_until : datetime
    input_hash : str
    owner_id, stage : str or None
    amount : float or None
    """

    entity: str
    record_id: str
    as_of: datetime
    scored_at: datetime
    model_version: str
    probability: float
    base_probability: float
    grade: str
    close_p10: datetime | None
    close_p50: datetime | None
    close_p90: datetime | None
    expected_amount: float | None
    expected_value: float | None
    reasons: tuple[Effect, ...]
    other_effects: float
    previous_probability: float | None
    previous_as_of: datetime | None
    change_reasons: tuple[Effect, ...]
    risks: tuple[dict[str, Any], ...]
    valid_until: datetime
    input_hash: str
    owner_id: str | None
    stage: str | None
    amount: float | None


class LoggedScore(NamedTuple):
    """A score that a record had."""

    as_of: datetime
    scored_at: datetime
    model_version: str
    probability: float
    reasons: tuple[Effect, ...]


class _Logged(NamedTuple):
    as_of: int
    probability: float
    version: str


def keep_scores(connection: sa.Connection, scores: Sequence[StoredScore]) -> None:
    """Keep scores in the place of those before, and log those that moved.

    A score of an earlier moment than the one that is there is left out.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    scores : sequence of StoredScore
        Of different records.
    """
    rows, log = [], []
    logged = _logged(connection, scores)
    for score in scores:
        last = logged.get((score.entity, score.record_id))
        as_of = to_micros(score.as_of)
        if last is not None and last.as_of > as_of:
            continue
        row = _row(score, as_of)
        is_new = (
            last is None
            or last.version != score.model_version
            or abs(last.probability - score.probability) >= LOGGED_FROM
        )
        if is_new:
            log.append(
                {column.name: row[column.name] for column in SCORE_LOG.columns if column.name != "position"}
            )
        row["logged_probability"] = score.probability if is_new or last is None else last.probability
        row["logged_version"] = score.model_version
        rows.append(row)
    if not rows:
        return
    connection.execute(_upsert(connection), rows)
    if log:
        connection.execute(SCORE_LOG.insert(), log)
    raise_revision(connection, "scores")


def _logged(connection: sa.Connection, scores: Sequence[StoredScore]) -> dict[tuple[str, str], _Logged]:
    columns = SCORES.c
    return {
        (entity, row.record_id): _Logged(row.as_of, row.logged_probability, row.logged_version)
        for entity in {score.entity for score in scores}
        for some in pieces(score.record_id for score in scores if score.entity == entity)
        for row in connection.execute(
            sa.select(
                columns.record_id, columns.as_of, columns.logged_probability, columns.logged_version
            ).where(columns.entity == entity, columns.record_id.in_(some))
        )
    }


def _row(score: StoredScore, as_of: int) -> dict[str, Any]:
    before = score.previous_probability
    return {
        "entity": score.entity,
        "record_id": score.record_id,
        "as_of": as_of,
        "scored_at": to_micros(score.scored_at),
        "model_version": score.model_version,
        "probability": score.probability,
        "base_probability": score.base_probability,
        "grade": score.grade,
        "close_p10": to_micros(score.close_p10),
        "close_p50": to_micros(score.close_p50),
        "close_p90": to_micros(score.close_p90),
        "expected_amount": score.expected_amount,
        "expected_value": score.expected_value,
        "reasons": orjson.dumps(score.reasons).decode(),
        "other_effects": score.other_effects,
        "previous_probability": before,
        "previous_as_of": to_micros(score.previous_as_of),
        "change_reasons": orjson.dumps(score.change_reasons).decode(),
        "risks": orjson.dumps(score.risks).decode(),
        "valid_until": to_micros(score.valid_until),
        "input_hash": score.input_hash,
        "owner_id": score.owner_id,
        "stage": score.stage,
        "amount": score.amount,
        "moved": None if before is None else score.probability - before,
    }


def _upsert(connection: sa.Connection) -> sa.Executable:
    insert = sqlite.insert(SCORES) if connection.dialect.name == "sqlite" else postgresql.insert(SCORES)
    keys = ("entity", "record_id")
    values = {
        column.name: insert.excluded[column.name] for column in SCORES.columns if column.name not in keys
    }
    return insert.on_conflict_do_update(index_elements=list(keys), set_=values)


def drop_scores(connection: sa.Connection, entity: str, ids: Collection[str]) -> int:
    """Take scores away, of records that are no longer open; the log stays. Gives how many there were."""
    n = 0
    for some in pieces(ids):
        mine = (SCORES.c.entity == entity) & SCORES.c.record_id.in_(some)
        n += connection.execute(SCORES.delete().where(mine)).rowcount
    if n:
        raise_revision(connection, "scores")
    return n


def scores_of(connection: sa.Connection, entity: str, ids: Iterable[str]) -> dict[str, StoredScore]:
    """Give the last scores of records, by id; those that have none are not there."""
    return {
        row.record_id: _score(row)
        for some in pieces(ids)
        for row in connection.execute(
            sa.select(SCORES).where(SCORES.c.entity == entity, SCORES.c.record_id.in_(some))
        )
    }


def score_of(connection: sa.Connection, entity: str, record_id: str) -> StoredScore | None:
    """Give the last score of one record."""
    return scores_of(connection, entity, [record_id]).get(record_id)


def list_scores(
    connection: sa.Connection,
    entity: str,
    *,
    sort: Sort,
    owners: Collection[str] | None = None,
    stage: str | None = None,
    grade: str | None = None,
    account_id: str | None = None,
    min_probability: float | None = None,
    limit: int,
    after: Place | None = None,
) -> list[StoredScore]:
    """Give scores, the highest first, equal ones in the order of their ids, those without a number last.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    entity : {"lead", "deal"}
    sort : {"propensity", "expected_value", "change"}
    owners : collection of str, or None
        Of the records when they were scored; None for all.
    stage, grade, account_id : str or None
    min_probability : float or None
    limit : int
    after : Place or None
        Only what stands behind it.
    """
    column, record_id = SCORES.c[_COLUMN_OF[sort]], SCORES.c.record_id
    query = sa.select(SCORES).where(SCORES.c.entity == entity)
    if owners is not None:
        query = query.where(SCORES.c.owner_id.in_(sorted(owners)))
    if stage is not None:
        query = query.where(SCORES.c.stage == stage)
    if grade is not None:
        query = query.where(SCORES.c.grade == grade)
    if min_probability is not None:
        query = query.where(SCORES.c.probability >= min_probability)
    if account_id is not None:
        table = TABLE_OF[entity]
        held = STORED[table.name].c
        query = query.where(record_id.in_(sa.select(held[table.key]).where(held.account_id == account_id)))
    found: list[StoredScore] = []
    if after is None or after.key is not None:
        numbered = query.where(column.is_not(None))
        if after is not None:
            # The first condition alone lets the index begin there.
            numbered = numbered.where(
                column <= after.key, sa.or_(column < after.key, record_id > after.record_id)
            )
        ordered = numbered.order_by(column.desc(), record_id).limit(limit)
        found = [_score(row) for row in connection.execute(ordered)]
    if len(found) < limit and column.nullable:
        rest = query.where(column.is_(None))
        if after is not None and after.key is None:
            rest = rest.where(record_id > after.record_id)
        ordered = rest.order_by(record_id).limit(limit - len(found))
        found += [_score(row) for row in connection.execute(ordered)]
    return found


def score_log(
    connection: sa.Connection, entity: str, record_id: str, *, limit: int, before: datetime | None = None
) -> list[LoggedScore]:
    """Give the scores that a record had, the latest first.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    entity : {"lead", "deal"}
    record_id : str
    limit : int
    before : datetime, optional
        Only those of earlier moments.
    """
    columns = SCORE_LOG.c
    query = sa.select(SCORE_LOG).where(columns.entity == entity, columns.record_id == record_id)
    if before is not None:
        query = query.where(columns.as_of < to_micros(before))
    query = query.order_by(columns.as_of.desc(), columns.position.desc()).limit(limit)
    return [
        LoggedScore(
            to_moment(row.as_of),
            to_moment(row.scored_at),
            row.model_version,
            row.probability,
            _effects(row.reasons),
        )
        for row in connection.execute(query)
    ]


def probabilities(connection: sa.Connection, entity: str) -> NDArray[np.float64]:
    """Give the probabilities of all open records that have a score, ascending."""
    query = sa.select(SCORES.c.probability).where(SCORES.c.entity == entity)
    return np.sort(np.array(connection.execute(query).scalars().all(), np.float64))


def _score(row: sa.Row[Any]) -> StoredScore:
    return StoredScore(
        entity=row.entity,
        record_id=row.record_id,
        as_of=to_moment(row.as_of),
        scored_at=to_moment(row.scored_at),
        model_version=row.model_version,
        probability=row.probability,
        base_probability=row.base_probability,
        grade=row.grade,
        close_p10=to_moment(row.close_p10),
        close_p50=to_moment(row.close_p50),
        close_p90=to_moment(row.close_p90),
        expected_amount=row.expected_amount,
        expected_value=row.expected_value,
        reasons=_effects(row.reasons),
        other_effects=row.other_effects,
        previous_probability=row.previous_probability,
        previous_as_of=to_moment(row.previous_as_of),
        change_reasons=_effects(row.change_reasons),
        risks=tuple(orjson.loads(row.risks)),
        valid_until=to_moment(row.valid_until),
        input_hash=row.input_hash,
        owner_id=row.owner_id,
        stage=row.stage,
        amount=row.amount,
    )


def _effects(text: str) -> tuple[Effect, ...]:
    return tuple((name, number, effect) for name, number, effect in orjson.loads(text))
