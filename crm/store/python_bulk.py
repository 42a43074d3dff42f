"""Bulk reads and inserts through Python's own SQLite driver, in the form in which ADBC's is used.

Slower than ADBC, and for files that the process has open with this driver already; see
:mod:`crm.store.libraries`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.types

#: Rows that are inserted at once.
_PIECE = 20_000


class PythonConnection:
    """A connection in one transaction, as ADBC's begins it.

    Parameters
    ----------
    path : Path
    wait_seconds : float
        How long a statement waits for another writer.
    """

    def __init__(self, path: Path, wait_seconds: float) -> None:
        self._connection = sqlite3.connect(path.absolute(), timeout=wait_seconds, isolation_level=None)

    def cursor(self) -> PythonCursor:
        """Give a cursor; there is one a connection."""
        return PythonCursor(self._connection)

    def begin(self) -> None:
        """Begin the transaction; what sets the connection up comes before."""
        self._connection.execute("BEGIN")

    def commit(self) -> None:
        """Keep what was done."""
        self._connection.commit()

    def close(self) -> None:
        """Close it; what was not committed is undone."""
        self._connection.close()


class PythonCursor:
    """A cursor with those of ADBC's calls that a store needs."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()

    def execute(self, text: str) -> None:
        """Run a statement."""
        self._cursor.execute(text)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Give all rows of the last query."""
        return self._cursor.fetchall()

    def fetch_arrow_table(self) -> pa.Table:
        """Give all rows of the last query as columns; one without values has the type null."""
        names = [column[0] for column in self._cursor.description]
        columns = list(zip(*self._cursor.fetchall(), strict=True)) or [()] * len(names)
        return pa.table([pa.array(list(column)) for column in columns], names=names)

    def adbc_ingest(
        self, name: str, rows: pa.Table, *, mode: Literal["create"], temporary: Literal[True]
    ) -> None:
        """Put rows into a new temporary table."""
        columns = ", ".join(f'"{field.name}" {_affinity(field.type)}' for field in rows.schema)
        self._cursor.execute(f'CREATE TEMPORARY TABLE "{name}" ({columns})')
        marks = ", ".join("?" * rows.num_columns)
        for batch in rows.to_batches(max_chunksize=_PIECE):
            values = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            self._cursor.executemany(f'INSERT INTO "{name}" VALUES ({marks})', values)

    def close(self) -> None:
        """Close it."""
        self._cursor.close()


def _affinity(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "INTEGER"
    return "REAL" if pa.types.is_floating(kind) else "TEXT"
