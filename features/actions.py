"""What a rep can do with a record today, and the records as they would be had it been done just now.

An action adds one event to what is known of a record, or moves one of its dates, and the kernel builds the
features of that: so what an action would change is never written down a second time. Which features it may
change is said in the catalogue, where they are ``actionable``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crm.moments import MISSING
from features.columns import Bools, Ints
from features.events import Events
from features.prepared import Fields, Prepared
from features.records import Records
from features.spec import FeatureSpec, unique_slugs

Whole = TypeVar("Whole", np.int16, np.int64)


@dataclass(frozen=True)
class Action:
    """Something that a rep can do.

    Parameters
    ----------
    name : str
        Never changes for one spec; programs may rely on it.
    label_en, label_fr : str
        As a rep reads it.
    kind, channel, direction, work : int
        Places in the spec's lists of the event that it adds; -1 for none.
    is_plan : bool
        Whether the event is a plan; else it is done.
    """

    name: str
    label_en: str
    label_fr: str
    kind: int = -1
    channel: int = -1
    direction: int = -1
    work: int = -1
    is_plan: bool = False


@lru_cache(maxsize=16)
def actions_of(spec: FeatureSpec) -> tuple[Action, ...]:
    """Give what a rep can do with the records of a spec: what is usually done, and what is usually planned.

    Parameters
    ----------
    spec : FeatureSpec
    """
    kinds = {(k.name, k.value): place for place, k in enumerate(spec.kinds) if k.source == "activity"}
    work = {name: place for place, name in enumerate(spec.work)}
    channels = {name: place for place, name in enumerate(spec.channels)}
    out = spec.directions.index("out") if "out" in spec.directions else -1
    slugs = unique_slugs(act.kind for act in spec.acts)
    done = [
        Action(
            f"do_{slug}",
            f"{act.kind}, today",
            f"{act.kind}, aujourd’hui",
            kind=kinds.get((act.kind, "done"), -1),
            channel=channels.get(act.channel, -1),
            direction=out,
            work=work.get(act.kind, -1),
        )
        for slug, act in zip(slugs, spec.acts, strict=True)
    ]
    planned = [
        Action(
            f"plan_{slug}",
            f"{name} planned as the next step",
            f"{name} : prochaine étape planifiée",
            kind=kinds.get((name, "scheduled"), -1),
            work=place,
            is_plan=True,
        )
        for place, (slug, name) in enumerate(zip(unique_slugs(spec.work), spec.work, strict=True))
        if (name, "scheduled") in kinds
    ]
    return (*done, *planned)


def with_actions(
    prepared: Prepared, rank: Ints, as_of: Ints, actions: Sequence[Action]
) -> tuple[Prepared, Ints]:
    """Give a prepared history with further records: some of its own, each as it would be after each action.

    Parameters
    ----------
    prepared : Prepared
    rank : array of int, shape (n,)
        Places of records that were known at their moments.
    as_of : array of int, shape (n,)
        In microseconds; the action is known just before.
    actions : sequence of Action

    Returns
    -------
    prepared : Prepared
        The records that were there first, at their places.
    places : array of int, shape (n, actions)
        Of the new ones.
    """
    count, size = len(rank), len(actions)
    owner, moment = np.repeat(rank, size), np.repeat(as_of, size)
    action = np.tile(np.arange(size), count)
    records = prepared.records
    places = len(records.ids) + np.arange(count * size).reshape(count, size)
    events = _events(prepared.events, owner, moment, action, actions)
    more = replace(
        prepared,
        records=Records(records.ids, records.rank_of, *(np.concatenate([c, c[owner]]) for c in records[2:])),
        events=events,
        fields=_fields(prepared.fields, len(records.ids), owner),
        counted=np.concatenate([prepared.counted, prepared.counted[owner]]),
        first_time=min(prepared.first_time, int(as_of.min(initial=prepared.first_time + 1)) - 1),
        last_time=max(prepared.last_time, int(as_of.max(initial=prepared.last_time + 1)) - 1),
    )
    return more, places


def _ranges(low: Ints, lengths: Ints) -> Ints:
    """Give the numbers from each low on, so many of each, one after the other."""
    before = np.cumsum(lengths) - lengths
    ranges: Ints = np.arange(int(lengths.sum())) + np.repeat(low - before, lengths)
    return ranges


def _events(events: Events, owner: Ints, moment: Ints, action: Ints, actions: Sequence[Action]) -> Events:
    """Give the events, then those of each copy that were known at its moment, and its action as the last."""
    low = events.starts[owner]
    held = events.starts[owner + 1] - low
    all_rows = _ranges(low, held)
    before = events.time[all_rows] < np.repeat(moment, held)
    ends = np.concatenate([[0], np.cumsum(before)])
    begins = np.cumsum(held) - held
    lengths = ends[begins + held] - ends[begins]
    # Within a record events are sorted, so those known are its first ones.
    copied = all_rows[before]
    total = len(events.time)
    # Where each copy's events begin: its copied ones and one more.
    starts = total + np.cumsum(lengths + 1) - (lengths + 1)
    last = starts + lengths
    size = total + len(copied) + len(owner)
    new = last
    is_old = np.ones(size, np.bool_)
    is_old[new] = False
    source = np.zeros(size, np.int64)
    source[is_old] = np.concatenate([np.arange(total), copied])

    def extended(column: NDArray[Whole], values: Ints) -> NDArray[Whole]:
        more = column[source] if total else np.zeros(size, column.dtype)
        more[new] = values
        return more

    def codes(name: str) -> Ints:
        return np.array([getattr(one, name) for one in actions], np.int64)[action]

    plan = np.array([one.is_plan for one in actions], np.bool_)[action]
    nothing = np.full(len(owner), -1, np.int64)
    pending, started, oldest = _work(events, low, lengths, codes("work"), plan, moment - 1)
    return Events(
        np.concatenate([events.starts[:-1], starts, [size]]),
        extended(events.time, moment - 1),
        extended(events.done, np.where(plan, -1, 0)),
        extended(events.direction, np.where(plan, -1, codes("direction"))),
        extended(events.channel, np.where(plan, -1, codes("channel"))),
        extended(events.kind, codes("kind")),
        extended(events.work, codes("work")),
        extended(events.newcomer, nothing),
        extended(events.detail, nothing),
        extended(events.pushed, np.zeros(len(owner), np.int64)),
        extended(events.pending, pending),
        extended(events.started, started),
        extended(events.oldest, oldest),
    )


def _work(
    events: Events, low: Ints, lengths: Ints, work: Ints, plan: Bools, moment: Ints
) -> tuple[Ints, Ints, Ints]:
    """Give what is planned and started of an action's kind of work once it is done or planned.

    Of several plans, the oldest is the one done; the one that follows it is taken to be as old.
    """
    pending, started = np.zeros(len(work), np.int64), np.zeros(len(work), np.int64)
    oldest = np.full(len(work), MISSING, np.int64)
    for code in np.unique(work[work >= 0]).tolist():
        mine = np.flatnonzero((work == code) & (lengths > 0))
        latest = np.maximum.accumulate(np.where(events.work == code, np.arange(len(events.work)), -1))
        row = latest[low[mine] + lengths[mine] - 1] if len(mine) else mine
        mine, row = mine[row >= low[mine]], row[row >= low[mine]]
        pending[mine], started[mine] = events.pending[row], events.started[row]
        oldest[mine] = events.oldest[row]
    is_work = work >= 0
    oldest = np.where(plan & (pending == 0), moment, oldest)
    pending = np.where(is_work, np.maximum(pending + np.where(plan, 1, -1), 0), 0)
    started = np.where(is_work & ~plan, np.maximum(started - 1, 0), started)
    return pending, started, np.where(pending > 0, oldest, MISSING)


def _fields(fields: Fields, count: int, owner: Ints) -> Fields:
    """Give the fields' values over time, then those of each copy."""
    initial = np.concatenate([fields.initial, fields.initial[owner]])
    width = len(fields.tracked)
    if width == 0:
        return replace(fields, initial=initial)
    segments = (owner[:, None] * width + np.arange(width)).ravel()
    low, lengths = fields.starts[segments], np.diff(fields.starts)[segments]
    rows = _ranges(low, lengths)
    total = int(fields.starts[count * width])
    starts = np.concatenate([fields.starts[:-1], total + np.cumsum(lengths) - lengths, [total + len(rows)]])
    return replace(
        fields,
        initial=initial,
        starts=starts,
        time=np.concatenate([fields.time, fields.time[rows]]),
        value=np.concatenate([fields.value, fields.value[rows]]),
    )
