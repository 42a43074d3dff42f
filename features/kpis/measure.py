"""KPIs as of any moment, over any periods, by any group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import pandas as pd

from crm.history import History
from crm.money import Rates
from crm.periods import Period
from features.kpis.catalogue import chosen
from features.kpis.evidence import KpiSettings, gather
from features.kpis.placing import Asked, placed
from features.kpis.targets import with_targets

#: The columns of the result, in order.
COLUMNS: Final = (
    "kpi",
    "period",
    "period_start",
    "period_end",
    "as_of",
    "by",
    "group",
    "detail",
    "value",
    "unit",
    "numerator",
    "denominator",
    "n",
    "censored",
    "low",
    "high",
    "target",
    "attainment",
    "pace",
    "still_missing",
    "note",
)


def measure_kpis(
    history: History,
    periods: Sequence[Period],
    as_of: pd.Timestamp,
    *,
    names: Iterable[str] | None = None,
    by: str | None = None,
    rates: Rates | None = None,
    zone: str = "UTC",
    settings: KpiSettings | None = None,
) -> pd.DataFrame:
    """Measure KPIs over periods, as they were known at a moment.

    Parameters
    ----------
    history : History
    periods : sequence of Period
    as_of : Timestamp
        With a time zone. Nothing recorded at or after it changes a number.
    names : iterable of str, optional
        Names of :data:`features.kpis.KPIS`; all by default.
    by : str, optional
        A group of :func:`crm.groups.group_of`: each has rows of its own beside the total. A KPI whose records
        have no such group has the total alone.
    rates : Rates, optional
        Needed where amounts are in several currencies.
    zone : str
        The IANA time zone in which months begin, for the rates.
    settings : KpiSettings, optional
        What a team may define its own way.

    Returns
    -------
    DataFrame, shape (n_rows, 21)
        One row for each KPI, period, group (``total`` first) and detail. ``value`` is in ``unit``;
        ``numerator`` and ``denominator`` are what a ratio or a mean divides; ``n`` how many records it stands
        on, ``censored`` how many of them may still change it; ``low`` and ``high`` the 95% range where one is
        natural; ``target``, ``attainment``, ``pace`` and ``still_missing`` where there is a target. NaN where
        there is nothing to divide by.

    Raises
    ------
    InputError
        Where a KPI or group is not known, or a rate is missing.
    """
    kpis = chosen(names)
    tables = {table for kpi in kpis for table in kpi.tables}
    evidence = gather(history, as_of, by=by, rates=rates, zone=zone, settings=settings, tables=tables)
    parts = [
        (Asked(kpi.name, kpi.unit, period), kpi.measure(evidence, period))
        for period in periods
        for kpi in kpis
    ]
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    rows = placed(parts, evidence)
    known = evidence.records
    return with_targets(rows, known.targets, known.users, evidence.as_of)[list(COLUMNS)]
