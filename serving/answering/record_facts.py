"""What lists show of records beside their scores: names, amounts, the last contact; read by id."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import sqlalchemy as sa

from crm.moments import in_micros
from crm.store.layout import STORED

#: Attributes that name a lead or deal, the first that is there.
NAMES: Final = ("name", "full_name", "title", "company", "company_name")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID_COLUMNS = {"lead": "lead_id", "deal": "deal_id"}
_SHOWN = ("account_id", "owner_id", "source", "stage", "outcome")
_MOMENTS = ("created_at", "closed_at", "expected_close_at")


@dataclass(frozen=True)
class Facts:
    """What the CRM says of one record now.

    Parameters
    ----------
    id : str
    name, account_id, account_name, owner_id, owner_name, team, source, stage, currency, outcome : str or None
    amount : float or None
    created_at, closed_at, expected_close_at : datetime or None
    """

    id: str
    name: str | None
    account_id: str | None
    account_name: str | None
    owner_id: str | None
    owner_name: str | None
    team: str | None
    source: str | None
    stage: str | None
    outcome: str | None
    amount: float | None
    currency: str | None
    created_at: datetime | None
    closed_at: datetime | None
    expected_close_at: datetime | None


@dataclass(frozen=True)
class LastContact:
    """What somebody of us last did with a record."""

    at: datetime
    kind: str
    channel: str | None


def facts_of(connection: sa.Connection, entity: str, ids: Collection[str]) -> dict[str, Facts]:
    """Give what the store says of records, by id; those that it does not have are not there.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    entity : {"lead", "deal"}
    ids : collection of str
        A page's, not thousands.
    """
    if not ids:
        return {}
    table, accounts, users = STORED[f"{entity}s"], STORED["accounts"], STORED["users"]
    key = table.c[_ID_COLUMNS[entity]]
    own = [name for name in (*_SHOWN, *_MOMENTS, "amount", "currency", "attributes") if name in table.c]
    query = (
        sa.select(
            key.label("id"),
            *(table.c[name] for name in own),
            accounts.c.name.label("account_name"),
            users.c.name.label("owner_name"),
            users.c.team.label("team"),
        )
        .select_from(
            table.outerjoin(accounts, accounts.c.account_id == table.c.account_id).outerjoin(
                users, users.c.user_id == table.c.owner_id
            )
        )
        .where(key.in_(list(ids)))
    )
    return {row["id"]: _facts(row) for row in connection.execute(query).mappings()}


def last_contacts(
    connection: sa.Connection, entity: str, ids: Collection[str], now: datetime
) -> dict[str, LastContact]:
    """Give the last thing that we did with each record: done, out, or by a rep where no direction is given.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    entity : {"lead", "deal"}
    ids : collection of str
    now : datetime
        What is dated later is no contact yet.
    """
    if not ids:
        return {}
    done = STORED["activities"].c
    key = done[_ID_COLUMNS[entity]]
    is_ours = sa.or_(done.direction == "out", sa.and_(done.direction.is_(None), done.user_id.is_not(None)))
    until = in_micros(now)
    query = sa.select(key, done.occurred_at, done.kind, done.channel).where(
        key.in_(list(ids)),
        is_ours,
        done.status == "done",
        done.occurred_at <= until,
        done.recorded_at <= until,
    )
    last: dict[str, tuple[int, str, str | None]] = {}
    for record_id, at, kind, channel in connection.execute(query):
        found = last.get(record_id)
        if found is None or (at, kind) > found[:2]:
            last[record_id] = (at, kind, channel)
    return {
        record_id: LastContact(_moment(at), kind, channel) for record_id, (at, kind, channel) in last.items()
    }


def _facts(row: Any) -> Facts:
    attributes = orjson.loads(row["attributes"])
    given = next((str(attributes[name]) for name in NAMES if attributes.get(name)), None)
    moments = {name: None if row.get(name) is None else _moment(row[name]) for name in _MOMENTS}
    return Facts(
        id=row["id"],
        name=given if given is not None else row["account_name"],
        account_id=row["account_id"],
        account_name=row["account_name"],
        owner_id=row["owner_id"],
        owner_name=row["owner_name"],
        team=row["team"],
        source=row["source"],
        stage=row["stage"],
        outcome=row["outcome"],
        amount=row.get("amount"),
        currency=row.get("currency"),
        **moments,
    )


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
