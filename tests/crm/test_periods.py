"""Periods as people name them: fiscal years, ISO weeks, and days of 23 hours."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.errors import InputError
from crm.history import utc
from crm.periods import UNITS, Period, between, next_period, parse_period, split

ZONES = ["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo", "Pacific/Apia"]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026", "2026-01-01", "2027-01-01"),
        ("FY2026", "2026-01-01", "2027-01-01"),
        ("2026-Q4", "2026-10-01", "2027-01-01"),
        ("fy2026-q1", "2026-01-01", "2026-04-01"),
        ("2026-02", "2026-02-01", "2026-03-01"),
        ("2024-02-29", "2024-02-29", "2024-03-01"),
        ("2026-W01", "2025-12-29", "2026-01-05"),
        (" 2026-W53 ", "2026-12-28", "2027-01-04"),
    ],
)
def test_a_period_is_read_from_its_name(text: str, start: str, end: str) -> None:
    """Each way of naming a period gives its first moment, and the first moment after it."""
    period = parse_period(text)
    assert (period.start, period.end) == (utc(f"{start}T00:00Z"), utc(f"{end}T00:00Z"))
    assert period.start.unit == period.end.unit == "us"


@pytest.mark.parametrize(
    ("text", "fiscal_start", "start", "end", "name"),
    [
        ("FY2026", 4, "2025-04-01", "2026-04-01", "FY2026"),
        ("2026-Q1", 4, "2025-04-01", "2025-07-01", "FY2026-Q1"),
        ("FY2026-Q4", 4, "2026-01-01", "2026-04-01", "FY2026-Q4"),
        ("2026-Q2", 12, "2026-03-01", "2026-06-01", "FY2026-Q2"),
        ("2026", 4, "2026-01-01", "2027-01-01", "2026"),
        ("2026-05", 4, "2026-05-01", "2026-06-01", "2026-05"),
    ],
)
def test_a_fiscal_year_is_named_after_the_year_in_which_it_ends(
    text: str, fiscal_start: int, start: str, end: str, name: str
) -> None:
    """Fiscal years and quarters shift with the first month; years without FY and months do not."""
    period = parse_period(text, fiscal_start=fiscal_start)
    assert period == Period(utc(f"{start}T00:00Z"), utc(f"{end}T00:00Z"), name)


def test_a_day_has_as_many_hours_as_its_clocks_show() -> None:
    """In Paris, 29 March 2026 has 23 hours and 25 October has 25; in UTC each has 24."""
    hours = [
        parse_period(day, zone).days * 24
        for day in ("2026-03-29", "2026-10-25")
        for zone in ("Europe/Paris", "UTC")
    ]
    assert hours == [23, 24, 25, 24]


def test_a_month_ends_where_it_ends_on_the_wall() -> None:
    """March of Paris begins in UTC's February, in winter time, and ends in summer time."""
    march = parse_period("2026-03", "Europe/Paris")
    assert march.start == utc("2026-02-28T23:00Z")
    assert march.end == utc("2026-03-31T22:00Z")


def test_a_day_without_midnight_begins_with_its_first_moment() -> None:
    """São Paulo skipped midnight of 4 November 2018; Havana had midnight of 4 November 2018 twice."""
    assert parse_period("2018-11-04", "America/Sao_Paulo").start == utc("2018-11-04T01:00-02:00")
    assert parse_period("2018-11-04", "America/Havana").start == utc("2018-11-04T00:00-04:00")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-Q5",
        "2026-13",
        "2025-W53",
        "2026-02-29",
        "26",
        "Q4",
        "FY2026-W01",
        "2026/10",
        "9999",
        "0000-Q1",
    ],
)
def test_what_names_no_period_is_refused_with_what_does(text: str) -> None:
    """The message holds the text, and examples that can be read."""
    with pytest.raises(InputError) as caught:
        parse_period(text)
    message = str(caught.value)
    assert (f"'{text}'" in message and "2026-Q4" in message) or "slip of the pen" in message


def test_an_unknown_zone_and_an_impossible_month_are_refused() -> None:
    """Both messages name the value and what is allowed."""
    with pytest.raises(InputError, match=r"Europe/Pariss.*Europe/Paris or UTC"):
        parse_period("2026", "Europe/Pariss")
    with pytest.raises(InputError, match=r"month 13.*1 to 12"):
        parse_period("2026-Q1", fiscal_start=13)


def test_from_and_to_are_read_where_they_are_said() -> None:
    """A date is a midnight of the zone, a moment with an offset is itself, the end is not in the period."""
    period = between("2026-03-01", "2026-03-31T12:00:00+00:00", "Europe/Paris")
    assert period.start == utc("2026-02-28T23:00Z")
    assert period.end == utc("2026-03-31T12:00Z")
    assert period.name == "2026-03-01/2026-03-31T14:00:00+02:00"


def test_moments_that_are_already_moments_stay() -> None:
    """Timestamps pass as they are, in whatever zone they are said."""
    noon = pd.Timestamp("2026-03-01T12:00", tz="Asia/Kolkata")
    assert between(noon, noon + pd.Timedelta(hours=1)).start == noon


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-03-01", "2026-03-01", "is empty"),
        ("2026-03-02", "2026-03-01", "is empty"),
        ("03/04/2026", "2026-05-01", "'03/04/2026' cannot be read"),
        ("2026-03-01", "", "'' cannot be read"),
        ("2026-03-01", "2926-03-01", "2926"),
    ],
)
def test_a_span_that_is_none_is_refused(start: str, end: str, said: str) -> None:
    """An empty span, a date that is read differently here and there, and a slip of the pen."""
    with pytest.raises(InputError, match=said):
        between(start, end)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("10D", "2026-02-10"),
        ("4w", "2026-02-28"),
        ("1M", "2026-02-28"),
        ("3M", "2026-04-30"),
        ("1Q", "2026-04-30"),
        ("1Y", "2027-01-31"),
    ],
)
def test_the_next_period_begins_now(text: str, end: str) -> None:
    """Each unit leads from 31 January to its end; a shorter month ends on its own last day."""
    now = utc("2026-01-31T00:00Z")
    period = next_period(text, now)
    assert (period.start, period.end) == (now, utc(f"{end}T00:00Z"))
    assert period.name == f"next {text.upper()}"


def test_the_next_day_ends_at_the_same_time_on_the_wall() -> None:
    """From noon in Paris before the clocks go forward, one day is 23 hours; said in UTC, it is 24."""
    noon = pd.Timestamp("2026-03-28T12:00", tz="Europe/Paris")
    assert next_period("1D", noon).days * 24 == 23
    assert next_period("1D", noon.tz_convert("UTC")).days * 24 == 24


@pytest.mark.parametrize("text", ["", "W", "0W", "-1W", "4", "4X", "1.5W", "9999Y"])
def test_what_is_no_length_is_refused(text: str) -> None:
    """Nothing, zero, less than zero, unknown units, and lengths beyond the calendar."""
    with pytest.raises(InputError):
        next_period(text, utc("2026-01-31T00:00Z"))


def test_a_moment_without_a_zone_has_no_next_period() -> None:
    """The message says how to write it."""
    with pytest.raises(InputError, match=r"2026-01-31T00:00:00\+00:00"):
        next_period("1W", pd.Timestamp("2026-01-31"))


def test_a_period_splits_into_whole_calendar_periods() -> None:
    """Weeks cover a month from the Monday before it; fiscal quarters a year from where they begin."""
    weeks = split(parse_period("2026-04"), "week")
    assert [week.name for week in weeks] == ["2026-W14", "2026-W15", "2026-W16", "2026-W17", "2026-W18"]
    quarters = split(parse_period("2026"), "quarter", fiscal_start=2)
    assert [quarter.name for quarter in quarters] == ["FY2026-Q4", *(f"FY2027-Q{q}" for q in (1, 2, 3, 4))]


def test_a_unit_that_is_none_is_refused() -> None:
    """The message lists the units."""
    with pytest.raises(InputError, match="'fortnight' is not one of day, week, month, quarter, year"):
        split(parse_period("2026"), "fortnight")


moments = st.integers(-2_000_000_000, 6_000_000_000).map(lambda s: pd.Timestamp(s, unit="s", tz="UTC"))


@given(moments, st.integers(1, 8000), st.sampled_from(UNITS), st.sampled_from(ZONES), st.integers(1, 12))
def test_parts_follow_each_other_and_cover_the_period(
    start: pd.Timestamp, hours: int, unit: str, zone: str, fiscal_start: int
) -> None:
    """No gap, no overlap, none too many, and each part can be read again from its name."""
    period = between(start, start + pd.Timedelta(hours=hours))
    parts = split(period, unit, zone, fiscal_start)
    assert parts[0].start <= period.start < parts[0].end
    assert parts[-1].start < period.end <= parts[-1].end
    assert all(a.end == b.start for a, b in pairwise(parts))
    for part in parts[:3]:
        assert parse_period(part.name, zone, fiscal_start) == part
