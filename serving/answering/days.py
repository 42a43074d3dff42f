"""Days as people who call have them: from midnight to midnight in their time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crm.errors import InputError, shorten


def day_around(moment: datetime, zone: str) -> tuple[datetime, datetime]:
    """Give when the day of a moment began and when it ends, in UTC.

    Parameters
    ----------
    moment : datetime
        With a time zone.
    zone : str
        IANA name.

    Raises
    ------
    InputError
        Where there is no such zone.

    Examples
    --------
    >>> began, ends = day_around(datetime(2026, 3, 29, 12, tzinfo=UTC), "Europe/Paris")
    >>> began.isoformat(), (ends - began) / timedelta(hours=1)
    ('2026-03-28T23:00:00+00:00', 23.0)
    """
    try:
        where = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(
            f"zone {shorten(zone)!r} is not known: give an IANA name such as Europe/Paris"
        ) from None
    day = moment.astimezone(where).date()
    began, ends = (
        datetime(one.year, one.month, one.day, tzinfo=where).astimezone(UTC)
        for one in (day, day + timedelta(days=1))
    )
    return began, ends
