"""One thing in a history that an administrator should look into, and the words that tell of it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

#: Tables whose rows are seldom called by the table's own name.
_ONE = {"activities": "activity", "order_lines": "order line"}


@dataclass(frozen=True)
class Finding:
    """One thing to look into.

    Parameters
    ----------
    code : str
        What kind of thing, for a program: ``gap``, ``future``, ``double``, …
    table : str
    column : str
        Empty where the whole row is meant.
    n, of : int
        Rows concerned, and rows looked at.
    text : str
        What was found and what to do about it, in plain words.
    examples : tuple of str
        Ids of the first rows concerned.
    """

    code: str
    table: str
    column: str
    n: int
    of: int
    text: str
    examples: tuple[str, ...] = ()


def number(count: int, table: str) -> str:
    """Give a count of a table's rows in words.

    Examples
    --------
    >>> number(1, "activities"), number(1200, "deals")
    ('1 activity', '1,200 deals')
    """
    if count != 1:
        return f"{count:,} {table.replace('_', ' ')}"
    return f"1 {_ONE.get(table, table.removesuffix('s'))}"


def number_of(part: int, whole: int, table: str) -> str:
    """Give a count of a table's rows and their share in words.

    Examples
    --------
    >>> number_of(1, 4, "leads")
    '1 lead (25%)'
    """
    return f"{number(part, table)} ({share(part, whole)})"


def share(part: int, whole: int) -> str:
    """Give a share in percent, never rounding some to none nor most to all.

    Examples
    --------
    >>> share(1, 3), share(1, 1000), share(999, 1000), share(0, 0)
    ('33%', 'under 1%', 'over 99%', '0%')
    """
    if part == 0 or whole == 0:
        return "0%"
    percent = 100 * part / whole
    if percent < 1:
        return "under 1%"
    return "over 99%" if 99 < percent < 100 else f"{percent:.0f}%"


def day(moment: pd.Timestamp) -> str:
    """Give the day of a moment, in UTC."""
    return moment.strftime("%Y-%m-%d")


def length(days: float) -> str:
    """Give a duration as a person says it.

    Examples
    --------
    >>> length(0.01), length(0.5), length(9), length(100), length(1000)
    ('14 minutes', '12 hours', '9 days', '14 weeks', '2.7 years')
    """
    steps = ((2 / 24, 1440.0, "minute"), (2.0, 24.0, "hour"), (60.0, 1.0, "day"), (730.0, 1 / 7, "week"))
    for most, factor, unit in steps:
        if days < most:
            count = round(days * factor)
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return f"{days / 365.25:.1f} years"
