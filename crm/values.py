"""Reading single columns: as text, as numbers, as moments; vectorised, and without guessing."""

from __future__ import annotations

import numpy as np
import pandas as pd

_MOMENT = "datetime64[us, UTC]"
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal")
_ZONE = r"[Tt ]\d\d.*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$"


def plain(value: object) -> str:
    """Give one value as text: whole numbers without a decimal point, moments as ISO 8601 in UTC.

    Examples
    --------
    >>> plain(5.0), plain(0.1), plain(True)
    ('5', '0.1', 'true')
    >>> plain(pd.Timestamp("2024-01-01T02:00:00+02:00"))
    '2024-01-01T00:00:00+00:00'
    """
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    if isinstance(value, pd.Timestamp) and value.tz is not None:
        return value.tz_convert("UTC").isoformat()
    return str(value)


def as_text(values: pd.Series) -> pd.Series:
    """Give a column as ``str``: each value :func:`plain`, empty text as missing."""
    if values.dtype != "str":
        codes, levels = pd.factorize(values)
        texts = pd.array([plain(level) for level in levels], dtype="str")
        taken = pd.Series(texts.take(codes, allow_fill=True), index=values.index, name=values.name)
        return as_text(taken)
    empty = values == ""
    return values.mask(empty) if empty.any() else values


def is_number_like(values: pd.Series) -> bool:
    """Say whether every value is a number: not text, not true or false, not a moment; or all are missing."""
    if values.dtype.kind in "fiu":
        return True
    if values.isna().all():
        return True
    if values.dtype == "object":
        return pd.api.types.infer_dtype(values, skipna=True) in _NUMBERS
    return False


def as_numbers(values: pd.Series) -> pd.Series:
    """Give a column as ``float64``; what is no number becomes missing."""
    if values.dtype == "float64":
        return values
    numbers = pd.to_numeric(values, errors="coerce")
    return pd.Series(numbers.to_numpy(dtype="float64", na_value=np.nan), index=values.index, name=values.name)


def as_moments(values: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """Give a column as moments in UTC, and where it holds moments without a time zone.

    Returns
    -------
    moments : Series of datetime64[us, UTC], shape (n_rows,)
        Missing where the value is no moment or names no time zone.
    naive : ndarray of bool, shape (n_rows,)
    """
    if values.dtype == _MOMENT:
        return values, np.zeros(len(values), dtype=bool)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return values.dt.tz_convert("UTC").dt.as_unit("us"), np.zeros(len(values), dtype=bool)
    if values.dtype.kind == "M":
        return pd.Series(
            pd.NaT, index=values.index, dtype=_MOMENT, name=values.name
        ), values.notna().to_numpy()
    if values.dtype != "str":
        values = as_text(values)
    moments = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce").dt.as_unit("us")
    naive = (moments.notna() & ~values.str.contains(_ZONE, regex=True, na=False)).to_numpy()
    return moments.mask(naive), naive
