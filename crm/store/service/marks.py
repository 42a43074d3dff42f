"""What reps said of records on their call list: done for today, or put off until a moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from crm.ingesting.rows import pieces
from crm.store.service.layout import MARKS
from crm.store.service.moments import to_micros, to_moment


@dataclass(frozen=True)
class Mark:
    """What was said of a record.

    Parameters
    ----------
    kind : {"done", "snoozed"}
    until : datetime
        It counts until then.
    at : datetime
        When it was said.
    key_id : str or None
        By whose key.
    """

    kind: Literal["done", "snoozed"]
    until: datetime
    at: datetime
    key_id: str | None


def set_mark(connection: sa.Connection, entity: str, record_id: str, mark: Mark) -> None:
    """Mark a record, in the place of what was said before."""
    values = {
        "kind": mark.kind,
        "until": to_micros(mark.until),
        "at": to_micros(mark.at),
        "key_id": mark.key_id,
    }
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(MARKS).values(entity=entity, record_id=record_id, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["entity", "record_id"], set_=values))


def drop_mark(connection: sa.Connection, entity: str, record_id: str) -> bool:
    """Take a mark away; say whether there was one."""
    mine = (MARKS.c.entity == entity) & (MARKS.c.record_id == record_id)
    return connection.execute(MARKS.delete().where(mine)).rowcount > 0


def marks_of(connection: sa.Connection, entity: str, ids: Iterable[str]) -> dict[str, Mark]:
    """Give the marks of records, by id, also those that no longer count."""
    return {
        row.record_id: _mark(row)
        for some in pieces(ids)
        for row in connection.execute(
            sa.select(MARKS).where(MARKS.c.entity == entity, MARKS.c.record_id.in_(some))
        )
    }


def marks_at(connection: sa.Connection, entity: str, now: datetime) -> dict[str, Mark]:
    """Give the marks that count at a moment, by id."""
    query = sa.select(MARKS).where(MARKS.c.entity == entity, MARKS.c.until > to_micros(now))
    return {row.record_id: _mark(row) for row in connection.execute(query)}


def _mark(row: sa.Row[Any]) -> Mark:
    return Mark(row.kind, to_moment(row.until), to_moment(row.at), row.key_id)
