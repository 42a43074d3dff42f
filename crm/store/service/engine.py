"""The store as the service uses it: many short transactions, on connections that stay open."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from crm.errors import StoreBusy
from crm.store.faults import explain
from crm.store.history_store import Store
from crm.store.libraries import enter_python, leave

#: Milliseconds that a statement waits for another writer.
LOCK_WAIT_MS: Final = 5_000
#: Seconds that a caller waits for a connection.
CONNECTION_WAIT: Final = 10.0
#: KiB of pages that each connection to a SQLite file keeps; the system keeps what is read often, too.
CACHE_KIB: Final = 16_384
#: Pages of SQLite's log after which a writer moves them into the file.
LOG_PAGES: Final = 4_000
#: Asks :meth:`ServiceStore.writing`, in a connection's ``info``, to empty SQLite's log after the commit.
EMPTY_LOG: Final = "vigie_empty_log"
_WRITES: Final = "vigie_writes"


class ServiceStore:
    """Connections to a history store; :meth:`open` makes one.

    Parameters
    ----------
    history : Store
        The same store, for what reads or loads much at once.
    pool_size : int
        Connections that stay open.
    """

    def __init__(self, history: Store, pool_size: int = 4) -> None:
        self.history = history
        self.is_local = history.address.kind == "sqlite"
        self._closing: weakref.finalize[[sa.Engine, Path], ServiceStore] | None = None
        options: dict[str, Any] = {"timeout": LOCK_WAIT_MS / 1000, "check_same_thread": False}
        if not self.is_local:
            options = _postgres_options(history)
        self._engine = sa.create_engine(
            history.address.for_sqlalchemy,
            poolclass=sa.QueuePool,
            pool_size=pool_size,
            max_overflow=2 * pool_size,
            pool_timeout=CONNECTION_WAIT,
            # A connection that died while it lay idle is replaced before it is given out.
            pool_pre_ping=not self.is_local,
            connect_args=options,
            # Values of rows are no part of any message.
            hide_parameters=True,
        )
        if history.address.path is not None:
            # From here on nothing in this process opens the file with another copy of SQLite.
            enter_python(history.address.path)
            self._closing = weakref.finalize(self, _let_go, self._engine, history.address.path)
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        self._for_reading = (
            {} if self.is_local else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        )

    @classmethod
    def open(cls, url: str, *, pool_size: int = 4) -> ServiceStore:
        """Open the store at an address.

        Parameters
        ----------
        url : str
            As :meth:`crm.store.Store.open` takes it.
        pool_size : int

        Raises
        ------
        StoreError
            Where it is not there, cannot be reached, or has another schema than the newest.
        """
        return cls(Store.open(url), pool_size)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection that sees the store as it is at its first query, until the block ends.

        Raises
        ------
        StoreBusy, StoreDown, StoreError
        """
        with self._connected(self._for_reading) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give a connection in a transaction that is kept when the block ends, and undone where it fails.

        Raises
        ------
        StoreBusy, StoreDown, StoreFull, StoreError
        """
        with self._connected({_WRITES: True}) as connection:
            yield connection

    @contextmanager
    def _connected(self, options: dict[str, Any]) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as plain:
                connection = plain.execution_options(**options) if options else plain
                with connection.begin():
                    yield connection
                if connection.info.pop(EMPTY_LOG, False):
                    _empty_log(connection)
        except sa.exc.TimeoutError:
            raise StoreBusy(
                f"{self.history.address}: all connections are in use; try again in a moment"
            ) from None
        except sa.exc.DBAPIError as error:
            raise explain(str(error.orig), self.history.address) from None

    def close(self) -> None:
        """Close the connections that are open; a store that was closed is not used again."""
        if self._closing is None:
            self._engine.dispose()
        else:
            self._closing()


def _let_go(engine: sa.Engine, path: Path) -> None:
    engine.dispose()
    leave(path, "python")


def _postgres_options(history: Store) -> dict[str, Any]:
    options = f"-c lock_timeout={LOCK_WAIT_MS}"
    given = history.address.url.query.get("options")
    if isinstance(given, str):
        options += f" {given}"
    # A server that vanished without a word is found out within half a minute.
    alive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
    return {"connect_timeout": 5, "options": options, **alive}


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # Transactions are begun by the listener below, not by Python's driver.
    connection.isolation_level = None
    # Readers go on while somebody writes.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    # What is written over or deleted leaves no trace in pages that are written anyway.
    connection.execute("PRAGMA secure_delete = FAST")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _empty_log(connection: sa.Connection) -> None:
    # The commit stands: where a reader or the disk is in the way, the log is emptied by a later one.
    with suppress(sqlite3.OperationalError):
        driver = connection.connection.driver_connection
        if driver is not None:
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
