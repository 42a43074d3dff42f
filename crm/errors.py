"""Every error that Vigie raises on purpose.

    VigieError
    ├── InputError            a file, record or field that cannot be used; says which, why and what to do
    │   ├── MappingError      the mapping file itself
    │   └── ExportError       the export that the mapping reads
    ├── StoreError            the history store: missing, older, newer
    │   ├── StoreBusy         locked by somebody else, for longer than we wait
    │   ├── StoreDown         cannot be reached
    │   └── StoreFull         its disk takes no more
    ├── NotEnoughData         a question the history cannot answer yet
    ├── BundleError           a model bundle that cannot be loaded: cut, newer, altered
    └── TrackingError         the MLflow store: cannot be reached, or lacks what was asked of it

A message names the file or record, the column, the value and the remedy.
"""

from __future__ import annotations

from dataclasses import dataclass


class VigieError(Exception):
    """Base of every error raised on purpose; its text is meant for the person who can act on it."""


class InputError(VigieError):
    """A file, record or field that cannot be used."""


class MappingError(InputError):
    """A mapping file that cannot be followed."""


class ExportError(InputError):
    """An export that does not hold what its mapping says."""


class StoreError(VigieError):
    """A history store that cannot be opened, read or written."""


class StoreBusy(StoreError):
    """A history store that is locked by somebody else; the same may work in a moment."""


class StoreDown(StoreError):
    """A history store that cannot be reached; the same may work once it is there again."""


class StoreFull(StoreError):
    """A history store whose disk takes no more."""


class NotEnoughData(VigieError):
    """A history that does not hold what a question needs."""


class BundleError(VigieError):
    """A model bundle that cannot be loaded."""


class TrackingError(VigieError):
    """An MLflow store that cannot be reached, or does not hold what was asked of it."""


@dataclass(frozen=True)
class Problem:
    """One fault in one record.

    Parameters
    ----------
    where : str
        The file and row, or the record's id.
    field : str
        The column.
    value : str
        The value as it was read, shortened.
    remedy : str
        What is wrong and what to do about it.
    """

    where: str
    field: str
    value: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.field} = {self.value!r}: {self.remedy}"


def shorten(value: object, limit: int = 60) -> str:
    """Give a value as text of at most ``limit`` characters, for a message.

    Examples
    --------
    >>> shorten("x" * 100, 5)
    'xxxx…'
    """
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def list_problems(problems: list[Problem], limit: int = 5) -> str:
    """Give the first problems one a line, and how many more there are."""
    lines = [str(problem) for problem in problems[:limit]]
    if len(problems) > limit:
        lines.append(f"… and {len(problems) - limit} more")
    return "\n".join(lines)
