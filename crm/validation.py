"""Bringing a frame to its canonical table: dtypes, defaults, and every fault named before a row is stored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from crm.errors import ExportError, Problem, list_problems, shorten
from crm.history import History
from crm.schema import DTYPES, TABLE_OF, TABLES, Column, Table
from crm.values import as_moments, as_numbers, as_text, is_number_like

#: No CRM holds a moment outside these; one that seems to was read with the wrong unit or format.
EARLIEST = pd.Timestamp("1970-01-02", tz="UTC")
LATEST = pd.Timestamp("2200-01-01", tz="UTC")

#: Pairs of moments of one row that must not be in reverse order.
ORDERED: dict[str, tuple[str, str]] = {
    "leads": ("created_at", "closed_at"),
    "deals": ("created_at", "closed_at"),
    "subscriptions": ("started_at", "ended_at"),
    "targets": ("period_start", "period_end"),
}

#: The tables whose rows are about a record, and the columns that name it.
ABOUT: dict[str, dict[str, str]] = {
    "activities": {"lead_id": "leads", "deal_id": "deals", "account_id": "accounts"},
    "order_lines": {"order_id": "orders"},
}

_SHOWN = 5


class _Faults:
    """The faults found in one frame: the first few of each kind in full, all of them counted."""

    def __init__(self, table: Table, frame: pd.DataFrame, where: str) -> None:
        self._table, self._frame, self._where = table, frame, where
        self._problems: list[Problem] = []
        self._n_faults = 0
        self._bad: dict[str, np.ndarray] = {}

    def add(self, field: str, bad: np.ndarray, values: pd.Series, remedy: str) -> None:
        """Note that the rows where ``bad`` is true have an unusable value in ``field``."""
        rows = np.flatnonzero(bad)
        if not len(rows):
            return
        self._n_faults += len(rows)
        self._bad[field] = bad | self._bad.get(field, False)
        for row in rows[:_SHOWN]:
            value = values.iloc[row]
            text = "" if pd.isna(value) else shorten(value)
            self._problems.append(Problem(self._row(int(row)), field, text, remedy))

    def add_columns(self, names: list[str], remedy: str) -> None:
        """Note that these columns cannot be there, or must be."""
        self._n_faults += len(names)
        self._problems.extend(Problem(self._where, name, "", remedy) for name in names)

    def told(self, column: Column) -> np.ndarray:
        """Say where a value, or the one that it would be filled from, is told of already."""
        told = np.zeros(len(self._frame), dtype=bool)
        for name in (column.name, column.default_from):
            told |= self._bad.get(str(name), False)
        return told

    def raise_any(self) -> None:
        """Raise ExportError where there is a fault."""
        if not self._n_faults:
            return
        faults = "1 fault" if self._n_faults == 1 else f"{self._n_faults} faults"
        shown = list_problems(self._problems, limit=4 * _SHOWN)
        raise ExportError(f"{self._where} cannot be used as {self._table.name}, {faults}:\n{shown}")

    def _row(self, row: int) -> str:
        key = self._table.key
        if key not in self._frame.columns or pd.isna(self._frame[key].iloc[row]):
            return f"{self._where}, row {row + 1}"
        return f"{self._where}, row {row + 1} ({key} {shorten(self._frame[key].iloc[row])})"


def validate(table: Table, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Bring a frame to the columns and dtypes of its canonical table.

    Missing optional columns are added, defaults are filled, empty text becomes missing, text that is a
    number or a moment with a time zone is read as such. Further columns of an open-ended table are kept as
    attributes, in the order they come: ``float64`` where every value is a number, else ``str``; text that
    looks like a number stays text, for it may be a postcode.

    Parameters
    ----------
    table : Table
    frame : DataFrame, shape (n_rows, any)
    where : str
        The file or source, for messages.

    Returns
    -------
    DataFrame, shape (n_rows, n_columns)
        The canonical columns in order, then the attributes; a fresh index.

    Raises
    ------
    ExportError
        Where a column is unknown, a required value is missing, a number or moment cannot be read, a moment
        has no time zone or is absurd, a number is infinite, a value is not among its column's choices, a key
        comes twice, or a record ends before it begins.

    Examples
    --------
    >>> from crm.schema import USERS
    >>> validate(USERS, pd.DataFrame({"user_id": [7, 7]}), "users.csv")
    Traceback (most recent call last):
        ...
    crm.errors.ExportError: users.csv cannot be used as users, 1 fault:
    users.csv, row 1 (user_id 7): user_id = '7': comes more than once; keep one row for each user_id
    """
    frame = frame.reset_index(drop=True)
    frame.columns = pd.Index([str(name) for name in frame.columns])
    faults = _Faults(table, frame, where)
    _check_names(table, frame, faults)
    columns = {column.name: _read_column(column, frame, faults) for column in table.columns}
    for column in table.columns:
        columns[column.name] = _fill(column, columns)
    if table.open_ended:
        for name in frame.columns.difference(list(table.names), sort=False):
            columns[name] = _read_attribute(frame[name], faults)
    _check_values(table, columns, faults)
    faults.raise_any()
    return pd.DataFrame(columns, index=frame.index)


def validate_history(frames: Mapping[str, pd.DataFrame], where: str = "history") -> History:
    """Bring several frames to their canonical tables.

    Parameters
    ----------
    frames : mapping of str to DataFrame
        By name of table; a table not named is empty.
    where : str
        The source, for messages.

    Raises
    ------
    ExportError
        Where a table is unknown, or as :func:`validate`.
    """
    unknown = sorted(set(frames) - set(TABLES))
    if unknown:
        raise ExportError(f"{where}: no table is called {unknown[0]!r}; the tables are {', '.join(TABLES)}")
    return History.of({name: validate(TABLES[name], f, f"{where}: {name}") for name, f in frames.items()})


def orphans(frames: Mapping[str, pd.DataFrame]) -> list[Problem]:
    """Find the activities, changes and order lines that are about records which are not there.

    Parameters
    ----------
    frames : mapping of str to DataFrame
        Valid frames. A table that is absent or empty is taken as not exported: what refers to it is not
        checked.

    Returns
    -------
    list of Problem
        One for each missing record; its value is the record's id.
    """
    problems: list[Problem] = []
    for name, columns in ABOUT.items():
        for column, table in columns.items():
            frame = frames.get(name)
            if frame is not None:
                problems += _unknown(name, frame, column, column.removesuffix("_id"), frames.get(table))
    changes = frames.get("changes")
    if changes is not None:
        for entity, owner in TABLE_OF.items():
            about = changes[changes["entity"] == entity]
            problems += _unknown("changes", about, "record_id", entity, frames.get(owner.name))
    return problems


def _unknown(
    name: str, frame: pd.DataFrame, column: str, entity: str, records: pd.DataFrame | None
) -> list[Problem]:
    if records is None or records.empty:
        return []
    ids = frame[column]
    missing = frame[ids.notna() & ~ids.isin(records.iloc[:, 0])]
    key = TABLES[name].key
    problems = []
    for record, rows in missing.groupby(column, sort=False)[key]:
        where = f"{name}: {key} {rows.iloc[0]}" + (f" and {len(rows) - 1} more" if len(rows) > 1 else "")
        problems.append(
            Problem(where, column, str(record), f"no {entity} has this id; export that {entity} too")
        )
    return problems


def _check_names(table: Table, frame: pd.DataFrame, faults: _Faults) -> None:
    twice = frame.columns[frame.columns.duplicated()].unique().tolist()
    faults.add_columns(twice, "two columns have this name; rename one")
    needed = [
        column.name
        for column in table.columns
        if column.required and not column.default_from and column.name not in frame.columns
    ]
    faults.add_columns(needed, f"this column is missing, and {table.name} cannot do without it")
    if not table.open_ended:
        unknown = frame.columns.difference(list(table.names), sort=False).tolist()
        faults.add_columns(unknown, f"{table.name} has no such column; its columns: {', '.join(table.names)}")
    if twice or needed:
        faults.raise_any()


def _read_column(column: Column, frame: pd.DataFrame, faults: _Faults) -> pd.Series:
    """Give a column in its dtype; unreadable values are noted and become missing."""
    if column.name not in frame.columns:
        return pd.Series([], dtype=DTYPES[column.kind]).reindex(frame.index)
    raw = frame[column.name]
    if column.kind == "timestamp":
        moments, naive = as_moments(raw)
        remedy = "names no time zone; write the offset, or give the zone in the mapping"
        faults.add(column.name, naive, raw, remedy)
        unread = (moments.isna() & raw.notna()).to_numpy() & ~naive
        remedy = "is no moment; write it like 2024-01-31T09:30:00+00:00"
        faults.add(column.name, unread & ~_blank(raw), raw, remedy)
        return moments
    if column.kind == "number":
        numbers = as_numbers(raw)
        unread = (numbers.isna() & raw.notna()).to_numpy() & ~_blank(raw)
        faults.add(column.name, unread, raw, "is no number; write it like 1234.5")
        return numbers
    return as_text(raw)


def _blank(raw: pd.Series) -> np.ndarray:
    if raw.dtype.kind in "fiubM":
        return np.zeros(len(raw), dtype=bool)
    return np.asarray(raw.astype("object") == "", dtype=bool)


def _read_attribute(raw: pd.Series, faults: _Faults) -> pd.Series:
    if not is_number_like(raw):
        return as_text(raw)
    numbers = as_numbers(raw)
    faults.add(str(raw.name), np.isinf(numbers.to_numpy()), raw, "is infinite; leave it empty instead")
    return numbers


def _fill(column: Column, columns: Mapping[str, pd.Series]) -> pd.Series:
    values = columns[column.name]
    if column.default_from is None and column.default is None:
        return values
    if not values.hasnans:
        return values
    if column.default_from is not None:
        return values.fillna(columns[column.default_from])
    return values.fillna(column.default)


def _check_values(table: Table, columns: Mapping[str, pd.Series], faults: _Faults) -> None:
    for column in table.columns:
        values = columns[column.name]
        if column.required and values.hasnans:
            remedy = "is missing" + (f", and so is {column.default_from}" if column.default_from else "")
            bad = values.isna().to_numpy() & ~faults.told(column)
            faults.add(column.name, bad, values, f"{remedy}; every row needs it")
        if column.choices:
            bad = (~values.isin(column.choices) & values.notna()).to_numpy()
            remedy = f"is none of {', '.join(column.choices)}; map it to one of them"
            faults.add(column.name, bad, values, remedy)
        if column.kind == "timestamp":
            outside = (values < EARLIEST) | (values >= LATEST)
            bad = outside.to_numpy() & ~faults.told(column)
            remedy = f"is not between {EARLIEST:%Y-%m-%d} and {LATEST:%Y-%m-%d}; correct it or leave it empty"
            faults.add(column.name, bad, values, remedy)
        if column.kind == "number":
            infinite = np.isinf(values.to_numpy())
            faults.add(column.name, infinite, values, "is infinite; leave it empty instead")
    for name, values in columns.items():
        if values.dtype == "str" and (nul := values.str.contains("\0", regex=False, na=False)).any():
            faults.add(name, nul.to_numpy(), values, "holds a NUL character; remove it from the export")
    _check_key(table, columns[table.key], faults)
    if table.name in ORDERED:
        first, last = ORDERED[table.name]
        reversed_ = (columns[last] < columns[first]).to_numpy()
        faults.add(last, reversed_, columns[last], f"is before {first}; correct one of the two")


def _check_key(table: Table, keys: pd.Series, faults: _Faults) -> None:
    if keys.is_unique:
        return
    again = keys.duplicated(keep=False) & ~keys.duplicated() & keys.notna()
    faults.add(table.key, again.to_numpy(), keys, f"comes more than once; keep one row for each {table.key}")
