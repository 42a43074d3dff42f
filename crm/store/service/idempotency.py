"""Answers to writes that named an ``Idempotency-Key``: the same request again gets the same answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from crm.errors import VigieError
from crm.store.service.layout import REMEMBERED
from crm.store.service.moments import to_micros


class AlreadyRemembered(VigieError):
    """Another request with the same key was answered in the meantime."""


@dataclass(frozen=True)
class Remembered:
    """What a request was, and its answer.

    Parameters
    ----------
    body_hash : str
        Of the request.
    status : int
    answer : bytes
        UTF-8.
    media_type : str
    """

    body_hash: str
    status: int
    answer: bytes
    media_type: str


def recall(connection: sa.Connection, key_id: str, operation: str, name: str) -> Remembered | None:
    """Give what was answered to an operation under an idempotency key of a caller's key."""
    row = connection.execute(sa.select(REMEMBERED).where(_mine(key_id, operation, name))).first()
    return None if row is None else Remembered(row.body_hash, row.status, row.answer.encode(), row.media_type)


def remember(
    connection: sa.Connection,
    key_id: str,
    operation: str,
    name: str,
    remembered: Remembered,
    now: datetime,
) -> None:
    """Keep an answer, in the transaction of the work that it tells of.

    Raises
    ------
    AlreadyRemembered
        If there is one; the transaction must then be undone.
    """
    row = {
        "key_id": key_id,
        "operation": operation,
        "name": name,
        "body_hash": remembered.body_hash,
        "status": remembered.status,
        "answer": remembered.answer.decode(),
        "media_type": remembered.media_type,
        "at": to_micros(now),
    }
    try:
        connection.execute(REMEMBERED.insert().values(row))
    except sa.exc.IntegrityError:
        raise AlreadyRemembered("the same Idempotency-Key was answered in the meantime") from None


def drop_remembered_before(connection: sa.Connection, moment: datetime) -> int:
    """Let old answers go, and give how many."""
    return connection.execute(REMEMBERED.delete().where(REMEMBERED.c.at < to_micros(moment))).rowcount


def _mine(key_id: str, operation: str, name: str) -> sa.ColumnElement[bool]:
    columns = REMEMBERED.c
    return (columns.key_id == key_id) & (columns.operation == operation) & (columns.name == name)
