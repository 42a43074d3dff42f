"""What a load did, as it is told and as the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import orjson
import pandas as pd


@dataclass(frozen=True)
class RowCounts:
    """What a load did to one table.

    Parameters
    ----------
    new : int
        Rows whose key the store did not have.
    changed : int
        Rows that differed from what the store had.
    unchanged : int
        Rows that were there already.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0

    @property
    def total(self) -> int:
        """The rows of the load."""
        return self.new + self.changed + self.unchanged


@dataclass(frozen=True)
class LoadReport:
    """What one load did.

    Parameters
    ----------
    load_id : int
        Of the entry in the store; of the earlier one where the same load changed nothing.
    tables : mapping of str to RowCounts
        By name of table, those loaded.
    facts_changed : bool
        Whether the source says something else about the history as a whole than before.
    """

    load_id: int
    tables: Mapping[str, RowCounts]
    facts_changed: bool = False

    @property
    def is_change(self) -> bool:
        """Whether the load changed anything."""
        return self.facts_changed or any(counts.new or counts.changed for counts in self.tables.values())


@dataclass(frozen=True)
class Load:
    """One load that the store remembers.

    Parameters
    ----------
    load_id : int
    source : str
        The file, folder or program that the rows came from.
    exported_at : Timestamp, optional
        When the CRM gave the export.
    mapping_digest : str
        Of the mapping that read it.
    loaded_at : Timestamp, optional
    tables : mapping of str to RowCounts
    """

    load_id: int
    source: str
    exported_at: pd.Timestamp | None
    mapping_digest: str
    loaded_at: pd.Timestamp | None
    tables: Mapping[str, RowCounts]


def dump_counts(tables: Mapping[str, RowCounts]) -> str:
    """Give counts as JSON."""
    return orjson.dumps({name: asdict(counts) for name, counts in tables.items()}).decode()


def read_counts(text: str) -> dict[str, RowCounts]:
    """Read what :func:`dump_counts` gave."""
    return {name: RowCounts(**counts) for name, counts in orjson.loads(text).items()}
