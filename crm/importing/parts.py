"""What one file of an export says, under our names, before it is completed and checked."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Part:
    """Rows of one canonical table from one file.

    Parameters
    ----------
    table : str
    file : str
        For messages.
    frame : DataFrame, shape (n_rows, n_given)
        The columns that the file gives, and no others, under our names and with our dtypes.
    full : bool
        Whether a record that it does not hold is gone from the CRM.
    gone_limit : float
        Share of the known records that may be gone in one export.
    unknown_records : {"refuse", "skip"}
    duplicates : {"refuse", "last"}
    outcome_before_creation : {"refuse", "skip", "close_at_creation"}
    """

    table: str
    file: str
    frame: pd.DataFrame
    full: bool = True
    gone_limit: float = 0.5
    unknown_records: str = "refuse"
    duplicates: str = "refuse"
    outcome_before_creation: str = "refuse"


@dataclass(frozen=True)
class Export:
    """An export as its mapping reads it.

    Parameters
    ----------
    name : str
        The source.
    parts : tuple of Part
    closing : DataFrame
        Changes that the mapping's ``before_close`` states, in the columns of ``changes``: they hold only
        for records that were never seen open.
    notices : tuple of str
        What an administrator should know, in plain words.
    """

    name: str
    parts: tuple[Part, ...]
    closing: pd.DataFrame = field(default_factory=pd.DataFrame)
    notices: tuple[str, ...] = ()

    def frames(self) -> dict[str, pd.DataFrame]:
        """Give each table's rows, of all its files, one after the other."""
        by_table: dict[str, list[pd.DataFrame]] = {}
        for part in self.parts:
            by_table.setdefault(part.table, []).append(part.frame)
        return {
            table: frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
            for table, frames in by_table.items()
        }
