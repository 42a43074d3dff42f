"""Moments as a person writes them on the command line, and the clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import pandas as pd

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_HINT = "write a date (2024-05-31, taken as 00:00 UTC) or a moment with its zone (2024-05-31T18:00:00+02:00)"


def clock() -> pd.Timestamp:
    """Read the clock."""
    import pandas as pd

    return pd.Timestamp(datetime.now(UTC)).as_unit("us")


def read_moment(text: str, option: str) -> pd.Timestamp:
    """Read a date, taken as 00:00 UTC, or a moment with a time zone.

    Raises
    ------
    typer.BadParameter
        Where it is neither; a moment without a zone could mean either of two days.

    Examples
    --------
    >>> read_moment("2012-01-09", "--as-of")
    Timestamp('2012-01-09 00:00:00+0000', tz='UTC')
    >>> read_moment("2012-01-09T02:00:00+02:00", "--as-of")
    Timestamp('2012-01-09 00:00:00+0000', tz='UTC')
    """
    import pandas as pd

    text = text.strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no moment; {_HINT}", param_hint=option) from None
    if moment.tzinfo is None:
        if not _DATE.fullmatch(text):
            raise typer.BadParameter(
                f"{text!r} names no time zone; {_HINT}: for example {text}+00:00", param_hint=option
            )
        moment = moment.replace(tzinfo=UTC)
    try:
        return pd.Timestamp(moment.astimezone(UTC)).as_unit("us")
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is outside the calendar; {_HINT}", param_hint=option) from None


def show(moment: datetime) -> str:
    """Give a moment as a person reads it.

    Examples
    --------
    >>> show(datetime(2012, 1, 9, tzinfo=UTC))
    '2012-01-09 00:00 UTC'
    """
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M:%S} UTC" if utc.second else f"{utc:%Y-%m-%d %H:%M} UTC"
