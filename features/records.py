"""The records of one kind, their changes, and the links between records, all as arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from crm.errors import InputError, shorten
from crm.moments import MISSING, NEVER
from crm.schema import TABLE_OF
from features.columns import Bools, Coded, Floats, Ints, Source, later_of


class Records(NamedTuple):
    """The records of one entity, in the order of their table.

    ``closed`` is the moment from which the outcome is known, NEVER while there is none; MISSING where an
    outcome came without a time. ``won`` is 1, 0 or, without an outcome, -1.
    """

    ids: list[str]
    rank_of: dict[str, int]
    created: Ints
    recorded: Ints
    closed: Ints
    gone: Ints
    won: Ints

    @property
    def ended(self) -> Ints:
        """First moment at which the record is closed or gone."""
        return np.minimum(self.closed, self.gone)


def read_records(source: Source, entity: str) -> Records:
    """Read the records of ``lead``, ``deal`` or ``account``.

    Raises
    ------
    InputError
        If an id is empty, or two rows have the same.
    """
    table = TABLE_OF[entity]
    key, ids = source.text(table.name, table.key)
    if len(ids) != len(key):
        row = int(np.flatnonzero((key < 0) | (np.bincount(key[key >= 0], minlength=1)[key] > 1))[0])
        value = ids[key[row]] if key[row] >= 0 else ""
        raise InputError(
            f"{table.name}, row {row + 1}: {table.key} = {shorten(value)!r}: "
            "empty, or another row has it too; give each record an id of its own"
        )
    recorded = source.time(table.name, "recorded_at")
    won = source.text(table.name, "outcome").recode({"lost": 0, "won": 1})
    said = source.time(table.name, "closed_recorded_at")
    closed = np.where(said == MISSING, source.time(table.name, "closed_at"), said)
    closed = np.where(closed == MISSING, MISSING, later_of(closed, recorded))
    gone = source.time(table.name, "gone_at")
    return Records(
        ids,
        {record: rank for rank, record in enumerate(ids)},
        source.time(table.name, "created_at"),
        recorded,
        np.where(won < 0, NEVER, closed),
        np.where(gone == MISSING, NEVER, gone),
        won,
    )


class Changes(NamedTuple):
    """Changes of the records of one entity, sorted by field, record and known time."""

    rank: Ints
    field: Coded
    old: Coded
    new: Coded
    known: Ints

    def of(self, field: str) -> Changes:
        """Give the changes of one field."""
        if field not in self.field.levels:
            return NO_CHANGES
        code = self.field.levels.index(field)
        # Sorted by the field's code, so the field is one slice.
        low, high = np.searchsorted(self.field.codes, [code, code + 1])
        return self.take(slice(int(low), int(high)))

    def take(self, rows: slice | Ints | Bools) -> Changes:
        """Give some of the changes."""
        return Changes(
            self.rank[rows],
            Coded(self.field.codes[rows], self.field.levels),
            Coded(self.old.codes[rows], self.old.levels),
            Coded(self.new.codes[rows], self.new.levels),
            self.known[rows],
        )


_NO_CODES = Coded(np.zeros(0, np.int64), [])
NO_CHANGES = Changes(np.zeros(0, np.int64), _NO_CODES, _NO_CODES, _NO_CODES, np.zeros(0, np.int64))


def read_changes(source: Source, entity: str, rank_of: dict[str, int]) -> Changes:
    """Read the changes of one entity's records; those of unknown records are left out.

    Two changes of one field known at the same moment are ordered by when they happened, then by their ids
    (a shorter id first, as numbers count), so that the order of the rows never matters.
    """
    of_entity = source.text("changes", "entity").recode({entity: 1})
    rank = source.text("changes", "record_id").recode(rank_of)
    rows = np.flatnonzero((of_entity == 1) & (rank >= 0))
    rank = rank[rows]
    field = source.text("changes", "field").take(rows)
    changed = source.time("changes", "changed_at")[rows]
    known = later_of(changed, source.time("changes", "recorded_at")[rows])
    order = np.lexsort((changed, known, rank, field.codes))
    columns = (field.codes[order], rank[order], known[order], changed[order])
    same = np.ones(max(len(order) - 1, 0), bool)
    for column in columns:
        same &= column[1:] == column[:-1]
    if same.any():
        ids = source.text("changes", "change_id")
        order = np.lexsort((ids.recode(natural_places(ids.levels))[rows], changed, known, rank, field.codes))
    old, new = source.text("changes", "old_value"), source.text("changes", "new_value")
    kept = rows[order]
    return Changes(rank[order], field.take(order), old.take(kept), new.take(kept), known[order])


def natural_places(ids: list[str]) -> dict[str, int]:
    """Order ids, whatever the order of their rows: a shorter one first, as numbers count."""
    return {text: place for place, text in enumerate(sorted(ids, key=lambda text: (len(text), text)))}


class Track(NamedTuple):
    """One field over time: each record's first value, and the steps it took, by record and time."""

    initial: Floats
    rank: Ints
    known: Ints
    value: Floats


def track(current: Floats, changes: Changes, read: Callable[[str], float]) -> Track:
    """Roll a field back through its changes (those of that field only)."""
    if not len(changes.rank):
        return Track(current, changes.rank, changes.known, np.zeros(0))
    first = np.flatnonzero(np.diff(changes.rank, prepend=-1))
    initial = current.copy()
    initial[changes.rank[first]] = changes.old.take(first).parse(read)
    return Track(initial, changes.rank, changes.known, changes.new.parse(read))


class Links(NamedTuple):
    """Which records (``rank``) held to which others (``other``), from ``since`` until before ``until``."""

    rank: Ints
    other: Ints
    since: Ints
    until: Ints

    def turned(self) -> Links:
        """Give the links seen from the other side."""
        return Links(self.other, self.rank, self.since, self.until)

    def spread(self, owner: Ints, known: Ints, tie: Ints | None = None) -> tuple[Ints, Ints, Ints]:
        """Give what the others own to the records that hold to them.

        What an other had before the link was known counts from when it was; what it has once the link is
        gone does not count.

        Parameters
        ----------
        owner : array of int, shape (m,)
            The other that owns each item.
        known : array of int, shape (m,)
            When each item is known.
        tie : array of int, shape (m,), optional
            Order of items that are known at the same moment; by default their places.

        Returns
        -------
        rank, item, time : arrays of int
            The record, the place of the item, and when it counts for the record; sorted by record, time
            and the item's own time.
        """
        order = np.lexsort((known, owner))
        size = int(max(owner.max(initial=-1), self.other.max(initial=-1))) + 2
        starts = np.searchsorted(owner[order], np.arange(size))
        lengths = starts[self.other + 1] - starts[self.other]
        link = np.repeat(np.arange(len(self.rank)), lengths)
        offset = np.arange(len(link)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        item = order[starts[self.other[link]] + offset]
        kept = known[item] < self.until[link]
        link, item = link[kept], item[kept]
        time = later_of(known[item], self.since[link])
        if len(link) == 0:
            return link, item, time
        last = item if tie is None else tie[item]
        by_record = np.lexsort((last, known[item], time, self.rank[link]))
        return self.rank[link][by_record], item[by_record], time[by_record]


NO_LINKS = Links(*(np.zeros(0, np.int64) for _ in range(4)))


def links(current: Coded, changes: Changes, keys: dict[str, int]) -> Links:
    """Give what each record's id field (an owner, an account, a lead) pointed to, and when.

    ``keys`` gives the number of each id; values that it lacks are no link.
    """
    codes = {text: float(code) for text, code in keys.items()}
    steps = track(_as_float(current.recode(keys)), changes, lambda text: codes.get(text, -1.0))
    count = len(steps.initial)
    rank = np.concatenate([np.arange(count), steps.rank])
    other = np.nan_to_num(np.concatenate([steps.initial, steps.value]), nan=-1.0).astype(np.int64)
    since = np.concatenate([np.full(count, MISSING), steps.known])
    order = np.lexsort((since, rank))
    rank, other, since = rank[order], other[order], since[order]
    until = np.append(since[1:], NEVER)
    until[np.flatnonzero(np.diff(rank, append=-1))] = NEVER
    held = (other >= 0) & (since < until)
    return Links(rank[held], other[held], since[held], until[held])


def _as_float(codes: Ints) -> Floats:
    return np.asarray(codes, np.float64)


def linked_keys(current: Coded, changes: Changes) -> dict[str, int]:
    """Number every id that a field holds, or ever held."""
    keys: dict[str, int] = {}
    for column in (current, changes.old, changes.new):
        for code in np.unique(column.codes[column.codes >= 0]):
            keys.setdefault(column.levels[code], len(keys))
    return keys
