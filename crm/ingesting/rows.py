"""Single rows of the store's tables: read by id, inserted, written over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from crm.ingesting.states import FOUND, Known, Told, found_by_import
from crm.ingesting.values import Value
from crm.schema import TABLE_OF, Kind
from crm.store.layout import ATTRIBUTES, LOADS, STORED
from crm.store.service.layout import STATED

#: Ids of one query; SQLite takes 32,766 parameters at most.
_PIECE = 2000


def pieces(ids: Iterable[str]) -> Iterator[list[str]]:
    """Give ids in the lists that one query takes, none twice."""
    some = list(dict.fromkeys(ids))
    for first in range(0, len(some), _PIECE):
        yield some[first : first + _PIECE]


def rows_of(connection: sa.Connection, table: str, column: str, ids: Iterable[str]) -> list[dict[str, Any]]:
    """Give the rows of a canonical table whose column holds one of these ids."""
    stored = STORED[table]
    return [
        dict(row)
        for some in pieces(ids)
        for row in connection.execute(sa.select(stored).where(stored.c[column].in_(some))).mappings()
    ]


def ids_there(connection: sa.Connection, table: str, column: str, ids: Iterable[str]) -> set[str]:
    """Give those of the ids that a column of a canonical table holds."""
    found = STORED[table].c[column]
    return {
        name
        for some in pieces(ids)
        for name in connection.execute(sa.select(found).where(found.in_(some))).scalars()
    }


def attribute_kinds(connection: sa.Connection, table: str) -> dict[str, Kind]:
    """Give the kinds of a table's attributes, in their order."""
    query = sa.select(ATTRIBUTES.c.name, ATTRIBUTES.c.kind).where(ATTRIBUTES.c.table_name == table)
    return {row.name: row.kind for row in connection.execute(query.order_by(ATTRIBUTES.c.position))}


def enter_attributes(connection: sa.Connection, table: str, kinds: Mapping[str, Kind], first: int) -> None:
    """Note attributes that are new to the store, the first of them in that place."""
    rows = [
        {"table_name": table, "name": name, "kind": kind, "position": first + number}
        for number, (name, kind) in enumerate(kinds.items())
    ]
    if rows:
        connection.execute(ATTRIBUTES.insert(), rows)


def read_known(
    connection: sa.Connection, entity: str, ids: Sequence[str], kinds: Mapping[str, Kind], learned: int
) -> dict[str, Known]:
    """Give what the store knows of some leads, deals or accounts, by id.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    entity : {"lead", "deal", "account"}
    ids : sequence of str
        Also of records that the store does not have.
    kinds : mapping of str to Kind
        Of the attributes; what the batch brings is added to it meanwhile.
    learned : int
    """
    table = TABLE_OF[entity]
    known = {name: Known(entity, name, table, kinds, None, learned) for name in ids}
    rows = rows_of(connection, table.name, table.key, ids)
    exports = _exports(connection, {row["load_id"] for row in rows})
    for row in rows:
        one = known[row[table.key]]
        one.row = {name: row[name] for name in table.names}
        one.attributes = orjson.loads(row["attributes"])
        one.exported_at = exports.get(row["load_id"])
    _read_told(connection, entity, known)
    for name, state in states_of(connection, entity, ids).items():
        known[name].stated = state
    return known


def _exports(connection: sa.Connection, load_ids: set[int]) -> dict[int, int]:
    if not load_ids:
        return {}
    query = sa.select(LOADS.c.load_id, LOADS.c.exported_at).where(
        LOADS.c.load_id.in_(sorted(load_ids)), LOADS.c.exported_at.is_not(None)
    )
    return {row.load_id: row.exported_at for row in connection.execute(query)}


def _read_told(connection: sa.Connection, entity: str, known: Mapping[str, Known]) -> None:
    """Find the last change of each field in the order in which changes were known, and the latest moment."""
    changes = STORED["changes"].c
    last: dict[tuple[str, str], tuple[tuple[int, int, int], Any]] = {}
    since: dict[tuple[str, str], int] = {}
    columns = (
        changes.record_id,
        changes.field,
        changes.change_id,
        changes.old_value,
        changes.new_value,
        changes.changed_at,
        changes.recorded_at,
        changes.position,
    )
    for some in pieces(known):
        query = sa.select(*columns).where(changes.entity == entity, changes.record_id.in_(some))
        for row in connection.execute(query):
            key = (row.record_id, row.field)
            order = (max(row.recorded_at, row.changed_at), row.changed_at, row.position)
            found = last.get(key)
            if found is None or order > found[0]:
                last[key] = (order, row)
            since[key] = max(row.changed_at, since.get(key, row.changed_at))
    for (record_id, field), (_, row) in last.items():
        found_id = found_by_import(entity, record_id, field, row.changed_at)
        is_found = row.change_id == found_id or row.change_id.startswith(FOUND)
        # One that came late and said the same does not take back how long that is known to be so.
        at = since[record_id, field]
        known[record_id].told[field] = Told(row.new_value, at, is_found, row.old_value)


def states_of(connection: sa.Connection, entity: str, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Give what :data:`STATED` holds of some records, by id."""
    return {
        record_id: orjson.loads(state)
        for some in pieces(ids)
        for record_id, state in connection.execute(
            sa.select(STATED.c.record_id, STATED.c.state).where(
                STATED.c.entity == entity, STATED.c.record_id.in_(some)
            )
        )
    }


def keep_states(connection: sa.Connection, entity: str, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what :data:`STATED` holds of some records."""
    there = states_of(connection, entity, states)
    rows = [
        {"b_entity": entity, "b_record": name, "b_state": orjson.dumps(state).decode()}
        for name, state in states.items()
    ]
    new = [row for row in rows if row["b_record"] not in there]
    old = [row for row in rows if row["b_record"] in there]
    if new:
        values: dict[str, Any] = {
            "entity": sa.bindparam("b_entity"),
            "record_id": sa.bindparam("b_record"),
            "state": sa.bindparam("b_state"),
        }
        connection.execute(STATED.insert().values(values), new)
    if old:
        this = (STATED.c.entity == sa.bindparam("b_entity")) & (
            STATED.c.record_id == sa.bindparam("b_record")
        )
        connection.execute(STATED.update().where(this).values(state=sa.bindparam("b_state")), old)


class Writer:
    """Writes rows of one ingest: new ones behind those there.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    load_id : int
    """

    def __init__(self, connection: sa.Connection, load_id: int) -> None:
        self._connection = connection
        self._load_id = load_id

    def add(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, in their order."""
        if not rows:
            return
        stored = STORED[table]
        last = self._connection.execute(
            sa.select(sa.func.coalesce(sa.func.max(stored.c.position), 0))
        ).scalar_one()
        names = [column.name for column in stored.columns]
        numbered = [
            {**dict.fromkeys(names), **row, "position": last + number, "load_id": self._load_id}
            for number, row in enumerate(rows, 1)
        ]
        self._connection.execute(stored.insert(), numbered)

    def write_over(self, table: str, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write over rows by their key; all give the same columns."""
        if not rows:
            return
        stored = STORED[table]
        names = [name for name in rows[0] if name != key]
        values: dict[str, Any] = {name: sa.bindparam(f"b_{name}") for name in names}
        statement = stored.update().where(stored.c[key] == sa.bindparam(f"b_{key}"))
        self._connection.execute(
            statement.values(load_id=self._load_id, **values),
            [{f"b_{name}": value for name, value in row.items()} for row in rows],
        )


def stored_record(known: Known) -> dict[str, Any]:
    """Give a lead, deal or account as its row is stored.

    Raises
    ------
    ValueError
        If it has no row.
    """
    if known.row is None:
        raise ValueError(f"{known.entity} {known.record_id} has no row")
    return {**known.row, "attributes": attributes_text(known.attributes)}


def attributes_text(attributes: Mapping[str, Value]) -> str:
    """Give attributes as one JSON object, names in order, without those that are missing.

    Examples
    --------
    >>> attributes_text({"b": "x", "a": 1.0, "c": None})
    '{"a":1.0,"b":"x"}'
    """
    present = {name: attributes[name] for name in sorted(attributes) if attributes[name] is not None}
    return orjson.dumps(present).decode()
