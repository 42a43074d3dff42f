"""Tables as plain rows, for JSON: what is missing is null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the rows of a table as dictionaries of plain values.

    Examples
    --------
    >>> plain_rows(pd.DataFrame({"n": [1.0, float("nan")], "at": pd.to_datetime(["2026-01-01", None])}))
    [{'n': 1.0, 'at': datetime.datetime(2026, 1, 1, 0, 0)}, {'n': None, 'at': None}]
    """
    return [{str(name): plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def plain(value: Any) -> Any:
    """Give a value as JSON can hold it: NaN, NaT and infinity as None, moments as datetime."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime(warn=False)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
