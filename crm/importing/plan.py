"""From an export and what the store holds to the frames of one load."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import replace

import pandas as pd

from crm.errors import ExportError
from crm.history import History
from crm.importing.cells import MOMENT, fail
from crm.importing.differences import Times, arrivals, compare, with_ids
from crm.importing.parts import Export, Part
from crm.importing.references import drop_unknown, known_ids
from crm.schema import CHANGES, TABLE_OF, TABLES
from crm.validation import validate

_ENTITY_OF = {table.name: entity for entity, table in TABLE_OF.items()}
#: So few records may be gone whatever their share.
_FEW = 10


class LoadPlan:
    """The rows that one export adds to a store.

    Parameters
    ----------
    export : Export
    before : History
        What the store holds.
    times : mapping of str to Times
        By table, when it was last exported.
    shared : set of str
        Tables that other sources have loaded too; nothing in them is taken to be gone, for it may be theirs.
    """

    def __init__(self, export: Export, before: History, times: Dict[str, Times], shared: set[str]) -> None:
        self.export = export
        self.before = before
        self.times = times
        self.shared = shared
        self.notices = list(export.notices)
        self.n_found_changes = 0
        self.n_gone = 0
        self.n_back = 0
        self._parts: dict[str, list[Part]] = {}
        for part in export.parts:
            self._parts.setdefault(part.table, []).append(part)

    def frames(self) -> dict[str, pd.DataFrame]:
        """Give the frames to load, by table.

        Raises
        ------
        ExportError
            Where a row is not valid, comes twice, or is about an unknown record; or where so many records
            are gone that the export was more likely cut.
        """
        stored = self.before.frames()
        valid = {table: [self._validate(part) for part in parts] for table, parts in self._parts.items()}
        known = known_ids(valid, stored)
        whole: dict[str, pd.DataFrame] = {}
        for table, frames in valid.items():
            kept = []
            for part, frame in zip(self._parts[table], frames, strict=True):
                rest, notice = drop_unknown(table, frame, part.file, known, part.unknown_records)
                self.notices += [notice] if notice else []
                kept.append(rest)
            whole[table] = self._one(table, kept)
        found = []
        result: dict[str, pd.DataFrame] = {}
        for table, frame in whole.items():
            if table in _ENTITY_OF:
                result[table], changes = self._records(table, frame, stored[table], whole.get("changes"))
                found += changes
            elif table != CHANGES.name:
                given = self._given(table)
                has_times = any(column.default_from for column in TABLES[table].columns)
                result[table] = (
                    arrivals(TABLES[table], frame, given, stored[table], self.times[table])
                    if has_times
                    else frame[[name for name in TABLES[table].names if name in given]]
                )
        changes_frame = self._changes(whole.get("changes"), found, stored["changes"])
        if changes_frame is not None:
            result[CHANGES.name] = changes_frame
        return result

    def _given(self, table: str) -> set[str]:
        return {str(name) for part in self._parts[table] for name in part.frame.columns}

    def _validate(self, part: Part) -> pd.DataFrame:
        table = TABLES[part.table]
        frame = part.frame
        if "recorded_at" in table.names:
            # whatever has no time of its own is known from the export on; the comparison settles the rest
            own = table.column("recorded_at").default_from or ""
            recorded = frame[own] if own in frame else pd.Series(pd.NaT, index=frame.index, dtype=MOMENT)
            if "recorded_at" in frame:
                recorded = frame["recorded_at"].fillna(recorded)
            frame = frame.assign(recorded_at=recorded.fillna(self.times[part.table].exported_at))
        valid = validate(table, frame, part.file)
        if part.table in _ENTITY_OF:
            self._note_future(part, valid)
        return valid

    def _note_future(self, part: Part, frame: pd.DataFrame) -> None:
        exported_at = self.times[part.table].exported_at
        n = int((frame["created_at"] > exported_at).sum())
        if n:
            self.notices.append(
                f"{part.file}: {n} of {len(frame)} {part.table} were created after "
                f"{exported_at.isoformat()}, when the export is said to have been taken; "
                "check --exported-at and the time zone"
            )

    def _one(self, table: str, frames: list[pd.DataFrame]) -> pd.DataFrame:
        if len(frames) == 1:
            return frames[0].reset_index(drop=True)
        frame = pd.concat(frames, ignore_index=True)
        key = TABLES[table].key
        files = " and ".join(dict.fromkeys(part.file for part in self._parts[table]))
        remedy = "comes in several files; keep one row for each"
        fail(files, key, frame[key], frame[key].duplicated(keep=False), remedy)
        return frame

    def _records(
        self, table: str, frame: pd.DataFrame, stored: pd.DataFrame, history: pd.DataFrame | None
    ) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
        entity, times = _ENTITY_OF[table], self.times[table]
        parts = self._parts[table]
        marks_gone = all(part.full for part in parts) and times.previous is not None
        if marks_gone and table in self.shared:
            marks_gone = False
            self.notices.append(f"{table}: other sources load them too, so none is taken to be gone")
        result = compare(
            entity,
            frame,
            self._given(table),
            stored,
            times,
            history if history is not None else pd.DataFrame(),
            marks_gone,
        )
        n_present = int(stored["gone_at"].isna().sum())
        limit = min(part.gone_limit for part in parts)
        if result.n_gone > max(_FEW, limit * n_present):
            raise ExportError(
                f"{parts[0].file}: {result.n_gone} of the {n_present} {table} in the store are not in it; "
                f"it may be cut or filtered. If it holds only some, say full = false under [{table}] in the "
                "mapping; if they are gone indeed, raise gone_limit (a share from 0 to 1)"
            )
        self.n_gone += result.n_gone
        self.n_back += result.n_back
        self.n_found_changes += len(result.changes)
        closing = self._closing(entity, frame, result.rows, result.new_ids, times)
        return result.rows, [rows for rows in (result.changes, closing) if len(rows)]

    def _closing(
        self, entity: str, frame: pd.DataFrame, rows: pd.DataFrame, new_ids: pd.Index, times: Times
    ) -> pd.DataFrame:
        """Give the changes at the close that the mapping states, of records never seen open."""
        closing = self.export.closing
        if closing.empty:
            return closing
        mine = closing[(closing["entity"] == entity) & closing["record_id"].isin(new_ids)].reset_index(
            drop=True
        )
        if mine.empty:
            return mine
        record = rows.set_index(TABLE_OF[entity].key).loc[mine["record_id"]]
        changed = mine["changed_at"].fillna(times.exported_at)
        recorded = record["recorded_at"].reset_index(drop=True)
        if "closed_recorded_at" in record:
            ended = record["closed_recorded_at"].reset_index(drop=True)
            recorded = recorded.mask(ended > recorded, ended)
        recorded = recorded.mask(changed > recorded, changed)
        return with_ids(mine.assign(changed_at=changed, recorded_at=recorded))

    def _changes(
        self, history: pd.DataFrame | None, found: list[pd.DataFrame], stored: pd.DataFrame
    ) -> pd.DataFrame | None:
        """Give the export's own history and the differences that were found, as one frame."""
        parts = list(found)
        if history is not None:
            times = self.times[CHANGES.name]
            if not history[CHANGES.key].isin(stored[CHANGES.key]).any():
                # the store has only what was found by comparing: this is the history's own first load
                times = replace(times, previous=None)
            parts.insert(0, arrivals(CHANGES, history, self._given(CHANGES.name), stored, times))
        if not parts:
            return None
        frame = pd.concat(parts, ignore_index=True)
        return frame[[name for name in CHANGES.names if name in frame]]
