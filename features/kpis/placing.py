"""Whose and when: rows of KPIs put together, each with its KPI, period, moment, group and unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from crm.periods import Period
from features.kpis.evidence import Evidence


class Asked(NamedTuple):
    """One KPI over one period."""

    kpi: str
    unit: str
    period: Period


def placed(parts: Sequence[tuple[Asked, pd.DataFrame]], evidence: Evidence) -> pd.DataFrame:
    """Put the rows of KPIs together, and say of each which KPI, period, moment, group and unit it is.

    Parameters
    ----------
    parts : sequence of (Asked, DataFrame)
        At least one; the rows are those of :mod:`features.kpis.aggregates`.
    evidence : Evidence
    """
    lengths = [len(rows) for _, rows in parts]
    periods = [asked.period for asked, _ in parts]

    def moments(values: list[pd.Timestamp]) -> pd.Series:
        return pd.Series(pd.DatetimeIndex(values).as_unit("us").repeat(lengths))

    def texts(values: list[str]) -> pd.Series:
        return pd.Series(np.repeat(np.array(values, dtype=object), lengths), dtype="str")

    money = evidence.currency or "currency"
    return pd.concat([rows for _, rows in parts], ignore_index=True).assign(
        kpi=texts([asked.kpi for asked, _ in parts]),
        period=texts([period.name for period in periods]),
        period_start=moments([period.start for period in periods]),
        period_end=moments([period.end for period in periods]),
        as_of=evidence.as_of,
        by=evidence.by or "",
        unit=texts([asked.unit.replace("currency", money) for asked, _ in parts]),
    )
