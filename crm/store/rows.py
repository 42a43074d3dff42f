"""Rows between memory and the store: moments as integers, attributes as one JSON object a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from crm.schema import Kind, Table
from crm.values import as_text, plain

AttributeKind = Literal["number", "text"]

_STORED: dict[Kind, pa.DataType] = {
    "id": pa.large_string(),
    "text": pa.large_string(),
    "category": pa.large_string(),
    "number": pa.float64(),
    "timestamp": pa.int64(),
}


def to_rows(
    table: Table, frame: pd.DataFrame, kinds: Mapping[str, AttributeKind], position: int, load_id: int
) -> pa.Table:
    """Give a valid frame as it is stored.

    Parameters
    ----------
    table : Table
    frame : DataFrame, shape (n_rows, n_columns)
    kinds : mapping of str to {"number", "text"}
        Of the attributes, as the whole store has them.
    position : int
        Of the first row.
    load_id : int
    """
    n_rows = len(frame)
    rows: dict[str, pa.Array] = {
        "position": pa.array(np.arange(position, position + n_rows, dtype="int64")),
        "load_id": pa.array(np.full(n_rows, load_id, dtype="int64")),
    }
    for column in table.columns:
        values = frame[column.name]
        plain_values = values.dt.tz_convert(None).to_numpy() if column.kind == "timestamp" else values
        rows[column.name] = pa.array(plain_values, from_pandas=True).cast(_STORED[column.kind])
    if table.open_ended:
        names = [str(name) for name in frame.columns if str(name) not in set(table.names)]
        rows["attributes"] = _to_json(frame[sorted(names)], kinds)
    return pa.table(rows)


def from_rows(table: Table, rows: pa.Table, kinds: Mapping[str, AttributeKind]) -> pd.DataFrame:
    """Give stored rows as a valid frame, the attributes as columns in the order of ``kinds``."""
    columns: dict[str, pd.Series] = {}
    for column in table.columns:
        values = rows.column(column.name).cast(_STORED[column.kind])
        if column.kind == "timestamp":
            values = values.cast(pa.timestamp("us", tz="UTC"))
        columns[column.name] = values.to_pandas()
    if table.open_ended and kinds:
        columns |= _from_json(rows.column("attributes"), kinds)
    return pd.DataFrame(columns)


def _to_json(frame: pd.DataFrame, kinds: Mapping[str, AttributeKind]) -> pa.Array:
    """Give each row's attributes as a JSON object without its missing values, names in order."""
    text = pa.large_string()
    members = [pa.array([""] * len(frame), text)]
    for name in frame.columns:
        values = as_text(frame[name]) if kinds[str(name)] == "text" else frame[name]
        codes, levels = pd.factorize(values)
        label = "," + orjson.dumps(str(name)).decode() + ":"
        texts = pa.array([label + orjson.dumps(level).decode() for level in levels.tolist()], text)
        members.append(texts.take(pa.array(codes, mask=codes < 0)).fill_null(""))
    nothing = pa.scalar("", text)
    inside = pc.utf8_ltrim(pc.binary_join_element_wise(*members, nothing), ",")
    return pc.binary_join_element_wise(pa.scalar("{", text), inside, pa.scalar("}", text), nothing)


def _from_json(texts: pa.ChunkedArray, kinds: Mapping[str, AttributeKind]) -> dict[str, pd.Series]:
    values: dict[str, list[pd.Series]] = {name: [] for name in kinds}
    # A chunk at a time, for the parsed objects are many times larger than the columns.
    for chunk in texts.chunks:
        objects = orjson.loads(b"[" + ",".join(chunk.to_pylist()).encode() + b"]")
        for name, kind in kinds.items():
            values[name].append(_column([found.get(name) for found in objects], kind))
    return {
        name: pd.concat(parts, ignore_index=True) if parts else _column([], kinds[name])
        for name, parts in values.items()
    }


def _column(values: list[object], kind: AttributeKind) -> pd.Series:
    if kind == "number":
        return pd.Series(values, dtype="float64")
    # An attribute that was a number in earlier loads and is text now has both in the store.
    return pd.Series([v if v is None or isinstance(v, str) else plain(v) for v in values], dtype="str")
