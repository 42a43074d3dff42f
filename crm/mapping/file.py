"""Reading a mapping file, strictly: a slip of the pen is refused with its remedy."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, cast

from crm.errors import MappingError
from crm.mapping.events import event_mapping
from crm.mapping.parts import read_options
from crm.mapping.rules import FileOptions, Mapping
from crm.mapping.section import Section, read_toml
from crm.mapping.tables import table_mapping
from crm.schema import TABLES


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
    options = read_options(export, FileOptions())
    export.done()
    lead_sections = root.sections("leads")
    lead_outcome_from = lead_sections[0].text("outcome_from") if lead_sections else None
    if lead_outcome_from not in (None, "deals", "leads"):
        raise lead_sections[0].error("outcome_from", f'{lead_outcome_from!r}: write "deals" or "leads"')
    tables = tuple(
        table_mapping(table, section, options)
        for table in TABLES.values()
        for section in root.sections(table.name)
    )
    events = tuple(event_mapping(section, options) for section in root.sections("events"))
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
