"""A record's data leave the store: its own rows, what was derived from it, and what others say of it.

Rows that are also about something that stays only lose their link to the record: a call with a lead about a
deal remains a call about the deal. Where figures would change without a name, one that nobody can trace takes
the place of the record's: the forecasts that were kept stay as they were. What remains is a receipt, without
personal data: that a record was forgotten can be shown to whoever knows its id, by a salted digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import orjson
import sqlalchemy as sa

from crm.ingesting.rows import pieces
from crm.schema import TABLE_OF
from crm.store.layout import FORECAST_DEALS, STORED
from crm.store.service.engine import EMPTY_LOG
from crm.store.service.forgetting_work import forget_in_work
from crm.store.service.layout import FORGOTTEN, MARKS, SCORE_LOG, SCORES, STATED
from crm.store.service.moments import to_micros, to_moment
from crm.store.service.revision import raise_revision

Entity = Literal["lead", "deal", "account"]

#: Tables that name records of other tables, by column.
_LINKED: Final = {
    "lead": ("deals", "activities", "surveys"),
    "deal": ("activities", "surveys", "subscriptions", "orders"),
    "account": ("leads", "deals", "activities", "surveys", "subscriptions", "orders"),
}
#: Tables whose rows go where they are about nothing else, and what else they can be about.
_ABOUT: Final = {
    "activities": ("lead_id", "deal_id", "account_id"),
    "surveys": ("lead_id", "deal_id", "account_id"),
}
#: Tables whose figures by customer stay, under a name that cannot be traced.
_RENAMED: Final = (("subscriptions", "account_id"), ("orders", "account_id"))


@dataclass(frozen=True)
class Forgotten:
    """A receipt.

    Parameters
    ----------
    entity : {"lead", "deal", "account"}
    digest : str
        ``salt:SHA-256`` of the id; see :func:`is_of`.
    counts : dict of str to int
        Rows that went or lost what they said of the record, by table.
    why, by : str
    at : datetime
    linked : dict of str to tuple of str
        Open leads and deals that were linked to it, whose scores may change. Not in the receipt that stays.
    """

    entity: str
    digest: str
    counts: Mapping[str, int]
    why: str
    by: str
    at: datetime
    linked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """All rows that went or lost something."""
        return sum(self.counts.values())


def forget(
    connection: sa.Connection, entity: Entity, record_id: str, now: datetime, *, why: str, by: str
) -> Forgotten:
    """Take a record's data out of every table.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction that may write; nothing is committed.
    entity : {"lead", "deal", "account"}
    record_id : str
    now : datetime
    why, by : str
        For the receipt; without personal data.

    Returns
    -------
    Forgotten
        With no counts, and without a receipt in the store, where it held nothing of the record.
    """
    with _overwriting(connection):
        run = _Run(connection, entity, record_id, f"forgotten-{os.urandom(8).hex()}")
        linked = run.linked()
        run.forget()
        counts = {name: n for name, n in run.counts.items() if n}
    salt = os.urandom(16).hex()
    digest = f"{salt}:{_digest(salt, entity, record_id)}"
    found = Forgotten(entity, digest, counts, why, by, now, linked)
    if counts:
        row = {
            "entity": entity,
            "digest": digest,
            "counts": orjson.dumps(counts).decode(),
            "why": why,
            "by": by,
            "at": to_micros(now),
        }
        connection.execute(FORGOTTEN.insert().values(row))
        raise_revision(connection, "history")
        if counts.get(SCORES.name):
            raise_revision(connection, "scores")
    return found


def forgotten(connection: sa.Connection, limit: int) -> list[Forgotten]:
    """Give the last receipts, the latest first."""
    query = sa.select(FORGOTTEN).order_by(FORGOTTEN.c.position.desc()).limit(limit)
    return [
        Forgotten(row.entity, row.digest, orjson.loads(row.counts), row.why, row.by, to_moment(row.at))
        for row in connection.execute(query)
    ]


def is_of(receipt: Forgotten, record_id: str) -> bool:
    """Say whether a receipt is of a record."""
    salt, _, digest = receipt.digest.partition(":")
    return digest == _digest(salt, receipt.entity, record_id)


def _digest(salt: str, entity: str, record_id: str) -> str:
    return hashlib.sha256(f"{salt}\0{entity}\0{record_id}".encode()).hexdigest()


@contextmanager
def _overwriting(connection: sa.Connection) -> Iterator[None]:
    """Let SQLite write zeros over what is deleted, and empty its log; PostgreSQL's vacuum does alike."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA secure_delete = FAST")
    connection.info[EMPTY_LOG] = True


@dataclass
class _Run:
    """The forgetting of one record."""

    connection: sa.Connection
    entity: Entity
    record_id: str
    pseudonym: str
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def column(self) -> str:
        """The name under which other tables have its id."""
        return f"{self.entity}_id"

    def linked(self) -> dict[str, tuple[str, ...]]:
        """Give the open leads and deals that are linked to the record now."""
        found = {}
        for entity in ("lead", "deal"):
            table = TABLE_OF[entity]
            stored = STORED[table.name].c
            if entity != self.entity and self.column in stored:
                is_open = stored.outcome.is_(None) & stored.gone_at.is_(None)
                query = sa.select(stored[table.key]).where(stored[self.column] == self.record_id, is_open)
                ids = tuple(self.connection.execute(query.order_by(stored[table.key])).scalars())
                if ids:
                    found[entity] = ids
        return found

    def forget(self) -> None:
        """Take it out of every table."""
        table = TABLE_OF[self.entity]
        stored = STORED[table.name].c
        self._delete(STORED[table.name], stored[table.key] == self.record_id)
        if self.entity == "account":
            self._set(STORED["accounts"], "parent_id")
        self._changes()
        for name in _LINKED[self.entity]:
            self._unlink(name)
        self._derived()
        forget_in_work(self.connection, self.entity, self.record_id, self._count)

    def _changes(self) -> None:
        """Its own changes go; in those of others, its id does."""
        changes = STORED["changes"]
        mine = (changes.c.entity == self.entity) & (changes.c.record_id == self.record_id)
        self._delete(changes, mine)
        fields = [self.column, "parent_id"] if self.entity == "account" else [self.column]
        for side in ("old_value", "new_value"):
            named = changes.c.field.in_(fields) & (changes.c[side] == self.record_id)
            statement = changes.update().where(named).values({side: None})
            self._count(changes.name, self.connection.execute(statement).rowcount)

    def _unlink(self, name: str) -> None:
        table = STORED[name]
        mine = table.c[self.column] == self.record_id
        if name in _ABOUT:
            others = [table.c[one].is_(None) for one in _ABOUT[name] if one != self.column]
            alone = mine & sa.and_(*others)
            if name == "activities":
                self._activity_states(alone)
            self._delete(table, alone)
        value = self.pseudonym if (name, self.column) in _RENAMED else None
        self._set(table, self.column, value)

    def _activity_states(self, alone: sa.ColumnElement[bool]) -> None:
        ids = self.connection.execute(sa.select(STORED["activities"].c.activity_id).where(alone)).scalars()
        for some in pieces(ids):
            mine = (STATED.c.entity == "activity") & STATED.c.record_id.in_(some)
            self._delete(STATED, mine)

    def _derived(self) -> None:
        for table in (STATED, SCORES, SCORE_LOG, MARKS):
            mine = (table.c.entity == self.entity) & (table.c.record_id == self.record_id)
            self._delete(table, mine)
        if self.entity == "deal":
            self._set(FORECAST_DEALS, "deal_id", self.pseudonym)

    def _set(self, table: sa.Table, column: str, value: str | None = None) -> None:
        mine = table.c[column] == self.record_id
        done = self.connection.execute(table.update().where(mine).values({column: value}))
        self._count(table.name, done.rowcount)

    def _delete(self, table: sa.Table, mine: sa.ColumnElement[bool]) -> None:
        self._count(table.name, self.connection.execute(table.delete().where(mine)).rowcount)

    def _count(self, name: str, n: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + n


def older_than(connection: sa.Connection, entity: Entity, moment: datetime, limit: int) -> list[str]:
    """Give records that ended before a moment and that nothing was known of since, in the order of their ids.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    entity : {"lead", "deal", "account"}
        A lead or deal has ended where it has an outcome or is gone; an account where it is gone, or all its
        leads, deals and subscriptions have ended, before that moment.
    moment : datetime
    limit : int
    """
    table, at = TABLE_OF[entity], to_micros(moment)
    stored = STORED[table.name].c
    key = stored[table.key]
    changes, activities = STORED["changes"].c, STORED["activities"].c
    later_change = sa.exists().where(
        changes.entity == entity, changes.record_id == key, changes.recorded_at >= at
    )
    later_activity = sa.exists().where(
        activities[f"{entity}_id"] == key,
        sa.or_(activities.recorded_at >= at, activities.occurred_at >= at),
    )
    query = sa.select(key).where(stored.recorded_at < at, ~later_change, ~later_activity)
    if entity == "account":
        query = query.where(sa.func.coalesce(stored.gone_at, 0) < at, *_nothing_of(key, at))
    else:
        closed = sa.func.coalesce(stored.closed_at, stored.gone_at, stored.recorded_at)
        known = sa.func.coalesce(stored.closed_recorded_at, stored.gone_at, stored.recorded_at)
        ended = sa.or_(stored.outcome.is_not(None), stored.gone_at.is_not(None))
        query = query.where(ended, closed < at, known < at)
    if entity == "lead":
        query = query.where(~_lives(STORED["deals"], "lead_id", key, at))
    return list(connection.execute(query.order_by(key).limit(limit)).scalars())


def _nothing_of(account: sa.ColumnElement[str], at: int) -> list[sa.ColumnElement[bool]]:
    """Say that an account has no lead, deal, subscription or order that lives or came lately."""
    contracts, orders = STORED["subscriptions"].c, STORED["orders"].c
    runs = sa.exists().where(contracts.account_id == account, sa.func.coalesce(contracts.ended_at, at) >= at)
    ordered = sa.exists().where(orders.account_id == account, orders.ordered_at >= at)
    records = [_lives(STORED[name], "account_id", account, at) for name in ("leads", "deals")]
    return [~one for one in (*records, runs, ordered)]


def _lives(table: sa.Table, column: str, of: Any, at: int) -> sa.ColumnElement[bool]:
    """Say that a record that is linked is open, or ended lately."""
    ended = sa.case((sa.or_(table.c.outcome.is_not(None), table.c.gone_at.is_not(None)), 1), else_=0)
    last = sa.func.coalesce(table.c.closed_at, table.c.gone_at, table.c.recorded_at)
    return sa.exists().where(table.c[column] == of, sa.or_(ended == 0, last >= at))
