"""Event logs: one row an event, turned into records, changes of their stages and work done on them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from crm.errors import ExportError, shorten
from crm.history import empty_frame
from crm.importing.cells import fail, read_attribute, read_ids, read_moments, read_numbers
from crm.importing.files import RawFile
from crm.importing.parts import Part
from crm.mapping import EventMapping
from crm.mapping.section import same_but_for_case, suggest
from crm.schema import ACTIVITIES, CHANGES


def read_events(mapping: EventMapping, raw: RawFile) -> list[Part]:
    """Turn an event log into records, changes and activities.

    A record closes at the first event that its mapping calls an outcome; later events are kept. Events of
    one instant keep the file's order: their ids, ``record/microseconds/number``, sort as they happened.

    Parameters
    ----------
    mapping : EventMapping
    raw : RawFile

    Returns
    -------
    list of Part
        The records first, then changes, then activities.

    Raises
    ------
    ExportError
        Where a column is missing, an event has no record or time, an activity or status is in none of the
        mapping's lists, or a column of the record changes within one record.
    """
    log = _read_log(mapping, raw)
    roles = _roles(mapping, log["activity"], raw.name)
    changes = _changes(mapping, log, roles)
    records = _records(mapping, raw, log, changes)
    return [
        Part(mapping.table.name, raw.name, records, full=mapping.full, gone_limit=mapping.gone_limit),
        Part(CHANGES.name, raw.name, changes),
        Part(ACTIVITIES.name, raw.name, _activities(mapping, log, roles, raw)),
    ]


def _read_log(mapping: EventMapping, raw: RawFile) -> pd.DataFrame:
    """Give record, time, activity, status, user and id of each event, in order of record and time."""
    key = f"[events] record = {mapping.record!r}"
    record = read_ids(raw.column(mapping.record, key))
    fail(raw.name, mapping.record, record, record.isna(), "is missing; every event needs its record's id")
    time = raw.column(mapping.time, f"[events] time = {mapping.time!r}")
    fail(raw.name, mapping.time, time, time.isna(), "is missing; every event needs its time")
    activity = raw.column(mapping.activity, f"[events] activity = {mapping.activity!r}").str.strip()
    fail(raw.name, mapping.activity, activity, activity.isna(), "is missing; every event needs its activity")
    log = pd.DataFrame(
        {
            "record": record,
            "time": read_moments(time, mapping.options, raw.name, mapping.time in raw.typed),
            "activity": activity,
        }
    )
    if mapping.status is not None:
        log["status"] = raw.column(mapping.status, f"[events] status = {mapping.status!r}")
    if mapping.user is not None:
        log["user"] = read_ids(raw.column(mapping.user, f"[events] user = {mapping.user!r}"))
    codes, _ = pd.factorize(log["record"])
    micros = log["time"].array.asi8
    # stable, so that events of one instant keep the file's order
    order = np.lexsort((np.arange(len(log)), micros, codes))
    log = log.iloc[order]
    log["code"] = codes[order]
    log["id"] = number_ids(log["record"], log["time"])
    return log


def number_ids(record: pd.Series, time: pd.Series) -> pd.Series:
    """Give rows that have no id one that the next export gives them again.

    The id is the record's, the moment in microseconds, and the row's number among those of that record and
    moment. Rows of one record must stand in order of time.
    """
    number = pd.DataFrame({"r": record, "t": time}).groupby(["r", "t"], sort=False, dropna=False).cumcount()
    micros = pd.Series(time.array.asi8, index=time.index)
    return record.fillna("") + "/" + micros.astype("str") + "/" + number.astype("str").str.zfill(3)


def _matches(names: list[str], patterns: tuple[str, ...]) -> set[str]:
    beginnings = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
    exact = {pattern for pattern in patterns if not pattern.endswith("*")}
    return {name for name in names if name in exact or (beginnings and name.startswith(beginnings))}


def _roles(mapping: EventMapping, activity: pd.Series, file: str) -> dict[str, str]:
    """Give each activity's track of stages, or "work", or "ignored"."""
    names = [str(name) for name in activity.unique()]
    claims: dict[str, list[str]] = {name: [] for name in names}
    for track, patterns in mapping.stages.items():
        for name in _matches(names, patterns):
            claims[name].append(track)
    for name in _matches(names, tuple(p for rule in mapping.work for p in rule.match)):
        claims[name].append("work")
    for name in _matches(names, mapping.ignore):
        claims[name].append("ignored")
    outcomes = {*mapping.won, *mapping.lost}
    for name, roles in claims.items():
        if len(roles) > 1:
            raise ExportError(
                f"{file}: the activity {name!r} is listed as {' and as '.join(roles)}; keep one of them"
            )
        if not roles and name not in outcomes:
            known = [name for name in names if claims[name]]
            raise ExportError(
                f"{file}: the activity {shorten(name)!r} ({int((activity == name).sum())} events) is in none "
                f"of the mapping's lists{suggest(name, known)}; add it to stages, work, outcomes or ignore"
            )
    for name in outcomes:
        if name not in claims:
            # an export may well hold no such event yet, but a slip of the pen would lose every outcome
            near = same_but_for_case(name, names)
            if near:
                raise ExportError(
                    f"{file}: no event is the outcome {name!r}, but some are {near!r}; correct the mapping"
                )
    return {name: roles[0] if roles else "outcome" for name, roles in claims.items()}


def _changes(mapping: EventMapping, log: pd.DataFrame, roles: dict[str, str]) -> pd.DataFrame:
    track = log["activity"].map({n: r for n, r in roles.items() if r in mapping.stages})
    moved = log[track.notna()].assign(track=track[track.notna()])
    if moved.empty:
        return empty_frame(CHANGES).drop(columns="recorded_at")
    before = moved.groupby(["code", "track"], sort=False)["activity"].shift()
    changes = pd.DataFrame(
        {
            "change_id": moved["id"],
            "entity": pd.Series(mapping.entity, index=moved.index, dtype="str"),
            "record_id": moved["record"],
            "field": moved["track"].astype("str"),
            "old_value": before.astype("str"),
            "new_value": moved["activity"],
            "changed_at": moved["time"],
        }
    )
    if "user" in moved:
        changes["user_id"] = moved["user"]
    return changes


def _activities(
    mapping: EventMapping, log: pd.DataFrame, roles: dict[str, str], raw: RawFile
) -> pd.DataFrame:
    work = log[log["activity"].map(roles) == "work"]
    activities = pd.DataFrame(
        {
            "activity_id": work["id"],
            f"{mapping.entity}_id": work["record"],
            "kind": work["activity"],
            "occurred_at": work["time"],
        }
    )
    if "user" in work:
        activities["user_id"] = work["user"]
    if "status" in work:
        status = work["status"].map(dict(mapping.statuses)).astype("str")
        bad = work["status"].notna() & status.isna()
        known = ", ".join(mapping.statuses)
        fail(
            raw.name,
            str(mapping.status),
            work["status"],
            bad,
            f"is none of the mapping's statuses ({known}); add it to statuses",
        )
        activities["status"] = status
    names = [str(name) for name in work["activity"].unique()]
    for field in ("channel", "direction"):
        said = {
            name: value
            for rule in mapping.work
            if (value := getattr(rule, field)) is not None
            for name in _matches(names, rule.match)
        }
        if said:
            activities[field] = work["activity"].map(said).astype("str")
    return activities


def _records(mapping: EventMapping, raw: RawFile, log: pd.DataFrame, changes: pd.DataFrame) -> pd.DataFrame:
    """Give one row a record, in the order of first appearance."""
    table = mapping.table
    first = log.drop_duplicates("code")
    records = pd.DataFrame({table.key: first["record"]}).set_index(table.key, drop=False)
    records.index.name = None
    for name, source in mapping.columns.items():
        text = _one_a_record(raw, source, name, log)
        kind, typed = table.column(name).kind, source in raw.typed
        if kind == "timestamp":
            values = read_moments(text, mapping.options, raw.name, typed)
        elif kind == "number":
            values = read_numbers(text, mapping.options, raw.name, typed)
        else:
            values = read_ids(text) if kind == "id" else text
        records[name] = values.to_numpy() if kind == "number" else values.array
    for name, value in mapping.constants.items():
        constant = pd.Series(value, index=records.index, dtype="str")
        if table.column(name).kind == "number":
            constant = read_numbers(constant.rename(name), mapping.options, raw.name)
        records[name] = constant
    for name, source in mapping.attributes.items():
        text = _one_a_record(raw, source, name, log)
        records[name] = read_attribute(text, mapping.options, source in raw.typed).array
    last = changes.drop_duplicates(["record_id", "field"], keep="last")
    for track in mapping.stages:
        now = last[last["field"] == track].set_index("record_id")["new_value"]
        records[track] = now.reindex(records.index).astype("str")
    if mapping.won or mapping.lost:
        ends = log[log["activity"].isin(mapping.won + mapping.lost)].drop_duplicates("code")
        ends = ends.set_index("record")
        outcome = pd.Series(np.where(ends["activity"].isin(mapping.won), "won", "lost"), ends.index, "str")
        records["outcome"] = outcome.reindex(records.index)
        records["closed_at"] = ends["time"].reindex(records.index)
    return records.reset_index(drop=True)


def _one_a_record(raw: RawFile, source: str, name: str, log: pd.DataFrame) -> pd.Series:
    """Give a column's value of each record; ExportError where it changes within one."""
    text = raw.column(source, f"[events] {name} = {source!r}").loc[log.index]
    codes = log["code"].to_numpy()
    values, levels = pd.factorize(text)
    there = values >= 0
    first = pd.Series(values[there]).groupby(codes[there], sort=True).agg(["min", "max"])
    mixed = first.index[first["min"] != first["max"]]
    if len(mixed):
        rows = log["code"] == mixed[0]
        seen = ", ".join(repr(shorten(value, 30)) for value in text[rows].dropna().unique()[:3])
        raise ExportError(
            f"{raw.name}: {source} takes several values in {len(mixed)} records, for example {seen} in "
            f"{log['record'][rows].iloc[0]!r}; a record has one: remove {name} from the mapping"
        )
    taken = np.full(int(codes.max()) + 1, -1)
    taken[first.index.to_numpy()] = first["min"].to_numpy()
    # codes count the records in the order of `log`, so this is one row a record in that order
    return pd.Series(pd.Series(levels, dtype="str").array.take(taken, allow_fill=True), name=source)
