"""Everything that happened to each record, in one sorted list of events."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crm.moments import MISSING, read_moment
from crm.schema import STATUSES
from features.columns import Coded, Ints, Source, later_of, read_number
from features.records import Changes, Links, Records
from features.spec import FeatureSpec

#: What a change did, as the codes of ``Events.detail``.
DETAILS = (
    "stage_forward",
    "stage_back",
    "close_pushed",
    "close_pulled",
    "amount_up",
    "amount_down",
)
#: Fields whose changes are the outcome itself, or the record's own dates; they are no events.
NO_EVENT = ("outcome", "closed_at", "closed_recorded_at", "sequence", "gone_at", "created_at", "recorded_at")
SCHEDULED, STARTED, DONE, CANCELLED = range(len(STATUSES))

Codes = NDArray[np.int16]


class Activities(NamedTuple):
    """Rows of the activities that belong to records of one entity."""

    rank: Ints
    row: Ints
    known: Ints


def activities_of(
    source: Source, entity: str, records: Records, leads: Links, keys: dict[str, int]
) -> Activities:
    """Give each record's activities.

    A lead has those that name it. A deal has those that name it, and those that name its lead and no deal.

    Parameters
    ----------
    leads : Links
        From deals to the leads of ``keys``; empty for leads.
    """
    known = later_of(source.time("activities", "occurred_at"), source.time("activities", "recorded_at"))
    own = source.text("activities", f"{entity}_id")
    rank = own.recode(records.rank_of)
    row = np.flatnonzero(rank >= 0)
    found = Activities(rank[row], row, known[row])
    if entity == "lead" or len(leads.rank) == 0:
        return found
    lead = source.text("activities", "lead_id").recode(keys)
    row = np.flatnonzero((own.codes < 0) & (lead >= 0))
    rank, item, time = leads.spread(lead[row], known[row])
    return Activities(
        np.concatenate([found.rank, rank]),
        np.concatenate([found.row, row[item]]),
        np.concatenate([found.known, time]),
    )


def kind_codes(first: Coded, second: Coded, codes: dict[tuple[str, str], int]) -> Ints:
    """Give the code of each pair of texts; -1 where the pair has none. A missing second text reads ''."""
    width = len(second.levels) + 1
    table = np.full((len(first.levels) + 1, width), -1, np.int64)
    places = {text: code for code, text in enumerate(second.levels)} | {"": width - 1}
    rows = {text: code for code, text in enumerate(first.levels)}
    for (one, other), code in codes.items():
        if one in rows and other in places:
            table[rows[one], places[other]] = code
    return table[first.codes, second.codes]


class Events(NamedTuple):
    """The events of all records, sorted by record and known time.

    Codes are places in the spec's lists, -1 for none. ``pending``, ``started`` and ``oldest`` say, for an
    event of a kind of work, how much of that kind was then planned and not done, started and not done, and
    since when the oldest has been planned.
    """

    starts: Ints
    time: Ints
    done: Codes
    direction: Codes
    channel: Codes
    kind: Codes
    work: Codes
    newcomer: Codes
    detail: Codes
    pushed: Ints
    pending: Ints
    started: Ints
    oldest: Ints


class Moves(NamedTuple):
    """Events that are no activities: of a kind, perhaps with a detail."""

    rank: Ints
    time: Ints
    kind: Ints
    detail: Ints
    pushed: Ints


def change_moves(changes: Changes, spec: FeatureSpec) -> Moves:
    """Give a record's changes as events; changes of excluded fields are none."""
    excluded = changes.field.recode(dict.fromkeys((*spec.excluded, *NO_EVENT), 1)) == 1
    changes = changes.take(~excluded)
    valued = {(k.name, k.value): i for i, k in enumerate(spec.kinds) if k.source == "change" and k.value}
    plain = {k.name: i for i, k in enumerate(spec.kinds) if k.source == "change" and not k.value}
    kind = np.maximum(kind_codes(changes.field, changes.new, valued), changes.field.recode(plain))
    detail = np.full(len(kind), -1, np.int64)
    pushed = np.zeros(len(kind), np.int64)
    order = {stage: float(place) for place, stage in enumerate(spec.stage_order)}
    nan = float("nan")
    for field, read, up, down in (
        ("stage", lambda text: order.get(text, nan), 0, 1),
        ("expected_close_at", read_moment, 2, 3),
        ("amount", read_number, 4, 5),
    ):
        if field not in changes.field.levels:
            continue
        rows = (changes.field.codes == changes.field.levels.index(field)).nonzero()[0]
        with np.errstate(invalid="ignore"):  # a number beyond all numbers may come after another
            step = changes.new.take(rows).parse(read) - changes.old.take(rows).parse(read)
        detail[rows[step > 0]] = up
        detail[rows[step < 0]] = down
        if field == "expected_close_at":
            pushed[rows[step > 0]] = step[step > 0].astype(np.int64)
    return Moves(changes.rank, changes.known, kind, detail, pushed)


def deal_moves(deals: Records, held: Links, spec: FeatureSpec) -> Moves:
    """Give what happened to a lead's deals (created, won, lost) as events of the lead."""
    codes = {k.name: i for i, k in enumerate(spec.kinds) if k.source == "deal"}
    parts = []
    for name, rows, time in (
        ("created", np.arange(len(deals.ids)), deals.recorded),
        ("won", np.flatnonzero((deals.won == 1) & (deals.closed != MISSING)), deals.closed),
        ("lost", np.flatnonzero((deals.won == 0) & (deals.closed != MISSING)), deals.closed),
    ):
        rank, _, known = held.spread(rows, time[rows])
        parts.append((rank, known, np.full(len(rank), codes.get(name, -1), np.int64)))
    rank, known, kind = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Moves(rank, known, kind, np.full(len(rank), -1, np.int64), np.zeros(len(rank), np.int64))


def build_events(
    source: Source, spec: FeatureSpec, count: int, activities: Activities, moves: list[Moves]
) -> Events:
    """Put activities and other events of ``count`` records into one sorted list."""
    row = activities.row
    kind = source.text("activities", "kind").take(row)
    status_text = source.text("activities", "status").take(row)
    status = status_text.recode({text: code for code, text in enumerate(STATUSES)})
    status[status_text.codes < 0] = DONE
    done = status == DONE
    codes = {(k.name, k.value): i for i, k in enumerate(spec.kinds) if k.source == "activity"}
    kinds = kind_codes(kind, Coded(status, list(STATUSES)), codes)
    work = kind.recode({text: code for code, text in enumerate(spec.work)})
    channel = source.text("activities", "channel").take(row).recode(_places(spec.channels))
    direction = source.text("activities", "direction").take(row).recode(_places(spec.directions))
    user = source.text("activities", "user_id").codes[row]

    rank = np.concatenate([activities.rank, *(m.rank for m in moves)])
    time = np.concatenate([activities.known, *(m.time for m in moves)])
    order = sort_by_time(rank, time)
    rank, time = rank[order], time[order]

    def joined(first: Ints, column: str = "") -> Ints:
        second = [getattr(m, column) if column else np.full(len(m.rank), -1) for m in moves]
        return np.concatenate([first, *second])[order]

    nothing = [np.full(len(m.rank), -1, np.int16) for m in moves]

    def codes_of(first: Ints, column: str = "") -> Codes:
        # Small before they are put in order, which is what costs.
        second = [getattr(m, column) for m in moves] if column else nothing
        return np.concatenate([part.astype(np.int16) for part in (first, *second)])[order]

    work_codes = codes_of(work)
    state = _work(rank, time, work_codes, codes_of(status))
    return Events(
        np.searchsorted(rank, np.arange(count + 1)),
        time,
        codes_of(done.astype(np.int64) - 1),
        codes_of(np.where(done, direction, -1)),
        codes_of(np.where(done, channel, -1)),
        codes_of(kinds, "kind"),
        work_codes,
        _newcomers(rank, joined(user)),
        codes_of(np.full(len(row), -1), "detail"),
        joined(np.zeros(len(row), np.int64), "pushed"),
        *state,
    )


def _places(texts: tuple[str, ...]) -> dict[str, int]:
    return {text: place for place, text in enumerate(texts)}


def sort_by_time(rank: Ints, time: Ints) -> Ints:
    """Give the order by record, then time; those of equal record and time in any order.

    One 64-bit key sorts several times faster than two columns. It holds the time coarsely, so the few that
    share a key are sorted again by both.
    """
    if len(rank) < 2:
        return np.arange(len(rank))
    base = int(time.min())
    bits = (int(time.max()) - base).bit_length()
    shift = max(0, int(rank.max()).bit_length() + bits - 62)
    if bits > 62:  # years far outside any CRM's life
        return np.lexsort((time, rank))
    key = (rank << (bits - shift)) + ((time - base) >> shift)
    order = np.argsort(key)
    if shift:
        sorted_key = key[order]
        same = sorted_key[1:] == sorted_key[:-1]
        shared = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
        some = order[shared]
        order[shared] = some[np.lexsort((time[some], key[some]))]
    return order


def _newcomers(rank: Ints, user: Ints) -> Codes:
    """Give 0 at the first event of each user with each record, else -1."""
    code = np.full(len(rank), -1, np.int16)
    rows = (user >= 0).nonzero()[0]
    if len(rows):
        pair = rank[rows] * (int(user.max()) + 1) + user[rows]
        order = np.argsort(pair, kind="stable")
        first = _differs(pair[order])
        code[rows[order[first]]] = 0
    return code


def _work(rank: Ints, time: Ints, work: Codes, status: Codes) -> tuple[Ints, Ints, Ints]:
    """Follow planned and started work, first in first out, within each record and kind of work.

    What was planned waits until the same kind is done or cancelled; doing what nobody planned takes nothing
    away (the queue of Lindley, 1952).
    """
    pending, started = np.zeros(len(rank), np.int64), np.zeros(len(rank), np.int64)
    oldest = np.full(len(rank), MISSING, np.int64)
    rows = (work >= 0).nonzero()[0]
    if len(rows) == 0:
        return pending, started, oldest
    # At one moment, plans come before what fulfils them; the rows' order says nothing.
    rows = rows[np.lexsort((status[rows], time[rows], work[rows], rank[rows]))]
    segment = (_differs(rank[rows]) | _differs(work[rows])).cumsum() - 1
    now, state = time[rows], status[rows]
    ended = (state == DONE) | (state == CANCELLED)
    waiting = _queue(segment, (state == SCHEDULED).astype(np.int64) - ended)
    running = _queue(segment, (state == STARTED).astype(np.int64) - ended)
    planned = (state == SCHEDULED).cumsum()
    plans = (state == SCHEDULED).nonzero()[0]
    since = np.full(len(rows), MISSING, np.int64)
    some = waiting > 0
    since[some] = now[plans[planned[some] - waiting[some]]]
    # Events of one moment become known together: each shows the state after the last of them.
    ends = np.ones(len(rows), np.bool_)
    np.logical_or(_differs(segment)[1:], _differs(now)[1:], out=ends[:-1])
    last = ends.nonzero()[0]
    shown = last[last.searchsorted(np.arange(len(rows)))]
    pending[rows], started[rows], oldest[rows] = waiting[shown], running[shown], since[shown]
    return pending, started, oldest


def _differs(values: Ints | Codes) -> NDArray[np.bool_]:
    """Say where a value is not the one before; the first always."""
    differs = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=differs[1:])
    return differs


def _queue(segment: Ints, step: Ints) -> Ints:
    """Give the length of a queue that never falls below zero, after each step, in each segment."""
    total = step.cumsum()
    first = _differs(segment).nonzero()[0]
    before = (total - step)[first][segment]
    within = total - before
    # Each segment lies far below the one before it, so that the running minimum starts anew.
    depth = segment * (2 * len(step) + 2)
    lowest = np.minimum.accumulate(np.minimum(within, 0) - depth) + depth
    return within - lowest
