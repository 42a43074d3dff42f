"""One record as it is known, and what a state or a change that was sent makes of it.

A field's value is that of the last thing known of it, by the moment at which the CRM had it so; what comes
late is kept as history and changes nothing that is known to be later. Whatever was new is recorded at the
moment at which it was learned, as a change from what the store held: what was known before stays as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from crm.errors import InputError
from crm.ingesting.values import NOT_TOLD_AS_CHANGE, Value, change_text, stored
from crm.schema import Kind, Table

#: Ids of changes that were found by comparing begin with it.
FOUND = "found-"

#: Fields of a state that say something about it rather than being values of the record.
_ABOUT = ("updated_at", "gone", "attributes", "outcome", "closed_at")


class Conflict(Exception):
    """A record that contradicts what the store has.

    Parameters
    ----------
    field, value, remedy : str
    """

    def __init__(self, field: str, value: str, remedy: str) -> None:
        super().__init__(remedy)
        self.field, self.value, self.remedy = field, value, remedy


@dataclass(frozen=True)
class Told:
    """The last that is known of a field.

    Parameters
    ----------
    value : str or None
        As the change says it.
    at : int
        When it changed.
    is_found : bool
        Whether the change was found by comparing rather than told by the CRM.
    old : str or None
    """

    value: str | None
    at: int
    is_found: bool = False
    old: str | None = None


@dataclass
class Known:
    """One lead, deal or account while a batch is taken in.

    Parameters
    ----------
    entity : str
    record_id : str
    table : Table
    kinds : mapping of str to Kind
        Of the attributes that the store knows.
    row : dict or None
        The canonical columns as stored; None where the store has no such record.
    attributes : dict
        Without those that are missing.
    told : dict of str to Told
        By field, from the changes.
    stated : dict of str to int
        By field, the moment of the last state that gave it.
    exported_at : int or None
        Of the export that the row is from: the record was so then.
    learned : int
        When the batch is taken in; later than everything that scores have seen.
    """

    entity: str
    record_id: str
    table: Table
    kinds: Mapping[str, Kind]
    row: dict[str, Value] | None
    learned: int
    attributes: dict[str, Value] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    stated: dict[str, int] = field(default_factory=dict)
    exported_at: int | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    is_new: bool = False
    is_changed: bool = False
    is_stated: bool = False

    def copy(self) -> Known:
        """Give the same to work on, so that what fails leaves nothing behind."""
        return replace(
            self,
            row=None if self.row is None else dict(self.row),
            attributes=dict(self.attributes),
            told=dict(self.told),
            stated=dict(self.stated),
            changes=list(self.changes),
        )

    @property
    def is_open(self) -> bool:
        """Whether it is there, not ended and not gone."""
        return self.row is not None and self.row.get("outcome") is None and self.row.get("gone_at") is None

    def take_state(self, sent: Mapping[str, Any]) -> bool:
        """Take in what the CRM says the record is; say whether that told anything new.

        Parameters
        ----------
        sent : mapping
            The fields that were sent, as a table holds them, with ``updated_at``, ``gone`` and
            ``attributes``. A field that is not there stays as it is, None clears it.

        Raises
        ------
        Conflict
            If the record would end before it began, or a value is none of its field.
        """
        at = min(sent.get("updated_at") or self.learned, self.learned)
        given = {name: value for name, value in sent.items() if name not in _ABOUT and name != self.table.key}
        given |= sent.get("attributes") or {}
        is_first = self.row is None
        if is_first:
            self._begin()
        else:
            self._come_back(sent)
        for name, value in given.items():
            self._state_field(name, value, at, is_first=is_first)
        if is_first:
            for name in [one for one in self.told if one not in given]:
                self._set(name, self.told[name].value)
        if "outcome" in sent:
            self._state_end(sent, at, is_first=is_first)
        self._go(sent)
        self._check_order()
        return self.is_new or self.is_changed

    def _begin(self) -> None:
        self.row = dict.fromkeys(self.table.names)
        self.row |= {self.table.key: self.record_id, "recorded_at": self.learned}
        self.is_new = True

    def _come_back(self, sent: Mapping[str, Any]) -> None:
        """Let a record that was gone, and is sent again, be there again."""
        row = self._row
        if row["gone_at"] is not None and not sent.get("gone"):
            self._find("gone_at", row["gone_at"], None, self.learned)
            row["gone_at"] = None

    def _go(self, sent: Mapping[str, Any]) -> None:
        row = self._row
        if row["gone_at"] is None and sent.get("gone"):
            self._find("gone_at", None, self.learned, self.learned)
            row["gone_at"] = self.learned

    @property
    def _row(self) -> dict[str, Value]:
        if self.row is None:
            raise RuntimeError(f"{self.entity} {self.record_id} has no row yet")
        return self.row

    def _state_field(self, name: str, value: Value, at: int, *, is_first: bool) -> None:
        since = self._since(name)
        if since is not None and at < since:
            if is_first and name in self.told:  # a change came before its record, and is later
                self._set(name, self.told[name].value)
            return
        self._state(name, at)
        now = self._read(name, value)
        before = self.told[name].value if is_first and name in self.told else self.text_of(name)
        if now == before:
            if is_first:
                self._set(name, now)
            return
        if not is_first or name in self.told:
            self._note(name, before, now, at)
        self._set(name, now)

    def _state_end(self, sent: Mapping[str, Any], at: int, *, is_first: bool) -> None:
        since, row = self._since("outcome"), self._row
        if since is not None and at < since:
            return
        self._state("outcome", at)
        before, outcome, closed = row["outcome"], sent["outcome"], sent.get("closed_at")
        known: Value
        if outcome is None:
            closed, known = None, None
        elif outcome == before:
            closed = row["closed_at"] if closed is None else closed
            known = row["closed_recorded_at"]
        else:
            closed = at if closed is None else closed
            known = max(self.learned, closed)
        for name, value in (("outcome", outcome), ("closed_at", closed)):
            if row[name] != value and not is_first:
                self._find(name, row[name], value, at)
            row[name] = value
        row["closed_recorded_at"] = known

    def _check_order(self) -> None:
        row = self._row
        created, closed = row.get("created_at"), row.get("closed_at")
        if isinstance(created, int) and isinstance(closed, int) and closed < created:
            begun = change_text("timestamp", created)
            remedy = f"is before created_at, {begun}; correct one of the two"
            raise Conflict("closed_at", change_text("timestamp", closed) or "", remedy)

    def take_change(self, sent: Mapping[str, Any], change_id: str) -> bool:
        """Take in a change that the CRM tells; say whether it told anything new.

        Parameters
        ----------
        sent : mapping
            With ``field``, ``changed_at`` and, where given, ``old_value``, ``new_value``, ``user_id``.
        change_id : str
            One that the store does not have.

        Raises
        ------
        Conflict
            If the value is none of its field.
        """
        name, at = sent["field"], min(sent["changed_at"], self.learned)
        new = self._read(name, sent.get("new_value"), "new_value")
        said = self._read(name, sent.get("old_value"), "old_value")
        since, last = self._since(name), self.told.get(name)
        current = self.text_of(name) if self.row is not None else (last.value if last else None)
        if last is not None and last.is_found and at <= last.at and new == last.value and said == last.old:
            return False  # found by comparing, and now told
        # Scores made until now saw what the store held, so the first change of a field begins from it.
        old = current if last is None and self.row is not None else said
        self._append(name, old, new, at, change_id, sent.get("user_id"))
        self.told[name] = Told(new, at)
        if since is None or at >= since:
            self._set(name, new)
        elif new != current:
            # Changes count in the order in which they were known: say again what is known to be later.
            self._note(name, new, current, since)
        else:
            self.told[name] = Told(new, since)
        return True

    def text_of(self, name: str) -> str | None:
        """Give the present value of a field as a change would say it."""
        if self.row is None:
            return None
        if name in self.table.names:
            return change_text(self.table.column(name).kind, self.row[name])
        return change_text("text", self.attributes.get(name))

    def _read(self, name: str, value: Value, where: str = "") -> str | None:
        """Give a value that was sent as a change says it."""
        is_column = name in self.table.names
        kind = self.table.column(name).kind if is_column else self.kinds.get(name, "text")
        try:
            if not is_column and kind == "number" and isinstance(value, str) and not where:
                raise InputError("is text, and a number in every other record; send a number")
            return change_text(kind, value)
        except InputError as error:
            path = where or (name if is_column else f"attributes/{name}")
            raise Conflict(path, str(value), str(error)) from None

    def _since(self, name: str) -> int | None:
        """Give the moment of the last that is known of a field."""
        told = self.told.get(name)
        moments = (told.at if told else None, self.stated.get(name), self.exported_at)
        # What is said to be of a moment ahead was so by now, whatever its clock showed.
        known = [min(moment, self.learned) for moment in moments if moment is not None]
        return max(known, default=None)

    def _state(self, name: str, at: int) -> None:
        if self.stated.get(name) != at:
            self.stated[name] = at
            self.is_stated = True

    def _set(self, name: str, text: str | None) -> None:
        if self.row is None:
            return
        if name in self.table.names:
            if name == "created_at" or name not in NOT_TOLD_AS_CHANGE:
                self.row[name] = stored(self.table.column(name).kind, text)
        elif text is None:
            self.attributes.pop(name, None)
        else:
            self.attributes[name] = _number_or_text(text, self.kinds.get(name))
        self.is_changed = True

    def _find(self, name: str, before: Value, after: Value, at: int) -> None:
        kind = self.table.column(name).kind
        self._note(name, change_text(kind, before), change_text(kind, after), at)

    def _note(self, name: str, before: str | None, after: str | None, at: int) -> None:
        """Add a change that was found by comparing."""
        parts = (self.entity, self.record_id, name, str(at), str(self.learned), str(len(self.changes)))
        self._append(name, before, after, at, FOUND + digest(parts), None)
        self.told[name] = Told(after, at, is_found=True, old=before)

    def _append(
        self, name: str, before: str | None, after: str | None, at: int, change_id: str, user_id: str | None
    ) -> None:
        self.is_changed = True
        self.changes.append(
            {
                "change_id": change_id,
                "entity": self.entity,
                "record_id": self.record_id,
                "field": name,
                "old_value": before,
                "new_value": after,
                "user_id": user_id,
                "changed_at": at,
                "recorded_at": self.learned,
            }
        )


def _number_or_text(text: str, kind: Kind | None) -> Value:
    if kind != "number":
        return text
    try:
        return stored("number", text)
    except InputError:
        return text


def digest(parts: Iterable[str | None]) -> str:
    """Give the first 32 characters of a SHA-256 of some texts.

    Examples
    --------
    >>> digest(["lead", "L-1", None]) == digest(["lead", "L-1", ""])
    False
    """
    joined = "\0".join("\1" if part is None else part for part in parts)
    return hashlib.sha256(joined.encode()).hexdigest()[:32]


def found_by_import(entity: str, record_id: str, field: str, changed_at: int) -> str:
    """Give the id that an import gives a change which it finds; see :mod:`crm.importing.differences`."""
    moment = change_text("timestamp", changed_at)
    return digest((entity, record_id, field, moment))
