"""The tables of the store as they are in its newest schema, derived from the canonical tables.

Every moment is a BIGINT of microseconds since 1970 in UTC, a number a double, everything else TEXT. The
attributes of a lead, deal or account are one JSON object of its row; ``attributes`` lists their names. A
row's ``position`` keeps the order in which rows came, its ``load_id`` names the load that last wrote it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from crm.schema import TABLES, Kind, Table

METADATA = sa.MetaData()

#: SQLite makes only an INTEGER primary key the row's own number.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_TYPES: dict[Kind, type[TypeEngine[Any]]] = {
    "id": sa.Text,
    "text": sa.Text,
    "category": sa.Text,
    "number": sa.Double,
    "timestamp": sa.BigInteger,
}


def _lay_out(table: Table) -> sa.Table:
    columns = [
        sa.Column(c.name, _TYPES[c.kind], nullable=not c.required, unique=c.name == table.key or None)
        for c in table.columns
    ]
    attributes = [sa.Column("attributes", sa.Text, nullable=False)] if table.open_ended else []
    return sa.Table(
        table.name,
        METADATA,
        sa.Column("position", ROW_NUMBER, primary_key=True, autoincrement=False),
        sa.Column("load_id", sa.BigInteger, nullable=False),
        *columns,
        *attributes,
    )


#: The stored form of each canonical table.
STORED: dict[str, sa.Table] = {name: _lay_out(table) for name, table in TABLES.items()}

#: The names, order and kind ("number" or "text") of the attributes of open-ended tables.
ATTRIBUTES = sa.Table(
    "attributes",
    METADATA,
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
)

#: One row a load that changed something, or saw an export for the first time.
LOADS = sa.Table(
    "loads",
    METADATA,
    sa.Column("load_id", ROW_NUMBER, primary_key=True, autoincrement=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("exported_at", sa.BigInteger),
    sa.Column("mapping_digest", sa.Text, nullable=False),
    sa.Column("loaded_at", sa.BigInteger),
    sa.Column("counts", sa.Text, nullable=False),
)
