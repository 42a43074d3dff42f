"""The store as the service uses it: many short transactions, on connections that stay open."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa

from crm.errors import StoreBusy
from crm.store.faults import explain
from crm.store.history_store import Store

#: Milliseconds that a statement waits for another writer.
LOCK_WAIT_MS: Final = 5_000
#: Seconds that a caller waits for a connection.
CONNECTION_WAIT: Final = 10.0
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
        options: dict[str, Any] = {"timeout": LOCK_WAIT_MS / 1000, "check_same_thread": False}
        if not self.is_local:
            options = {"connect_timeout": 5, "options": f"-c lock_timeout={LOCK_WAIT_MS}"}
            given = history.address.url.query.get("options")
            if isinstance(given, str):
                options["options"] += f" {given}"
        self._engine = sa.create_engine(
            history.address.for_sqlalchemy,
            poolclass=sa.QueuePool,
            pool_size=pool_size,
            max_overflow=2 * pool_size,
            pool_timeout=CONNECTION_WAIT,
            pool_pre_ping=not self.is_local,
            connect_args=options,
        )
        if self.is_local:
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
            connection.commit()

    @contextmanager
    def _connected(self, options: dict[str, Any]) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as plain:
                connection = plain.execution_options(**options) if options else plain
                with connection.begin():
                    yield connection
        except sa.exc.TimeoutError:
            raise StoreBusy(
                f"{self.history.address}: all connections are in use; try again in a moment"
            ) from None
        except sa.exc.DBAPIError as error:
            raise explain(str(error.orig), self.history.address) from error

    def close(self) -> None:
        """Close the connections that are open."""
        self._engine.dispose()


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # Transactions are begun by the listener below, not by Python's driver.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {LOCK_WAIT_MS}")
    # Readers go on while somebody writes.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -65536")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
