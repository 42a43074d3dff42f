"""Which periods a question means: those named, those from day to day, or else the running one."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from crm.periods import Period, between, next_period, parse_period, split


def forecast_periods(
    names: Sequence[str],
    days: tuple[str | None, str | None],
    spans: Sequence[str],
    as_of: pd.Timestamp,
    zone: str = "UTC",
    fiscal_start: int = 1,
) -> list[Period]:
    """Give the periods to forecast; without any named, the running quarter and the next one.

    Parameters
    ----------
    names : sequence of str
        As :func:`crm.periods.parse_period` reads them.
    days : (str or None, str or None)
        First day, and the day after the last; both or none.
    spans : sequence of str
        From the as-of on, as :func:`crm.periods.next_period` reads them.
    as_of : Timestamp
    zone, fiscal_start
        As in :func:`crm.periods.parse_period`.

    Raises
    ------
    InputError
        Naming what cannot be read.

    Examples
    --------
    >>> as_of = pd.Timestamp("2026-11-25", tz="UTC")
    >>> [period.name for period in forecast_periods([], (None, None), [], as_of)]
    ['2026-Q4', '2027-Q1']
    """
    found = _named(names, days, zone, fiscal_start)
    found += [next_period(span, as_of) for span in spans]
    if found:
        return found
    return split(next_period("3M", as_of), "quarter", zone, fiscal_start)[:2]


def kpi_periods(
    names: Sequence[str],
    days: tuple[str | None, str | None],
    every: str | None,
    as_of: pd.Timestamp,
    zone: str = "UTC",
    fiscal_start: int = 1,
) -> list[Period]:
    """Give the periods to measure; without any named, the quarter that was running.

    Parameters
    ----------
    names, days, as_of, zone, fiscal_start
        As in :func:`forecast_periods`.
    every : {"day", "week", "month", "quarter", "year"} or None
        Each calendar part that covers the periods, in their place.

    Raises
    ------
    InputError
        Naming what cannot be read.

    Examples
    --------
    >>> as_of = pd.Timestamp("2026-10-01", tz="UTC")
    >>> [period.name for period in kpi_periods([], (None, None), "month", as_of)]
    ['2026-07', '2026-08', '2026-09']
    """
    found = _named(names, days, zone, fiscal_start)
    if not found:
        # What is known before the first moment of a quarter is of the quarter before.
        last = Period(as_of - pd.Timedelta(microseconds=1), as_of, "now")
        found = split(last, "quarter", zone, fiscal_start)
    if every is None:
        return found
    parts = [part for one in found for part in split(one, every, zone, fiscal_start)]
    return list(dict.fromkeys(parts))


def _named(
    names: Sequence[str], days: tuple[str | None, str | None], zone: str, fiscal_start: int
) -> list[Period]:
    found = [parse_period(name, zone, fiscal_start) for name in names]
    start, end = days
    if start is not None and end is not None:
        found.append(between(start, end, zone))
    return found
