"""The history store as commands use it: opened, read, made anew or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crm.history import History
    from crm.store import Store


def read_history(url: str) -> History:
    """Read the history of a store that is there; StoreError where it is not, or cannot be read."""
    from crm.store import Store

    return Store.open(url).read()


@contextmanager
def store_to_load(url: str) -> Iterator[Store]:
    """Open a store, making it where there is none; where the block fails, a new SQLite file goes again."""
    from crm.store import Store
    from crm.store.address import StoreAddress

    path = StoreAddress.parse(url).path
    is_new = path is not None and not path.exists()
    try:
        yield Store.open(url, create=True)
    except BaseException:
        # Also when interrupted: a store that was made for a load that failed is taken away again.
        if path is not None and is_new:
            for suffix in ("", "-wal", "-shm", "-journal"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        raise
