"""The ledger of forecasts in the store: entries are added and read, never changed or taken away.

An entry's row names the format in which its figures lie. Every format that was ever written has its reader
here for good; an entry of a format that has none was kept by a newer Vigie and is refused, because leaving it
out would make a track record look better or worse than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from crm.errors import StoreError, shorten
from crm.ledger import DEAL_DTYPES, FORMAT, QUANTILE_LEVELS, ROW_DTYPES, LedgerEntry
from crm.moments import in_micros
from crm.store.bulk import Transaction
from crm.store.layout import FORECAST_DEALS, FORECAST_ENTRIES, FORECAST_ROWS

#: Entries whose rows are read in one query.
_AT_ONCE = 200
_STORED_AS = {"group": "group_name"}
_TEXTS = pa.large_string()


def keep_entry(transaction: Transaction, entry: LedgerEntry) -> bool:
    """Add an entry, unless it is there; say whether it is new. The caller commits."""
    deals = entry.whole_deals()
    # The first thing written, so that a second writer waits from here on.
    transaction.lock(FORECAST_ENTRIES)
    transaction.run(_insert_unless_there(entry))
    same = FORECAST_ENTRIES.c.entry_id == entry.entry_id
    position = int(transaction.fetch(sa.select(FORECAST_ENTRIES.c.position).where(same))[0][0])
    of_entry = sa.select(sa.func.count()).select_from(FORECAST_ROWS).where(FORECAST_ROWS.c.entry == position)
    if transaction.fetch(of_entry)[0][0]:
        return False
    transaction.append(FORECAST_ROWS, _rows_to_store(entry, position))
    if len(deals):
        transaction.append(FORECAST_DEALS, _to_store(deals, position))
    return True


def read_entries(
    transaction: Transaction, conditions: Collection[sa.ColumnElement[bool]], *, with_deals: bool
) -> list[LedgerEntry]:
    """Give the entries that meet all conditions, by period, then as_of, then in the order of their keeping.

    Raises
    ------
    StoreError
        Where one was kept by a newer Vigie, or is damaged.
    """
    columns = FORECAST_ENTRIES.c
    query = sa.select(FORECAST_ENTRIES).where(sa.true(), *conditions)
    order = (columns.period_start, columns.period_end, columns.as_of, columns.position)
    names = list(columns.keys())
    found = [dict(zip(names, row, strict=True)) for row in transaction.fetch(query.order_by(*order))]
    for header in found:
        _reader(header)
    rows = dict(_read_rows(transaction, [header["position"] for header in found]))
    entries = []
    for header in found:
        if header["position"] not in rows:
            raise StoreError(
                f"forecast {header['entry_id'][:12]} has no figures in the ledger: the store is damaged; "
                "put back a copy"
            )
        deals = _read_deals(transaction, header["position"]) if with_deals else None
        entries.append(_reader(header)(header, rows[header["position"]], deals))
    return entries


def _read_first_format(header: dict[str, Any], rows: pd.DataFrame, deals: pd.DataFrame | None) -> LedgerEntry:
    """Read an entry of format 1: 99 quantiles of each group's revenue as a JSON list of cents."""
    quantiles = np.array([orjson.loads(text) for text in rows["quantiles"]], dtype="int64")
    return LedgerEntry(
        made_at=_moment(header["made_at"]),
        as_of=_moment(header["as_of"]),
        period_start=_moment(header["period_start"]),
        period_end=_moment(header["period_end"]),
        period=header["period"],
        by=header["grouped_by"],
        level=header["level"],
        currency=header["currency"],
        model_version=header["model_version"],
        seed=header["seed"],
        rows=rows[list(ROW_DTYPES)].reset_index(drop=True),
        quantiles=quantiles.reshape(len(rows), len(QUANTILE_LEVELS)),
        deals=deals,
        n_deals=header["n_deals"],
        entry_id=header["entry_id"],
        format=header["format"],
    )


_Reader = Callable[[dict[str, Any], pd.DataFrame, pd.DataFrame | None], LedgerEntry]
#: How entries of each format are read.
READERS: dict[int, _Reader] = {1: _read_first_format}


def _reader(header: dict[str, Any]) -> _Reader:
    if header["format"] not in READERS:
        raise StoreError(
            f"forecast {shorten(header['entry_id'], 12)} was kept by a newer Vigie, in format "
            f"{header['format']} of the ledger; this Vigie reads up to {FORMAT}; upgrade Vigie"
        )
    return READERS[header["format"]]


def _insert_unless_there(entry: LedgerEntry) -> sa.Executable:
    table = FORECAST_ENTRIES
    values: dict[str, object] = {
        "entry_id": entry.entry_id,
        "format": entry.format,
        "made_at": in_micros(entry.made_at),
        "as_of": in_micros(entry.as_of),
        "period_start": in_micros(entry.period_start),
        "period_end": in_micros(entry.period_end),
        "period": entry.period,
        "grouped_by": entry.by,
        "level": entry.level,
        "currency": entry.currency,
        "model_version": entry.model_version,
        "seed": entry.seed,
        "n_deals": entry.n_deals,
    }
    literals = [
        sa.null() if value is None else sa.literal(value, table.c[name].type)
        for name, value in values.items()
    ]
    following = sa.select(sa.func.coalesce(sa.func.max(table.c.position), 0) + 1, *literals)
    # An aggregate gives one row even where WHERE leaves nothing to count; HAVING takes it away.
    is_new = ~sa.exists().where(table.c.entry_id == entry.entry_id).correlate(None)
    return table.insert().from_select(["position", *values], following.having(is_new))


def _rows_to_store(entry: LedgerEntry, position: int) -> pa.Table:
    quantiles = [orjson.dumps(row.tolist()).decode() for row in entry.quantiles]
    return _to_store(entry.rows, position).append_column("quantiles", pa.array(quantiles, _TEXTS))


def _to_store(frame: pd.DataFrame, position: int) -> pa.Table:
    kinds = {"str": _TEXTS, "float64": pa.float64(), "int64": pa.int64(), "Int64": pa.int64()}
    columns = {
        "entry": pa.array(np.full(len(frame), position, dtype="int64")),
        "number": pa.array(np.arange(len(frame), dtype="int64")),
    }
    for name, column in frame.items():
        stored = _STORED_AS.get(str(name), str(name))
        columns[stored] = pa.array(column, from_pandas=True).cast(kinds[str(column.dtype)])
    return pa.table(columns)


def _read_rows(transaction: Transaction, positions: list[int]) -> Iterator[tuple[int, pd.DataFrame]]:
    for first in range(0, len(positions), _AT_ONCE):
        some = positions[first : first + _AT_ONCE]
        query = sa.select(FORECAST_ROWS).where(FORECAST_ROWS.c.entry.in_(some))
        ordered = query.order_by(FORECAST_ROWS.c.entry, FORECAST_ROWS.c.number)
        table = transaction.fetch_table(ordered, FORECAST_ROWS)
        found = _to_memory(table, ROW_DTYPES, "quantiles")
        for position in found["entry"].unique().tolist():
            yield position, found[found["entry"] == position]


def _read_deals(transaction: Transaction, position: int) -> pd.DataFrame:
    table = FORECAST_DEALS
    pieces: list[pa.Table] = []
    last = -1
    while not pieces or pieces[-1].num_rows:
        query = sa.select(table).where(table.c.entry == position, table.c.number > last)
        pieces.append(transaction.fetch_table(query.order_by(table.c.number), table))
        last = pieces[-1].column("number")[-1].as_py() if pieces[-1].num_rows else last
    return _to_memory(pa.concat_tables(pieces), DEAL_DTYPES)[list(DEAL_DTYPES)]


def _to_memory(table: pa.Table, dtypes: dict[str, str], *more: str) -> pd.DataFrame:
    columns = {"entry": table.column("entry").to_pandas()}
    for name in (*dtypes, *more):
        column = table.column(_STORED_AS.get(name, name))
        if dtypes.get(name) == "Int64":
            missing = np.asarray(column.is_null())
            values: NDArray[np.int64] = np.asarray(column.fill_null(0), dtype="int64")
            columns[name] = pd.Series(pd.arrays.IntegerArray(values, missing))
        else:
            columns[name] = column.to_pandas().astype(dtypes.get(name, "str"))
    return pd.DataFrame(columns)


def _moment(microseconds: int) -> pd.Timestamp:
    return pd.Timestamp(microseconds, unit="us", tz="UTC")
