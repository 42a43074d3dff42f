"""Reading the text of a column as moments, numbers or attributes, in the way a mapping says it is written."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from crm.errors import ExportError, Problem, list_problems, shorten
from crm.mapping import FileOptions

MOMENT = "datetime64[us, UTC]"
_ZONED = r"\d:?\d\d(?:[:.,\d]*)\s*(?:[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)$"
_NUMBER = r"[+-]?(?:0|[1-9]\d{0,14})(?:\.\d+)?(?:[eE][+-]?\d{1,3})?"
_UNIX = {"unix": "s", "unix_ms": "ms"}
_DST_REMEDY = 'say dst = "earlier" or dst = "later" in the mapping, or export in UTC'


def fail(file: str, column: str, values: pd.Series, bad: pd.Series | np.ndarray, remedy: str) -> None:
    """Raise ExportError naming the first rows where ``bad`` is true, and how many there are."""
    rows = np.flatnonzero(np.asarray(bad))
    if len(rows) == 0:
        return
    problems = [
        Problem(f"{file}, row {values.index[row] + 1}", column, shorten(values.iloc[row]), remedy)
        for row in rows[:5]
    ]
    more = f"\n… {len(rows)} such rows in all" if len(rows) > 5 else ""
    raise ExportError(list_problems(problems) + more)


def read_moments(text: pd.Series, options: FileOptions, file: str, typed: bool = False) -> pd.Series:
    """Read a column of moments.

    Parameters
    ----------
    text : Series of str, shape (n_rows,)
        Named after its column; missing stays missing.
    options : FileOptions
    file : str
        For messages.
    typed : bool
        Whether the file itself says that these are moments; then their text is ISO 8601.

    Returns
    -------
    Series of datetime64[us, UTC], shape (n_rows,)

    Raises
    ------
    ExportError
        Where a value is no moment, names no zone and the mapping names none either, stands among values
        that do name one, or falls into an hour that the clocks show twice or skip.
    """
    column = str(text.name)
    levels = pd.Series(text.dropna().unique(), dtype="str", name=column)
    stripped = levels.str.strip()
    formats = () if typed else options.date_formats
    if any(name in _UNIX for name in formats):
        moments = _read_unix(stripped, formats[0], file)
    else:
        local, zoned = _parse(stripped, formats)
        unread = local.isna() & zoned.isna()
        how = " or ".join(repr(name) for name in formats) if formats else "ISO 8601, like 2024-01-31 09:30:00"
        rows = text.isin(levels[unread]) if unread.any() else np.zeros(len(text), bool)
        fail(
            file,
            column,
            text,
            rows,
            f"is no moment written as {how}; set date_format in the mapping, or list the value under nulls",
        )
        if options.timezone is None and local.notna().any():
            rows = text.isin(levels[local.notna()])
            fail(
                file,
                column,
                text,
                rows,
                'names no time zone; say timezone = "Europe/Paris" (or whichever it is) in the mapping',
            )
        if local.notna().any() and zoned.notna().any():
            rows = text.isin(levels[local.notna()])
            fail(
                file,
                column,
                text,
                rows,
                "names no time zone, while other values of the column do; "
                "export all of them with their offset",
            )
        moments = (
            zoned.fillna(_localize(local, options, file, text, levels)) if local.notna().any() else zoned
        )
    places = pd.Index(levels).get_indexer(pd.Index(text)) if len(levels) else np.full(len(text), -1)
    taken = moments.array.take(places, allow_fill=True)
    return pd.Series(taken, index=text.index, name=column)


def _parse(text: pd.Series, formats: tuple[str, ...]) -> tuple[pd.Series, pd.Series]:
    """Give naive moments and zoned ones, each missing where the other is there."""
    if formats:
        local = pd.Series(pd.NaT, index=text.index, dtype="datetime64[us]")
        zoned = pd.Series(pd.NaT, index=text.index, dtype=MOMENT)
        for name in formats:
            if "%z" in name:
                read = pd.to_datetime(text, format=name, utc=True, errors="coerce").dt.as_unit("us")
                zoned = zoned.fillna(read.where(local.isna()))
            else:
                naive = pd.to_datetime(text, format=name, errors="coerce").dt.as_unit("us")
                local = local.fillna(naive.where(zoned.isna()))
        return local, zoned
    # Arrow's expressions, for pandas tries these one value at a time
    values = pa.array(text, pa.large_string())
    is_zoned = pd.Series(pc.match_substring_regex(values, _ZONED).to_numpy(zero_copy_only=False), text.index)
    plain = pc.replace_substring_regex(values, r"\s*(?:UTC|GMT)$", "Z")
    read = pd.to_datetime(
        pd.Series(plain.to_pandas(), text.index, dtype="str"), format="ISO8601", utc=True, errors="coerce"
    ).dt.as_unit("us")
    return read.mask(is_zoned).dt.tz_localize(None), read.where(is_zoned)


def _read_unix(text: pd.Series, name: str, file: str) -> pd.Series:
    numbers = pd.to_numeric(text, errors="coerce")
    absurd = ~(numbers.abs() < (1e11 if name == "unix" else 1e14))
    fail(file, str(text.name), text, absurd, f"is no {name} time; correct date_format in the mapping")
    scale = 1_000_000 if name == "unix" else 1000
    micros = (numbers * scale).round().astype("int64")
    return pd.Series(pd.to_datetime(micros, unit="us", utc=True).dt.as_unit("us"))


def _localize(
    local: pd.Series, options: FileOptions, file: str, text: pd.Series, levels: pd.Series
) -> pd.Series:
    zone = ZoneInfo(options.timezone or "UTC")
    # a day without a time of day begins with its first moment, even where the clocks skip midnight
    is_day = ~levels.str.contains(":", regex=False).to_numpy()
    first = is_day | (options.dst == "earlier")
    moments = local.dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    if options.dst == "refuse":
        strict = local.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
        lost = strict.isna() & local.notna() & ~is_day
        remedy = f"is an hour that the clocks of {options.timezone} show twice or skip; {_DST_REMEDY}"
        fail(file, str(text.name), text, text.isin(levels[lost]), remedy)
    return pd.Series(moments.dt.tz_convert("UTC").dt.as_unit("us"))


def read_numbers(text: pd.Series, options: FileOptions, file: str, typed: bool = False) -> pd.Series:
    """Read a column of numbers as ``float64``; ExportError where a value is none or is not finite."""
    numbers = pd.to_numeric(_plain_numbers(text, options, typed), errors="coerce")
    values = pd.Series(numbers.to_numpy(dtype="float64", na_value=np.nan), index=text.index, name=text.name)
    bad = text.notna() & ~np.isfinite(values)
    how = f"with {options.decimal!r} before the decimals"
    fail(
        file,
        str(text.name),
        text,
        bad,
        f"is no number written {how}; set decimal and thousands in the "
        "mapping, or list the value under nulls",
    )
    return values


def _plain_numbers(text: pd.Series, options: FileOptions, typed: bool) -> pd.Series:
    plain = text.str.strip()
    if typed:
        return plain
    if options.thousands:
        plain = plain.str.replace(options.thousands, "", regex=False)
    if options.decimal != ".":
        # a point would be read as the decimal sign that it is not here
        plain = plain.mask(plain.str.contains(".", regex=False, na=False), "?")
        plain = plain.str.replace(options.decimal, ".", regex=False)
    return plain


def read_attribute(text: pd.Series, options: FileOptions, typed: bool = False) -> pd.Series:
    """Read a further column: ``float64`` where every value is a number, else ``str``.

    A value with leading zeros or more than fifteen digits is a code, not a number, and makes the whole
    column text.
    """
    plain = _plain_numbers(text, options, typed)
    there = plain.dropna()
    if len(there) == 0 or not there.str.fullmatch(_NUMBER).all():
        return text
    numbers = pd.to_numeric(plain).to_numpy(dtype="float64", na_value=np.nan)
    if np.isinf(numbers).any():
        return text
    return pd.Series(numbers, index=text.index, name=text.name)


def read_ids(text: pd.Series) -> pd.Series:
    """Read a column of ids: trimmed, and without the ``.0`` that whole numbers get beside empty cells.

    Examples
    --------
    >>> read_ids(pd.Series(["112.0", None, "9.0"], dtype="str")).tolist()
    ['112', nan, '9']
    >>> read_ids(pd.Series(["1.0", "1.5"], dtype="str")).tolist()
    ['1.0', '1.5']
    """
    ids = text.str.strip()
    ids = ids.mask(ids == "")
    there = ids.dropna()
    if len(there) and there.str.fullmatch(r"\d+\.0").all():
        return ids.str.removesuffix(".0")
    return ids
