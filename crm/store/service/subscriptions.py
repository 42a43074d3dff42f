"""Who wants to be told of events, and where (REST hooks)."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa

from crm.store.service.layout import SUBSCRIPTIONS
from crm.store.service.moments import to_micros, to_moment
from crm.store.service.revision import raise_revision


@dataclass(frozen=True)
class Subscription:
    """Somebody to be told.

    Parameters
    ----------
    subscription_id : str
    target_url : str
    events : tuple of str
        Types of events.
    secret : str
        That its deliveries are signed with.
    key_id : str or None
        Whose it is.
    owners : tuple of str, or None
        Only events of these reps' records; None for all.
    created_at : datetime
    ended_at : datetime or None
    ended_why : str or None
    """

    subscription_id: str
    target_url: str
    events: tuple[str, ...]
    secret: str = field(repr=False)
    key_id: str | None
    owners: tuple[str, ...] | None
    created_at: datetime
    ended_at: datetime | None
    ended_why: str | None


def add_subscription(
    connection: sa.Connection,
    *,
    target_url: str,
    events: Sequence[str],
    key_id: str | None,
    owners: Sequence[str] | None,
    now: datetime,
) -> Subscription:
    """Make a subscription, with a new secret."""
    made = Subscription(
        subscription_id=f"sub_{os.urandom(12).hex()}",
        target_url=target_url,
        events=tuple(events),
        secret=f"whsec_{base64.b64encode(os.urandom(32)).decode()}",
        key_id=key_id,
        owners=None if owners is None else tuple(sorted(owners)),
        created_at=now,
        ended_at=None,
        ended_why=None,
    )
    row = {
        "subscription_id": made.subscription_id,
        "target_url": target_url,
        "events": orjson.dumps(made.events).decode(),
        "secret": made.secret,
        "key_id": key_id,
        "owners": None if made.owners is None else orjson.dumps(made.owners).decode(),
        "created_at": to_micros(now),
    }
    connection.execute(SUBSCRIPTIONS.insert().values(row))
    raise_revision(connection, "subscriptions")
    return made


def subscriptions_of(
    connection: sa.Connection, *, live_only: bool = True, key_id: str | None = None
) -> list[Subscription]:
    """Give subscriptions in the order of their making: all, or those of one key."""
    columns = SUBSCRIPTIONS.c
    query = sa.select(SUBSCRIPTIONS)
    if live_only:
        query = query.where(columns.ended_at.is_(None))
    if key_id is not None:
        query = query.where(columns.key_id == key_id)
    found = connection.execute(query.order_by(columns.created_at, columns.subscription_id))
    return [_subscription(row) for row in found]


def subscription(connection: sa.Connection, subscription_id: str) -> Subscription | None:
    """Give one subscription, also one that has ended."""
    mine = SUBSCRIPTIONS.c.subscription_id == subscription_id
    row = connection.execute(sa.select(SUBSCRIPTIONS).where(mine)).first()
    return None if row is None else _subscription(row)


def end_subscription(connection: sa.Connection, subscription_id: str, why: str, now: datetime) -> bool:
    """End a subscription; say whether it was live."""
    mine = (SUBSCRIPTIONS.c.subscription_id == subscription_id) & SUBSCRIPTIONS.c.ended_at.is_(None)
    values = {"ended_at": to_micros(now), "ended_why": why}
    ended = connection.execute(SUBSCRIPTIONS.update().where(mine).values(values)).rowcount > 0
    if ended:
        raise_revision(connection, "subscriptions")
    return ended


def _subscription(row: sa.Row[Any]) -> Subscription:
    return Subscription(
        row.subscription_id,
        row.target_url,
        tuple(orjson.loads(row.events)),
        row.secret,
        row.key_id,
        None if row.owners is None else tuple(orjson.loads(row.owners)),
        to_moment(row.created_at),
        to_moment(row.ended_at),
        row.ended_why,
    )
