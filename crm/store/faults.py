"""What a database's error means, for the person who can act on it."""

from __future__ import annotations

from crm.errors import StoreBusy, StoreDown, StoreError, StoreFull, shorten
from crm.store.address import StoreAddress

#: Words of SQLite, PostgreSQL and the operating system, and what they mean.
_MEANINGS: tuple[tuple[tuple[str, ...], str, type[StoreError]], ...] = (
    (
        ("disk is full", "no space left", "could not extend file", "disk i/o error", "could not write"),
        "the disk is full or cannot be written; the store is as it was; free some space and try again",
        StoreFull,
    ),
    (
        ("is locked", "lock timeout", "could not serialize", "deadlock detected"),
        "another program is writing to it; the store is as it was; try again when that is done",
        StoreBusy,
    ),
    (("not a database",), "the file is no history store; check the path", StoreError),
    (
        ("malformed", "file is encrypted"),
        "the file is damaged or cut short; put back a copy, or import the exports into a new file",
        StoreError,
    ),
    (
        ("readonly", "read-only", "permission denied"),
        "it may not be written by this user; check the rights",
        StoreError,
    ),
    (("unable to open",), "the file cannot be opened; check the path and the rights", StoreDown),
    (
        ("authentication failed", "no password supplied", "role"),
        "the database refuses this user; check user and password",
        StoreError,
    ),
    (
        (
            "connection",
            "could not translate host",
            "timeout expired",
            "server closed",
            "starting up",
            "shutting down",
            "administrator command",
            "crash of another server process",
            "consuming input failed",
        ),
        "the database cannot be reached; check host and port, and that it runs",
        StoreDown,
    ),
)


def explain(message: str, address: StoreAddress) -> StoreError:
    """Give a database's error as one that says what to do, without a password.

    Examples
    --------
    >>> print(explain("[SQLite] database or disk is full", StoreAddress.parse("history.db")))
    sqlite:///history.db: the disk is full or cannot be written; the store is as it was; free some space and \
try again (database or disk is full)
    """
    # PostgreSQL's details repeat the row, which may be a person's.
    said = " ".join(address.redact(message.split("DETAIL:", 1)[0]).split())
    said = said.rsplit("[SQLite] ", 1)[-1].rsplit("[libpq] ", 1)[-1]
    lowered = said.lower()
    for words, meaning, kind in _MEANINGS:
        if any(word in lowered for word in words):
            return kind(f"{address}: {meaning} ({shorten(said, 200)})")
    return StoreError(f"{address}: the database refused: {shorten(said, 500)}")
