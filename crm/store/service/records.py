"""The records of the history that are open."""

from __future__ import annotations

import sqlalchemy as sa

from crm.schema import TABLE_OF
from crm.store.layout import STORED


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
