"""The tables form: one file, with what is joined to it, becomes rows of one canonical table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from crm.errors import ExportError
from crm.importing.cells import fail, read_attribute, read_ids, read_moments, read_numbers
from crm.importing.events import number_ids
from crm.importing.files import RawFile, read_file
from crm.importing.outcomes import read_outcome, settle_order, split_before_close, unknown_past
from crm.importing.parts import Part
from crm.mapping.rules import NUMBERED, FileOptions, Join, TableMapping
from crm.mapping.section import suggest
from crm.schema import TABLES, Kind, Table

#: Singular of the tables whose records have outcomes.
_ENTITY = {"leads": "lead", "deals": "deal"}


@dataclass(frozen=True)
class TableRead:
    """What :func:`read_table` gives: the rows, the changes at their close, and notices."""

    part: Part
    closing: pd.DataFrame
    notices: tuple[str, ...]
    unknown_past: tuple[str, ...] = ()


def read_table(mapping: TableMapping, data_dir: Path) -> TableRead:
    """Read one file of an export into one canonical table.

    Raises
    ------
    ExportError
        Where the file, a column or a value is not what the mapping says.
    """
    table = TABLES[mapping.table]
    raw = read_file(data_dir, mapping.file, mapping.options, mapping.may_be_empty)
    raw = _replace_values(raw, mapping)
    for join in mapping.joins:
        raw = _join(raw, join, data_dir)
    where = f"[{mapping.table}]"
    frame = pd.DataFrame(index=raw.frame.index)
    for name, source in mapping.columns.items():
        text = raw.column(source, f"{where} {name} = {source!r}")
        frame[name] = _read(table.column(name).kind, text, mapping.options, raw, source)
    for name, value in mapping.constants.items():
        text = pd.Series(value, index=frame.index, dtype="str", name=name)
        frame[name] = _read(table.column(name).kind, text, mapping.options, raw, name)
    notices = list(raw.notices)
    if table.open_ended:
        frame = _add_attributes(frame, mapping, table, raw)
    else:
        left = _left_over(mapping, raw)
        if left:
            notices.append(f"{raw.name}: not used for {table.name}: {', '.join(left)}")
    frame, notice = _drop_repeated(frame, mapping, table, raw.name)
    notices += [notice] if notice else []
    closing = pd.DataFrame()
    past: tuple[str, ...] = ()
    if mapping.table in _ENTITY:
        frame, closing, past, notice = _read_ends(frame, mapping, table, raw)
        notices += [notice] if notice else []
    if table.key not in frame and table.name in NUMBERED:
        frame = _number(frame, table)
    part = Part(
        table=mapping.table,
        file=raw.name,
        frame=frame,
        full=mapping.full,
        gone_limit=mapping.gone_limit,
        unknown_records=mapping.unknown_records,
    )
    return TableRead(part, closing, tuple(notices), past)


def _read(kind: Kind, text: pd.Series, options: FileOptions, raw: RawFile, source: str) -> pd.Series:
    if kind == "timestamp":
        return read_moments(text, options, raw.name, source in raw.typed)
    if kind == "number":
        return read_numbers(text, options, raw.name, source in raw.typed)
    return read_ids(text) if kind == "id" else text.str.strip()


def _replace_values(raw: RawFile, mapping: TableMapping) -> RawFile:
    if not mapping.replacements:
        return raw
    frame = raw.frame.copy()
    for source, pairs in mapping.replacements.items():
        text = raw.column(source, f"[{mapping.table}.values]")
        replaced = text.replace(dict(pairs))
        frame[source] = replaced.mask(replaced == "")
    return replace(raw, frame=frame)


def _join(raw: RawFile, join: Join, data_dir: Path) -> RawFile:
    """Add the columns taken from another file; every row stays, in its place."""
    other = read_file(data_dir, join.file, join.options)
    keys = other.column(join.right_on, f"join of {join.file}").str.strip()
    fail(
        other.name,
        join.right_on,
        keys,
        keys.duplicated() & keys.notna(),
        "comes more than once; a joined file has one row a value",
    )
    on = raw.column(join.on, f"join of {join.file}").str.strip()
    places = pd.Index(keys).get_indexer(pd.Index(on))
    places = np.where(on.isna(), -1, places)
    if join.required:
        fail(
            raw.name,
            join.on,
            on,
            places < 0,
            f"is not among {join.right_on} of {join.file}; add it there, or replace it under values",
        )
    frame = raw.frame.copy()
    for name, source in join.take.items():
        if name in frame:
            raise ExportError(f"{raw.name} has a column {name!r} already; take {source!r} under another name")
        taken = other.column(source, f"join of {join.file}").array.take(places, allow_fill=True)
        frame[name] = pd.Series(taken, index=frame.index)
    notices = list(other.notices)
    unused = int((~keys.isin(on)).sum())
    if unused:
        notices.append(f"{other.name}: {unused} rows belong to no row of {raw.name}; left out")
    typed = raw.typed | {name for name, source in join.take.items() if source in other.typed}
    return RawFile(raw.name, frame, typed, raw.notices + tuple(notices))


def _left_over(mapping: TableMapping, raw: RawFile) -> list[str]:
    """Give the file's columns that the mapping neither uses nor ignores."""
    for name in mapping.ignore:
        raw.column(name, f"[{mapping.table}] ignore")
    used = {*mapping.columns.values(), *mapping.attributes.values(), *mapping.ignore}
    if mapping.outcome is not None:
        rule = mapping.outcome
        used |= {s for s in (rule.column, rule.won_where_filled, rule.lost_where_filled) if s}
    used |= {rule.column for rule in mapping.before_close.values() if rule.column}
    return [str(name) for name in raw.frame.columns if name not in used]


def _add_attributes(frame: pd.DataFrame, mapping: TableMapping, table: Table, raw: RawFile) -> pd.DataFrame:
    left = _left_over(mapping, raw)
    for name in left:
        if name in table.names:
            raise ExportError(
                f"{raw.name}: the column {name!r} has the name of one of ours, but is not in the mapping; "
                f"write {name} = {name!r} under [{mapping.table}.columns], another name under "
                f"[{mapping.table}.attributes], or list it under ignore"
            )
        if name in mapping.attributes:
            raise ExportError(
                f"{raw.name}: the attribute {name!r} would be there twice; rename one, or ignore the column"
            )
    sources = {**mapping.attributes, **{name: name for name in left}}
    for name in mapping.as_text:
        if name not in sources:
            raise ExportError(f"{raw.name}: as_text: no attribute {name!r}{suggest(name, sources)}")
    where = f"[{mapping.table}.attributes]"
    columns = {}
    for name, source in sources.items():
        text = raw.column(source, where)
        as_text = name in mapping.as_text
        columns[name] = text if as_text else read_attribute(text, mapping.options, source in raw.typed)
    return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)


def _drop_repeated(
    frame: pd.DataFrame, mapping: TableMapping, table: Table, file: str
) -> tuple[pd.DataFrame, str | None]:
    if table.key not in frame:
        return frame, None
    keys = frame[table.key]
    again = keys.notna() & keys.duplicated(keep="last")
    if not again.any():
        return frame, None
    source = mapping.columns.get(table.key, table.key)
    if mapping.duplicates == "refuse":
        fail(
            file,
            source,
            keys,
            keys.notna() & keys.duplicated(keep=False),
            'comes more than once; keep one row for each, or say duplicates = "last" in the mapping',
        )
    return frame[~again], f"{file}: {int(again.sum())} rows whose {source} comes again; the last one was kept"


def _read_ends(
    frame: pd.DataFrame, mapping: TableMapping, table: Table, raw: RawFile
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...], str | None]:
    """Add outcomes, and part what was known before them from what they brought."""
    entity = _ENTITY[mapping.table]
    if mapping.outcome is not None:
        frame["outcome"] = read_outcome(mapping.outcome, raw, f"[{mapping.table}.outcome]").loc[frame.index]
    if "outcome" not in frame:
        frame["outcome"] = pd.Series(np.nan, index=frame.index, dtype="str")
    if "closed_at" in frame:
        # many CRMs keep the expected date there while the record is open
        frame["closed_at"] = frame["closed_at"].where(frame["outcome"].notna())
    frame, notice = settle_order(frame, raw.name, table.key, mapping.outcome_before_creation)
    closing = []
    for field, rule in mapping.before_close.items():
        if rule.column is not None:
            text = raw.column(rule.column, f"[{mapping.table}.before_close.{field}]")
        else:
            text = pd.Series(rule.value, index=raw.frame.index, dtype="str", name=field)
        text = text.loc[frame.index]
        if field in table.names:
            before = _read(table.column(field).kind, text, mapping.options, raw, str(rule.column))
        elif field in frame:
            before = read_attribute(text, mapping.options, str(rule.column) in raw.typed)
        else:
            raise ExportError(
                f"{raw.name}: before_close: no column or attribute {field!r}"
                f"{suggest(field, [str(name) for name in frame.columns])}"
            )
        values, rows = split_before_close(entity, frame, field, before, rule)
        frame[field] = values
        closing.append(rows)
    past = tuple(name for name in _without_past(mapping) if name in frame)
    for field in past:
        frame[field], rows = unknown_past(entity, frame, field)
        closing.append(rows)
    if mapping.outcome is None and "outcome" not in mapping.columns:
        # the file says nothing of outcomes, which is not the same as saying that all are open
        frame = frame.drop(columns=["outcome", *(["closed_at"] if "closed_at" in frame else [])])
    return frame, pd.concat(closing) if closing else pd.DataFrame(), past, notice


def _without_past(mapping: TableMapping) -> list[str]:
    """Give the fields whose present value tells the outcome, and whose earlier ones are not in the file."""
    fields = ["stage"]
    closed = mapping.columns.get("closed_at")
    if closed is not None and mapping.columns.get("expected_close_at") == closed:
        fields.append("expected_close_at")
    return [name for name in fields if name not in mapping.before_close]


def _number(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Give the rows of a table without ids one each, the same in the next export."""
    moment = (
        next(c.name for c in table.columns if c.kind == "timestamp") if table.name != "order_lines" else None
    )
    about = [
        name
        for name in ("record_id", "lead_id", "deal_id", "account_id", "scope_id", "order_id")
        if name in frame
    ]
    record = pd.Series("", index=frame.index, dtype="str")
    for name in about:
        record = record.mask(record == "", frame[name].fillna(""))
    time = (
        frame[moment]
        if moment in frame
        else pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")
    )
    frame = frame.assign(**{table.key: number_ids(record, time)})
    return frame
