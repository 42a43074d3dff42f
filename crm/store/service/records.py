"""The records of the history that are open."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from crm.ingesting.rows import pieces
from crm.schema import TABLE_OF
from crm.store.layout import STORED
from crm.store.service.layout import SCORES


def open_ids(connection: sa.Connection, entity: str, after: str | None, limit: int) -> list[str]:
    """Give ids of open leads or deals, in their order.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    entity : {"lead", "deal"}
    after : str or None
        Only ids behind this one.
    limit : int
    """
    table = TABLE_OF[entity]
    stored = STORED[table.name].c
    key = stored[table.key]
    query = sa.select(key).where(stored.outcome.is_(None), stored.gone_at.is_(None))
    if after is not None:
        query = query.where(key > after)
    return list(connection.execute(query.order_by(key).limit(limit)).scalars())


def count_open(connection: sa.Connection, entity: str) -> int:
    """Give how many leads or deals are open."""
    stored = STORED[TABLE_OF[entity].name].c
    query = sa.select(sa.func.count()).where(stored.outcome.is_(None), stored.gone_at.is_(None))
    return int(connection.execute(query).scalar_one())


def held_open(connection: sa.Connection, entity: str, ids: Collection[str]) -> set[str]:
    """Give which of some records are open, and keep them from being closed or forgotten until the commit.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction that may write; in SQLite nobody else does meanwhile.
    entity : {"lead", "deal"}
    ids : collection of str
    """
    table = TABLE_OF[entity]
    stored = STORED[table.name].c
    key = stored[table.key]
    found: set[str] = set()
    for some in pieces(sorted(ids)):
        query = sa.select(key).where(key.in_(some), stored.outcome.is_(None), stored.gone_at.is_(None))
        if connection.dialect.name == "postgresql":
            query = query.order_by(key).with_for_update(read=True)
        found |= set(connection.execute(query).scalars())
    return found


def scored_but_not_open(connection: sa.Connection, entity: str, limit: int) -> list[str]:
    """Give ids of records that have a score and are not open, or not there, any more."""
    table = TABLE_OF[entity]
    stored = STORED[table.name].c
    still = sa.select(stored[table.key]).where(
        stored[table.key] == SCORES.c.record_id, stored.outcome.is_(None), stored.gone_at.is_(None)
    )
    query = sa.select(SCORES.c.record_id).where(SCORES.c.entity == entity, ~still.exists())
    return list(connection.execute(query.order_by(SCORES.c.record_id).limit(limit)).scalars())
