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

#: What each source says about the history as a whole, and the load that said it first so.
HISTORY_FACTS = sa.Table(
    "history_facts",
    METADATA,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("load_id", sa.BigInteger, nullable=False),
)

#: The ledger of forecasts: one row a forecast of one period, in the order in which they were kept.
FORECAST_ENTRIES = sa.Table(
    "forecast_entries",
    METADATA,
    sa.Column("position", ROW_NUMBER, primary_key=True, autoincrement=False),
    sa.Column("entry_id", sa.Text, unique=True, nullable=False),
    sa.Column("format", sa.BigInteger, nullable=False),
    sa.Column("made_at", sa.BigInteger, nullable=False),
    sa.Column("as_of", sa.BigInteger, nullable=False),
    sa.Column("period_start", sa.BigInteger, nullable=False),
    sa.Column("period_end", sa.BigInteger, nullable=False),
    sa.Column("period", sa.Text, nullable=False),
    sa.Column("grouped_by", sa.Text),
    sa.Column("level", sa.Double, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("n_deals", sa.BigInteger, nullable=False),
)


def _place_in_entry() -> tuple[sa.Column[int], sa.Column[int]]:
    """Give the key of a part: the position of its entry, and its number there."""
    return (
        sa.Column("entry", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    )


#: The figures of an entry, one row a group; money in whole cents of the entry's currency.
FORECAST_ROWS = sa.Table(
    "forecast_rows",
    METADATA,
    *_place_in_entry(),
    sa.Column("group_name", sa.Text, nullable=False),
    sa.Column("closed_cents", sa.BigInteger, nullable=False),
    sa.Column("open_cents", sa.BigInteger, nullable=False),
    sa.Column("new_cents", sa.BigInteger, nullable=False),
    sa.Column("mean_cents", sa.BigInteger, nullable=False),
    sa.Column("median_cents", sa.BigInteger, nullable=False),
    sa.Column("low_cents", sa.BigInteger, nullable=False),
    sa.Column("high_cents", sa.BigInteger, nullable=False),
    sa.Column("stage_weighted_cents", sa.BigInteger),
    sa.Column("run_rate_cents", sa.BigInteger),
    sa.Column("series_cents", sa.BigInteger),
    sa.Column("quota_cents", sa.BigInteger),
    sa.Column("commit_cents", sa.BigInteger),
    sa.Column("quantiles", sa.Text, nullable=False),
)

#: The deals behind an entry. They name persons, so they are apart from its figures.
FORECAST_DEALS = sa.Table(
    "forecast_deals",
    METADATA,
    *_place_in_entry(),
    sa.Column("deal_id", sa.Text, nullable=False),
    sa.Column("group_name", sa.Text, nullable=False),
    sa.Column("owner_id", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("stage", sa.Text),
    sa.Column("amount", sa.Double),
    sa.Column("expected_amount", sa.Double),
    sa.Column("win_probability", sa.Double),
    sa.Column("in_period", sa.Double),
    sa.Column("mean_cents", sa.BigInteger, nullable=False),
)
