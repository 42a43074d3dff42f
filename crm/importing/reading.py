"""Reading a whole export by its mapping."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from crm.errors import ExportError
from crm.importing.events import read_events
from crm.importing.field_history import plain_history
from crm.importing.files import read_file
from crm.importing.outcomes import settle_order
from crm.importing.parts import Export, Part
from crm.importing.tables import read_table
from crm.mapping import Mapping
from crm.schema import CHANGES, TABLES


def read_export(mapping: Mapping, data_dir: Path | str) -> Export:
    """Read an export's files into the canonical tables, without looking at any store.

    Parameters
    ----------
    mapping : Mapping
    data_dir : path
        The folder of the files that the mapping names.

    Returns
    -------
    Export
        The rows with the columns that the files give; what is missing is filled when they are loaded.

    Raises
    ------
    ExportError
        Where a file, column or value is not what the mapping says.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise ExportError(f"{data_dir}: no such folder; give the folder that holds the export's files")
    parts: list[Part] = []
    closing: list[pd.DataFrame] = []
    notices: list[str] = []
    for events in mapping.events:
        raw = read_file(data_dir, events.file, events.options)
        notices += raw.notices
        about, *rest = read_events(events, raw)
        frame, notice = settle_order(about.frame, raw.name, events.table.key, events.outcome_before_creation)
        notices += [notice] if notice else []
        parts += [replace(about, frame=frame), *rest]
    unknown_past = []
    for table in mapping.tables:
        read = read_table(table, data_dir)
        part = read.part
        if table.table == CHANGES.name:
            records: dict[str, list[pd.DataFrame]] = {}
            for earlier in parts:
                records.setdefault(earlier.table, []).append(earlier.frame)
            frame, said = plain_history(part.frame, records, table.options, part.file)
            part = replace(part, frame=frame)
            notices += said
        parts.append(part)
        closing.append(read.closing)
        notices += read.notices
        unknown_past += [(table.table, field) for field in read.unknown_past]
    order = list(TABLES)
    parts.sort(key=lambda part: order.index(part.table))
    export = Export(mapping.name, tuple(parts))
    stated = _with_history(export)
    all_closing = pd.concat(closing) if closing else pd.DataFrame()
    if len(all_closing):
        known = pd.MultiIndex.from_frame(all_closing[["entity", "field"]]).isin(stated)
        all_closing = all_closing[~known].reset_index(drop=True)
    for name, field in unknown_past:
        if (name.removesuffix("s"), field) not in stated:
            notices.append(
                f"{name}: the export has no history of {field}; it counts from a record's close on, "
                "and for open records from this export on. Load it again regularly, or map its history under "
                "[changes]"
            )
    return Export(mapping.name, tuple(parts), all_closing, tuple(notices))


def _with_history(export: Export) -> set[tuple[str, str]]:
    """Give the fields of which the export brings the history."""
    changes = export.frames().get("changes")
    if changes is None or changes.empty:
        return set()
    pairs = changes[["entity", "field"]].drop_duplicates()
    return set(zip(pairs["entity"], pairs["field"], strict=True))
