"""Scores of open records, and how they moved: one row a record, and a log that only grows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite

from crm.ingesting.rows import pieces
from crm.schema import TABLE_OF
from crm.store.layout import STORED
from crm.store.service.layout import SCORE_LOG, SCORES
from crm.store.service.moments import to_micros, to_moment
from crm.store.service.revision import raise_revision
from crm.store.service.score_rows import (
    Effect,
    LoggedScore,
    StoredScore,
    log_row,
    read_effects,
    read_score,
    score_row,
)

__all__ = [
    "LOGGED_FROM",
    "Effect",
    "LoggedScore",
    "Place",
    "Sort",
    "StoredScore",
    "drop_scores",
    "keep_scores",
    "list_scores",
    "probabilities",
    "score_log",
    "score_of",
    "scores_of",
]

#: A probability that moved by less since the log had it is not logged again.
LOGGED_FROM: Final = 0.0005

Sort = Literal["propensity", "expected_value", "change"]
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
    rows: list[tuple[Any, ...]] = []
    log: list[tuple[Any, ...]] = []
    logged = _logged(connection, scores)
    for score in scores:
        last = logged.get((score.entity, score.record_id))
        if last is not None and last.as_of > to_micros(score.as_of):
            continue
        is_new = (
            last is None
            or last.version != score.model_version
            or abs(last.probability - score.probability) >= LOGGED_FROM
        )
        kept = score.probability if last is None or is_new else last.probability
        row = score_row(score, kept, score.model_version)
        rows.append(row)
        if is_new:
            log.append(log_row(row))
    if not rows:
        return
    # Past SQLAlchemy's work on each row, which would take longer than the database's.
    texts = _texts(connection.dialect.name)
    connection.exec_driver_sql(texts.upsert, rows)
    if log:
        connection.exec_driver_sql(texts.log, log)
    raise_revision(connection, "scores")


def _logged(connection: sa.Connection, scores: Sequence[StoredScore]) -> dict[tuple[str, str], _Logged]:
    columns = SCORES.c
    asked = sa.select(columns.record_id, columns.as_of, columns.logged_probability, columns.logged_version)
    return {
        (entity, record_id): _Logged(as_of, probability, version)
        for entity in {score.entity for score in scores}
        for some in pieces(score.record_id for score in scores if score.entity == entity)
        for record_id, as_of, probability, version in connection.execute(
            asked.where(columns.entity == entity, columns.record_id.in_(some))
        ).all()
    }


class _Texts(NamedTuple):
    upsert: str
    log: str


@cache
def _texts(kind: str) -> _Texts:
    """Give the statements that write one row, with a place for each value in the order of the columns."""
    dialect: sa.Dialect
    if kind == "sqlite":
        dialect, insert = sqlite.dialect(), sqlite.insert(SCORES)
    else:
        dialect = postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
        insert = postgresql.insert(SCORES)  # type: ignore[assignment]
    keys = ("entity", "record_id")
    values = {one.name: insert.excluded[one.name] for one in SCORES.columns if one.name not in keys}
    upsert = insert.on_conflict_do_update(index_elements=list(keys), set_=values)
    logged = [one.name for one in SCORE_LOG.columns if one.name != "position"]
    log = SCORE_LOG.insert().inline().compile(dialect=dialect, column_keys=logged)
    return _Texts(str(upsert.compile(dialect=dialect)), str(log))


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
        row[1]: read_score(row)
        for some in pieces(ids)
        for row in connection.execute(
            sa.select(SCORES).where(SCORES.c.entity == entity, SCORES.c.record_id.in_(some))
        ).all()
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
        found = [read_score(row) for row in connection.execute(ordered)]
    if len(found) < limit and column.nullable:
        rest = query.where(column.is_(None))
        if after is not None and after.key is None:
            rest = rest.where(record_id > after.record_id)
        ordered = rest.order_by(record_id).limit(limit - len(found))
        found += [read_score(row) for row in connection.execute(ordered)]
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
            read_effects(row.reasons),
        )
        for row in connection.execute(query)
    ]


def probabilities(connection: sa.Connection, entity: str) -> NDArray[np.float64]:
    """Give the probabilities of all open records that have a score, ascending."""
    query = sa.select(SCORES.c.probability).where(SCORES.c.entity == entity)
    return np.sort(np.array(connection.execute(query).scalars().all(), np.float64))
