"""The audit log: who read or changed what, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from crm.store.service.layout import AUDIT_LOG, AUDIT_RECORDS
from crm.store.service.moments import to_micros, to_moment


@dataclass(frozen=True)
class AuditRow:
    """One call.

    Parameters
    ----------
    at : datetime
    key_id : str or None
        None where no key was needed.
    role : str
    operation : str
        Of the catalogue of endpoints, or a command.
    status : int
        Of the answer.
    request_id : str
    record_ids : tuple of str
        Read or changed; of many the first.
    n_records : int
        How many there were in all.
    """

    at: datetime
    key_id: str | None
    role: str
    operation: str
    status: int
    request_id: str
    record_ids: tuple[str, ...] = ()
    n_records: int = 0


def append_audit(connection: sa.Connection, rows: Sequence[AuditRow]) -> None:
    """Add calls to the log."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        # Positions are counted up, by one writer at a time.
        connection.exec_driver_sql("LOCK TABLE audit_log IN SHARE ROW EXCLUSIVE MODE")
    last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(AUDIT_LOG.c.position), 0))).scalar_one()
    entries, records = [], []
    for position, row in enumerate(rows, last + 1):
        entries.append(
            {
                "position": position,
                "at": to_micros(row.at),
                "key_id": row.key_id,
                "role": row.role,
                "operation": row.operation,
                "status": row.status,
                "request_id": row.request_id,
                "n_records": max(row.n_records, len(row.record_ids)),
            }
        )
        records += [
            {"position": position, "number": number, "record_id": name}
            for number, name in enumerate(row.record_ids)
        ]
    connection.execute(AUDIT_LOG.insert(), entries)
    if records:
        connection.execute(AUDIT_RECORDS.insert(), records)


def audit_rows(
    connection: sa.Connection,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    key_id: str | None = None,
    record_id: str | None = None,
    limit: int,
    before: int | None = None,
) -> list[tuple[int, AuditRow]]:
    """Give calls, the latest first, each with its position.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    since, until : datetime, optional
        From the first on, and before the second.
    key_id, record_id : str, optional
    limit : int
    before : int, optional
        Only those at earlier positions: of the page before, the last.
    """
    log, records = AUDIT_LOG.c, AUDIT_RECORDS.c
    query = sa.select(AUDIT_LOG)
    if since is not None:
        query = query.where(log.at >= to_micros(since))
    if until is not None:
        query = query.where(log.at < to_micros(until))
    if key_id is not None:
        query = query.where(log.key_id == key_id)
    if record_id is not None:
        query = query.where(
            log.position.in_(sa.select(records.position).where(records.record_id == record_id))
        )
    if before is not None:
        query = query.where(log.position < before)
    found = connection.execute(query.order_by(log.position.desc()).limit(limit)).all()
    named: dict[int, list[str]] = {row.position: [] for row in found}
    about = sa.select(records.position, records.record_id).where(records.position.in_(list(named)))
    for position, name in connection.execute(about.order_by(records.position, records.number)):
        named[position].append(name)
    return [
        (
            row.position,
            AuditRow(
                to_moment(row.at),
                row.key_id,
                row.role,
                row.operation,
                row.status,
                row.request_id,
                tuple(named[row.position]),
                row.n_records,
            ),
        )
        for row in found
    ]


def drop_audit_before(connection: sa.Connection, moment: datetime) -> int:
    """Take old calls out of the log, and give how many."""
    old = sa.select(AUDIT_LOG.c.position).where(AUDIT_LOG.c.at < to_micros(moment))
    connection.execute(AUDIT_RECORDS.delete().where(AUDIT_RECORDS.c.position.in_(old)))
    return connection.execute(AUDIT_LOG.delete().where(AUDIT_LOG.c.at < to_micros(moment))).rowcount
