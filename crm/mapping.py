"""The mapping file: how one CRM's export becomes the canonical tables.

``docs/import.md`` describes the file; this module reads it into frozen values and checks it strictly, so
that a slip of the pen is refused with its remedy instead of silently dropping a column.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast
from zoneinfo import ZoneInfo

from crm.errors import MappingError
from crm.schema import ENTITIES, LEADS, STATUSES, TABLE_OF, TABLES, Table
from crm.toml_section import Section, read_toml, suggest

Outcome = Literal["won", "lost"]


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
    ``values`` from the export's column to what its values are replaced by.
    """

    table: str
    file: str
    options: FileOptions
    columns: Dict[str, str]
    attributes: Dict[str, str] = field(default_factory=dict)
    constants: Dict[str, str] = field(default_factory=dict)
    values: Dict[str, Dict[str, str]] = field(default_factory=dict)
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


def load_mapping(path: Path | str) -> Mapping:
    """Read a mapping file.

    Raises
    ------
    MappingError
        Where the file cannot be read or a key is unknown, missing, or of the wrong type; the message names
        the section, the key and the remedy.
    """
    path = Path(path)
    content, raw = read_toml(path)
    root = Section(content, path.name)
    export = root.section("export")
    if export is None:
        raise MappingError(f'{path.name}: no [export] section; add [export] with name = "my_crm"')
    name = export.required_text("name")
    options = _file_options(export, FileOptions())
    export.done()
    lead_sections = root.sections("leads")
    lead_outcome_from = lead_sections[0].text("outcome_from") if lead_sections else None
    if lead_outcome_from not in (None, "deals", "leads"):
        raise lead_sections[0].error("outcome_from", f'{lead_outcome_from!r}: write "deals" or "leads"')
    tables = tuple(
        _table_mapping(table, section, options)
        for table in TABLES.values()
        for section in root.sections(table.name)
    )
    events = tuple(_event_mapping(section, options) for section in root.sections("events"))
    root.done()
    if not tables and not events:
        raise MappingError(f"{path.name}: no table; add [leads], [deals], … or [events]")
    return Mapping(
        name=name,
        path=path,
        digest=hashlib.sha256(raw).hexdigest(),
        tables=tables,
        events=events,
        lead_outcome_from=cast(Literal["deals", "leads"] | None, lead_outcome_from),
    )


def _file_options(section: Section, default: FileOptions) -> FileOptions:
    options = replace(
        default,
        delimiter=_one_character(section, "delimiter", default.delimiter),
        encoding=section.text("encoding", default.encoding),
        decimal=_one_character(section, "decimal", default.decimal),
        thousands=section.text("thousands", default.thousands),
        nulls=section.texts("nulls", default.nulls),
        timezone=section.text("timezone", default.timezone),
        dst=section.choice("dst", ("refuse", "earlier", "later"), default.dst),
        date_formats=section.text_or_texts("date_format", default.date_formats),
    )
    try:
        codecs.lookup(options.encoding)
    except LookupError as error:
        raise section.error(
            "encoding", f'{options.encoding!r} is unknown; for example "utf-8", "cp1252", "utf-16"'
        ) from error
    if options.timezone is not None:
        try:
            ZoneInfo(options.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise section.error(
                "timezone", f'{options.timezone!r} is no IANA zone; for example "Europe/Paris" or "UTC"'
            ) from error
    return options


def _one_character(section: Section, key: str, default: str) -> str:
    value = section.text(key, default) or ""
    if len(value) != 1:
        raise section.error(key, f"{value!r} is not one character")
    return value


def _canonical(section: Section, key: str, table: Table) -> dict[str, str]:
    """Give the pairs of a sub-section whose names must be canonical columns."""
    pairs = section.pairs(key)
    for name in pairs:
        if name not in table.names:
            hint = suggest(name, table.names)
            further = "; a further column goes under attributes" if table.open_ended else ""
            raise section.error(f"{key}.{name}", f"{table.name} has no column {name!r}{hint}{further}")
    return pairs


def _attributes(section: Section, table: Table) -> dict[str, str]:
    pairs = section.pairs("attributes")
    if pairs and not table.open_ended:
        raise section.error("attributes", f"{table.name} keeps no further columns; remove it")
    for name in pairs:
        if name in table.names:
            raise section.error(f"attributes.{name}", "is a canonical column; write it under columns")
    return pairs


def _check_once(section: Section, *groups: tuple[str, Dict[str, object]]) -> None:
    seen: dict[str, str] = {}
    for group, names in groups:
        for name in names:
            if name in seen:
                raise section.error(f"{group}.{name}", f"is given under {seen[name]} too; keep one")
            seen[name] = group


#: Tables whose rows are numbered where the export has no id for them.
NUMBERED = ("activities", "changes", "targets", "surveys", "order_lines")


def _table_mapping(table: Table, section: Section, default: FileOptions) -> TableMapping:
    if table is LEADS:
        section.text("outcome_from")  # read by load_mapping: it is said of all leads
    options = _file_options(section, default)
    columns = _canonical(section, "columns", table)
    attributes = _attributes(section, table)
    constants = _canonical(section, "constants", table)
    _check_once(section, ("columns", columns), ("attributes", attributes), ("constants", constants))
    values = {column: _texts_of(part) for column, part in section.subsections("values").items()}
    has_outcome = table.name in ("leads", "deals")
    outcome = _outcome_rule(section) if has_outcome else None
    if outcome is not None and "outcome" in columns:
        raise section.error("columns.outcome", "is given under outcome too; keep one")
    for column in table.columns:
        filled = column.name in columns or column.name in constants
        numbered = column.name == table.key and table.name in NUMBERED
        if column.required and not (filled or column.default or column.default_from or numbered):
            raise section.error(f"columns.{column.name}", f"missing: {column.meaning}; name its column")
    mapping = TableMapping(
        table=table.name,
        file=section.required_text("file"),
        options=options,
        columns=columns,
        attributes=attributes,
        constants=constants,
        values=values,
        ignore=section.texts("ignore"),
        as_text=section.texts("as_text"),
        joins=tuple(_join(part, options) for part in section.sections("join")),
        outcome=outcome,
        before_close=_before_close(section, table) if has_outcome else {},
        outcome_before_creation=_outcome_before_creation(section) if has_outcome else "refuse",
        unknown_records=section.choice("unknown_records", ("refuse", "skip"), "refuse"),
        duplicates=section.choice("duplicates", ("refuse", "last"), "refuse"),
        may_be_empty=section.flag("may_be_empty", False),
        **_completeness(section),
    )
    section.done()
    return mapping


def _completeness(section: Section) -> dict[str, bool | float]:
    return {"full": section.flag("full", True), "gone_limit": section.share("gone_limit", 0.5)}


def _outcome_before_creation(section: Section) -> str:
    return section.choice(
        "outcome_before_creation", ("refuse", "skip", "close_at_creation"), "refuse"
    )


def _texts_of(section: Section) -> dict[str, str]:
    return {key: section.text(key) or "" for key in section.keys()}


def _join(section: Section, default: FileOptions) -> Join:
    options = _file_options(section, default)
    on = section.required_text("on")
    join = Join(
        file=section.required_text("file"),
        on=on,
        right_on=section.text("right_on") or on,
        take=section.pairs("take"),
        required=section.flag("required", False),
        options=options,
    )
    if not join.take:
        raise section.error("take", 'missing; name what is taken, for example take = { price = "list_price" }')
    section.done()
    return join


def _outcome_rule(section: Section) -> OutcomeRule | None:
    part = section.section("outcome")
    if part is None:
        return None
    rule = OutcomeRule(
        column=part.text("column"),
        won=part.texts("won"),
        lost=part.texts("lost"),
        open=part.texts("open"),
        won_where_filled=part.text("won_where_filled"),
        lost_where_filled=part.text("lost_where_filled"),
    )
    part.done()
    lists = rule.won + rule.lost + rule.open
    if rule.column is None and lists:
        raise part.error("column", "missing; name the column that holds these values")
    if rule.column is not None and not (rule.won or rule.lost):
        raise part.error("won", 'missing; list the values that mean won, for example won = ["Closed Won"]')
    if rule.column is None and not (rule.won_where_filled or rule.lost_where_filled):
        raise part.error("column", "missing; name a column, or one under won_where_filled")
    for value in lists:
        if lists.count(value) > 1:
            raise part.error("won/lost/open", f"{value!r} is listed twice; a value means one thing")
    return rule


def _before_close(section: Section, table: Table) -> dict[str, BeforeClose]:
    rules = {}
    for name, part in section.subsections("before_close").items():
        if name in table.names and name in (table.key, "created_at", "recorded_at", "outcome", "closed_at"):
            raise part.error(name, "cannot be said of this column")
        when = part.choice("changes_when", ("won", "lost", "closed"), "closed")
        rules[name] = BeforeClose(
            column=part.text("column"),
            value=part.text("value"),
            changes_when=cast(Literal["won", "lost", "closed"], when),
        )
        part.done()
        if (rules[name].column is None) == (rules[name].value is None):
            raise part.error("column", "give either column (a column's value) or value (the same for all)")
    return rules


def _event_mapping(section: Section, default: FileOptions) -> EventMapping:
    options = _file_options(section, default)
    entity = section.choice("entity", ENTITIES)
    table = TABLE_OF[entity]
    columns = _canonical(section, "columns", table)
    attributes = _attributes(section, table)
    constants = _canonical(section, "constants", table)
    outcomes = section.section("outcomes")
    won, lost = ((), ()) if outcomes is None else (outcomes.texts("won"), outcomes.texts("lost"))
    if outcomes is not None:
        outcomes.done()
        if entity == "account":
            raise section.error("outcomes", "an account has no outcome; remove it")
    stages = section.section("stages")
    tracks = {} if stages is None else {name: stages.texts(name) for name in stages.keys()}
    statuses = section.pairs("statuses")
    for status in statuses.values():
        if status not in STATUSES:
            raise section.error("statuses", f"{status!r} is not one of {', '.join(STATUSES)}")
    mapping = EventMapping(
        file=section.required_text("file"),
        options=options,
        entity=entity,
        record=section.required_text("record"),
        time=section.required_text("time"),
        activity=section.required_text("activity"),
        status=section.text("status"),
        statuses=statuses,
        user=section.text("user"),
        columns=columns,
        attributes=attributes,
        constants=constants,
        won=won,
        lost=lost,
        stages=tracks,
        work=tuple(_work_rule(part) for part in section.sections("work")),
        ignore=section.texts("ignore"),
        outcome_before_creation=_outcome_before_creation(section),
        **_completeness(section),
    )
    for name in (table.key, "outcome", "closed_at", *tracks):
        if name in columns or name in attributes or name in constants:
            raise section.error(f"columns.{name}", "comes from the events; remove it")
    _check_once(section, ("columns", columns), ("attributes", attributes), ("constants", constants))
    if mapping.status is None and statuses:
        raise section.error("status", "missing; name the column that holds these values")
    section.done()
    return mapping


def _work_rule(section: Section) -> WorkRule:
    rule = WorkRule(
        match=section.texts("match", required=True),
        channel=section.text("channel"),
        direction=section.text("direction"),
    )
    if rule.direction not in (None, "in", "out"):
        raise section.error("direction", f'{rule.direction!r}: write "in" or "out"')
    section.done()
    return rule
