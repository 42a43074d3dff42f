"""The columns of a history as plain arrays, whether it is DataFrames or the rows of one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.history import History
from crm.moments import DAY, MISSING, in_micros

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Coded(NamedTuple):
    """A column of texts: one code a row, -1 for missing, and the text of each code."""

    codes: Ints
    levels: list[str]

    def recode(self, target: Mapping[str, int]) -> Ints:
        """Give each row's code in another list of texts; -1 where it is missing or not there."""
        table = np.full(len(self.levels) + 1, -1, np.int64)
        for code, level in enumerate(self.levels):
            table[code] = target.get(level, -1)
        return table[self.codes]

    def parse(self, read: Callable[[str], float]) -> Floats:
        """Give each row's text as a number, read once for each distinct text; NaN for missing."""
        table = np.full(len(self.levels) + 1, np.nan)
        for code, level in enumerate(self.levels):
            table[code] = read(level)
        return table[self.codes]

    def take(self, rows: Ints | Bools) -> Coded:
        """Give some rows."""
        return Coded(self.codes[rows], self.levels)


def read_number(text: str) -> float:
    """Read a plain decimal; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _number_text(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


class Source(Protocol):
    """Where the columns come from."""

    def size(self, table: str) -> int:
        """Give the number of rows."""

    def text(self, table: str, column: str) -> Coded:
        """Give a column as texts; all missing where the table has no such column."""

    def time(self, table: str, column: str) -> Ints:
        """Give a column as microseconds since 1970, MISSING where there is none."""

    def number(self, table: str, column: str) -> Floats:
        """Give a column as numbers, NaN where there is none."""


class FrameSource:
    """The columns of a history's DataFrames; a text column is coded once."""

    def __init__(self, history: History) -> None:
        self._frames = history.frames()
        self._coded: dict[tuple[str, str], Coded] = {}

    def size(self, table: str) -> int:
        """Give the number of rows."""
        return len(self._frames[table])

    def _column(self, table: str, column: str) -> pd.Series[Any] | None:
        frame = self._frames[table]
        return frame[column] if column in frame.columns else None

    def text(self, table: str, column: str) -> Coded:
        """Give a column as texts; all missing where the table has no such column."""
        if (table, column) not in self._coded:
            self._coded[table, column] = self._code(table, column)
        return self._coded[table, column]

    def _code(self, table: str, column: str) -> Coded:
        series = self._column(table, column)
        if series is None:
            return Coded(np.full(self.size(table), -1, np.int64), [])
        codes, levels = pd.factorize(series)
        texts = levels.tolist()
        if texts and not isinstance(texts[0], str):
            texts = [_number_text(value) if isinstance(value, float) else str(value) for value in texts]
        return Coded(codes.astype(np.int64, copy=False), texts)

    def time(self, table: str, column: str) -> Ints:
        """Give a column as microseconds since 1970, MISSING where there is none."""
        series = self._column(table, column)
        if series is None:
            return np.full(self.size(table), MISSING, np.int64)
        return series.to_numpy(dtype="datetime64[us]").view(np.int64)

    def number(self, table: str, column: str) -> Floats:
        """Give a column as numbers, NaN where there is none."""
        series = self._column(table, column)
        if series is None:
            return np.full(self.size(table), np.nan)
        if series.dtype.kind in "fiub":
            return series.to_numpy(dtype=np.float64)
        return self.text(table, column).parse(read_number)


class RowSource:
    """The rows of one request: a list of mappings for each table, without pandas."""

    def __init__(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self._tables = tables

    def size(self, table: str) -> int:
        """Give the number of rows."""
        return len(self._tables.get(table, ()))

    def text(self, table: str, column: str) -> Coded:
        """Give a column as texts; all missing where the table has no such column."""
        found: dict[str, int] = {}
        codes = []
        for row in self._tables.get(table, ()):
            value = row.get(column)
            if value is None or value != value:
                codes.append(-1)
                continue
            text = value if isinstance(value, str) else _text(value)
            codes.append(found.setdefault(text, len(found)))
        return Coded(np.array(codes, np.int64), list(found))

    def time(self, table: str, column: str) -> Ints:
        """Give a column as microseconds since 1970, MISSING where there is none."""
        return np.array([in_micros(row.get(column)) for row in self._tables.get(table, ())], np.int64)

    def number(self, table: str, column: str) -> Floats:
        """Give a column as numbers, NaN where there is none."""
        values = [row.get(column) for row in self._tables.get(table, ())]
        return np.array(
            [np.nan if v is None else read_number(v) if isinstance(v, str) else float(v) for v in values],
            np.float64,
        )


def _text(value: Any) -> str:
    return _number_text(value) if isinstance(value, float) else str(value)


def later_of(first: Ints, second: Ints) -> Ints:
    """Give the later of two moments; a missing one is earlier than any."""
    return np.maximum(first, second)


def in_days(micros: Floats | Ints) -> Floats:
    """Give microseconds as days."""
    return np.asarray(micros / np.float64(DAY), np.float64)
