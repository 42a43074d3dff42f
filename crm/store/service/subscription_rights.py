"""What a subscription may be told: what its key may see now, whatever it saw when it was made."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import orjson
import sqlalchemy as sa

from crm.store.layout import STORED
from crm.store.service.layout import API_KEYS
from crm.store.service.subscriptions import Subscription

#: The records of these reps; None for all.
Owners = Collection[str] | None


def owners_now(connection: sa.Connection, subscriptions: Sequence[Subscription]) -> Mapping[str, Owners]:
    """Give whose records each subscription may be told of, by its id.

    One of a manager follows the teams as the store's users are now; one of a revoked key is told nothing.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    subscriptions : sequence of Subscription
    """
    keys = _keys(connection, subscriptions)
    teams = {team for row in keys.values() for team in orjson.loads(row.teams)}
    members: dict[str, set[str]] = {team: set() for team in teams}
    if teams:
        users = STORED["users"].c
        for name, team in connection.execute(
            sa.select(users.user_id, users.team).where(users.team.in_(sorted(teams)))
        ):
            members[team].add(name)
    return {one.subscription_id: _owners(one, keys.get(one.key_id or ""), members) for one in subscriptions}


def without_key(connection: sa.Connection, subscriptions: Sequence[Subscription]) -> list[Subscription]:
    """Give the subscriptions whose key was revoked."""
    keys = _keys(connection, subscriptions)
    return [
        one
        for one in subscriptions
        if (row := keys.get(one.key_id or "")) is not None and row.revoked_at is not None
    ]


def _keys(
    connection: sa.Connection, subscriptions: Sequence[Subscription]
) -> dict[str, sa.Row[tuple[object]]]:
    ids = sorted({one.key_id for one in subscriptions if one.key_id is not None})
    if not ids:
        return {}
    found = connection.execute(sa.select(API_KEYS).where(API_KEYS.c.key_id.in_(ids)))
    return {row.key_id: row for row in found}


def _owners(
    one: Subscription, key: sa.Row[tuple[object]] | None, members: Mapping[str, Collection[str]]
) -> Owners:
    if key is None:
        return one.owners
    if key.revoked_at is not None:
        return ()
    teams = orjson.loads(key.teams)
    if one.owners is None or not teams:
        return one.owners
    own = set() if key.owner_id is None else {key.owner_id}
    return own.union(*(members[team] for team in teams))
