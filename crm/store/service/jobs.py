"""Work that waits, in the store: what was acknowledged is done even if the process that took it in dies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from crm.store.service.layout import JOBS
from crm.store.service.moments import to_micros, to_moment


@dataclass(frozen=True)
class Job:
    """Work that waits.

    Parameters
    ----------
    job_id : int
    kind : str
        Names who can do it.
    payload : dict
    attempts : int
        How often it failed.
    due_at, created_at : datetime
    error : str or None
        Of the last attempt.
    """

    job_id: int
    kind: str
    payload: dict[str, Any]
    attempts: int
    due_at: datetime
    created_at: datetime
    error: str | None


class Waiting(NamedTuple):
    """How much work of a kind waits, and since when the oldest."""

    n: int
    oldest: datetime


def enqueue(
    connection: sa.Connection,
    kind: str,
    payload: Mapping[str, Any],
    now: datetime,
    *,
    due_at: datetime | None = None,
    key: str | None = None,
) -> int:
    """Add work, in the transaction of what it follows from.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    kind : str
    payload : mapping
    now : datetime
    due_at : datetime, optional
        Not before; else at once.
    key : str, optional
        Takes the place of work of the same kind and key that waits. Where somebody is at that already, its
        end does not end this: what it read may be older.

    Returns
    -------
    int
        The job's id.
    """
    moment, due = to_micros(now), to_micros(due_at or now)
    created = moment
    if key is not None:
        same = (JOBS.c.kind == kind) & (JOBS.c.name == key) & (JOBS.c.is_dead == 0)
        earlier = connection.execute(JOBS.delete().where(same).returning(JOBS.c.due_at, JOBS.c.created_at))
        for its_due, its_created in earlier:
            due, created = min(due, its_due), min(created, its_created)
    row = {
        "kind": kind,
        "name": key,
        "payload": orjson.dumps(payload).decode(),
        "attempts": 0,
        "due_at": due,
        "created_at": created,
        "is_dead": 0,
    }
    return int(connection.execute(JOBS.insert().values(row).returning(JOBS.c.job_id)).scalar_one())


def due_jobs(
    connection: sa.Connection, now: datetime, limit: int, kinds: Collection[str] | None = None
) -> list[Job]:
    """Give work that is due, the longest due first."""
    query = sa.select(JOBS).where(JOBS.c.is_dead == 0, JOBS.c.due_at <= to_micros(now))
    if kinds is not None:
        query = query.where(JOBS.c.kind.in_(sorted(kinds)))
    found = connection.execute(query.order_by(JOBS.c.due_at, JOBS.c.job_id).limit(limit))
    return [_job(row) for row in found]


def finish_jobs(connection: sa.Connection, job_ids: Collection[int]) -> None:
    """Take away work that is done."""
    connection.execute(JOBS.delete().where(JOBS.c.job_id.in_(list(job_ids))))


def fail_job(connection: sa.Connection, job_id: int, error: str, due_at: datetime | None) -> None:
    """Note that work failed.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    job_id : int
    error : str
        For people; without personal data.
    due_at : datetime or None
        When to try again; None for never: it stays in the list of the dead.
    """
    values: dict[str, Any] = {"attempts": JOBS.c.attempts + 1, "error": error}
    values |= {"is_dead": 1} if due_at is None else {"due_at": to_micros(due_at)}
    connection.execute(JOBS.update().where(JOBS.c.job_id == job_id).values(values))


def waiting_jobs(connection: sa.Connection) -> dict[str, Waiting]:
    """Give how much work waits, by kind."""
    query = sa.select(JOBS.c.kind, sa.func.count(), sa.func.min(JOBS.c.created_at)).where(JOBS.c.is_dead == 0)
    found = connection.execute(query.group_by(JOBS.c.kind))
    return {kind: Waiting(n, to_moment(oldest)) for kind, n, oldest in found}


def dead_jobs(connection: sa.Connection, limit: int) -> list[Job]:
    """Give work that failed too often, the latest first."""
    query = sa.select(JOBS).where(JOBS.c.is_dead == 1).order_by(JOBS.c.job_id.desc()).limit(limit)
    return [_job(row) for row in connection.execute(query)]


def _job(row: sa.Row[Any]) -> Job:
    return Job(
        row.job_id,
        row.kind,
        orjson.loads(row.payload),
        row.attempts,
        to_moment(row.due_at),
        to_moment(row.created_at),
        row.error,
    )
