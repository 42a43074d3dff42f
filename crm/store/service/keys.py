"""The keys of callers: made, rotated, revoked, and found again by the secret that only the caller has."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson
import sqlalchemy as sa

from crm.errors import InputError, shorten
from crm.store.service.layout import API_KEYS
from crm.store.service.moments import to_micros, to_moment
from crm.store.service.revision import raise_revision

Role = Literal["crm", "rep", "manager", "admin"]

_FORM = re.compile(r"vigie_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class ApiKey:
    """A key, without its secret.

    Parameters
    ----------
    key_id : str
    name : str
        For people.
    role : {"crm", "rep", "manager", "admin"}
    owner_id : str or None
        The rep whose records it sees.
    teams : tuple of str
        The teams whose records it sees.
    created_at : datetime
    last_used_at, revoked_at : datetime or None
    """

    key_id: str
    name: str
    role: Role
    owner_id: str | None
    teams: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def add_key(
    connection: sa.Connection,
    *,
    name: str,
    role: Role,
    owner_id: str | None = None,
    teams: Sequence[str] = (),
    now: datetime,
) -> tuple[ApiKey, str]:
    """Make a key.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    name : str
    role : {"crm", "rep", "manager", "admin"}
    owner_id : str, optional
        Required for a rep.
    teams : sequence of str
        Of a manager; none for all teams.
    now : datetime

    Returns
    -------
    (ApiKey, str)
        The string is the secret, which cannot be shown again.

    Raises
    ------
    InputError
        If the name is empty or taken by a key that is not revoked, or the role and the rest disagree.
    """
    _check(name, role, owner_id, teams)
    taken = sa.select(API_KEYS.c.key_id).where(API_KEYS.c.name == name, API_KEYS.c.revoked_at.is_(None))
    if connection.execute(taken).first() is not None:
        raise InputError(f"a key is called {shorten(name)!r} already; give another name, or revoke that one")
    key_id = os.urandom(6).hex()
    shown, digest = _new_secret(key_id)
    key = ApiKey(key_id, name, role, owner_id, tuple(teams), now, None, None)
    row = {
        "key_id": key_id,
        "name": name,
        "role": role,
        "owner_id": owner_id,
        "teams": orjson.dumps(key.teams).decode(),
        "digest": digest,
        "created_at": to_micros(now),
    }
    connection.execute(API_KEYS.insert().values(row))
    raise_revision(connection, "keys")
    return key, shown


def _check(name: str, role: Role, owner_id: str | None, teams: Sequence[str]) -> None:
    if not name.strip():
        raise InputError("a key needs a name, for people to tell it from others")
    if role == "rep" and not owner_id:
        raise InputError("a rep's key needs the rep, whose records it sees: --owner ID")
    if role != "rep" and owner_id and role != "manager":
        raise InputError(f"a key of role {role} sees all records; --owner is for reps and managers")
    if role != "manager" and teams:
        raise InputError(f"a key of role {role} has no teams; --team is for managers")


def _new_secret(key_id: str) -> tuple[str, str]:
    shown = f"vigie_{key_id}_{base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip('=')}"
    return shown, _digest(shown)


def _digest(shown: str) -> str:
    # The secret is 256 random bits: there is nothing to guess that a slow hash would make dearer.
    return hashlib.sha256(shown.encode()).hexdigest()


def rotate_key(
    connection: sa.Connection, key_id: str, now: datetime, *, keep_old_for: timedelta = timedelta(0)
) -> tuple[ApiKey, str]:
    """Give a key another secret.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    key_id : str
    now : datetime
    keep_old_for : timedelta
        How long the old secret still opens.

    Raises
    ------
    InputError
        If there is no such key, or it is revoked.
    """
    row = _live(connection, key_id)
    shown, digest = _new_secret(row.key_id)
    values: dict[str, Any] = {"digest": digest, "old_digest": None, "old_until": None}
    if keep_old_for > timedelta(0):
        values |= {"old_digest": row.digest, "old_until": to_micros(now + keep_old_for)}
    connection.execute(API_KEYS.update().where(API_KEYS.c.key_id == row.key_id).values(values))
    raise_revision(connection, "keys")
    return _key(row), shown


def revoke_key(connection: sa.Connection, key_id: str, now: datetime) -> ApiKey:
    """End a key.

    Raises
    ------
    InputError
        If there is no such key, or it is revoked already.
    """
    row = _live(connection, key_id)
    ended = API_KEYS.update().where(API_KEYS.c.key_id == row.key_id)
    connection.execute(ended.values(revoked_at=to_micros(now), old_digest=None, old_until=None))
    raise_revision(connection, "keys")
    return replace(_key(row), revoked_at=now)


def _live(connection: sa.Connection, named: str) -> sa.Row[Any]:
    columns = API_KEYS.c
    query = sa.select(API_KEYS).where(sa.or_(columns.key_id == named, columns.name == named))
    found = connection.execute(query.order_by(columns.revoked_at.is_not(None), columns.created_at)).first()
    if found is None:
        raise InputError(f"there is no key {shorten(named)!r}; see: vigie keys list")
    if found.revoked_at is not None:
        raise InputError(f"key {shorten(named)!r} is revoked; make a new one: vigie keys add")
    return found


def all_keys(connection: sa.Connection) -> list[ApiKey]:
    """Give all keys, in the order of their making."""
    query = sa.select(API_KEYS).order_by(API_KEYS.c.created_at, API_KEYS.c.key_id)
    return [_key(row) for row in connection.execute(query)]


def any_key(connection: sa.Connection) -> bool:
    """Say whether a key was ever made, even if it is revoked by now."""
    return connection.execute(sa.select(API_KEYS.c.key_id).limit(1)).first() is not None


def find_key(connection: sa.Connection, presented: str, now: datetime) -> ApiKey | None:
    """Give the key that a secret opens; None where there is none, or it is revoked.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    presented : str
        As the caller sent it.
    now : datetime
    """
    form = _FORM.fullmatch(presented)
    if form is None:
        return None
    found = connection.execute(sa.select(API_KEYS).where(API_KEYS.c.key_id == form[1])).first()
    if found is None or found.revoked_at is not None:
        return None
    digest = _digest(presented)
    is_it = hmac.compare_digest(digest, found.digest)
    if found.old_digest is not None and found.old_until > to_micros(now):
        is_it |= hmac.compare_digest(digest, found.old_digest)
    return _key(found) if is_it else None


def note_use(connection: sa.Connection, last: Mapping[str, datetime]) -> None:
    """Note when keys were used last."""
    for key_id, moment in last.items():
        mine = API_KEYS.update().where(API_KEYS.c.key_id == key_id)
        connection.execute(mine.values(last_used_at=to_micros(moment)))


def _key(row: sa.Row[Any]) -> ApiKey:
    return ApiKey(
        row.key_id,
        row.name,
        row.role,
        row.owner_id,
        tuple(orjson.loads(row.teams)),
        to_moment(row.created_at),
        to_moment(row.last_used_at),
        to_moment(row.revoked_at),
    )
