"""What a mapping file says, as frozen values; ``docs/import.md`` describes the file in plain words."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crm.schema import TABLE_OF, Table

#: Tables whose rows are numbered where the export has no id for them.
NUMBERED = ("activities", "changes", "targets", "surveys", "order_lines")


@dataclass(frozen=True)
class FileOptions:
    """How values are written in a file.

    Parameters
    ----------
    delimiter, encoding, decimal, thousands : str
        Of CSV files; Parquet states its own.
    nulls : tuple of str
        Texts that mean "no value", beside the empty one.
    timezone : str, optional
        IANA name of the zone of moments written without one.
    dst : {"refuse", "earlier", "later"}
        What an hour means that the clocks show twice, or skip.
    date_formats : tuple of str
        strptime formats tried in turn, "unix" or "unix_ms" among them; empty for ISO 8601.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str = ""
    nulls: tuple[str, ...] = ()
    timezone: str | None = None
    dst: str = "refuse"
    date_formats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Join:
    """Columns taken from another file, one row of it a value of the key."""

    file: str
    on: str
    right_on: str
    take: Dict[str, str]
    required: bool
    options: FileOptions


@dataclass(frozen=True)
class OutcomeRule:
    """Which values of a column mean won, lost and open, or which columns are filled only at that outcome."""

    column: str | None = None
    won: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    won_where_filled: str | None = None
    lost_where_filled: str | None = None


@dataclass(frozen=True)
class BeforeClose:
    """What stood in a field until the record closed, where the export holds only what it became then.

    Exactly one of ``column`` and ``value`` is given; ``changes_when`` says which outcome brings the change.
    """

    column: str | None
    value: str | None
    changes_when: Literal["won", "lost", "closed"]


@dataclass(frozen=True)
class TableMapping:
    """How one file, with what is joined to it, becomes rows of one canonical table.

    ``columns``, ``attributes`` and ``constants`` go from our name to the export's column or to the value;
    ``replacements`` from the export's column to what its values are replaced by.
    """

    table: str
    file: str
    options: FileOptions
    columns: Dict[str, str]
    attributes: Dict[str, str] = field(default_factory=dict)
    constants: Dict[str, str] = field(default_factory=dict)
    replacements: Dict[str, Dict[str, str]] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    as_text: tuple[str, ...] = ()
    joins: tuple[Join, ...] = ()
    outcome: OutcomeRule | None = None
    before_close: Dict[str, BeforeClose] = field(default_factory=dict)
    outcome_before_creation: str = "refuse"
    unknown_records: str = "refuse"
    duplicates: str = "refuse"
    full: bool = True
    gone_limit: float = 0.5
    may_be_empty: bool = False


@dataclass(frozen=True)
class WorkRule:
    """Which activities of an event log are work, and by what channel and in which direction it goes."""

    match: tuple[str, ...]
    channel: str | None = None
    direction: str | None = None


@dataclass(frozen=True)
class EventMapping:
    """How an event log, one row an event, becomes records, changes and activities.

    ``stages`` goes from the name of a track (``stage`` or an attribute) to the activities that move it.
    Activities are named in full or by a beginning followed by ``*``.
    """

    file: str
    options: FileOptions
    entity: str
    record: str
    time: str
    activity: str
    status: str | None
    statuses: Dict[str, str]
    user: str | None
    columns: Dict[str, str]
    attributes: Dict[str, str]
    constants: Dict[str, str]
    won: tuple[str, ...]
    lost: tuple[str, ...]
    stages: Dict[str, tuple[str, ...]]
    work: tuple[WorkRule, ...]
    ignore: tuple[str, ...]
    outcome_before_creation: str = "refuse"
    full: bool = True
    gone_limit: float = 0.5

    @property
    def table(self) -> Table:
        """The canonical table of the records."""
        return TABLE_OF[self.entity]


@dataclass(frozen=True)
class Mapping:
    """One export's mapping file.

    Parameters
    ----------
    name : str
        The source's name in the store; exports of one source are compared with each other.
    path : Path
    digest : str
        SHA-256 of the file.
    tables : tuple of TableMapping
        In the order of :data:`crm.schema.TABLES`; several of one table are put one after the other.
    events : tuple of EventMapping
    lead_outcome_from : {"deals", "leads"}, optional
        What a lead's purchase is; None for the default, deals where any deal names a lead.
    """

    name: str
    path: Path
    digest: str
    tables: tuple[TableMapping, ...]
    events: tuple[EventMapping, ...]
    lead_outcome_from: Literal["deals", "leads"] | None = None
