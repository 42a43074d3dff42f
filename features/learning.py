"""Learn from a history which features its records can have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from itertools import pairwise

import numpy as np

from crm.history import History
from crm.schema import DIRECTIONS, STATUSES, TABLE_OF
from features.catalogue import features_of
from features.columns import MISSING, NEVER, Bools, Coded, FrameSource, Ints, Source, read_number
from features.events import NO_EVENT, Activities, activities_of
from features.prepared import check_entity
from features.records import Changes, Links, Records, linked_keys, links, read_changes, read_records
from features.spec import FeatureSpec, Kind, Levels

#: Features of one entity at most; kinds of event beyond are left out, those with least support first.
MAX_FEATURES = 150
MAX_CHANNELS = 6
MAX_FIELDS = 60
#: Levels with a code of their own, and rarer ones remembered, of one categorical field.
MAX_LEVELS = 30
MAX_RARE = 1000
#: A tracked field with more values than this has one kind of event, not one for each value.
MAX_VALUES = 20
#: Texts with more levels than this, on more than this share of the records, are free text or ids.
FREE_TEXT_LEVELS = 50
FREE_TEXT_SHARE = 0.3
#: Records that must have something before it becomes a feature: this many, and this share of all.
MIN_SUPPORT = 5
MIN_SHARE = 0.005
#: Events this close to a record's end belong to the ending and are hardly ever seen of an open record.
AT_THE_END = 3_600_000_000

#: Canonical columns that can be attributes; ids, moments and outcomes have families of their own.
_ATTRIBUTES = {"lead": ("stage", "source"), "deal": ("stage", "source", "amount", "currency"), "account": ()}


def learn_spec(history: History, entity: str, *, exclude: Collection[str] = ()) -> FeatureSpec:
    """Learn which features the records of a history can have.

    Only what was known an hour before a record ended counts as support, for nothing else is ever seen of an
    open one. The same history gives the same spec, whatever the order of its rows.

    Parameters
    ----------
    history : History
    entity : {"lead", "deal"}
    exclude : collection of str
        Fields (``Tags``, ``account.industry``, ``stage``) or features to leave out.

    Returns
    -------
    FeatureSpec

    Raises
    ------
    InputError
        If features know no such entity.
    """
    source = FrameSource(history)
    records = read_records(source, check_entity(entity))
    excluded = frozenset(exclude)
    support = max(MIN_SUPPORT, math.ceil(MIN_SHARE * len(records.ids)))
    changes = _seen_changes(source, entity, records)
    spec = FeatureSpec(entity, excluded=tuple(sorted(excluded)))
    spec = _learn_activities(source, spec, records, changes, support)
    spec = _learn_fields(history, source, spec, records, changes, support)
    spec = _learn_kinds(source, spec, records, changes, support)
    return _name(spec, excluded)


def _until(records: Records) -> Ints:
    """Give the moment until which an event counts as seen; an untimed outcome hides nothing."""
    until = np.where(records.closed == MISSING, NEVER, records.ended)
    return np.where(until == NEVER, NEVER, until - AT_THE_END)


def _seen_changes(source: Source, entity: str, records: Records) -> Changes:
    changes = read_changes(source, entity, records.rank_of)
    return changes.take(changes.known < _until(records)[changes.rank])


def _activities(source: Source, entity: str, records: Records, changes: Changes) -> Activities:
    none = Links(*(np.zeros(0, np.int64) for _ in range(4)))
    held, keys = none, dict[str, int]()
    if entity == "deal":
        lead, moved = source.text("deals", "lead_id"), changes.of("lead_id")
        keys = linked_keys(lead, moved)
        held = links(lead, moved, keys)
    found = activities_of(source, entity, records, held, keys)
    seen = found.known < _until(records)[found.rank]
    return Activities(found.rank[seen], found.row[seen], found.known[seen])


def _records_with(rank: Ints, codes: Ints, size: int) -> Ints:
    """Give the number of distinct records that have each code."""
    some = codes >= 0
    pairs = np.unique(rank[some] * (size + 1) + codes[some])
    return np.bincount(pairs % (size + 1), minlength=size)


def _supported(column: Coded, rank: Ints, least: int) -> list[tuple[str, int]]:
    """Give the texts that enough records have, and how many; most first, then by text."""
    counts = _records_with(rank, column.codes, len(column.levels))
    found = [(text, int(count)) for text, count in zip(column.levels, counts, strict=True) if count >= least]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def _learn_activities(
    source: Source, spec: FeatureSpec, records: Records, changes: Changes, support: int
) -> FeatureSpec:
    """Learn channels, directions, kinds of work, and kinds of activity with their support."""
    found = _activities(source, spec.entity, records, changes)
    status = source.text("activities", "status").take(found.row)
    done = (status.codes < 0) | (status.recode({"done": 1}) == 1)
    channel = source.text("activities", "channel").take(found.row).take(done)
    direction = source.text("activities", "direction").take(found.row).take(done)
    kind = source.text("activities", "kind").take(found.row)
    channels = [text for text, _ in _supported(channel, found.rank[done], support)][:MAX_CHANNELS]
    directions = {text for text, _ in _supported(direction, found.rank[done], support)}
    planned = (status.recode({"scheduled": 1, "started": 1}) == 1) & (kind.codes >= 0)
    work = [text for text, _ in _supported(kind.take(planned), found.rank[planned], support)]
    users = source.text("activities", "user_id").codes[found.row]
    present = ("user_id",) if len(np.unique(users[users >= 0])) > 1 else ()
    return dataclasses.replace(
        spec,
        channels=tuple(channels),
        directions=tuple(text for text in DIRECTIONS if text in directions),
        work=tuple(work[: MAX_CHANNELS * 2]),
        present=present,
    )


def _learn_fields(
    history: History, source: Source, spec: FeatureSpec, records: Records, changes: Changes, support: int
) -> FeatureSpec:
    """Learn attributes with their levels, the order of stages, and which canonical columns are filled."""
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
            else _seen_changes(source, owner, read_records(source, owner))
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


def _learn_kinds(
    source: Source, spec: FeatureSpec, records: Records, changes: Changes, support: int
) -> FeatureSpec:
    """Learn the kinds of event that enough records have."""
    found = _activities(source, spec.entity, records, changes)
    status = source.text("activities", "status").take(found.row)
    state = status.recode({text: code for code, text in enumerate(STATUSES)})
    state[status.codes < 0] = STATUSES.index("done")
    kind = source.text("activities", "kind").take(found.row)
    counted: list[tuple[Kind, int]] = []
    for code, text in enumerate(STATUSES):
        some: Bools = state == code
        counted += [
            (Kind("activity", name, text), count)
            for name, count in _supported(kind.take(some), found.rank[some], support)
        ]
    valued: list[str] = []
    for code in np.unique(changes.field.codes):
        field = changes.field.levels[code]
        if field in spec.excluded or field in NO_EVENT:
            continue
        moved = changes.of(field)
        values = np.unique(moved.new.codes[moved.new.codes >= 0])
        if field in spec.numeric or field.endswith(("_id", "_at")) or len(values) > MAX_VALUES:
            size = len(np.unique(moved.rank))
            counted += [(Kind("change", field, ""), size)] if size >= support else []
        else:
            valued.append(field)
            counted += [
                (Kind("change", field, text), count)
                for text, count in _supported(moved.new, moved.rank, support)
            ]
    if spec.entity == "lead":
        counted += _deal_kinds(source, records, support)
    counted.sort(key=lambda pair: (-pair[1], pair[0]))
    return dataclasses.replace(spec, kinds=tuple(k for k, _ in counted), valued=tuple(sorted(valued)))


def _deal_kinds(source: Source, leads: Records, support: int) -> list[tuple[Kind, int]]:
    deals = read_records(source, "deal")
    lead = source.text("deals", "lead_id").recode(leads.rank_of)
    until = _until(leads)[lead]
    counted = []
    for name, time in (
        ("created", deals.recorded),
        ("won", np.where(deals.won == 1, deals.closed, NEVER)),
        ("lost", np.where(deals.won == 0, deals.closed, NEVER)),
    ):
        size = len(np.unique(lead[(lead >= 0) & (time < until) & (time != MISSING)]))
        if size >= support:
            counted.append((Kind("deal", name, ""), size))
    return counted


def _name(spec: FeatureSpec, excluded: Collection[str]) -> FeatureSpec:
    """Name the features, leaving out the kinds of event with least support where there are too many."""
    without = len(features_of(dataclasses.replace(spec, kinds=())))
    each = 3
    room = max(MAX_FEATURES - without, 8 * each) // each
    spec = dataclasses.replace(spec, kinds=spec.kinds[:room])
    names = tuple(name for name in features_of(spec) if name not in excluded)
    return dataclasses.replace(spec, names=names)
