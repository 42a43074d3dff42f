"""Importing an export into a store: read, complete, check, compare, load, all of it or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import pandas as pd

from crm.errors import ExportError
from crm.history import LEAD_OUTCOME, utc
from crm.importing.differences import Times
from crm.importing.plan import LoadPlan
from crm.importing.reading import read_export
from crm.mapping import Mapping, load_mapping
from crm.schema import CHANGES
from crm.store import Load, LoadReport, Store


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Parameters
    ----------
    source : str
    exported_at : Timestamp
    previous : Timestamp, optional
        When the last export of this source was taken; None for the first.
    lead_outcome_from : {"deals", "leads"}, optional
        What the mapping says a lead's purchase is; None where it leaves that to the history.
    load : LoadReport
        Rows new, changed and unchanged by table.
    n_found_changes : int
        Fields that differed from what the store held, now changes recorded at ``exported_at``.
    n_gone, n_back : int
        Records that the export no longer holds, and those that it holds again.
    notices : tuple of str
        What an administrator should know, in plain words.
    """

    source: str
    exported_at: pd.Timestamp
    previous: pd.Timestamp | None
    lead_outcome_from: Literal["deals", "leads"] | None
    load: LoadReport
    n_found_changes: int
    n_gone: int
    n_back: int
    notices: tuple[str, ...]


def import_export(
    mapping_path: Path | str,
    data_dir: Path | str,
    store: Store,
    exported_at: datetime,
    *,
    loaded_at: datetime | None = None,
) -> ImportReport:
    """Import an export by its mapping file.

    At a source's first load, rows are known at their own times, or from ``exported_at`` where they have
    none. At a later load the records are compared with the store's: a field that differs is a change
    recorded at ``exported_at``, and a record or activity that is new is known at its own time if that lies
    after the previous export, else from ``exported_at``. Loading the same export again adds nothing.

    Parameters
    ----------
    mapping_path : path
    data_dir : path
        The folder of the export's files.
    store : Store
    exported_at : datetime
        When the CRM gave the export, with a time zone.
    loaded_at : datetime, optional
        Now, for the store's list of loads.

    Raises
    ------
    MappingError, ExportError
        Where the mapping or the export cannot be used; the store stays as it was.
    StoreError
        Where the store cannot be read or written.
    """
    mapping = load_mapping(mapping_path)
    moment = utc(exported_at)
    loads = [load for load in store.loads() if load.source == mapping.name and load.exported_at is not None]
    previous = max((load.exported_at for load in loads if load.exported_at is not None), default=None)
    if previous is not None and moment < previous:
        raise ExportError(
            f"{mapping.name}: this export is of {moment.isoformat()}, but the store has one of "
            f"{previous.isoformat()}; exports are loaded in order of time. Correct --exported-at, or load "
            "into a new store"
        )
    export = read_export(mapping, data_dir)
    others = [load for load in store.loads() if load.source != mapping.name]
    tables = {part.table for part in export.parts} | {CHANGES.name}
    plan = LoadPlan(
        export,
        store.read(),
        {table: Times(_last_export(loads, table), moment) for table in tables},
        {table for table in tables for load in others if table in load.tables},
    )
    frames = plan.frames()
    report = store.load(
        frames,
        source=mapping.name,
        exported_at=moment,
        mapping_digest=mapping.digest,
        loaded_at=None if loaded_at is None else utc(loaded_at),
        facts={} if mapping.lead_outcome_from is None else {LEAD_OUTCOME: mapping.lead_outcome_from},
    )
    notices = [*plan.notices, *_overruled(store, mapping)]
    return ImportReport(
        source=mapping.name,
        exported_at=moment,
        previous=previous,
        lead_outcome_from=mapping.lead_outcome_from,
        load=report,
        n_found_changes=plan.n_found_changes,
        n_gone=plan.n_gone,
        n_back=plan.n_back,
        notices=tuple(notices),
    )


def _overruled(store: Store, mapping: Mapping) -> list[str]:
    """Say where another source said later what a lead's outcome is, and differently."""
    kept = store.read([]).facts.get(LEAD_OUTCOME)
    if mapping.lead_outcome_from in (None, kept):
        return []
    return [
        f'{mapping.name} says outcome_from = "{mapping.lead_outcome_from}", but another source of this '
        f'history said "{kept}" later, and that counts; let their mappings say the same'
    ]


def _last_export(loads: list[Load], table: str) -> pd.Timestamp | None:
    """Give when a table was last exported; one that a later mapping adds has its first load then."""
    moments = [load.exported_at for load in loads if table in load.tables and load.exported_at is not None]
    return max(moments, default=None)
