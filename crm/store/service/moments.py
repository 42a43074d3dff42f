"""Moments as the service's tables hold them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@overload
def to_micros(moment: datetime) -> int: ...
@overload
def to_micros(moment: None) -> None: ...
@overload
def to_micros(moment: datetime | None) -> int | None: ...
def to_micros(moment: datetime | None) -> int | None:
    """Give microseconds since 1970 in UTC.

    Parameters
    ----------
    moment : datetime or None
        With a zone.
    """
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


@overload
def to_moment(micros: int) -> datetime: ...
@overload
def to_moment(micros: None) -> None: ...
@overload
def to_moment(micros: int | None) -> datetime | None: ...
def to_moment(micros: int | None) -> datetime | None:
    """Give a moment in UTC.

    Examples
    --------
    >>> to_moment(0).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)
