"""The versions of the store's schema: what an older, a newer and the present one are treated like."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from crm.errors import StoreError
from crm.history import utc
from crm.store import Store
from crm.store.address import StoreAddress
from crm.store.layout import METADATA
from crm.store.versions import REVISIONS, VERSION_TABLE, version_of

NEXT_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade():
    op.add_column("users", sa.Column("shoe_size", sa.Double))
    {then}
"""


def engine_of(url: str) -> sa.Engine:
    """Give an engine on the store."""
    return sa.create_engine(StoreAddress.parse(url).for_sqlalchemy, poolclass=sa.NullPool)


def revision_of(url: str) -> str | None:
    """Give the revision that the store's schema has."""
    with engine_of(url).connect() as connection:
        return version_of(connection)


def columns_of_users(url: str) -> set[str]:
    """Give the names of the columns of the stored users."""
    return {column["name"] for column in sa.inspect(engine_of(url)).get_columns("users")}


def with_a_later_revision(folder: Path, head: str, then: str = "pass") -> Path:
    """Copy the revisions to a folder and add one."""
    shutil.copytree(REVISIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "r9999_later.py").write_text(NEXT_REVISION.format(head=head, then=then))
    return folder


@pytest.fixture
def old_store(store_url: str) -> str:
    """Make a store with one lead in it."""
    lead = pd.DataFrame({"lead_id": ["L1"], "recorded_at": [utc("2024-01-01T00:00:00Z")]})
    Store.open(store_url, create=True).load({"leads": lead}, source="x", exported_at=None)
    return store_url


def test_the_revisions_make_exactly_the_layout(store_url: str) -> None:
    """A store made by the revisions has the tables and columns of the layout, no more and no less."""
    Store.open(store_url, create=True)
    with engine_of(store_url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, METADATA) == []


def test_opening_a_store_again_changes_nothing(old_store: str) -> None:
    """create and upgrade do nothing to a store that has the newest schema."""
    Store.open(old_store, create=True, upgrade=True)
    assert Store.open(old_store).read().leads["lead_id"].tolist() == ["L1"]


def test_an_older_store_is_refused_and_upgraded_on_request(
    old_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer Vigie tells how to upgrade, does it when asked, and keeps the rows."""
    head = revision_of(old_store)
    assert head is not None
    monkeypatch.setattr("crm.store.versions.REVISIONS", with_a_later_revision(tmp_path / "later", head))
    with pytest.raises(StoreError, match=r"made by an older Vigie.*run: vigie upgrade --history '"):
        Store.open(old_store)
    with pytest.raises(StoreError, match="made by an older Vigie"):
        Store.open(old_store, create=True)
    assert "shoe_size" not in columns_of_users(old_store)
    store = Store.open(old_store, upgrade=True)
    assert revision_of(old_store) == "9999"
    assert "shoe_size" in columns_of_users(old_store)
    assert store.read(["leads"]).leads["lead_id"].tolist() == ["L1"]


def test_a_newer_store_is_refused(old_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store upgraded by a newer Vigie is not touched by this one, whatever it is asked."""
    head = revision_of(old_store)
    assert head is not None
    with monkeypatch.context() as patch:
        patch.setattr("crm.store.versions.REVISIONS", with_a_later_revision(tmp_path / "later", head))
        Store.open(old_store, upgrade=True)
    for wish in ({}, {"create": True}, {"upgrade": True}):
        with pytest.raises(
            StoreError, match=f"newer Vigie: its schema is 9999, this Vigie knows up to {head}"
        ):
            Store.open(old_store, **wish)
    assert revision_of(old_store) == "9999"


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(
    old_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revision that fails half-way leaves neither its columns nor its number."""
    head = revision_of(old_store)
    assert head is not None
    later = with_a_later_revision(tmp_path / "later", head, then='op.execute("DROP TABLE not_there")')
    with monkeypatch.context() as patch:
        patch.setattr("crm.store.versions.REVISIONS", later)
        with pytest.raises(StoreError, match="not_there"):
            Store.open(old_store, upgrade=True)
    assert revision_of(old_store) == head
    assert "shoe_size" not in columns_of_users(old_store)
    assert len(Store.open(old_store).read().leads) == 1


def test_a_team_database_may_hold_other_tables(postgres_schema_url: object) -> None:
    """In PostgreSQL the store lives beside tables of other names, and not beside one of its own names."""
    assert callable(postgres_schema_url)
    shared, taken = str(postgres_schema_url()), str(postgres_schema_url())
    for url, name in ((shared, "alembic_version"), (taken, "leads")):
        with engine_of(url).begin() as connection:
            connection.exec_driver_sql(f"CREATE TABLE {name} (version_num TEXT)")
    assert Store.open(shared, create=True).loads() == []
    with pytest.raises(StoreError, match="holds a table 'leads' of something else"):
        Store.open(taken, create=True)
