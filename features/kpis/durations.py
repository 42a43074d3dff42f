"""How long something took, in days or hours, between two moments of each record."""

from __future__ import annotations

import pandas as pd


def days_between(start: pd.Series | pd.Timestamp, end: pd.Series | pd.Timestamp) -> pd.Series:
    """Give days of 24 hours; missing where either moment is. At least one of both is a Series."""
    return hours_between(start, end) / 24


def hours_between(start: pd.Series | pd.Timestamp, end: pd.Series | pd.Timestamp) -> pd.Series:
    """Give hours; missing where either moment is. At least one of both is a Series."""
    hours: pd.Series = pd.Series(end - start).dt.total_seconds() / 3600
    return hours
