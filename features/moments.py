"""What was known of records at moments: the counts and times that every feature is made of.

A :class:`Moments` is a batch of snapshots sorted by record and moment. It holds running counts of every
group of events over the batch's events, so that a count in any window is two binary searches and a
subtraction, and the time of a group's first or last event one look-up more.
"""

from __future__ import annotations

from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crm.moments import DAY, MISSING
from features.columns import Bools, Floats, Ints, in_days
from features.layout import Layout
from features.prepared import Prepared

Number = TypeVar("Number", np.int64, np.float64)


class Moments:
    """Snapshots of one prepared history, sorted by record and moment.

    Parameters
    ----------
    prepared : Prepared
    layout : Layout
    rank : array of int, shape (n,)
        The record of each snapshot, ascending.
    as_of : array of int, shape (n,)
        Microseconds since 1970.
    """

    def __init__(self, prepared: Prepared, layout: Layout, rank: Ints, as_of: Ints) -> None:
        self.prepared = prepared
        self.spec = prepared.spec
        self.layout = layout
        self.rank = rank
        self.as_of = as_of
        self._base = prepared.first_time
        self._span = prepared.last_time - prepared.first_time + 2
        first = np.ones(len(rank), np.bool_)
        np.not_equal(rank[1:], rank[:-1], out=first[1:])
        #: The records of the batch, and each snapshot's place among them.
        self.held: Ints = rank[first]
        self.place: Ints = first.cumsum() - 1
        self._now: dict[int, Ints] = {}
        self._counts: dict[int, Ints] = {}

    def __len__(self) -> int:
        return len(self.rank)

    # -- events -------------------------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> slice | Ints:
        """Rows of the batch's events in the prepared history."""
        starts = self.prepared.events.starts
        low, high = starts[self.held], starts[self.held + 1]
        if self.held[-1] - self.held[0] + 1 == len(self.held):
            return slice(int(low[0]), int(high[-1]))
        return _ranges(low, high)

    @cached_property
    def _starts(self) -> Ints:
        """Where each record's events begin among the batch's."""
        starts = self.prepared.events.starts
        lengths = starts[self.held + 1] - starts[self.held]
        return _before_each(lengths)

    @cached_property
    def _time(self) -> Ints:
        time: Ints = self.prepared.events.time[self._rows]
        return time

    @cached_property
    def _keys(self) -> Ints:
        starts = self.prepared.events.starts
        lengths = starts[self.held + 1] - starts[self.held]
        return np.arange(len(self.held)).repeat(lengths) * self._span + (self._time - self._base)

    def _before(self, days: int) -> Ints:
        """Give the number of the batch's events before each moment less some days."""
        if days not in self._now:
            self._now[days] = self._keys.searchsorted(self.place * self._span + self._offset(days * DAY))
        return self._now[days]

    def _offset(self, micros: int) -> Ints:
        """Give the moments less some microseconds, within what the history spans."""
        return np.minimum(np.maximum(self.as_of - (self._base + micros), 0), self._span - 1)

    @cached_property
    def _axes(self) -> list[tuple[NDArray[np.int16], slice]]:
        events, rows, layout = self.prepared.events, self._rows, self.layout
        return [
            (events.done[rows], slice(1, 2)),
            (events.direction[rows], layout.direction),
            (events.channel[rows], layout.channel),
            (events.kind[rows], layout.kind),
            (events.work[rows], layout.work),
            (events.newcomer[rows], layout.newcomer),
            (events.detail[rows], layout.detail),
        ]

    @cached_property
    def _running(self) -> NDArray[np.int32]:
        """Number of events of each group before each of the batch's events, shape (events + 1, width)."""
        running = np.zeros((len(self._time) + 1, self.layout.width), np.int32)
        running[1:, 0] = 1
        for codes, part in self._axes:
            if part.stop > part.start:
                some = (codes >= 0).nonzero()[0]
                running[some + 1, codes[some] + part.start] = 1
        running.cumsum(axis=0, out=running)
        return running

    @cached_property
    def _base_counts(self) -> NDArray[np.int32]:
        """Counts before each snapshot's record begins."""
        return self._running[self._starts[self.place]]

    @cached_property
    def _now_counts(self) -> NDArray[np.int32]:
        """Counts before each snapshot, of the whole batch."""
        return self._running[self._before(0)]

    @cached_property
    def known_counts(self) -> NDArray[np.int32]:
        """Number of events of each group that were known, shape (n, width)."""
        return self._now_counts - self._base_counts

    def count(self, part: slice, days: int | None = None) -> NDArray[np.int32]:
        """Give how many events of some groups were known, in the last days or ever.

        Returns
        -------
        array of int, shape (n, groups)
        """
        if days is None:
            return self.known_counts[:, part]
        return self._now_counts[:, part] - self._running[:, part][self._before(days)]

    @cached_property
    def _listed(self) -> tuple[Ints, Ints]:
        """Events of each group one after the other, and where each group begins."""
        parts: list[Ints] = [np.arange(len(self._time))]
        for codes, part in self._axes:
            # Nobody asks when newcomers or details, the last axes, came first or last.
            if part.stop > part.start and part.start < self.layout.newcomer.start:
                none = len(codes) - int(self._running[-1, part].sum())
                parts.append(codes.argsort(kind="stable")[none:])
        totals = self._running[-1].astype(np.int64)
        return np.concatenate(parts), _before_each(totals)

    @cached_property
    def _last(self) -> Ints:
        listed, begins = self._listed
        return _take(listed, begins + self._now_counts - 1)

    @cached_property
    def _is_there(self) -> Bools:
        """Whether any event of each group was known."""
        there: Bools = self.known_counts > 0
        return there

    def last_time(self, part: slice) -> Floats:
        """Give when the last known event of some groups was, in microseconds; NaN where there is none."""
        return np.where(self._is_there[:, part], _take(self._time, self._last[:, part]), np.nan)

    def first_time(self, part: slice) -> Floats:
        """Give when the first known event of some groups was, in microseconds; NaN where there is none."""
        listed, begins = self._listed
        place = _take(listed, begins[part] + self._base_counts[:, part])
        return np.where(self._is_there[:, part], _take(self._time, place), np.nan)

    def state(self, column: str, part: slice) -> Ints:
        """Give a column of the last known event of some groups; zero where there is none."""
        values: Ints = getattr(self.prepared.events, column)[self._rows]
        return np.where(self._is_there[:, part], _take(values, self._last[:, part]), 0)

    @cached_property
    def pending(self) -> Ints:
        """Work of each kind that is planned and not yet done, shape (n, work)."""
        return self.state("pending", self.layout.work)

    @cached_property
    def started(self) -> Ints:
        """Work of each kind that is started and not yet done, shape (n, work)."""
        return self.state("started", self.layout.work)

    def days_since(self, time: Floats) -> Floats:
        """Give the days from times in microseconds, shape (n,) or (n, groups), to the moment."""
        as_of = self.as_of if time.ndim == 1 else self.as_of[:, None]
        return in_days(as_of - time)

    def days_after_birth(self, time: Floats) -> Floats:
        """Give the days from the record's creation to times in microseconds."""
        born = self.born if time.ndim == 1 else self.born[:, None]
        return in_days(time - born)

    @cached_property
    def pushed(self) -> Ints:
        """By how many microseconds in all the expected close date was put off."""
        total = np.zeros(len(self._time) + 1, np.int64)
        np.cumsum(self.prepared.events.pushed[self._rows], out=total[1:])
        return total[self._before(0)] - total[self._starts[self.place]]

    # -- records ------------------------------------------------------------------------------------------

    @cached_property
    def born(self) -> Floats:
        """When each snapshot's record was created, else recorded, in microseconds."""
        records = self.prepared.records
        created = records.created[self.rank]
        return np.where(created == MISSING, records.recorded[self.rank], created).astype(np.float64)

    @cached_property
    def is_open(self) -> Bools:
        """Whether the record was open at the moment."""
        records = self.prepared.records
        return (records.recorded[self.rank] < self.as_of) & (records.ended[self.rank] >= self.as_of)

    # -- fields -------------------------------------------------------------------------------------------

    @cached_property
    def _steps(self) -> tuple[Ints, Bools]:
        """Give each tracked field's last known step, shape (n, tracked), and whether there is one."""
        fields = self.prepared.fields
        width = len(fields.tracked)
        segments = (self.held[:, None] * width + np.arange(width)).ravel()
        low, high = fields.starts[segments], fields.starts[segments + 1]
        rows = (
            slice(int(low[0]), int(high[-1]))
            if self.held[-1] - self.held[0] + 1 == len(self.held)
            else _ranges(low, high)
        )
        lengths = high - low
        starts = _before_each(lengths)
        time = fields.time[rows]
        keys = np.arange(len(segments)).repeat(lengths) * self._span + (time - self._base)
        segment = self.place[:, None] * width + np.arange(width)
        step = keys.searchsorted(segment * self._span + self._offset(0)[:, None]) - 1
        there = step >= starts[segment]
        # Back to places in the prepared history.
        return step - starts[segment] + low[segment], there

    @cached_property
    def values(self) -> Floats:
        """Value of every field as known, shape (n, fields)."""
        fields = self.prepared.fields
        values: Floats = fields.initial[self.rank]
        if len(fields.tracked):
            step, there = self._steps
            values[:, fields.tracked] = np.where(there, _take(fields.value, step), values[:, fields.tracked])
        return values

    def value(self, field: str) -> Floats:
        """Give a field as known; NaN where it was empty."""
        return self.values[:, self.prepared.fields.names.index(field)]

    def first_value(self, field: str) -> Floats:
        """Give the first value of a field."""
        fields = self.prepared.fields
        values: Floats = fields.initial[self.rank, fields.names.index(field)]
        return values

    def key(self, field: str) -> Ints:
        """Give the rep or account of each record as a key of its series; -1 for none."""
        value = self.value(field)
        return np.where(np.isnan(value), -1.0, value).astype(np.int64)

    @cached_property
    def owner_counts(self) -> Ints:
        """Open, won and lost of each record's rep, shape (n, 3)."""
        return self.prepared.series.owners.at(self.key("owner_id"), self.as_of)

    @cached_property
    def account_counts(self) -> Ints:
        """Open, won and lost deals of each record's account, shape (n, 3)."""
        return self.prepared.series.accounts.at(self.key("account_id"), self.as_of)

    def since(self, field: str) -> Floats:
        """Give when a field took its value: its last known change, else the record's creation."""
        fields = self.prepared.fields
        place = np.flatnonzero(fields.tracked == fields.names.index(field))
        if len(place) == 0:
            return self.born
        step, there = self._steps
        return np.where(there[:, place[0]], _take(fields.time, step[:, place[0]]), self.born)


def _before_each(lengths: Ints) -> Ints:
    """Give the sum of the lengths before each."""
    before: Ints = lengths.cumsum() - lengths
    return before


def _ranges(low: Ints, high: Ints) -> Ints:
    """Give the numbers of each range, one after the other."""
    lengths = high - low
    ranges: Ints = np.arange(int(lengths.sum())) + np.repeat(low - _before_each(lengths), lengths)
    return ranges


def _take(values: NDArray[Number], place: Ints) -> NDArray[Number]:
    """Give values at places; any value where a place lies outside, which the caller masks."""
    if len(values) == 0:
        return np.zeros(place.shape, values.dtype)
    return values.take(place, mode="clip")
