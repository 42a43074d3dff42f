"""Files of moments to score: CSV or Parquet, one row a record and moment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crm.errors import InputError, Problem, list_problems, shorten

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".parquet")


def read_snapshots(path: Path, entity: str) -> pd.DataFrame:
    """Read which records to score at which moments.

    Parameters
    ----------
    path : Path
        A CSV (``.csv``, ``.csv.gz``) or Parquet file with the columns ``lead_id`` or ``deal_id``, and
        ``as_of``: a moment with its zone, or a date, taken as 00:00 UTC.
    entity : {"lead", "deal"}

    Returns
    -------
    DataFrame
        ``record_id`` (str) and ``as_of`` (datetime64[us, UTC]), in the file's order.

    Raises
    ------
    InputError
        Where the file cannot be read, a column is missing, or a value cannot be used.
    """
    key = f"{entity}_id"
    frame = _read(path)
    for column in (key, "as_of"):
        if column not in frame.columns:
            raise InputError(
                f"{path}: has no column {column!r}, only {shorten(', '.join(map(str, frame.columns)))}; "
                f"give {key} and as_of"
            )
    ids = frame[key].astype("str")
    empty = [
        Problem(f"{path}, row {row + 1}", key, "", "is empty; give the record's id")
        for row in _places(ids.isna() | ids.eq(""))
    ]
    if empty:
        raise InputError(list_problems(empty))
    import pandas as pd

    return pd.DataFrame(
        {"record_id": ids.reset_index(drop=True), "as_of": _moments(frame["as_of"], path)},
    )


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(f"{path}: a file of moments ends in {', '.join(SUFFIXES)}")
    try:
        if path.name.lower().endswith(".parquet"):
            return pd.read_parquet(path)
        # Ids are text: read as numbers, 007 would become 7.
        return pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist; check the path") from None
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        said = shorten(" ".join(str(error).split()), 200)
        raise InputError(f"{path}: cannot be read ({said}); give a CSV in UTF-8 or a Parquet file") from None


def _moments(values: pd.Series, path: Path) -> pd.Series:
    import pandas as pd

    values = values.reset_index(drop=True)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        moments, naive = values.dt.tz_convert("UTC"), values.isna() & False
    elif pd.api.types.is_datetime64_dtype(values.dtype):
        # Parquet's dates come without a zone; at midnight they are dates.
        naive = values.ne(values.dt.normalize()) & values.notna()
        moments = values.dt.tz_localize("UTC")
    else:
        texts = values.astype("str").str.strip()
        naive = ~texts.str.contains(r"(?:[zZ]|[+-]\d{2}:?\d{2})$", regex=True, na=True)
        naive &= ~texts.str.fullmatch(r"\d{4}-\d{2}-\d{2}", na=False)
        moments = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    remedies = {
        "is no moment; write 2024-05-31 (00:00 UTC) or 2024-05-31T18:00:00+02:00": moments.isna(),
        "names no time zone; add it, for example +00:00": naive & moments.notna(),
    }
    problems = [
        Problem(f"{path}, row {row + 1}", "as_of", shorten(values.iloc[row]), remedy)
        for remedy, at_fault in remedies.items()
        for row in _places(at_fault)
    ]
    if problems:
        raise InputError(list_problems(problems))
    exact: pd.Series = moments.dt.as_unit("us")
    return exact


def _places(at_fault: pd.Series) -> list[int]:
    return [place for place, wrong in enumerate(at_fault.tolist()) if wrong]
