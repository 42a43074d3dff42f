"""A SQLite file that the service holds open: bulk reads and loads beside it lose nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from crm.history import History
from crm.simulator import simulate
from crm.store import Store
from crm.store.libraries import enter_bulk, leave, python_driver
from crm.store.service.engine import ServiceStore
from crm.store.service.revision import raise_revision, revision

ASK = """
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT value FROM revisions WHERE name = 'keys'").fetchone()[0])
"""
WRITE_AND_DIE = """
import os, sys
from crm.store import Store
from crm.store.service.engine import ServiceStore
from crm.store.service.revision import raise_revision
store = ServiceStore.open(sys.argv[1])
for _ in range(3):
    with store.writing() as connection:
        raise_revision(connection, "keys")
    Store.open(sys.argv[1]).forecasts()
with store.writing() as connection:
    print(raise_revision(connection, "keys"), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give the file of an empty store."""
    Store.open(str(tmp_path / "history.db"), create=True)
    return tmp_path / "history.db"


def said_elsewhere(file: Path) -> int:
    """Ask another process what the store holds."""
    asked = subprocess.run([sys.executable, "-c", ASK, str(file)], capture_output=True, text=True, check=True)
    return int(asked.stdout)


def test_another_process_sees_what_was_written_after_a_bulk_read(file: Path) -> None:
    """Each bulk read opens and closes the file; what is committed next is in the file that others open."""
    store = ServiceStore.open(str(file))
    for turn in (1, 2, 3):
        with store.writing() as connection:
            assert raise_revision(connection, "keys") == turn
        Store.open(str(file)).forecasts()
        assert said_elsewhere(file) == turn
        held = [os.readlink(one.path) for one in os.scandir("/proc/self/fd") if one.is_symlink()]
        assert not [name for name in held if str(file) in name and "deleted" in name]
    store.close()


def test_what_was_acknowledged_survives_a_kill(file: Path) -> None:
    """A process that mixes both and dies has lost nothing that it said it had written."""
    died = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(file)], capture_output=True, text=True)
    assert died.returncode == -9
    assert int(died.stdout) == 4
    assert said_elsewhere(file) == 4


def test_writers_and_bulk_readers_at_once_lose_nothing(file: Path) -> None:
    """Two threads, one committing and one reading in bulk: every commit is there, and the file is whole."""
    store, done, faults = ServiceStore.open(str(file)), threading.Event(), []

    def read() -> None:
        while not done.is_set():
            try:
                Store.open(str(file)).forecasts()
            except Exception as error:  # whatever it is, the test names it
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(150):
        with store.writing() as connection:
            raise_revision(connection, "keys")
    done.set()
    reader.join()
    assert not faults
    assert said_elsewhere(file) == 150
    with store.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    store.close()


def test_both_libraries_load_and_read_the_same(tmp_path: Path) -> None:
    """The same history, loaded twice and read back through either: the same frames, and nothing new again."""
    history = simulate(60, seed=3, years=1).history
    read: list[History] = []
    for name in ("adbc", "python"):
        url = str(tmp_path / f"{name}.db")
        Store.open(url, create=True)
        service = ServiceStore.open(url) if name == "python" else None
        store = Store.open(url)
        for turn in range(2):
            report = store.load(history.frames(), source="simulated", exported_at=None, facts=history.facts)
            assert report.is_change == (turn == 0)
        read.append(store.read())
        if service is not None:
            with service.reading() as connection:
                assert revision(connection, "history") == 1
            service.close()
    for table, frame in read[0].frames().items():
        pd.testing.assert_frame_equal(frame, read[1].frames()[table])


def test_python_waits_for_what_is_done_through_adbc(file: Path) -> None:
    """The file is not opened with Python's driver before the bulk transaction has let go of it."""
    library = enter_bulk(file)
    assert library == "adbc"
    order: list[str] = []

    def open_it() -> None:
        with python_driver(file):
            order.append("opened")

    waiting = threading.Thread(target=open_it)
    waiting.start()
    waiting.join(0.2)
    order.append("left")
    leave(file, library)
    waiting.join(5)
    assert order == ["left", "opened"]
    with python_driver(file):
        inner = enter_bulk(file)
        leave(file, inner)
    assert inner == "python"
    last = enter_bulk(file)
    leave(file, last)
    assert last == "adbc"
