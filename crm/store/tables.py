"""One canonical table in the store: merged into by key, and read whole."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import sqlalchemy as sa

from crm.schema import Table
from crm.store.bulk import Transaction
from crm.store.layout import ATTRIBUTES, STORED
from crm.store.reports import RowCounts
from crm.store.rows import AttributeKind, from_rows, to_rows
from crm.validation import validate
from crm.values import as_text


def load_table(
    transaction: Transaction, table: Table, frame: pd.DataFrame, source: str, load_id: int
) -> RowCounts:
    """Merge a frame into its table by key, and say what that did; see :meth:`crm.store.Store.load`."""
    kinds = _attribute_kinds(transaction, table)
    absent = [name for name in (*table.names, *kinds) if name not in frame.columns]
    if absent and table.key in frame.columns:
        frame = _with_stored(frame, read_table(transaction, table), table.key, absent)
    frame = validate(table, frame, f"{source}: {table.name}")
    if table.open_ended:
        kinds = _enter_attributes(transaction, table, frame, kinds)
    stored = STORED[table.name]
    n_before, last = transaction.fetch(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(stored.c.position), 0)).select_from(stored)
    )[0]
    transaction.merge(stored, table.key, to_rows(table, frame, kinds, int(last) + 1, load_id))
    n_after = transaction.fetch(sa.select(sa.func.count()).select_from(stored))[0][0]
    n_written = transaction.fetch(
        sa.select(sa.func.count()).select_from(stored).where(stored.c.load_id == load_id)
    )[0][0]
    n_new = int(n_after) - int(n_before)
    return RowCounts(new=n_new, changed=int(n_written) - n_new, unchanged=len(frame) - int(n_written))


def _with_stored(frame: pd.DataFrame, stored: pd.DataFrame, key: str, absent: list[str]) -> pd.DataFrame:
    """Give the frame with the stored values of the columns that it does not have."""
    known = stored.set_index(key).reindex(as_text(frame[key])).set_index(frame.index)
    return frame.assign(**{name: known[name] for name in absent if known[name].notna().any()})


def _attribute_kinds(transaction: Transaction, table: Table) -> dict[str, AttributeKind]:
    if not table.open_ended:
        return {}
    query = sa.select(ATTRIBUTES.c.name, ATTRIBUTES.c.kind).where(ATTRIBUTES.c.table_name == table.name)
    return dict(transaction.fetch(query.order_by(ATTRIBUTES.c.position)))


def _enter_attributes(
    transaction: Transaction, table: Table, frame: pd.DataFrame, kinds: Mapping[str, AttributeKind]
) -> dict[str, AttributeKind]:
    """Note new attributes, and numbers that turned out to be text; give the kinds of all."""
    merged = dict(kinds)
    for name in (str(name) for name in frame.columns if name not in set(table.names)):
        kind: AttributeKind = "number" if frame[name].dtype == "float64" else "text"
        if name not in merged:
            values = {"table_name": table.name, "name": name, "kind": kind, "position": len(merged)}
            transaction.run(ATTRIBUTES.insert().values(values))
            merged[name] = kind
        elif kind == "text" and merged[name] == "number":
            this = (ATTRIBUTES.c.table_name == table.name) & (ATTRIBUTES.c.name == name)
            transaction.run(ATTRIBUTES.update().where(this).values(kind="text"))
            merged[name] = "text"
    return merged


def read_table(transaction: Transaction, table: Table) -> pd.DataFrame:
    """Give a table whole, as a valid frame."""
    return from_rows(table, transaction.read(STORED[table.name]), _attribute_kinds(transaction, table))
