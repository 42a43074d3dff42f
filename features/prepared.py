"""A history made ready: sorted arrays that features are read from, built once and used for any moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crm.errors import InputError
from crm.history import History
from crm.moments import MISSING, NEVER, read_moment
from crm.schema import TABLE_OF
from features.columns import Floats, FrameSource, Ints, RowSource, Source, read_number
from features.events import Events, activities_of, build_events, change_moves, deal_moves
from features.records import (
    NO_LINKS,
    Changes,
    Links,
    Records,
    Track,
    linked_keys,
    links,
    natural_places,
    read_changes,
    read_records,
    track,
)
from features.series import Series, build_series
from features.spec import FeatureSpec

#: What a lead is told of its deals.
_OF_DEALS = ("deal.stage", "deal.amount")


@dataclass(frozen=True)
class Fields:
    """The value of every field of every record over time.

    Parameters
    ----------
    names : tuple of str
    initial : array of float, shape (n_records, n_fields)
        First value of each; the only one where it never changes.
    tracked : array of int, shape (t,)
        The fields that have steps.
    starts : array of int, shape (n_records * t + 1,)
        Where the steps of each record and tracked field begin.
    time, value : arrays, shape (n_steps,)
    """

    names: tuple[str, ...]
    initial: Floats
    tracked: Ints
    starts: Ints
    time: Ints
    value: Floats


@dataclass(frozen=True)
class Prepared:
    """A history, ready for the features of one spec.

    Made by :func:`prepare` or :func:`prepare_rows`; read by :func:`features.build_features`.
    """

    spec: FeatureSpec
    records: Records
    events: Events
    fields: Fields
    series: Series
    counted: Ints
    first_time: int
    last_time: int


def prepare(history: History, spec: FeatureSpec, *, series: Series | None = None) -> Prepared:
    """Make a history ready for the features of a spec.

    Parameters
    ----------
    history : History
        The whole history, or only some records' rows together with ``series``.
    spec : FeatureSpec
    series : Series, optional
        What crosses records, where the history does not hold all of them.
    """
    return prepare_source(FrameSource(history), spec, series)


def prepare_rows(
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    spec: FeatureSpec,
    *,
    series: Series | None = None,
    names: Sequence[str] | None = None,
) -> Prepared:
    """Make the rows of one request ready, without pandas; otherwise as :func:`prepare`.

    Parameters
    ----------
    tables : mapping of str to rows
        Canonical tables by name; each row a mapping from column to value, moments as datetimes with a
        zone or in microseconds. ``recorded_at`` must be there, as in a valid history.
    spec : FeatureSpec
    series : Series, optional
    names : sequence of str, optional
        The records' ids in the CRM, where the rows have others.
    """
    return prepare_source(RowSource(tables), spec, series, names)


def prepare_source(
    source: Source, spec: FeatureSpec, series: Series | None, names: Sequence[str] | None = None
) -> Prepared:
    """Make columns ready, whatever they come from."""
    entity = spec.entity
    records = read_records(source, entity)
    changes = read_changes(source, entity, records.rank_of)
    if series is None:
        series = build_series(source, entity, spec.outcomes_of)
    leads, lead_keys = NO_LINKS, dict[str, int]()
    if entity == "deal":
        lead, moved = source.text("deals", "lead_id"), changes.of("lead_id")
        lead_keys = linked_keys(lead, moved)
        leads = links(lead, moved, lead_keys)
    moves = [change_moves(changes, spec)]
    fields = _own_fields(source, spec, changes, series)
    # The rows of one request seldom hold other records; then there is nothing to link.
    if entity == "lead" and source.size("deals") == 0:
        nothing = _nothing(len(records.ids))
        fields |= {name: nothing for name in _OF_DEALS if name in spec.fields}
    elif entity == "lead":
        deals = read_records(source, "deal")
        deal_changes = read_changes(source, "deal", deals.rank_of)
        held = links(source.text("deals", "lead_id"), deal_changes.of("lead_id"), records.rank_of).turned()
        moves.append(deal_moves(deals, held, spec))
        fields |= _deal_fields(source, spec, records, deals, deal_changes, held)
    fields |= _linked_fields(source, spec, changes, "account")
    if entity == "deal":
        fields |= _linked_fields(source, spec, changes, "lead")
    events = build_events(
        source, spec, len(records.ids), activities_of(source, entity, records, leads, lead_keys), moves
    )
    joined = _join(fields, len(records.ids))
    times = [times for times in (events.time, joined.time) if len(times)]
    return Prepared(
        spec,
        records,
        events,
        joined,
        series,
        series.counted(records.ids if names is None else list(names)).astype(np.int64),
        min((int(t.min()) for t in times), default=0),
        max((int(t.max()) for t in times), default=0),
    )


def _reader(spec: FeatureSpec, field: str) -> Callable[[str], float]:
    """Give what reads the texts of a field as numbers."""
    if field in spec.numeric:
        return read_number
    return _by_code(spec.codes_of(field), float("nan"))


def _by_code(codes: Mapping[str, int], unknown: float) -> Callable[[str], float]:
    return lambda text: float(codes.get(text, unknown))


def _current(source: Source, table: str, column: str, field: str, spec: FeatureSpec) -> Floats:
    """Give a field as the export has it, as numbers."""
    if field in spec.numeric:
        return source.number(table, column)
    return source.parsed(table, column, _reader(spec, field))


def _nothing(count: int) -> Track:
    """Give a field that was empty all the time."""
    none = np.zeros(0, np.int64)
    return Track(np.full(count, np.nan), none, none, np.zeros(0, np.float64))


def is_linked(field: str) -> bool:
    """Say whether a field is of another record: ``account.industry``."""
    return field.startswith(("account.", "lead.", "deal."))


def _own_fields(source: Source, spec: FeatureSpec, changes: Changes, series: Series) -> dict[str, Track]:
    table = TABLE_OF[spec.entity].name
    fields: dict[str, Track] = {}
    if spec.entity == "deal" and "expected_close_at" in spec.present:
        moments = source.time(table, "expected_close_at")
        current = np.where(moments == MISSING, np.nan, moments.astype(np.float64))
        fields["expected_close_at"] = track(current, changes.of("expected_close_at"), read_moment)
    for field, keys in (("owner_id", series.owners.keys), ("account_id", series.accounts.keys)):
        if field not in spec.present:
            continue
        read = _by_code(keys, -1.0)
        fields[field] = track(source.parsed(table, field, read), changes.of(field), read)
    for field in spec.fields:
        if is_linked(field):
            continue
        read = _reader(spec, field)
        fields[field] = track(_current(source, table, field, field, spec), changes.of(field), read)
    return fields


def _linked_fields(source: Source, spec: FeatureSpec, changes: Changes, entity: str) -> dict[str, Track]:
    """Give the fields of the records' accounts (or leads), as those are linked and known over time."""
    wanted = [field for field in spec.fields if field.startswith(f"{entity}.")]
    if source.size(TABLE_OF[entity].name) == 0:
        return dict.fromkeys(wanted, _nothing(source.size(TABLE_OF[spec.entity].name)))
    if not wanted:
        return {}
    moved = changes.of(f"{entity}_id")
    others = read_records(source, entity)
    other_changes = read_changes(source, entity, others.rank_of)
    held = links(source.text(TABLE_OF[spec.entity].name, f"{entity}_id"), moved, others.rank_of)
    count = source.size(TABLE_OF[spec.entity].name)
    fields: dict[str, Track] = {}
    for field in wanted:
        column = field.partition(".")[2]
        read = _reader(spec, field)
        current = _current(source, TABLE_OF[entity].name, column, field, spec)
        own = track(current, other_changes.of(column), read)
        # An other's first value counts from when the other was recorded.
        owner = np.concatenate([np.arange(len(others.ids)), own.rank])
        known = np.concatenate([others.recorded, np.maximum(own.known, others.recorded[own.rank])])
        value = np.concatenate([own.initial, own.value])
        rank, item, time = held.spread(owner, known)
        # Where a link moves, nothing of the one before remains.
        rank, time = np.concatenate([moved.rank, rank]), np.concatenate([moved.known, time])
        value = np.concatenate([np.full(len(moved.rank), np.nan), value[item]])
        order = np.lexsort((time, rank))
        fields[field] = Track(np.full(count, np.nan), rank[order], time[order], value[order])
    return fields


def _deal_fields(
    source: Source, spec: FeatureSpec, leads: Records, deals: Records, changes: Changes, held: Links
) -> dict[str, Track]:
    """Give the stage and amount of a lead's deal that moved last; missing once it closed or left."""
    fields: dict[str, Track] = {}
    order = natural_places(deals.ids)
    place = np.array([order[deal] for deal in deals.ids], np.int64)
    left = np.flatnonzero(held.until < NEVER)
    for name in _OF_DEALS:
        field = name.partition(".")[2]
        if name not in spec.fields:
            continue
        own = track(_current(source, "deals", field, name, spec), changes.of(field), _reader(spec, name))
        closed = np.flatnonzero((deals.won >= 0) & (deals.closed != MISSING))
        owner = np.concatenate([np.arange(len(deals.ids)), own.rank, closed])
        known = np.concatenate(
            [deals.recorded, np.maximum(own.known, deals.recorded[own.rank]), deals.closed[closed]]
        )
        value = np.concatenate([own.initial, own.value, np.full(len(closed), np.nan)])
        tie = place[owner] * len(owner) + np.arange(len(owner))
        rank, item, time = held.spread(owner, known, tie)
        rank, time = np.concatenate([rank, held.rank[left]]), np.concatenate([time, held.until[left]])
        value = np.concatenate([value[item], np.full(len(left), np.nan)])
        by_lead = np.lexsort((time, rank))
        fields[name] = Track(np.full(len(leads.ids), np.nan), rank[by_lead], time[by_lead], value[by_lead])
    return fields


def _join(tracks: dict[str, Track], count: int) -> Fields:
    """Put the tracks of all fields into one sorted list of steps."""
    names = tuple(tracks)
    initial = np.empty((count, len(names)))
    for place, one in enumerate(tracks.values()):
        initial[:, place] = one.initial
    tracked = [place for place, one in enumerate(tracks.values()) if len(one.rank)]
    moving = [tracks[names[place]] for place in tracked]
    if not moving:
        empty = np.zeros(0, np.int64)
        return Fields(names, initial, empty, np.zeros(1, np.int64), empty, np.zeros(0))
    segment = np.concatenate([one.rank * len(tracked) + place for place, one in enumerate(moving)])
    time = np.concatenate([one.known for one in moving])
    order = np.lexsort((time, segment))
    return Fields(
        names,
        initial,
        np.array(tracked, np.int64),
        np.searchsorted(segment[order], np.arange(count * len(tracked) + 1)),
        time[order],
        np.concatenate([one.value for one in moving])[order],
    )


def check_entity(entity: str) -> str:
    """Give the entity back; InputError where features know no such entity."""
    if entity not in ("lead", "deal"):
        raise InputError(f"entity = {entity!r}: features are built for 'lead' or 'deal'")
    return entity
