"""Periods of time as people name them: a quarter, a week, the next four weeks; days begin where they live.

A fiscal year is named after the calendar year in which it ends: with ``fiscal_start=4``, FY2026 runs from
1 April 2025 to 31 March 2026, and 2026-Q1 is its first quarter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

import pandas as pd

from crm.errors import InputError, shorten
from crm.history import utc

Unit = Literal["day", "week", "month", "quarter", "year"]
UNITS: Final[tuple[str, ...]] = get_args(Unit)

#: The years that a period may touch: what lies outside is a slip of the pen.
FIRST_YEAR, LAST_YEAR = 1900, 2199

_ALLOWED = "write 2026, FY2026, 2026-Q4, 2026-10, 2026-W40 or 2026-10-05"
_ALLOWED_NEXT = "write a whole number above 0 and D, W, M, Q or Y, such as 10D, 4W, 3M, 1Q or 1Y"
_MONTHS_OF = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True)
class Period:
    """A stretch of time, from ``start`` to just before ``end``.

    Parameters
    ----------
    start : Timestamp
        The first moment, in UTC.
    end : Timestamp
        The first moment after it, in UTC.
    name : str
        As people call it.

    Examples
    --------
    >>> day = parse_period("2026-03-29", "Europe/Paris")
    >>> day.start.isoformat(), day.days * 24
    ('2026-03-28T23:00:00+00:00', 23.0)
    """

    start: pd.Timestamp
    end: pd.Timestamp
    name: str

    @property
    def days(self) -> float:
        """Its length, in days of 24 hours."""
        return (self.end - self.start) / pd.Timedelta(days=1)


def parse_period(text: str, zone: str = "UTC", fiscal_start: int = 1) -> Period:
    """Give the period of that name.

    Parameters
    ----------
    text : str
        ``2026`` (the calendar's year), ``FY2026``, ``2026-Q4`` or ``FY2026-Q4`` (a quarter of the fiscal
        year, which is the calendar's where ``fiscal_start`` is 1), ``2026-10``, ``2026-W40`` (ISO 8601) or
        ``2026-10-05``.
    zone : str
        The IANA time zone in which its days begin.
    fiscal_start : int
        The month, 1 to 12, in which the fiscal year begins.

    Returns
    -------
    Period

    Raises
    ------
    InputError
        Where the text names no period, the zone none there is, or the month none of a year.

    Examples
    --------
    >>> quarter = parse_period("2026-Q4", fiscal_start=4)
    >>> quarter.name, str(quarter.start.date()), str(quarter.end.date())
    ('FY2026-Q4', '2026-01-01', '2026-04-01')
    """
    where = _zone(zone)
    _check_fiscal_start(fiscal_start)
    found = re.fullmatch(
        r"(?P<fiscal>FY)?(?P<year>\d{4})"
        r"(?:-(?:Q(?P<quarter>[1-4])|W(?P<week>\d{2})|(?P<month>\d{2})(?:-(?P<day>\d{2}))?))?",
        text.strip().upper(),
    )
    if found is None or (found["fiscal"] and (found["week"] or found["month"])):
        raise InputError(f"period {shorten(text)!r} cannot be read: {_ALLOWED}")
    year = int(found["year"])
    try:
        if found["week"]:
            return _calendar_period(date.fromisocalendar(year, int(found["week"]), 1), "week", where)
        if found["day"]:
            day = date(year, int(found["month"]), int(found["day"]))
            return _calendar_period(day, "day", where)
        if found["month"]:
            return _calendar_period(date(year, int(found["month"]), 1), "month", where)
        if found["quarter"]:
            month = _fiscal_year_begins(year, fiscal_start) + 3 * (int(found["quarter"]) - 1)
            return _calendar_period(_first_day(month), "quarter", where, fiscal_start)
        if found["fiscal"]:
            first = _first_day(_fiscal_year_begins(year, fiscal_start))
            return _calendar_period(first, "year", where, fiscal_start, named_fiscal=True)
        return _calendar_period(date(year, 1, 1), "year", where)
    except ValueError as error:
        raise InputError(f"period {shorten(text)!r} is not in the calendar ({error}): {_ALLOWED}") from error


def between(start: str | date | pd.Timestamp, end: str | date | pd.Timestamp, zone: str = "UTC") -> Period:
    """Give the period from one moment to just before another.

    Parameters
    ----------
    start, end : str, date or Timestamp
        A date is its first moment in ``zone``; so is a moment without an offset read there. ``end`` is the
        first moment after the period: March is 2026-03-01 to 2026-04-01.
    zone : str
        An IANA time zone.

    Raises
    ------
    InputError
        Where a text is no date or moment, or the end is not after the start.

    Examples
    --------
    >>> between("2026-03-01", "2026-04-01", "Europe/Paris").name
    '2026-03-01/2026-04-01'
    """
    where = _zone(zone)
    first, after = (_moment(value, where) for value in (start, end))
    if after <= first:
        raise InputError(
            f"the period from {shorten(start)} to {shorten(end)} is empty: give an end after its start; "
            "the end is the first moment no longer in it"
        )
    return Period(first, after, f"{_spoken(first, where)}/{_spoken(after, where)}")


def next_period(text: str, as_of: pd.Timestamp) -> Period:
    """Give the one period that begins now and is that long: ``4W``, ``10D``, ``3M``, ``1Q``, ``1Y``.

    Days and months are counted by the clock on the wall where ``as_of`` is said to be: one day after noon
    is noon. From the last of a long month, a month later is the last of the shorter one.

    Raises
    ------
    InputError
        Where the text is no such length, or ``as_of`` names no time zone.

    Examples
    --------
    >>> str(next_period("1M", pd.Timestamp("2026-01-31", tz="UTC")).end.date())
    '2026-02-28'
    """
    found = re.fullmatch(r"(\d{1,4})([DWMQY])", text.strip().upper())
    if found is None or int(found[1]) == 0:
        raise InputError(f"length {shorten(text)!r} cannot be read: {_ALLOWED_NEXT}")
    if as_of.tz is None:
        raise InputError(f"moment {as_of} names no time zone; write for example {as_of.isoformat()}+00:00")
    count, unit = int(found[1]), found[2]
    if unit in "DW":
        step = pd.DateOffset(days=count * {"D": 1, "W": 7}[unit])
    else:
        step = pd.DateOffset(months=count * {"M": 1, "Q": 3, "Y": 12}[unit])
    try:
        end = _in_zone(as_of.tz_localize(None) + step, as_of.tz)
    except (OverflowError, ValueError) as error:
        raise InputError(f"length {shorten(text)!r} leads beyond the calendar: {_ALLOWED_NEXT}") from error
    return Period(utc(as_of), _checked(end), f"next {count}{unit}")


def split(period: Period, unit: str, zone: str = "UTC", fiscal_start: int = 1) -> list[Period]:
    """Give the calendar periods, one after the other, that cover a period.

    The first and the last are whole, so that each can be compared with the others; they may reach beyond
    the period. Quarters and years are the fiscal year's.

    Parameters
    ----------
    period : Period
    unit : {"day", "week", "month", "quarter", "year"}
    zone : str
        The IANA time zone in which days begin.
    fiscal_start : int
        The month, 1 to 12, in which the fiscal year begins.

    Returns
    -------
    list of Period

    Examples
    --------
    >>> [month.name for month in split(parse_period("2026-Q1"), "month")]
    ['2026-01', '2026-02', '2026-03']
    """
    where = _zone(zone)
    _check_fiscal_start(fiscal_start)
    if unit not in UNITS:
        raise InputError(f"unit {shorten(unit)!r} is not one of {', '.join(UNITS)}")
    day = period.start.tz_convert(where).date()
    parts: list[Period] = []
    while not parts or parts[-1].end < period.end:
        part = _calendar_period(_begins(day, unit, fiscal_start), unit, where, fiscal_start)
        parts.append(part)
        day = part.end.tz_convert(where).date()
    return parts


def _calendar_period(
    first: date, unit: str, zone: ZoneInfo, fiscal_start: int = 1, *, named_fiscal: bool = False
) -> Period:
    """Give the day, week, month, quarter or year that begins on ``first``."""
    after = _following(first, unit)
    last = after - timedelta(days=1)
    # A fiscal year that ends in December is the calendar's, and so are its quarters.
    ends = _first_day(_month_number(first) + (fiscal_start - 1 - first.month) % 12).year
    prefix = "FY" if named_fiscal or fiscal_start != 1 else ""
    if unit == "day":
        name = first.isoformat()
    elif unit == "week":
        iso = first.isocalendar()
        name = f"{iso.year}-W{iso.week:02d}"
    elif unit == "month":
        name = f"{first:%Y-%m}"
    elif unit == "quarter":
        name = f"{prefix}{ends}-Q{(first.month - fiscal_start) % 12 // 3 + 1}"
    else:
        name = f"{prefix}{last.year}"
    start, end = (_checked(_in_zone(pd.Timestamp(day), zone)) for day in (first, after))
    if start >= end:
        raise ValueError(f"{first} was skipped in {zone.key}")
    return Period(start, end, name)


def _following(first: date, unit: str) -> date:
    if unit == "day":
        return first + timedelta(days=1)
    if unit == "week":
        return first + timedelta(days=7)
    return _first_day(_month_number(first) + _MONTHS_OF[unit])


def _begins(day: date, unit: str, fiscal_start: int) -> date:
    """Give the first day of the calendar period in which a day lies."""
    if unit == "day":
        return day
    if unit == "week":
        return day - timedelta(days=day.weekday())
    months_in = (day.month - fiscal_start) % _MONTHS_OF[unit]
    return _first_day(_month_number(day) - months_in)


def _month_number(day: date) -> int:
    return day.year * 12 + day.month - 1


def _first_day(month_number: int) -> date:
    return date(month_number // 12, month_number % 12 + 1, 1)


def _fiscal_year_begins(year: int, fiscal_start: int) -> int:
    return (year if fiscal_start == 1 else year - 1) * 12 + fiscal_start - 1


def _check_fiscal_start(month: int) -> None:
    if month not in range(1, 13):
        raise InputError(f"the fiscal year cannot start in month {month}: give a month from 1 to 12")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(
            f"time zone {shorten(name)!r} is not known: give an IANA name such as Europe/Paris or UTC"
        ) from error


def _in_zone(clock: pd.Timestamp, zone: tzinfo | None) -> pd.Timestamp:
    """Give the moment at which the clocks of a zone show that; where they skip it, the first one after."""
    # Where the clocks are set back over midnight, the day begins the first time that they show it.
    return clock.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")


def _checked(moment: pd.Timestamp) -> pd.Timestamp:
    found = moment.tz_convert("UTC").as_unit("us")
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise InputError(
            f"a period that touches the year {found.year} is a slip of the pen: "
            f"give years from {FIRST_YEAR + 1} to {LAST_YEAR - 1}"
        )
    return found


def _moment(value: str | date | pd.Timestamp, zone: ZoneInfo) -> pd.Timestamp:
    try:
        if isinstance(value, str):
            # Only ISO 8601: 03/04/2026 is a day in March or in April, depending on who reads it.
            value = datetime.fromisoformat(value.strip())
        stamp = pd.Timestamp(value)
        if pd.isna(stamp):
            raise ValueError("no time")
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"moment {shorten(value)!r} cannot be read: write 2026-10-05 or 2026-10-05T14:30:00+02:00"
        ) from error
    return _checked(stamp if stamp.tz is not None else _in_zone(stamp, zone))


def _spoken(moment: pd.Timestamp, zone: ZoneInfo) -> str:
    local = moment.tz_convert(zone)
    is_first = moment == _in_zone(pd.Timestamp(local.date()), zone)
    return local.date().isoformat() if is_first else local.isoformat(timespec="seconds")
