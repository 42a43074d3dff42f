"""One transaction on a store, through ADBC where it may be: bulk reads and merges as Arrow tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import adbc_driver_sqlite.dbapi
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from crm.store.address import StoreAddress
from crm.store.faults import explain
from crm.store.libraries import Library, enter_bulk, leave
from crm.store.python_bulk import PythonConnection
from crm.store.service.layout import REVISIONS
from crm.store.service.revision import Part, raising

#: Rows read in one piece. SQLite's driver takes a column's type from the first piece that it reads, so a
#: piece is read whole and then cast.
PIECE = 500_000

_DIALECTS: dict[str, sa.Dialect] = {
    # With named parameters a percent sign in a literal stays single.
    "sqlite": sqlite.dialect(paramstyle="named"),
    "postgresql": postgresql.dialect(paramstyle="named"),  # type: ignore[no-untyped-call]
}
_CACHE_KIB = 200_000
_LOCK_WAIT_MS = 60_000


class Transaction:
    """One transaction on a store; what it did stays only after :meth:`commit`.

    Parameters
    ----------
    address : StoreAddress
    """

    def __init__(self, address: StoreAddress) -> None:
        self._address = address
        self._dialect = _DIALECTS[address.kind]
        self._library: Library = "adbc" if address.path is None else enter_bulk(address.path)
        try:
            with self._explained():
                self._connection: Any = self._connect()
                self._cursor = self._connection.cursor()
        except BaseException:
            self._leave()
            raise

    def _connect(self) -> Any:
        if self._address.path is None:
            return adbc_driver_postgresql.dbapi.connect(self._address.for_adbc)
        if self._library == "python":
            return PythonConnection(self._address.path, _LOCK_WAIT_MS / 1000)
        return adbc_driver_sqlite.dbapi.connect(self._address.for_adbc)

    def _leave(self) -> None:
        if self._address.path is not None:
            leave(self._address.path, self._library)

    def __enter__(self) -> Transaction:
        if self._address.kind == "sqlite":
            self.run(sa.text(f"PRAGMA busy_timeout = {_LOCK_WAIT_MS}"))
            self.run(sa.text(f"PRAGMA cache_size = -{_CACHE_KIB}"))
            # What is written over leaves no trace in pages that are written anyway.
            self.run(sa.text("PRAGMA secure_delete = FAST"))
            if self._library == "python":
                self._connection.begin()
            else:
                self._cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(PIECE)})
        else:
            self.run(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            self.run(sa.text(f"SET LOCAL lock_timeout = {_LOCK_WAIT_MS}"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing a connection rolls back what was not committed.
        try:
            self._cursor.close()
            self._connection.close()
        finally:
            self._leave()

    def run(self, statement: sa.Executable) -> None:
        """Run a statement that gives no rows."""
        with self._explained():
            self._cursor.execute(self._text(statement))

    def lock(self, table: sa.Table) -> None:
        """Wait until no other transaction holds this lock, and hold it to the end.

        SQLite lets one transaction write at a time as it is.
        """
        if self._address.kind == "postgresql":
            # Before the first query, so that the transaction sees what others did until now.
            self.run(sa.text(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE"))

    def fetch(self, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
        """Give the rows of a small query."""
        with self._explained():
            self._cursor.execute(self._text(query))
            return [tuple(row) for row in self._cursor.fetchall()]

    def read(self, table: sa.Table) -> pa.Table:
        """Give all rows of a table in their order, without the load that wrote them."""
        columns = [column for column in table.columns if column.name != "load_id"]
        pieces: list[pa.Table] = []
        last = -1
        while not pieces or pieces[-1].num_rows == PIECE:
            query = sa.select(*columns).where(table.c.position > last).order_by(table.c.position).limit(PIECE)
            with self._explained():
                self._cursor.execute(self._text(query))
                piece = self._cursor.fetch_arrow_table()
            pieces.append(piece.cast(_arrow_schema(columns)))
            last = piece.column("position")[-1].as_py() if piece.num_rows else last
        return pa.concat_tables(pieces)

    def fetch_table(self, query: sa.Select[Any], table: sa.Table) -> pa.Table:
        """Give the first rows, a piece at most, of a query of all columns of a table, with their types."""
        with self._explained():
            self._cursor.execute(self._text(query.limit(PIECE)))
            return self._cursor.fetch_arrow_table().cast(_arrow_schema(list(table.columns)))

    def append(self, table: sa.Table, rows: pa.Table) -> None:
        """Insert rows, all of them new."""
        names = [column.name for column in table.columns]
        source = self._stage(table, rows)
        self.run(table.insert().from_select(names, sa.select(source)))
        self.run(sa.text(f"DROP TABLE {source.name}"))

    def merge(self, table: sa.Table, key: str, rows: pa.Table) -> None:
        """Insert the rows whose key is new, and write over those stored whose values differ.

        A row that is stored already keeps its position, and its load if nothing differs.
        """
        names = [column.name for column in table.columns]
        source = self._stage(table, rows)
        insert = sqlite.insert(table) if self._address.kind == "sqlite" else postgresql.insert(table)
        # SQLite takes ON CONFLICT after a SELECT for a join's ON, unless there is a WHERE.
        filled = insert.from_select(names, sa.select(source).where(sa.literal_column("1") == sa.literal(1)))
        values = [name for name in names if name not in ("position", "load_id", key)]
        differs = sa.or_(*(table.c[name].is_distinct_from(filled.excluded[name]) for name in values))
        merged = filled.on_conflict_do_update(
            index_elements=[key],
            set_={name: filled.excluded[name] for name in [*values, "load_id"]},
            where=differs,
        )
        self.run(merged)
        self.run(sa.text(f"DROP TABLE {source.name}"))

    def note_change(self, part: Part) -> None:
        """Raise the revision of a part of the store, for those who keep something of it in memory."""
        if self._address.kind == "sqlite":
            self.run(raising(sqlite.insert(REVISIONS), part))
        else:
            self.run(raising(postgresql.insert(REVISIONS), part))

    def _stage(self, table: sa.Table, rows: pa.Table) -> sa.TableClause:
        """Put rows into a temporary table with the table's columns."""
        staged = f"staged_{table.name}"
        with self._explained():
            self._cursor.adbc_ingest(staged, rows, mode="create", temporary=True)
        return sa.table(staged, *(sa.column(column.name) for column in table.columns))

    def commit(self) -> None:
        """Keep what was done."""
        with self._explained():
            self._connection.commit()

    def _text(self, statement: sa.Executable) -> str:
        compiled = statement.compile(  # type: ignore[attr-defined]
            dialect=self._dialect, compile_kwargs={"literal_binds": True}
        )
        return str(compiled)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (adbc_driver_manager.Error, sqlite3.Error) as error:
            raise explain(str(error), self._address) from None


def _arrow_schema(columns: Sequence[sa.Column[Any]]) -> pa.Schema:
    types = {sa.BigInteger: pa.int64(), sa.Double: pa.float64(), sa.Text: pa.large_string()}
    return pa.schema([(column.name, types[type(column.type)]) for column in columns])
