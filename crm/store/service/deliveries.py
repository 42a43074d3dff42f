"""Events on their way to subscriptions: kept with the change that they tell of, until they have arrived."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa

from crm.store.service.jobs import Waiting
from crm.store.service.layout import DELIVERIES
from crm.store.service.moments import to_micros, to_moment
from crm.store.service.subscription_rights import owners_now
from crm.store.service.subscriptions import subscriptions_of


@dataclass(frozen=True)
class Event:
    """Something that happened to a record.

    Parameters
    ----------
    record_id : str
    owner_id : str or None
        Of the record: who may be told.
    data : dict
        JSON-able.
    """

    record_id: str
    owner_id: str | None
    data: dict[str, Any]


@dataclass(frozen=True)
class Delivery:
    """An event on its way to one subscription.

    Parameters
    ----------
    delivery_id : int
    event_id : str
        The same at each attempt, and for each subscription.
    subscription_id, event_type : str
    payload : bytes
        The body to send.
    attempts : int
        How often it failed.
    due_at, created_at : datetime
    error : str or None
        Of the last attempt.
    """

    delivery_id: int
    event_id: str
    subscription_id: str
    event_type: str
    payload: bytes
    attempts: int
    due_at: datetime
    created_at: datetime
    error: str | None


def emit(connection: sa.Connection, event_type: str, events: Sequence[Event], now: datetime) -> list[str]:
    """Send events to the live subscriptions that want them and may know of them.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In the transaction of what happened.
    event_type : str
    events : sequence of Event
    now : datetime

    Returns
    -------
    list of str
        The events' ids.
    """
    wanted = [one for one in subscriptions_of(connection) if event_type in one.events]
    owners = owners_now(connection, wanted)
    moment, ids, rows = to_micros(now), [], []
    for event in events:
        event_id = f"evt_{os.urandom(16).hex()}"
        ids.append(event_id)
        if not wanted:
            continue
        body = {"type": event_type, "timestamp": now.isoformat(), "data": event.data}
        payload = orjson.dumps(body).decode()
        rows += [
            {
                "event_id": event_id,
                "subscription_id": one.subscription_id,
                "event_type": event_type,
                "record_id": event.record_id,
                "payload": payload,
                "attempts": 0,
                "due_at": moment,
                "created_at": moment,
                "state": "waiting",
            }
            for one in wanted
            if (seen := owners[one.subscription_id]) is None or event.owner_id in seen
        ]
    if rows:
        connection.execute(DELIVERIES.insert(), rows)
    return ids


def due_deliveries(
    connection: sa.Connection, now: datetime, limit: int, *, but_to: Collection[str] = ()
) -> list[Delivery]:
    """Give deliveries that are due, the longest due first; none to some subscriptions."""
    columns = DELIVERIES.c
    query = sa.select(DELIVERIES).where(columns.state == "waiting", columns.due_at <= to_micros(now))
    if but_to:
        query = query.where(columns.subscription_id.not_in(sorted(but_to)))
    found = connection.execute(query.order_by(columns.due_at, columns.delivery_id).limit(limit))
    return [_delivery(row) for row in found]


def delivered(connection: sa.Connection, delivery_id: int, now: datetime) -> None:
    """Note that a delivery has arrived; what it said is no longer kept."""
    _end(connection, DELIVERIES.c.delivery_id == delivery_id, "delivered", now, None)


def delivery_failed(
    connection: sa.Connection, delivery_id: int, now: datetime, error: str, due_at: datetime | None
) -> None:
    """Note that a delivery failed.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    delivery_id : int
    now : datetime
    error : str
    due_at : datetime or None
        When to try again; None for never: a dead letter, which is kept.
    """
    mine = DELIVERIES.c.delivery_id == delivery_id
    if due_at is None:
        values = {"state": "dead", "ended_at": to_micros(now)}
    else:
        values = {"due_at": to_micros(due_at)}
    counted = {"attempts": DELIVERIES.c.attempts + 1, "error": error, **values}
    connection.execute(DELIVERIES.update().where(mine).values(counted))


def drop_deliveries_of(connection: sa.Connection, subscription_id: str) -> int:
    """Take away what waits for a subscription that has ended, and give how much."""
    mine = (DELIVERIES.c.subscription_id == subscription_id) & (DELIVERIES.c.state == "waiting")
    return connection.execute(DELIVERIES.delete().where(mine)).rowcount


def dead_letters(
    connection: sa.Connection,
    *,
    subscription_ids: Collection[str] | None = None,
    limit: int,
    before: int | None = None,
) -> list[Delivery]:
    """Give dead letters, the latest first: all, or those of some subscriptions.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    subscription_ids : collection of str, optional
    limit : int
    before : int, optional
        Only deliveries with smaller ids: of the page before, the last.
    """
    columns = DELIVERIES.c
    query = sa.select(DELIVERIES).where(columns.state == "dead")
    if subscription_ids is not None:
        query = query.where(columns.subscription_id.in_(sorted(subscription_ids)))
    if before is not None:
        query = query.where(columns.delivery_id < before)
    found = connection.execute(query.order_by(columns.delivery_id.desc()).limit(limit))
    return [_delivery(row) for row in found]


def retry_dead_letter(connection: sa.Connection, delivery_id: int, now: datetime) -> bool:
    """Send a dead letter again, from the first attempt on; say whether it was one."""
    mine = (DELIVERIES.c.delivery_id == delivery_id) & (DELIVERIES.c.state == "dead")
    values = {"state": "waiting", "attempts": 0, "due_at": to_micros(now), "ended_at": None}
    return connection.execute(DELIVERIES.update().where(mine).values(values)).rowcount > 0


def waiting_deliveries(connection: sa.Connection) -> Waiting | None:
    """Give how many wait, and since when the oldest; None where none does."""
    columns = DELIVERIES.c
    query = sa.select(sa.func.count(), sa.func.min(columns.created_at)).where(columns.state == "waiting")
    n, oldest = connection.execute(query).one()
    return Waiting(n, to_moment(oldest)) if n else None


def drop_delivered_before(connection: sa.Connection, moment: datetime) -> int:
    """Let go of what arrived or died long ago, and give how much."""
    old = DELIVERIES.c.ended_at < to_micros(moment)
    return connection.execute(DELIVERIES.delete().where(old)).rowcount


def _end(
    connection: sa.Connection, mine: sa.ColumnElement[bool], state: str, now: datetime, error: str | None
) -> None:
    values = {"state": state, "ended_at": to_micros(now), "error": error, "payload": ""}
    connection.execute(DELIVERIES.update().where(mine).values(values))


def _delivery(row: sa.Row[Any]) -> Delivery:
    return Delivery(
        row.delivery_id,
        row.event_id,
        row.subscription_id,
        row.event_type,
        row.payload.encode(),
        row.attempts,
        to_moment(row.due_at),
        to_moment(row.created_at),
        row.error,
    )
