"""Learn from a history which fields its records have: attributes, their levels, the order of stages."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np

from crm.history import History
from crm.moments import MISSING, NEVER
from crm.schema import TABLE_OF
from features.columns import Ints, Source, read_number
from features.records import Changes, Records, read_changes, read_records
from features.spec import FeatureSpec, Levels

MAX_FIELDS = 60
#: Levels with a code of their own, and rarer ones remembered, of one categorical field.
MAX_LEVELS = 30
MAX_RARE = 1000
#: Texts with more levels than this, on more than this share of the records, are free text or ids.
FREE_TEXT_LEVELS = 50
FREE_TEXT_SHARE = 0.3
#: Records that must have something before it becomes a feature: this many, and this share of all.
MIN_SUPPORT = 5
MIN_SHARE = 0.005
#: Events this close to a record's end belong to the ending and are hardly ever seen of an open record.
AT_THE_END = 3_600_000_000

#: Length of a history, in microseconds, from which the end of a period can teach anything.
SEASONS = {"months": 365 * 86_400_000_000, "quarters": 730 * 86_400_000_000}

#: Canonical columns that can be attributes; ids, moments and outcomes have families of their own.
_ATTRIBUTES = {"lead": ("stage", "source"), "deal": ("stage", "source", "amount", "currency"), "account": ()}


def seen_until(records: Records) -> Ints:
    """Give the moment until which an event counts as seen; an untimed outcome hides nothing."""
    until = np.where(records.closed == MISSING, NEVER, records.ended)
    return np.where(until == NEVER, NEVER, until - AT_THE_END)


def seen_changes(source: Source, entity: str, records: Records) -> Changes:
    changes = read_changes(source, entity, records.rank_of)
    return changes.take(changes.known < seen_until(records)[changes.rank])


def _seasons(records: Records) -> list[str]:
    """Say which ends of periods came often enough to be told from chance."""
    dated = records.recorded[records.recorded != MISSING]
    span = int(dated.max() - dated.min()) if len(dated) else 0
    return [period for period, least in SEASONS.items() if span >= least]


def learn_fields(
    history: History, source: Source, spec: FeatureSpec, records: Records, changes: Changes, support: int
) -> FeatureSpec:
    """Learn attributes with levels, the order of stages, and which canonical columns are filled."""
    table, entity = TABLE_OF[spec.entity].name, spec.entity
    present = set(spec.present)
    for column in ("owner_id", "account_id"):
        values = source.text(table, column)
        filled = int((values.codes >= 0).sum()) + len(changes.of(column).rank)
        if column not in spec.excluded and filled >= support and len(values.levels) > 1:
            present.add(column)
    for field in ("amount", "expected_close_at"):
        if field not in spec.excluded and len(np.unique(changes.of(field).rank)) >= support:
            present.add(f"changes of {field}")
    moments = source.time(table, "expected_close_at")
    if "expected_close_at" not in spec.excluded and int((moments != MISSING).sum()) >= support:
        present.add("expected_close_at")
    if (source.text("deals", "account_id").codes >= 0).any():
        present.add("deals")
    present.update(_seasons(records))
    timed = _timed_outcomes(records)
    outcomes_of = entity
    if entity == "lead" and timed == 0:
        outcomes_of, timed = "deal", _timed_outcomes(read_records(source, "deal"))
    if timed:
        present.add("outcomes")
    numeric: list[tuple[str, int]] = []
    categorical: list[tuple[Levels, int]] = []
    for prefix, owner in _owners(history, entity):
        theirs = (
            changes
            if owner == entity and not prefix
            else seen_changes(source, owner, read_records(source, owner))
        )
        for column in _candidates(history, owner, prefix, theirs):
            field = prefix + column
            if field in spec.excluded:
                continue
            if _is_number(history, owner, column, theirs):
                values_of = source.number(TABLE_OF[owner].name, column)
                filled = int(np.isfinite(values_of).sum()) + len(theirs.of(column).rank)
                distinct = len(np.unique(values_of[np.isfinite(values_of)]))
                if filled >= support and (distinct > 1 or filled > distinct or len(theirs.of(column).rank)):
                    numeric.append((field, filled))
            else:
                levels, filled = _levels(source, owner, column, field, theirs, support)
                if levels is not None:
                    categorical.append((levels, filled))
    numeric.sort(key=lambda pair: (-pair[1], pair[0]))
    categorical.sort(key=lambda pair: (-pair[1], pair[0].field))
    return dataclasses.replace(
        spec,
        present=tuple(sorted(present)),
        outcomes_of=outcomes_of,
        numeric=tuple(field for field, _ in numeric[:MAX_FIELDS]),
        categorical=tuple(levels for levels, _ in categorical[:MAX_FIELDS]),
        stage_order=_stage_order(source, table, changes.of("stage")),
    )


def _timed_outcomes(records: Records) -> int:
    return int(((records.won >= 0) & (records.closed != MISSING)).sum())


def _owners(history: History, entity: str) -> list[tuple[str, str]]:
    """Give whose fields a record has, and what stands before their names."""
    table = getattr(history, TABLE_OF[entity].name)
    owners = [("", entity)]
    if len(history.accounts) and table["account_id"].notna().any():
        owners.append(("account.", "account"))
    linked = len(history.deals) > 0 and history.deals["lead_id"].notna().any()
    if linked and entity == "deal" and len(history.leads):
        owners.append(("lead.", "lead"))
    if linked and entity == "lead":
        owners.append(("deal.", "deal"))
    return owners


def _candidates(history: History, owner: str, prefix: str, changes: Changes) -> list[str]:
    """Give the columns of a table, or fields with a history, that can be attributes."""
    table = TABLE_OF[owner]
    canonical = _ATTRIBUTES[owner]
    if prefix == "deal.":
        return ["stage", "amount"]
    if prefix == "lead.":
        canonical = ("source",)
    tracked = [changes.field.levels[code] for code in np.unique(changes.field.codes)]
    extra = [field for field in tracked if field not in table.names]
    names = {*canonical, *history.attributes(table.name), *(extra if not prefix else ())}
    return sorted(name for name in names if not name.startswith(("account.", "lead.", "deal.")))


def _is_number(history: History, owner: str, column: str, changes: Changes) -> bool:
    frame = getattr(history, TABLE_OF[owner].name)
    if column in frame.columns and frame[column].notna().any():
        return bool(frame[column].dtype.kind == "f")
    new = changes.of(column).new
    texts = [new.levels[code] for code in np.unique(new.codes[new.codes >= 0])]
    return bool(texts) and not any(math.isnan(read_number(text)) for text in texts)


def _levels(
    source: Source, owner: str, column: str, field: str, changes: Changes, support: int
) -> tuple[Levels | None, int]:
    """Give the levels of a categorical field, or None where it is free text, empty or always the same."""
    current = source.text(TABLE_OF[owner].name, column)
    moved = changes.of(column)
    untracked = np.ones(len(current.codes), bool)
    untracked[moved.rank] = False
    first = np.flatnonzero(np.diff(moved.rank, prepend=-1))
    counts: dict[str, int] = {}
    for values in (current.take(untracked), moved.old.take(first), moved.new):
        sizes = np.bincount(values.codes[values.codes >= 0], minlength=len(values.levels))
        for code in np.flatnonzero(sizes):
            counts[values.levels[code]] = counts.get(values.levels[code], 0) + int(sizes[code])
    filled = sum(counts.values())
    free = len(counts) > FREE_TEXT_LEVELS and len(counts) > FREE_TEXT_SHARE * filled
    constant = len(counts) == 1 and filled == len(current.codes)
    if filled < support or free or constant:
        return None, filled
    ordered = sorted(counts, key=lambda text: (-counts[text], text))
    levels = [text for text in ordered if counts[text] >= min(support, MIN_SUPPORT * 4)][:MAX_LEVELS]
    if not levels:
        return None, filled
    return Levels(field, tuple(levels), tuple(ordered[len(levels) :][:MAX_RARE])), filled


def _stage_order(source: Source, table: str, changes: Changes) -> tuple[str, ...]:
    """Order stages by the mean place at which records first reach them."""
    places: dict[str, list[int]] = {}
    first = np.append(np.flatnonzero(np.diff(changes.rank, prepend=-1)), len(changes.rank))
    for low, high in pairwise(first):
        seen: dict[int | str, int] = {}
        codes = [(changes.old, low), *((changes.new, row) for row in range(low, high))]
        for column, row in codes:
            code = column.codes[row]
            if code >= 0 and column.levels[code] not in seen:
                seen[column.levels[code]] = len(seen)
        for stage, place in seen.items():
            places.setdefault(str(stage), []).append(place)
    mean = {stage: sum(found) / len(found) for stage, found in places.items()}
    return tuple(sorted(mean, key=lambda stage: (mean[stage], stage)))
