"""Which SQLite library a process may open a file with: never two of them at once.

Python's driver and ADBC's each hold a copy of SQLite. Locks on a file belong to the process, so when one copy
closes the file it drops the locks of the other, which goes on in a write-ahead log that is deleted under it:
what it commits then is seen by nobody else, and is gone with the process (SQLite, "How To Corrupt An SQLite
Database File", section 2.2). Where Python's driver keeps a file open, everything else in the process takes
that driver too.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from crm.errors import StoreBusy

Library = Literal["adbc", "python"]

#: Seconds that Python's driver waits for what is being done through ADBC.
LONGEST_WAIT: Final = 60.0

_CHANGED = threading.Condition()
_OPEN: Counter[tuple[str, Library]] = Counter()


def enter_python(path: Path) -> None:
    """Note that Python's driver opens a file, when nothing in the process has it open through ADBC.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StoreBusy
        Where that takes longer than :data:`LONGEST_WAIT`.
    """
    name = _name(path)
    with _CHANGED:
        if not _CHANGED.wait_for(lambda: not _OPEN[name, "adbc"], LONGEST_WAIT):
            raise StoreBusy(f"{path}: this process is reading or loading it; try again when that is done")
        _OPEN[name, "python"] += 1


def enter_bulk(path: Path) -> Library:
    """Note that a bulk transaction opens a file, and say through which library: ADBC, where it is free to."""
    name = _name(path)
    with _CHANGED:
        library: Library = "python" if _OPEN[name, "python"] else "adbc"
        _OPEN[name, library] += 1
    return library


def leave(path: Path, library: Library) -> None:
    """Note that a file was closed."""
    with _CHANGED:
        _OPEN[_name(path), library] -= 1
        _CHANGED.notify_all()


@contextmanager
def python_driver(path: Path | None) -> Iterator[None]:
    """Have a file open with Python's driver; nothing where there is no file."""
    if path is None:
        yield
        return
    enter_python(path)
    try:
        yield
    finally:
        leave(path, "python")


def _name(path: Path) -> str:
    return str(path.resolve())
