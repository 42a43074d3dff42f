"""Table files: CSV or Parquet, there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from crm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".parquet")


def check_out(path: Path) -> None:
    """Refuse a place where no table can be written, before the work is done.

    Raises
    ------
    InputError
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(f"{path}: the file's name must end in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table; where that fails, what was there before stays.

    Raises
    ------
    InputError
        Where it cannot be written.
    """
    check_out(path)
    path = path.absolute()
    name = path.name.lower()
    suffix = next(suffix for suffix in SUFFIXES if name.endswith(suffix))
    fresh: Path | None = None
    try:
        handle, text = tempfile.mkstemp(prefix=f".{path.name}-", suffix=suffix, dir=path.parent)
        fresh = Path(text)
        os.close(handle)
        if suffix == ".parquet":
            frame.to_parquet(fresh, index=False)
        else:
            _as_text(frame).to_csv(fresh, index=False, lineterminator="\n")
        # The rights of a new file, which a temporary one does not have.
        mask = os.umask(0)
        os.umask(mask)
        fresh.chmod(0o666 & ~mask)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); what was there before is unchanged"
        ) from error
    finally:
        if fresh is not None:
            fresh.unlink(missing_ok=True)


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Give moments as ISO 8601, each column at one precision, so that any reader guesses right."""
    import pandas as pd

    moments = {str(name) for name in frame.columns if isinstance(frame[name].dtype, pd.DatetimeTZDtype)}
    return frame.assign(**{name: _iso(frame[name]) for name in moments})


def _iso(values: pd.Series) -> pd.Series:
    whole = bool((values.dropna().dt.microsecond == 0).all())
    texts: pd.Series = values.dt.strftime(
        "%Y-%m-%dT%H:%M:%S+00:00" if whole else "%Y-%m-%dT%H:%M:%S.%f+00:00"
    )
    return texts
