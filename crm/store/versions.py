"""The version of a store's schema: which it has, whether this Vigie can use it, and the upgrade."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory

from crm.errors import StoreError
from crm.store.address import StoreAddress
from crm.store.layout import METADATA
from crm.store.service.layout import REVISIONS as COUNTED
from crm.store.service.layout import STATED

#: The revisions shipped with this package.
REVISIONS = Path(__file__).parent / "migrations"

#: All tables of a store: those of the history, and what ingesting and the service keep beside it.
TABLES = frozenset(METADATA.tables) | {STATED.name, COUNTED.name}

#: Named apart from Alembic's default, so that a database shared with another program stays unconfused.
VERSION_TABLE = "vigie_version"


def bring_up(engine: sa.Engine, address: StoreAddress, *, create: bool, upgrade: bool) -> None:
    """Make sure that the store has the newest schema.

    Parameters
    ----------
    engine : sqlalchemy.Engine
    address : StoreAddress
    create : bool
        Whether to make the tables in a database that has none.
    upgrade : bool
        Whether to bring an older store to the newest schema.

    Raises
    ------
    StoreError
        Where the database is no history store, or is older (without ``upgrade``) or newer than this Vigie.
    """
    scripts = ScriptDirectory(str(REVISIONS))
    if _is_ready(engine, address, scripts, create=create, upgrade=upgrade):
        return
    with engine.connect() as connection:
        _begin_writing(connection)
        # Another process may have done it between the look and the lock.
        if not _is_ready(connection, address, scripts, create=create, upgrade=upgrade):
            _migrate(connection, scripts)
        connection.commit()


def version_of(connection: sa.Connection) -> str | None:
    """Give the revision of the store's schema; None where the database has no store."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE}
    ).get_current_revision()


def _is_ready(
    bind: sa.Engine | sa.Connection,
    address: StoreAddress,
    scripts: ScriptDirectory,
    *,
    create: bool,
    upgrade: bool,
) -> bool:
    """Say whether the schema is the newest; False where it may be made or upgraded, else StoreError."""
    if isinstance(bind, sa.Engine):
        with bind.connect() as connection:
            return _is_ready(connection, address, scripts, create=create, upgrade=upgrade)
    head = scripts.get_current_head()
    version = version_of(bind)
    if version == head:
        return True
    if version is None:
        _check_free(bind, address, create=create)
        return False
    known = {script.revision for script in scripts.walk_revisions()}
    if version not in known:
        raise StoreError(
            f"{address} was made by a newer Vigie: its schema is {version}, this Vigie knows up to {head}; "
            "upgrade Vigie"
        )
    if not upgrade:
        raise StoreError(
            f"{address} was made by an older Vigie: its schema is {version}, this Vigie needs {head}; "
            f"back it up and run: vigie upgrade --history '{address}'"
        )
    return False


def _check_free(connection: sa.Connection, address: StoreAddress, *, create: bool) -> None:
    tables = sa.inspect(connection).get_table_names()
    # A team's database may hold other things beside the history; a SQLite file is a history or is not.
    clash = sorted(tables if address.kind == "sqlite" else set(tables) & TABLES)
    if clash:
        raise StoreError(
            f"{address} is no history store, and holds a table {clash[0]!r} of something else; "
            "give Vigie a file or database of its own"
        )
    if not create:
        raise StoreError(
            f"{address} holds no history yet; fill it with: vigie import … --history '{address}'"
        )


def _begin_writing(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        # Any number will do, so long as every Vigie takes the same.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(86710171)")


def _migrate(connection: sa.Connection, scripts: ScriptDirectory) -> None:
    def steps(revision: object, _: MigrationContext) -> list[RevisionStep]:
        return list(scripts._upgrade_revs("head", revision))  # type: ignore[arg-type]

    with EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=connection, version_table=VERSION_TABLE, transactional_ddl=True)
        environment.run_migrations()
