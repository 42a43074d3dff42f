"""Taking in what a CRM sends: all of it in the caller's transaction, each record whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from crm.ingesting.activities import take_activities
from crm.ingesting.affected import Touched, missing_records
from crm.ingesting.entry import Entry, begin_entry, end_entry
from crm.ingesting.rows import (
    Writer,
    attribute_kinds,
    enter_attributes,
    keep_states,
    read_known,
    rows_of,
    stored_record,
)
from crm.ingesting.states import Conflict, Known, digest
from crm.schema import TABLE_OF, Kind
from crm.store.reports import RowCounts

#: Place of a record in its list, and the record, as :mod:`serving.answering.ingest_reading` gives it.
Sent = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Refused:
    """A record that contradicts the store, and so was not taken in.

    Parameters
    ----------
    table : str
    index : int
    record_id : str or None
    field, value, remedy : str
    """

    table: str
    index: int
    record_id: str | None
    field: str
    value: str
    remedy: str


@dataclass
class Ingested:
    """What taking in a batch did.

    Parameters
    ----------
    learned : int
        Microseconds since 1970: the moment from which on it is known.
    counts : dict of str to RowCounts
        By table, those that had a record.
    refused : list of Refused
    touched : Touched
        The records whose scores may change.
    notices : list of str
    """

    learned: int
    counts: dict[str, RowCounts] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    touched: Touched = field(default_factory=Touched)
    notices: list[str] = field(default_factory=list)

    @property
    def is_change(self) -> bool:
        """Whether the store knows more than before."""
        return any(counts.new or counts.changed for counts in self.counts.values())


def ingest(
    connection: sa.Connection,
    batch: Mapping[str, Sequence[Sent]],
    *,
    source: str,
    clock: Callable[[], datetime],
) -> Ingested:
    """Take in a batch.

    Everything new is recorded at one moment, that of the call, which is later than everything ingested
    before: what was known until then stays as it was. A record counts as unchanged where it tells nothing
    new, for it came before or is older than what is known.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction that may write; nothing is committed.
    batch : mapping of str to sequence of (int, mapping)
        By table: users, accounts, leads, deals, activities, changes.
    source : str
        For the store's list of loads.
    clock : function that gives a datetime
        Asked when no other writes any more.
    """
    entry = begin_entry(connection, source, clock)
    done = Ingested(entry.learned)
    writer = Writer(connection, entry.load_id)
    if "users" in batch:
        done.counts["users"] = _take_users(connection, writer, batch["users"])
    for entity in ("account", "lead", "deal"):
        _Records(connection, writer, entry, entity, done).take(
            batch.get(TABLE_OF[entity].name, ()),
            [one for one in batch.get("changes", ()) if one[1]["entity"] == entity],
        )
    if "activities" in batch:
        counts, about = take_activities(connection, writer, batch["activities"], entry.learned)
        done.counts["activities"] = counts
        for record in about:
            done.touched.add_activity(record)
    done.notices += missing_records(connection, batch)
    end_entry(connection, entry, done.counts)
    return done


def _take_users(connection: sa.Connection, writer: Writer, sent: Sequence[Sent]) -> RowCounts:
    """Write users as they are now, for they have no history."""
    stored = {
        row["user_id"]: row
        for row in rows_of(connection, "users", "user_id", (u["user_id"] for _, u in sent))
    }
    new, changed, names = [], [], ("user_id", "name", "team", "manager_id", "region")
    for _, user in sent:
        before = stored.get(user["user_id"])
        if before is None:
            new.append(dict(user))
        elif any(before[name] != value for name, value in user.items()):
            changed.append({name: user.get(name, before[name]) for name in names})
    writer.add("users", new)
    writer.write_over("users", "user_id", changed)
    return RowCounts(len(new), len(changed), len(sent) - len(new) - len(changed))


@dataclass
class _Counter:
    new: int = 0
    changed: int = 0
    unchanged: int = 0

    def counts(self) -> RowCounts:
        return RowCounts(self.new, self.changed, self.unchanged)


class _Records:
    """Takes in the states and changes of all leads, deals or accounts of a batch."""

    def __init__(
        self, connection: sa.Connection, writer: Writer, entry: Entry, entity: str, done: Ingested
    ) -> None:
        self._connection = connection
        self._writer = writer
        self._learned = entry.learned
        self._entity = entity
        self._table = TABLE_OF[entity]
        self._done = done

    def take(self, states: Sequence[Sent], changes: Sequence[Sent]) -> None:
        """Take in states and changes, of each record in the order of their moments."""
        if not states and not changes:
            return
        old_kinds = attribute_kinds(self._connection, self._table.name)
        kinds = dict(old_kinds)
        _foresee(kinds, states, changes, self._table.names)
        told = [(place, one, _change_id(one)) for place, one in changes]
        there = {
            row["change_id"]: row
            for row in rows_of(self._connection, "changes", "change_id", (name for _, _, name in told))
        }
        key = self._table.key
        steps: dict[str, list[tuple[int, int, int, Mapping[str, Any], str]]] = {}
        for place, one, name in told:
            # At the same moment a change comes first: it says how the state came about.
            step = (min(one["changed_at"], self._learned), 0, place, one, name)
            steps.setdefault(one["record_id"], []).append(step)
        for place, one in states:
            at = min(one.get("updated_at") or self._learned, self._learned)
            steps.setdefault(one[key], []).append((at, 1, place, one, ""))
        known = read_known(self._connection, self._entity, list(steps), kinds, self._learned)
        of_states, of_changes = _Counter(), _Counter()
        for record_id, some in steps.items():
            for _, is_state, place, one, name in sorted(some, key=lambda step: step[:3]):
                if is_state:
                    self._step(known, record_id, place, one, of_states)
                elif name in there:
                    self._again(place, one, there[name], of_changes)
                else:
                    self._step(known, record_id, place, one, of_changes, name)
        self._write(known, old_kinds, kinds)
        if states:
            self._done.counts[self._table.name] = of_states.counts()
        if changes:
            before = self._done.counts.get("changes", RowCounts())
            now = of_changes.counts()
            self._done.counts["changes"] = RowCounts(
                before.new + now.new, before.changed, before.unchanged + now.unchanged
            )

    def _step(
        self,
        known: dict[str, Known],
        record_id: str,
        place: int,
        sent: Mapping[str, Any],
        counter: _Counter,
        change_id: str = "",
    ) -> None:
        """Take in one state or change, or nothing of it."""
        before = known[record_id]
        trial = before.copy()
        trial.is_changed = False
        try:
            if change_id:
                trial.take_change(sent, change_id)
            else:
                trial.take_state(sent)
        except Conflict as conflict:
            table = "changes" if change_id else self._table.name
            shown = sent.get("change_id") if change_id else record_id
            self._done.refused.append(
                Refused(table, place, shown, conflict.field, conflict.value, conflict.remedy)
            )
            return
        if (change_id and trial.is_changed) or trial.is_new > before.is_new:
            counter.new += 1
        elif trial.is_changed:
            counter.changed += 1
        else:
            counter.unchanged += 1
        trial.is_changed |= before.is_changed
        known[record_id] = trial

    def _again(
        self, place: int, sent: Mapping[str, Any], stored: Mapping[str, Any], counter: _Counter
    ) -> None:
        """Look at a change whose id is there already: the same is fine, another is not."""
        same = all(stored[name] == sent[name] for name in ("entity", "record_id", "field"))
        if same and stored["changed_at"] == min(sent["changed_at"], stored["recorded_at"]):
            counter.unchanged += 1
            return
        remedy = "is the id of another change that the store has; send this one with an id of its own"
        shown = sent.get("change_id")
        self._done.refused.append(Refused("changes", place, shown, "change_id", shown or "", remedy))

    def _write(
        self, known: Mapping[str, Known], old_kinds: Mapping[str, Kind], kinds: Mapping[str, Kind]
    ) -> None:
        changed = [one for one in known.values() if one.is_changed or one.is_new]
        rows = [one for one in changed if one.row is not None]
        used = {name for one in rows for name in one.attributes}
        fresh = {name: kind for name, kind in kinds.items() if name not in old_kinds and name in used}
        enter_attributes(self._connection, self._table.name, fresh, len(old_kinds))
        name, key = self._table.name, self._table.key
        self._writer.add(name, [stored_record(one) for one in rows if one.is_new])
        self._writer.write_over(name, key, [stored_record(one) for one in rows if not one.is_new])
        self._writer.add("changes", [change for one in changed for change in one.changes])
        stated = {
            one.record_id: one.stated for one in known.values() if one.is_stated and one.row is not None
        }
        if stated:
            keep_states(self._connection, self._entity, stated)
        for one in changed:
            self._done.touched.add_record(one)


def _change_id(sent: Mapping[str, Any]) -> str:
    given = sent.get("change_id")
    if given:
        return str(given)
    parts = (sent["entity"], sent["record_id"], sent["field"], str(sent["changed_at"]))
    values = (sent.get("old_value"), sent.get("new_value"))
    return digest((*parts, *(None if value is None else str(value) for value in values)))


def _foresee(
    kinds: dict[str, Kind], states: Iterable[Sent], changes: Iterable[Sent], columns: Collection[str]
) -> None:
    """Say what attributes that are new to the store are: numbers, where every value in the batch is one.

    Changes count only for what no record of the batch has: field histories write numbers as text too.
    """
    fresh: dict[str, Kind] = {}
    for _, one in states:
        for name, value in (one.get("attributes") or {}).items():
            if value is not None and name not in kinds:
                fresh[name] = _kind_of(value, fresh.get(name))
    told: dict[str, Kind] = {}
    for _, one in changes:
        name = one["field"]
        if name in columns or name in kinds or name in fresh:
            continue
        for value in (one.get("old_value"), one.get("new_value")):
            if value is not None:
                told[name] = _kind_of(value, told.get(name))
    kinds |= told | fresh


def _kind_of(value: Any, before: Kind | None) -> Kind:
    return "text" if isinstance(value, str) or before == "text" else "number"
