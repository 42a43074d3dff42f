"""Long text columns made at array speed: ids, picks from a list of words, numbers and moments as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

MICROSECONDS = 1_000_000


def id_words(prefix: str, n: int, width: int = 7) -> pa.Array:
    """Give ``n`` ids, numbered from 1.

    Examples
    --------
    >>> id_words("L", 2, width=3).to_pylist()
    ['L001', 'L002']
    """
    numbers = np.arange(1, n + 1, dtype=np.int64)
    letters = np.empty((n, len(prefix) + width), dtype=np.uint8)
    letters[:, : len(prefix)] = np.frombuffer(prefix.encode(), dtype=np.uint8)
    for place in range(width):
        letters[:, len(prefix) + width - 1 - place] = ord("0") + numbers // 10**place % 10
    offsets = np.arange(n + 1, dtype=np.int64) * letters.shape[1]
    return pa.Array.from_buffers(
        pa.large_string(), n, [None, pa.py_buffer(offsets), pa.py_buffer(letters.tobytes())]
    )


def pick(words: Sequence[str] | pa.Array, positions: npt.NDArray[Any]) -> pa.Array:
    """Give the word at each position; a negative position is a missing value.

    Examples
    --------
    >>> pick(["a", "b"], np.array([1, -1])).to_pylist()
    ['b', None]
    """
    table = words if isinstance(words, pa.Array) else pa.array(list(words), type=pa.large_string())
    positions = np.asarray(positions, dtype=np.int64)
    return table.take(pa.array(positions, mask=positions < 0))


def missing(n: int) -> pa.Array:
    """Give ``n`` missing texts."""
    return pa.nulls(n, type=pa.large_string())


def number_words(values: npt.NDArray[np.float64]) -> pa.Array:
    """Give whole numbers as plain decimals.

    Examples
    --------
    >>> number_words(np.array([1200.0])).to_pylist()
    ['1200']
    """
    return pc.cast(pa.array(values.astype(np.int64)), pa.large_string())


def moment_words(seconds: npt.NDArray[np.int64]) -> pa.Array:
    """Give moments, in seconds since 1970, in ISO 8601.

    Examples
    --------
    >>> moment_words(np.array([0])).to_pylist()
    ['1970-01-01T00:00:00+00:00']
    """
    text = np.datetime_as_string(seconds.astype("datetime64[s]"))
    return pa.array([f"{t}+00:00" for t in text.tolist()], type=pa.large_string())


def text(words: pa.Array) -> pd.Series:
    """Give texts as a column of pandas' ``str``."""
    return pd.Series(words, dtype="str")


def moments(seconds: npt.NDArray[Any]) -> pd.Series:
    """Give moments, in seconds since 1970 and NaN or negative where missing, as a column.

    Examples
    --------
    >>> moments(np.array([0.5, np.nan])).tolist()
    [Timestamp('1970-01-01 00:00:00.500000+0000', tz='UTC'), NaT]
    """
    known = np.asarray(seconds) >= 0
    micros = np.rint(np.where(known, seconds, 0) * MICROSECONDS).astype("datetime64[us]")
    micros[~known] = np.datetime64("NaT")
    return pd.Series(micros).dt.tz_localize("UTC")


def numbers(values: npt.NDArray[Any]) -> pd.Series:
    """Give numbers as a column."""
    return pd.Series(np.asarray(values, dtype=np.float64))


def frame(columns: Mapping[str, pa.Array | pd.Series]) -> pd.DataFrame:
    """Give a table; texts stand as Arrow arrays."""
    return pd.DataFrame(
        {name: text(c) if isinstance(c, pa.Array) else c for name, c in columns.items()}, copy=False
    )
