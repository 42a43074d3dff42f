"""What the history store does when something goes wrong: nothing is half-loaded, and the message helps."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from crm.errors import StoreError
from crm.history import utc
from crm.store import Store
from crm.store.address import StoreAddress
from crm.store.bulk import Transaction
from crm.store.faults import explain
from crm.store.layout import LOADS


def leads(n: int, stage: str = "new") -> pd.DataFrame:
    """Give n leads."""
    at = utc("2024-01-02T00:00:00Z")
    return pd.DataFrame({"lead_id": [f"L{i}" for i in range(n)], "recorded_at": at, "stage": stage})


def run_child(program: str, url: str) -> subprocess.Popen[str]:
    """Start a Python program that is given the store's URL as its first argument."""
    prelude = """
        import sys
        import pandas as pd
        import crm.store.bulk as bulk
        from crm.store import Store
        url = sys.argv[1]
        at = pd.Timestamp("2024-01-02", tz="UTC")
        def leads(n, stage):
            return pd.DataFrame({"lead_id": [f"L{i}" for i in range(n)], "recorded_at": at, "stage": stage})
    """
    code = textwrap.dedent(prelude) + textwrap.dedent(program)
    return subprocess.Popen(
        [sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_killed_load_leaves_the_store_as_it_was(store_url: str) -> None:
    """After SIGKILL between two tables of a load, rows and loads are the old ones, and loading works."""
    store = Store.open(store_url, create=True)
    store.load({"leads": leads(3)}, source="first", exported_at=None)
    before, loads = store.read().leads, store.loads()
    child = run_child(
        """
        import time
        bulk._CACHE_KIB = 64  # so that changed pages reach the file long before the end
        merge = bulk.Transaction.merge
        def merge_and_wait(self, table, key, rows):
            merge(self, table, key, rows)
            if table.name == "activities":
                print("merged", flush=True)
                time.sleep(120)
        bulk.Transaction.merge = merge_and_wait
        ids = [f"X{i}" for i in range(20_000)]
        acts = pd.DataFrame({"activity_id": ids, "kind": "call", "occurred_at": at})
        Store.open(url).load({"leads": leads(9, "met"), "activities": acts}, source="x", exported_at=None)
        """,
        store_url,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "merged\n"
        child.kill()
    if store_url.startswith("sqlite"):
        file = Path(store_url.removeprefix("sqlite:///"))
        assert file.stat().st_size > 500_000, (
            "the killed load had not reached the file, so this shows nothing"
        )
    store = Store.open(store_url)
    assert_frame_equal(store.read().leads, before)
    assert store.read().activities.empty
    assert store.loads() == loads
    assert store.load({"leads": leads(4)}, source="next", exported_at=None).tables["leads"].new == 1


def test_a_full_disk_is_told_and_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SQLite file that may not grow gives a StoreError about the disk, and no row of the load stays."""
    store = Store.open(str(tmp_path / "history.db"), create=True)
    store.load({"leads": leads(3)}, source="first", exported_at=None)
    enter = Transaction.__enter__

    def enter_a_full_disk(self: Transaction) -> Transaction:
        transaction = enter(self)
        transaction._cursor.execute("PRAGMA max_page_count = 1")  # means: no larger than it is
        return transaction

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "__enter__", enter_a_full_disk)
        with pytest.raises(StoreError, match=r"the disk is full.*the store is as it was; free some space"):
            store.load({"leads": leads(20_000, "met")}, source="x", exported_at=None)
    assert store.read().leads["stage"].tolist() == ["new"] * 3
    assert len(store.loads()) == 1


def test_a_file_that_cannot_grow_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """Where the system refuses to write on, the child's load fails with a StoreError and nothing stays."""
    url = str(tmp_path / "history.db")
    store = Store.open(url, create=True)
    store.load({"leads": leads(3)}, source="first", exported_at=None)
    child = run_child(
        """
        import resource
        from crm.errors import StoreError
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        try:
            Store.open(url).load({"leads": leads(50_000, "met")}, source="x", exported_at=None)
        except StoreError as error:
            print(error)
        """,
        url,
    )
    out, err = child.communicate(timeout=60)
    assert "the disk is full or cannot be written" in out, err
    assert store.read().leads["stage"].tolist() == ["new"] * 3


def test_a_second_writer_is_told_to_wait(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load during another load gives up after the wait with a message, and the store stays whole."""
    store = Store.open(store_url, create=True)
    monkeypatch.setattr("crm.store.bulk._LOCK_WAIT_MS", 50)
    with Transaction(store.address) as other:
        other.lock(LOADS)
        other.run(LOADS.insert().values(load_id=9, source="other", mapping_digest="", counts="{}"))
        with pytest.raises(StoreError, match="another program is writing to it"):
            store.load({"leads": leads(1)}, source="x", exported_at=None)
    assert store.load({"leads": leads(1)}, source="x", exported_at=None).load_id == 1


def test_loads_at_once_wait_for_each_other(store_url: str) -> None:
    """Four loads started together all arrive, each as a load of its own, with every row kept."""
    store = Store.open(store_url, create=True)

    def load(number: int) -> int:
        rows = leads(50).assign(lead_id=[f"{number}-{i}" for i in range(50)])
        return Store.open(store_url).load({"leads": rows}, source=str(number), exported_at=None).load_id

    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(load, range(4)))
    assert sorted(numbers) == [1, 2, 3, 4]
    assert store.read().leads["lead_id"].nunique() == 200


def test_a_missing_store_is_not_made_by_looking(tmp_path: Path) -> None:
    """Opening what is not there says so and leaves no empty file behind."""
    path = tmp_path / "history.db"
    with pytest.raises(StoreError, match=r"history\.db does not exist; make it with: vigie import"):
        Store.open(str(path))
    assert not path.exists()
    with pytest.raises(StoreError, match=r"there is no folder .*nowhere; make it first"):
        Store.open(str(tmp_path / "nowhere" / "history.db"), create=True)
    with pytest.raises(StoreError, match="is a folder"):
        Store.open(str(tmp_path))


def test_an_empty_database_is_no_store_until_it_is_made(store_url: str) -> None:
    """A database without tables is refused with the command that fills it."""
    if store_url.startswith("sqlite"):
        Path(store_url.removeprefix("sqlite:///")).touch()
    with pytest.raises(StoreError, match="holds no history yet; fill it with: vigie import"):
        Store.open(store_url)
    assert Store.open(store_url, create=True).loads() == []


@pytest.mark.parametrize(
    "content", [b"lead_id,created_at\nL1,2024-01-01\n" * 50, b"SQLite format 3\0" + b"x" * 2000]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    """A CSV or a garbled file given as the store is refused, with and without create, and left alone."""
    path = tmp_path / "leads.csv"
    path.write_bytes(content)
    for create in (False, True):
        with pytest.raises(StoreError, match=r"leads\.csv: the file is (no history store|damaged)"):
            Store.open(str(path), create=create)
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """A SQLite file with other tables is not written into."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    for create in (False, True):
        with pytest.raises(StoreError, match=r"is no history store, and holds a table 'songs'"):
            Store.open(str(path), create=create)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_store_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    """A copy that was cut off is found out on opening or reading, wherever the cut is."""
    path = tmp_path / "history.db"
    Store.open(str(path), create=True).load({"leads": leads(5000)}, source="x", exported_at=None)
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(StoreError, match="the file is damaged or cut short; put back a copy"):
        Store.open(str(path)).read()


def test_a_server_that_does_not_answer_is_told_without_the_password() -> None:
    """Neither the message nor the traceback of a refused connection holds the password."""
    secret = "s3cr3t/+ p%w"
    url = "postgresql://ann:s3cr3t%2F%2B%20p%25w@127.0.0.1:1/crm?connect_timeout=2"
    for act in (Store.open, lambda url: Store(StoreAddress.parse(url)).read()):
        with pytest.raises(StoreError, match="cannot be reached; check host and port") as caught:
            act(url)
        shown = "".join(traceback.format_exception(caught.value))
        assert secret not in shown
        assert "s3cr3t" not in shown
        assert "ann:***@127.0.0.1" in str(caught.value)


def test_no_form_of_an_address_shows_a_password() -> None:
    """Text, repr and a driver's message about an address are without its passwords, in whatever form."""
    url = "postgresql://ann:a%2Bb%20c@db.example/crm?sslpassword=hush&password=quiet"
    address = StoreAddress.parse(url)
    said = explain("cannot parse ann:a%2Bb%20c or 'a+b c' or hush or quiet", address)
    for text in (str(address), repr(address), repr(Store(address)), str(said)):
        assert not any(secret in text for secret in ("a+b c", "a%2Bb%20c", "hush", "quiet"))
    assert "password='quiet'" in address.for_adbc


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://root:pw@host/crm", "a SQLite file or a PostgreSQL database, not mysql"),
        ("sqlite://", "is a file; name one"),
        ("sqlite:///:memory:", "is a file; name one"),
        ("postgresql://ann:p@ss:word@host:port/crm", "special characters percent-encoded"),
    ],
)
def test_an_address_that_cannot_be_a_store_is_refused(url: str, message: str) -> None:
    """Each says what would do, and none repeats the password."""
    with pytest.raises(StoreError, match=message) as caught:
        Store.open(url, create=True)
    assert "pw" not in str(caught.value)
    assert "ss:word" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("attempt to write a readonly database", "it may not be written by this user; check the rights"),
        ('could not extend file "base/1": No space left on device', "free some space and try again"),
        ('FATAL: password authentication failed for user "ann"', "check user and password"),
        ("server closed the connection unexpectedly", "the database cannot be reached"),
        ("canceling statement due to lock timeout", "another program is writing to it"),
        ("something nobody foresaw", "the database refused: something nobody foresaw"),
    ],
)
def test_what_a_database_says_becomes_advice(said: str, advice: str) -> None:
    """Each message of SQLite or PostgreSQL is told with its address and what to do."""
    error = explain(said, StoreAddress.parse("history.db"))
    assert str(error).startswith("sqlite:///history.db: ")
    assert advice in str(error)
