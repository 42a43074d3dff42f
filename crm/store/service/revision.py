"""How often parts of the store have changed: who keeps something of it in memory asks this first."""

from __future__ import annotations

from typing import Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from crm.store.service.layout import REVISIONS

Part = Literal["history", "scores", "keys", "subscriptions"]
Insert = TypeVar("Insert", sqlite.Insert, postgresql.Insert)


def revision(connection: sa.Connection, name: Part) -> int:
    """Give how often a part has changed; 0 where it never did."""
    found = connection.execute(sa.select(REVISIONS.c.value).where(REVISIONS.c.name == name)).scalar()
    return 0 if found is None else int(found)


def raise_revision(connection: sa.Connection, name: Part) -> int:
    """Note that a part changed, and give its revision from now on."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = raising(dialect.insert(REVISIONS), name).returning(REVISIONS.c.value)
    return int(connection.execute(statement).scalar_one())


def raising(insert: Insert, name: Part) -> Insert:
    """Give the statement that raises a revision, of a dialect's INSERT."""
    return insert.values(name=name, value=1).on_conflict_do_update(
        index_elements=["name"], set_={"value": REVISIONS.c.value + 1}
    )
