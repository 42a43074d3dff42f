"""Where MLflow keeps what it is told: a database, and for a SQLite file a folder of artifacts beside it.

MLflow writes the whole path of every artifact into its database, so that a folder copied to another place, or
another machine, would point back to the old one. A store made here can be moved: its artifacts are in the
folder beside the file, whatever its name and place, and paths that say otherwise are put right when the
store is opened.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from crm.errors import TrackingError

#: Name of the folder beside the database.
FOLDER = "mlflow-artifacts"

#: Columns of MLflow's tables that hold where artifacts are.
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@dataclass(frozen=True)
class Store:
    """An MLflow store.

    Parameters
    ----------
    uri : str
        As MLflow takes it; a SQLite file by its absolute path.
    artifacts : Path or None
        Folder of the artifacts; None where a server or a shared database decides.
    """

    uri: str
    artifacts: Path | None


def locate(tracking_uri: str) -> Store:
    """Find a store, and make the folder of a SQLite file where it is missing.

    Parameters
    ----------
    tracking_uri : str
        ``sqlite:///mlflow.db`` for a file, ``https://…`` for a server, or another database's URL.

    Raises
    ------
    TrackingError
        If the address is none, names a plain folder, or the folder cannot be made.
    """
    if "://" not in tracking_uri:
        raise TrackingError(
            f"--tracking {tracking_uri}: is no address of a store; write sqlite:///mlflow.db for a file, or "
            "https://… for a server"
        )
    if not tracking_uri.startswith("sqlite:"):
        return Store(tracking_uri, None)
    try:
        database = sa.make_url(tracking_uri).database
    except sa.exc.ArgumentError as error:
        raise TrackingError(
            f"--tracking {tracking_uri}: cannot be read; write sqlite:///mlflow.db"
        ) from error
    if not database or database == ":memory:":
        raise TrackingError(f"--tracking {tracking_uri}: names no file; write sqlite:///mlflow.db")
    path = Path(database).absolute()
    try:
        (path.parent / FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackingError(
            f"{path.parent}: cannot be written ({error.strerror or error}); name another with --tracking"
        ) from error
    return Store(f"sqlite:///{path}", path.parent / FOLDER)


def follow_move(store: Store) -> int:
    """Make a store that was moved or copied point to the artifacts beside it.

    Parameters
    ----------
    store : Store

    Returns
    -------
    int
        How many paths were put right; 0 where the store stands where it was made.

    Raises
    ------
    TrackingError
        If the file is no database.
    """
    path = Path(store.uri.removeprefix("sqlite:///"))
    if store.artifacts is None or not path.is_file():
        return 0
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            return _rewrite(connection, str(store.artifacts))
    except sqlite3.Error as error:
        raise TrackingError(
            f"{path}: cannot be used as MLflow's database ({error}); name another file with --tracking"
        ) from error


def _rewrite(connection: sqlite3.Connection, here: str) -> int:
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {table for table, _ in _PLACES} <= present:
        return 0
    places = connection.execute("SELECT DISTINCT artifact_location FROM experiments")
    moved = [old for (old,) in places if old and old != here and Path(old).name == FOLDER]
    changed = 0
    for old in moved:
        for table, column in _PLACES:
            # The names come from the constant above, never from outside.
            found = connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (here, len(old) + 1, old, len(old) + 1, f"{old}/"),
            )
            changed += found.rowcount
    return changed
