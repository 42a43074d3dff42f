"""Targets beside what was measured: attainment, pace, and what is still missing."""

from __future__ import annotations

import numpy as np
import pandas as pd


def with_targets(
    rows: pd.DataFrame, targets: pd.DataFrame, users: pd.DataFrame, as_of: pd.Timestamp
) -> pd.DataFrame:
    """Set ``target``, ``attainment``, ``pace`` and ``still_missing`` of each row that has a target.

    Parameters
    ----------
    rows : DataFrame, shape (n_rows, n_columns)
        With ``kpi``, ``period_start``, ``period_end``, ``by`` (the group asked for; empty where none was),
        ``group`` and ``value``.
    targets, users : DataFrame
        As known at ``as_of``.
    as_of : Timestamp
    """
    return rows.assign(target=np.nan, attainment=np.nan, pace=np.nan, still_missing=np.nan)
