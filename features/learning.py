"""Learn from a history which features its records can have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection

import numpy as np

from crm.history import History
from crm.moments import MISSING, NEVER
from crm.schema import DIRECTIONS, STATUSES
from features.catalogue import features_of
from features.columns import Bools, Coded, FrameSource, Ints, Source
from features.events import NO_EVENT, Activities, activities_of
from features.learned_fields import MIN_SHARE, MIN_SUPPORT, learn_fields, seen_changes, seen_until
from features.prepared import check_entity
from features.records import Changes, Links, Records, linked_keys, links, read_records
from features.spec import Act, FeatureSpec, Kind

#: Features of one entity at most; kinds of event beyond are left out, those with least support first.
MAX_FEATURES = 150
MAX_CHANNELS = 6
#: Kinds of our own acts at most, the most usual first.
MAX_ACTS = 4
#: A tracked field with more values than this has one kind of event, not one for each value.
MAX_VALUES = 20


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
    changes = seen_changes(source, entity, records)
    spec = FeatureSpec(entity, excluded=tuple(sorted(excluded)))
    spec = _learn_activities(source, spec, records, changes, support)
    spec = learn_fields(history, source, spec, records, changes, support)
    spec = _learn_kinds(source, spec, records, changes, support)
    return _name(spec, excluded)


def _activities(source: Source, entity: str, records: Records, changes: Changes) -> Activities:
    none = Links(*(np.zeros(0, np.int64) for _ in range(4)))
    held, keys = none, dict[str, int]()
    if entity == "deal":
        lead, moved = source.text("deals", "lead_id"), changes.of("lead_id")
        keys = linked_keys(lead, moved)
        held = links(lead, moved, keys)
    found = activities_of(source, entity, records, held, keys)
    seen = found.known < seen_until(records)[found.rank]
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
        acts=_learn_acts(found.rank[done], kind.take(done), channel, direction, users[done], support),
    )


def _learn_acts(
    rank: Ints, kind: Coded, channel: Coded, direction: Coded, user: Ints, support: int
) -> tuple[Act, ...]:
    """Learn what we do ourselves: what goes out or, where no direction is told, what a user did."""
    outgoing = direction.recode({"out": 1}) == 1
    ours = outgoing if (direction.codes >= 0).any() else user >= 0
    usual = _supported(kind.take(ours), rank[ours], support)[:MAX_ACTS]
    acts = []
    for name, _ in usual:
        through = channel.take(ours & (kind.recode({name: 1}) == 1))
        counts = np.bincount(through.codes[through.codes >= 0], minlength=len(through.levels))
        named = zip((-counts).tolist(), through.levels, strict=True)
        most, text = min(named, default=(0, ""))
        acts.append(Act(name, text if most else ""))
    return tuple(acts)


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
    until = seen_until(leads)[lead]
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
