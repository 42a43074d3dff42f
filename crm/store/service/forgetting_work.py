"""A record that is forgotten leaves what waits or was noted: jobs, events, answers, the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import sqlalchemy as sa

from crm.store.service.layout import AUDIT_RECORDS, DELIVERIES, JOBS, REMEMBERED

#: Told the name of a table, and how many of its rows went or changed.
Count = Callable[[str, int], None]


def forget_in_work(connection: sa.Connection, entity: str, record_id: str, count: Count) -> None:
    """Take a record out of the service's tables of work.

    Where an entry does not say of what kind the record is, one with the same id of another kind goes too.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    entity : {"lead", "deal", "account"}
    record_id : str
    count : callable
    """
    _jobs(connection, entity, record_id, count)
    _deliveries(connection, entity, record_id, count)
    named = REMEMBERED.c.answer.contains(_quoted(record_id), autoescape=True)
    count(REMEMBERED.name, connection.execute(REMEMBERED.delete().where(named)).rowcount)
    mine = AUDIT_RECORDS.c.record_id == record_id
    count(AUDIT_RECORDS.name, connection.execute(AUDIT_RECORDS.delete().where(mine)).rowcount)


def _jobs(connection: sa.Connection, entity: str, record_id: str, count: Count) -> None:
    """Let jobs that name records of a kind in lists no longer name it; one that names no other goes."""
    query = sa.select(JOBS.c.job_id, JOBS.c.payload)
    for job_id, text in connection.execute(
        query.where(JOBS.c.payload.contains(_quoted(record_id), autoescape=True))
    ).all():
        payload: dict[str, Any] = orjson.loads(text)
        listed = payload.get(entity)
        if not isinstance(listed, list) or record_id not in listed:
            continue
        payload[entity] = [one for one in listed if one != record_id]
        mine = JOBS.c.job_id == job_id
        if any(payload.values()):
            connection.execute(JOBS.update().where(mine).values(payload=orjson.dumps(payload).decode()))
        else:
            connection.execute(JOBS.delete().where(mine))
        count(JOBS.name, 1)


def _deliveries(connection: sa.Connection, entity: str, record_id: str, count: Count) -> None:
    query = sa.select(DELIVERIES.c.delivery_id, DELIVERIES.c.payload)
    ids = [
        delivery_id
        for delivery_id, text in connection.execute(query.where(DELIVERIES.c.record_id == record_id)).all()
        if _is_about(text, entity)
    ]
    connection.execute(DELIVERIES.delete().where(DELIVERIES.c.delivery_id.in_(ids)))
    count(DELIVERIES.name, len(ids))


def _is_about(payload: str, entity: str) -> bool:
    """Say whether an event is about a record of a kind; what was delivered says nothing any more."""
    data = orjson.loads(payload).get("data") if payload else None
    return not isinstance(data, dict) or data.get("entity") in (None, entity)


def _quoted(record_id: str) -> str:
    return orjson.dumps(record_id).decode()
