"""Single values between what a CRM sends, what a table holds and what a change says as text."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from crm.errors import InputError
from crm.moments import in_micros
from crm.schema import Kind
from crm.validation import EARLIEST, LATEST
from crm.values import plain

#: A value as a table of the store holds it: moments as microseconds, numbers as floats.
Value = str | float | int | None

#: Fields of records whose changes are told with the record, or not at all.
NOT_TOLD_AS_CHANGE = frozenset(
    {"created_at", "outcome", "closed_at", "recorded_at", "closed_recorded_at", "gone_at", "sequence"}
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = in_micros(EARLIEST.to_pydatetime()), in_micros(LATEST.to_pydatetime())


def change_text(kind: Kind, value: Value) -> str | None:
    """Give a value as a change holds it: ISO 8601 in UTC, a plain decimal, or the text.

    Parameters
    ----------
    kind : {"id", "text", "category", "number", "timestamp"}
        Of the field.
    value : str, float, int or None
        Of a moment: ISO 8601 text, or microseconds since 1970.

    Raises
    ------
    InputError
        If it is no value of that kind.

    Examples
    --------
    >>> change_text("number", "1200.0"), change_text("timestamp", "2026-01-31T12:00:00+01:00")
    ('1200', '2026-01-31T11:00:00+00:00')
    >>> change_text("number", "a lot")
    Traceback (most recent call last):
        ...
    crm.errors.InputError: is no number; write it like 1234.5
    """
    found = stored(kind, value)
    if found is None:
        return None
    if kind == "timestamp":
        return (_EPOCH + timedelta(microseconds=int(found))).isoformat()
    return found if isinstance(found, str) else plain(float(found))


def stored(kind: Kind, value: Value) -> Value:
    """Give a value as a table holds it; empty text is None.

    Raises
    ------
    InputError
        If it is no value of that kind.
    """
    if value is None or value == "":
        return None
    if kind == "timestamp":
        return _moment(value)
    if kind == "number":
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError("is no number; write it like 1234.5")
        return number
    return value if isinstance(value, str) else plain(float(value))


def _moment(value: str | float | int) -> int:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise InputError("is no moment; write it like 2024-01-31T09:30:00+00:00") from None
        if moment.tzinfo is None:
            raise InputError("names no time zone; write it like 2024-01-31T09:30:00+00:00")
        value = in_micros(moment)
    if not _FIRST <= value < _LAST:
        raise InputError("is not between 1970-01-02 and 2200-01-01; correct it")
    return int(value)
