"""An empty store as the service opens it, on SQLite and on PostgreSQL; emptied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crm.store import Store
from crm.store.layout import METADATA
from crm.store.service.engine import ServiceStore


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the file of a store that holds nothing."""
    path = tmp_path_factory.mktemp("empty") / "history.db"
    Store.open(str(path), create=True)
    return path


@pytest.fixture(scope="session")
def emptied_url(postgres_schema_url: Callable[[], str]) -> str:
    """Give the URL of a PostgreSQL store that tests share, one after the other."""
    url = postgres_schema_url()
    Store.open(url, create=True)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def service_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a store that holds nothing."""
    if request.param == "sqlite":
        path = tmp_path / "history.db"
        shutil.copy(request.getfixturevalue("empty_file"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("emptied_url")
    store = ServiceStore.open(url)
    with store.writing() as connection:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY")
    store.close()
    return url


@pytest.fixture
def service(service_url: str) -> Iterator[ServiceStore]:
    """Give a store that holds nothing, as the service opens it."""
    store = ServiceStore.open(service_url)
    yield store
    store.close()
