"""Moments as whole microseconds since 1970 in UTC, in which they are compared and subtracted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import InputError, shorten

#: A moment that is not there; before every other, as in NumPy's NaT.
MISSING = int(np.iinfo(np.int64).min)
#: A moment that never comes.
NEVER = int(np.iinfo(np.int64).max)
#: Microseconds of a day.
DAY = 86_400_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)


def column_in_micros(moments: pd.Series, missing: int = MISSING) -> NDArray[np.int64]:
    """Give a column of moments as microseconds since 1970.

    Parameters
    ----------
    moments : Series of datetime64 in UTC, shape (n,)
    missing : int
        Stands for a moment that is not there.

    Examples
    --------
    >>> moments = pd.Series(pd.to_datetime(["1970-01-02T00:00:00Z", None], format="ISO8601"))
    >>> column_in_micros(moments, missing=NEVER).tolist() == [DAY, NEVER]
    True
    """
    micros: NDArray[np.int64] = pd.DatetimeIndex(moments).as_unit("us").asi8
    return micros if missing == MISSING else np.where(micros == MISSING, missing, micros)


def in_micros(moment: Any) -> int:
    """Give one moment as microseconds since 1970; one without a zone is in UTC.

    Parameters
    ----------
    moment : datetime, datetime64, ISO 8601 text, NaT or None
        Or an int, which is in microseconds already.

    Returns
    -------
    int
        ``MISSING`` for NaT and None.

    Raises
    ------
    InputError
        Where the value is no moment.

    Examples
    --------
    >>> in_micros("1970-01-02T01:00:00+01:00") == DAY
    True
    >>> in_micros("soon")
    Traceback (most recent call last):
    crm.errors.InputError: moment 'soon' is not ISO 8601; write 2024-01-31T12:00:00+00:00
    """
    if type(moment) is int:
        return moment
    if moment is None or moment is pd.NaT:
        return MISSING
    if isinstance(moment, datetime):
        since = moment - (_EPOCH if moment.tzinfo is not None else _NAIVE_EPOCH)
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if isinstance(moment, np.datetime64):
        return int(moment.astype("datetime64[us]").astype(np.int64))
    if isinstance(moment, str):
        value = read_moment(moment)
        if np.isnan(value):
            raise InputError(f"moment {shorten(moment)!r} is not ISO 8601; write 2024-01-31T12:00:00+00:00")
        return int(value)
    raise InputError(f"moment {shorten(moment)!r} is not a date with a time; give a datetime with a zone")


def read_moment(text: str) -> float:
    """Read an ISO 8601 moment as microseconds since 1970 in UTC; NaN where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return float("nan")
    return float(in_micros(moment))
