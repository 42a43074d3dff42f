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


#: Up to so many rows, each is read on its own; of more, each distinct text once.
FEW = 16


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

    def parsed(self, table: str, column: str, read: Callable[[str], float]) -> Floats:
        """Give a column of texts as numbers, NaN for missing."""

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

    def parsed(self, table: str, column: str, read: Callable[[str], float]) -> Floats:
        """Give a column of texts as numbers, NaN for missing."""
        return self.text(table, column).parse(read)

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
    """The rows of one request: a list of mappings for each table, without pandas; a column is read once."""

    def __init__(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self._tables = tables
        self._texts: dict[tuple[str, str], Coded] = {}
        self._times: dict[tuple[str, str], Ints] = {}

    def size(self, table: str) -> int:
        """Give the number of rows."""
        return len(self._tables.get(table, ()))

    def text(self, table: str, column: str) -> Coded:
        """Give a column as texts; all missing where the table has no such column."""
        found = self._texts.get((table, column))
        if found is None:
            values = [row.get(column) for row in self._tables.get(table, ())]
            found = self._texts[table, column] = code(values)
        return found

    def parsed(self, table: str, column: str, read: Callable[[str], float]) -> Floats:
        """Give a column of texts as numbers, NaN for missing."""
        rows = self._tables.get(table, ())
        if len(rows) > FEW:
            return self.text(table, column).parse(read)
        values = [row.get(column) for row in rows]
        return np.array(
            [
                np.nan if v is None or v != v else read(v if isinstance(v, str) else text_of(v))
                for v in values
            ],
            np.float64,
        )

    def time(self, table: str, column: str) -> Ints:
        """Give a column as microseconds since 1970, MISSING where there is none."""
        found = self._times.get((table, column))
        if found is None:
            moments = [in_micros(row.get(column)) for row in self._tables.get(table, ())]
            found = self._times[table, column] = np.array(moments, np.int64)
        return found

    def number(self, table: str, column: str) -> Floats:
        """Give a column as numbers, NaN where there is none."""
        return numbers([row.get(column) for row in self._tables.get(table, ())])


def code(values: list[Any]) -> Coded:
    """Code texts by their first appearance; numbers count as their texts, None and NaN as missing."""
    places: dict[Any, int] = dict.fromkeys(values, 0)
    if not places:
        return _NOTHING
    levels: dict[str, int] = {}
    for value in places:
        if value is None or value != value:
            places[value] = -1
            continue
        text = value if isinstance(value, str) else text_of(value)
        places[value] = levels.setdefault(text, len(levels))
    return Coded(np.fromiter(map(places.__getitem__, values), np.int64, len(values)), list(levels))


def numbers(values: list[Any]) -> Floats:
    """Give values as numbers; texts are read, None is NaN."""
    return np.array(
        [np.nan if v is None else read_number(v) if isinstance(v, str) else float(v) for v in values],
        np.float64,
    )


_NOTHING = Coded(np.zeros(0, np.int64), [])


def text_of(value: Any) -> str:
    """Give a value of a category as its text."""
    return _number_text(value) if isinstance(value, float) else str(value)


def later_of(first: Ints, second: Ints) -> Ints:
    """Give the later of two moments; a missing one is earlier than any."""
    return np.maximum(first, second)


def in_days(micros: Floats | Ints) -> Floats:
    """Give microseconds as days."""
    return np.asarray(micros / np.float64(DAY), np.float64)
