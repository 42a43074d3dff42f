"""One record as canonical rows, whether it was sent, is stored, or both; and records as the tables of a call.

Moments are whole microseconds. A row's own ids are those of the CRM, but for a record that was sent alone: it
gets a name that no CRM can give, so that nothing of it is mistaken for another's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from crm.moments import DAY, in_micros
from crm.schema import TABLE_OF
from features.events import NO_EVENT

Row = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class RecordRows:
    """The rows that the features of one record are made of.

    Parameters
    ----------
    record_id : str
        The CRM's.
    name : str
        What its rows call it.
    record : dict
        Its own row, attributes among the columns.
    activities, changes : list of dict
        Its own.
    others : dict of str to list of dict
        Rows of accounts, leads and deals it is linked to, and what belongs to those, by table.
    late : int
        How many of its own rows were not known yet.
    """

    record_id: str
    name: str
    record: Row
    activities: list[Row]
    changes: list[Row]
    others: dict[str, list[Row]] = field(default_factory=dict)
    late: int = 0


def sent_rows(sent: Row, entity: str, name: str, as_of: int) -> RecordRows:
    """Give a record that was sent as rows.

    Parameters
    ----------
    sent : dict
        As :mod:`serving.answering.schemas` types it; its activities and changes are changed in place.
    entity : {"lead", "deal"}
    name : str
    as_of : int
        In microseconds.
    """
    key = f"{entity}_id"
    late = 0
    activities = sent.get("activities") or []
    for row in activities:
        row[key] = name
        late += _known(row, "occurred_at") >= as_of
    changes = sent.get("changes") or []
    for row in changes:
        row["entity"], row["record_id"] = entity, name
        late += _known(row, "changed_at") >= as_of
    attributes = sent.get("attributes")
    record = {**attributes, **sent} if attributes else dict(sent)
    record[key] = name
    if record.get("recorded_at") is None and "created_at" in record:
        record["recorded_at"] = record["created_at"]
    rows = RecordRows(sent[key], name, record, activities, changes, late=late)
    account = sent.get("account")
    if account is not None:
        record["account_id"] = account["account_id"]
        rows.others["accounts"] = [_account(account, record)]
    return rows


def _known(row: Row, happened: str) -> int:
    """Put a row's moments into microseconds, and say when it is known to have happened."""
    since = row[happened] - _EPOCH
    moment: int = since.days * DAY + since.seconds * 1_000_000 + since.microseconds
    recorded = row.get("recorded_at")
    if recorded is None or recorded == row[happened]:
        row[happened] = row["recorded_at"] = moment
        return moment
    since = recorded - _EPOCH
    known: int = since.days * DAY + since.seconds * 1_000_000 + since.microseconds
    row[happened], row["recorded_at"] = moment, known
    return known if known > moment else moment


def _account(account: Row, record: Row) -> Row:
    row: Row = {**(account.get("attributes") or {}), **account}
    row.pop("attributes", None)
    if row.get("recorded_at") is None:
        row["recorded_at"] = row.get("created_at") or record.get("recorded_at")
    return row


def laid_on(stored: RecordRows, sent: Row, entity: str, as_of: int) -> RecordRows:
    """Lay what was sent of a record on what is stored of it.

    A field that is given takes the place of the stored one, from just before ``as_of`` on, unless a change
    that was sent says since when. An activity or change with the id of a stored one takes its place; every
    other is added.

    Parameters
    ----------
    stored : RecordRows
    sent : dict
        Without ``created_at`` where the stored one counts.
    entity : {"lead", "deal"}
    as_of : int
        In microseconds.
    """
    told = {row["field"] for row in sent.get("changes") or ()}
    new = sent_rows(sent, entity, stored.name, as_of)
    kept = {name: _plain(value) for name, value in new.record.items() if name not in _PARTS}
    if sent.get("recorded_at") is None:
        kept.pop("recorded_at", None)
    record = {**stored.record, **kept}
    told |= {f"{entity}_id", *NO_EVENT}
    moved = [
        {
            "change_id": f"\0{name}",
            "entity": entity,
            "record_id": stored.name,
            "field": name,
            "old_value": _text(stored.record.get(name), name, entity),
            "new_value": _text(value, name, entity),
            "changed_at": as_of - 1,
            "recorded_at": as_of - 1,
        }
        for name, value in kept.items()
        if name not in told and _text(value, name, entity) != _text(stored.record.get(name), name, entity)
    ]
    others = {name: list(rows) for name, rows in stored.others.items()}
    for account in new.others.get("accounts", ()):
        if account["recorded_at"] is None:
            account["recorded_at"] = record["recorded_at"]
        rest = [row for row in others.get("accounts", ()) if row["account_id"] != account["account_id"]]
        others["accounts"] = [*rest, account]
    activities = _merged(stored.activities, new.activities, "activity_id")
    changes = _merged(stored.changes, new.changes, "change_id")
    late = sum(max(row["occurred_at"], row["recorded_at"]) >= as_of for row in activities)
    late += sum(max(row["changed_at"], row["recorded_at"]) >= as_of for row in changes)
    return RecordRows(stored.record_id, stored.name, record, activities, [*changes, *moved], others, late)


_PARTS = ("activities", "changes", "attributes", "account")


def _merged(stored: list[Row], sent: list[Row], key: str) -> list[Row]:
    replaced = {row[key] for row in sent if row.get(key) is not None}
    return [*(row for row in stored if row.get(key) not in replaced), *sent]


def _plain(value: Any) -> Any:
    return in_micros(value) if isinstance(value, datetime) else value


def _text(value: Any, name: str, entity: str) -> str | None:
    """Give a value as a change tells it: a moment in ISO 8601, a number as a plain decimal."""
    if value is None or value != value:
        return None
    table = TABLE_OF[entity]
    if name in table.names and table.column(name).kind == "timestamp":
        moment = datetime.fromtimestamp(value // 1_000_000, UTC).replace(microsecond=value % 1_000_000)
        return moment.isoformat()
    if isinstance(value, float):
        return str(int(value)) if value == int(value) else repr(value)
    return str(value)


class Tables:
    """The rows of many records as the tables of one call, none of them twice.

    Attributes
    ----------
    names, record_ids : list of str
        Of the records, in the order in which they came.
    """

    def __init__(self, entity: str) -> None:
        self._main = TABLE_OF[entity].name
        self._keys = {name: TABLE_OF[one].key for one, name in _OTHERS.items()}
        self._seen: dict[tuple[str, str], Row] = {}
        self.names: list[str] = []
        self.record_ids: list[str] = []
        self.rows: dict[str, list[Row]] = {name: [] for name in (*_OTHERS.values(), "activities", "changes")}

    def add(self, rows: RecordRows) -> bool:
        """Add a record; False, and nothing is added, where another says something else of the same ids."""
        mine = (self._main, rows.name)
        if mine in self._seen:
            return False
        for table, others in rows.others.items():
            if table in self._keys:
                for row in others:
                    found = self._seen.get((table, row[self._keys[table]]))
                    if found is not None and found != row:
                        return False
        self._seen[mine] = rows.record
        self.names.append(rows.name)
        self.record_ids.append(rows.record_id)
        self.rows[self._main].append(rows.record)
        self.rows["activities"] += rows.activities
        self.rows["changes"] += rows.changes
        for table, others in rows.others.items():
            self.rows[table] += self._new(table, others)
        return True

    def _new(self, table: str, rows: list[Row]) -> Iterable[Row]:
        """Give the rows that no record before brought along."""
        key = self._keys.get(table)
        if key is None:
            key = {"activities": "activity_id", "changes": "change_id"}[table]
        for row in rows:
            known = (table, row[key])
            if known not in self._seen:
                self._seen[known] = row
                yield row


_OTHERS = {"lead": "leads", "deal": "deals", "account": "accounts"}
