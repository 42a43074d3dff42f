"""Reading one file of an export as text, column by column, with a message for whatever is wrong with it."""

from __future__ import annotations

import codecs
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from crm.errors import ExportError, shorten
from crm.mapping import FileOptions
from crm.mapping.section import suggest

_TEXT = pd.StringDtype("pyarrow", na_value=np.nan)
#: Characters tried when a header seems to be cut by another delimiter than the mapping's.
_DELIMITERS = {",": ",", ";": ";", "\t": "tab", "|": "|"}


@dataclass(frozen=True)
class RawFile:
    """A file as it was read.

    Parameters
    ----------
    name : str
        The file's name, for messages.
    frame : DataFrame, shape (n_rows, n_columns)
        Every column as ``str``, missing where the file is empty or says one of the mapping's nulls; the
        index counts the rows from 0.
    typed : frozenset of str
        Columns that the file itself states to be numbers or moments; their text is in plain form,
        whatever the mapping says of CSV.
    notices : tuple of str
        What was left out, in plain words.
    """

    name: str
    frame: pd.DataFrame
    typed: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()

    def column(self, name: str, asked_by: str) -> pd.Series:
        """Give a column; ExportError, naming who asks and the nearest name, where there is none."""
        if name not in self.frame.columns:
            have = [str(column) for column in self.frame.columns]
            raise ExportError(
                f"{self.name}: no column {name!r}, which {asked_by} asks for{suggest(name, have)} "
                f"(the file has: {shorten(', '.join(have), 400)})"
            )
        return self.frame[name]


def read_file(data_dir: Path, name: str, options: FileOptions, may_be_empty: bool = False) -> RawFile:
    """Read a CSV, gzipped CSV or Parquet file.

    Parameters
    ----------
    data_dir : Path
    name : str
        The file's name under ``data_dir``; its ending says what it is.
    options : FileOptions
    may_be_empty : bool
        Whether a file without rows is accepted.

    Raises
    ------
    ExportError
        Where the file is missing, cut short, in another encoding, or has no rows or columns that agree.
    """
    path = data_dir / name
    if not path.is_file():
        there = sorted(p.name for p in data_dir.iterdir()) if data_dir.is_dir() else []
        has = (
            f"{data_dir} holds {shorten(', '.join(there), 300)}"
            if there
            else f"{data_dir} is no folder of files"
        )
        raise ExportError(f"{name}: no such file{suggest(name, there)} ({has})")
    if name.lower().endswith((".parquet", ".pq")):
        table = _read_parquet(path, name)
        typed = frozenset(f.name for f in table.schema if not _is_text(f.type))
    else:
        table = _read_csv(path, name, options)
        typed = frozenset()
    if table.num_rows == 0 and not may_be_empty:
        raise ExportError(
            f"{name}: the export is empty: it has columns but no rows; export it again, "
            "or say may_be_empty = true in the mapping"
        )
    return _to_frame(table, name, typed, options)


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_null(value))


def _read_parquet(path: Path, name: str) -> pa.Table:
    try:
        return pa.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ExportError(
            f"{name}: not a whole Parquet file ({shorten(error, 120)}); it may be cut short: copy it again"
        ) from error


def _read_csv(path: Path, name: str, options: FileOptions) -> pa.Table:
    data = _as_utf8(_read_bytes(path, name), name, options.encoding)
    if not data.strip():
        raise ExportError(f"{name}: the file is empty; export it again")
    parsing = {"delimiter": options.delimiter, "newlines_in_values": True}
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(data),
            parse_options=pa.csv.ParseOptions(**parsing),
            convert_options=pa.csv.ConvertOptions(
                column_types=_all_text(data, parsing),
                strings_can_be_null=True,
                null_values=["", *options.nulls],
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):  # a header without a line break is a header all the same
            return _read_header_only(data, options.delimiter)
        raise ExportError(f"{name}: {_explain_rows(data, options, parsing, error)}") from error
    _check_last_quote(data, table, name, options.delimiter)
    return table


def _read_bytes(path: Path, name: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ExportError(f"{name}: cannot be read: {error.strerror or error}") from error
    if not name.lower().endswith(".gz"):
        if data[:2] == b"\x1f\x8b":
            raise ExportError(f"{name}: is gzipped; name it {name}.gz, here and in the mapping")
        return data
    try:
        return gzip.decompress(data)
    except EOFError as error:
        raise ExportError(
            f"{name}: the gzip file ends too early, after {len(data)} bytes: "
            "it was cut; copy or export it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ExportError(
            f"{name}: not a sound gzip file ({error}); if it is plain CSV, drop .gz from its name"
        ) from error


def _as_utf8(data: bytes, name: str, encoding: str) -> bytes:
    is_utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    if is_utf8 and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise ExportError(f'{name}: is UTF-16, not UTF-8; say encoding = "utf-16" in the mapping')
    try:
        text = data.decode("utf-8-sig" if is_utf8 else encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        tried = "cp1252" if is_utf8 else "utf-8"
        raise ExportError(
            f"{name}: byte {error.start} (line {line}) is 0x{data[error.start]:02x}, "
            f'which is not {encoding}; say encoding = "{tried}" in the mapping, or export as UTF-8'
        ) from error
    if "\0" in text:
        raise ExportError(
            f"{name}: holds NUL characters from line {text.count(chr(10), 0, text.index(chr(0))) + 1} on; "
            'it is no text, or UTF-16: say encoding = "utf-16-le" in the mapping, or copy it again'
        )
    return text.encode() if not is_utf8 or data.startswith(codecs.BOM_UTF8) else data


def _all_text(data: bytes, parsing: dict[str, object]) -> dict[str, pa.DataType]:
    """Give every column of the header the type text, so that no id or postcode is read as a number."""
    head = data.split(b"\n", 1)[0]
    while head.count(b'"') % 2 and len(head) < len(data):  # a line break inside a quoted column name
        more = data[len(head) + 1 :].split(b"\n", 1)[0]
        head = head + b"\n" + more
    names = pa.csv.read_csv(
        pa.BufferReader(head + b"\n"), parse_options=pa.csv.ParseOptions(**parsing)
    ).column_names
    return dict.fromkeys(names, pa.string())


def _read_header_only(data: bytes, delimiter: str) -> pa.Table:
    names = [name.strip('"') for name in data.decode().strip().split(delimiter)]
    return pa.table({name: pa.array([], pa.string()) for name in names})


def _explain_rows(
    data: bytes, options: FileOptions, parsing: dict[str, object], error: pa.ArrowInvalid
) -> str:
    """Say which row has another number of fields than the header."""
    bad: list[pa.csv.InvalidRow] = []

    def note(row: pa.csv.InvalidRow) -> str:
        bad.append(row)
        return "skip"

    try:
        pa.csv.read_csv(
            pa.BufferReader(data),
            read_options=pa.csv.ReadOptions(use_threads=False),
            parse_options=pa.csv.ParseOptions(**parsing, invalid_row_handler=note),
        )
    except pa.ArrowInvalid:
        return shorten(error, 200)
    if not bad:
        return shorten(error, 200)
    row = bad[0]
    text = row.text.rstrip("\r\n")
    # the header is pyarrow's row 1; ours count what comes after it
    said = (
        f"row {row.number - 1} has {row.actual_columns} fields, the header has {row.expected_columns}: "
        f"{shorten(text)!r}"
    )
    if data.rstrip(b"\r\n").endswith(text.encode()) and row.actual_columns < row.expected_columns:
        return f"{said}; it is the last row: the file was cut short, export or copy it again"
    if row.expected_columns == 1:
        return f"{said}; the delimiter may not be {options.delimiter!r}: say delimiter = … in the mapping"
    return f"{said}; quote values that hold the delimiter {options.delimiter!r}, or correct the row"


def _check_last_quote(data: bytes, table: pa.Table, name: str, delimiter: str) -> None:
    """Refuse a file that ends within a quoted value; pyarrow takes the rest of the file as that value."""
    if table.num_rows == 0 or table.num_columns == 0:
        return
    last = table.column(table.num_columns - 1)[-1].as_py()
    inside = b'"' + (last or "").replace('"', '""').encode()
    if last:
        is_open = data.endswith(inside) and data[: -len(inside)].endswith((delimiter.encode(), b"\n", b"\r"))
    else:
        is_open = data.endswith((delimiter.encode() + b'"', b'\n"'))
    if is_open:
        raise ExportError(
            f"{name}: row {table.num_rows} opens a quotation mark that is never closed: "
            f"{shorten(last or '')!r}; the file was cut short or a quote is missing: export it again"
        )


def _to_frame(table: pa.Table, name: str, typed: frozenset[str], options: FileOptions) -> RawFile:
    names = table.column_names
    named = [column.strip() for column in names]
    for column in set(named) - {""}:
        if named.count(column) > 1:
            raise ExportError(f"{name}: the column {column!r} comes {named.count(column)} times; rename one")
    notices = []
    columns: dict[str, pd.Series] = {}
    for position, column in enumerate(named):
        if not column:
            notices.append(f"{name}: column {position + 1} has no name; it was left out")
            continue
        columns[column] = _as_text(table.column(position), name, column)
    frame = pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows))
    if len(columns) == 1:
        _check_delimiter(next(iter(columns)), name, options.delimiter)
    return RawFile(name, frame, typed, tuple(notices))


def _as_text(column: pa.ChunkedArray, name: str, header: str) -> pd.Series:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is_text(column.type) or pa.types.is_null(column.type):
        try:
            column = column.cast(pa.string())
        except pa.ArrowException as error:
            raise ExportError(
                f"{name}: the column {header!r} holds {column.type}, "
                "which is no single value; flatten or drop it"
            ) from error
    return pd.Series(column.to_pandas(types_mapper={pa.string(): _TEXT, pa.large_string(): _TEXT}.get))


def _check_delimiter(header: str, name: str, delimiter: str) -> None:
    for other, called in _DELIMITERS.items():
        if other != delimiter and other in header:
            written = "\\t" if called == "tab" else other
            raise ExportError(
                f"{name}: the whole header is one column, {shorten(header)!r}: the delimiter is not "
                f'{delimiter!r} but {called!r}; say delimiter = "{written}" in the mapping'
            )
