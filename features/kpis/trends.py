"""Each KPI's series over past periods, and where it left the range that its own past made normal.

There is no hindsight in it. The value of a period is what was known when the period ended, so that a young
period is compared with older ones as they were when they were as young; and its range is made from the
periods before it alone. A period that is not over has no value yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from crm.errors import InputError, NotEnoughData
from crm.history import History, utc
from crm.money import Rates
from crm.periods import Period, split
from features.kpis.catalogue import KPIS, chosen
from features.kpis.evidence import KpiSettings
from features.kpis.measure import measure_kpis
from features.kpis.ranges import LEVEL, NormalRange, chance_count, chance_share, normal_range

COLUMNS: Final = (
    "kpi",
    "group",
    "detail",
    "period",
    "period_start",
    "period_end",
    "value",
    "unit",
    "n",
    "low",
    "expected",
    "high",
    "method",
    "n_past",
    "is_flagged",
    "side",
    "verdict",
)
#: A series looks back so many periods: three years of months.
MOST_PERIODS: Final = 37
#: Units of numbers that are neither money nor durations.
_PLAIN_UNITS = frozenset({"ratio", "count", "times", "per deal", "points", "months"})
#: After so many periods of that many days a season returns.
_SEASONS = ((300, 1), (80, 4), (27, 12), (6, 52), (0, 7))
_KEYS = ["kpi", "group", "detail"]


def past_periods(
    history: History,
    as_of: pd.Timestamp,
    unit: str,
    *,
    zone: str = "UTC",
    fiscal_start: int = 1,
    most: int = MOST_PERIODS,
) -> list[Period]:
    """Give the calendar periods that are over, from the first whole one of the history on.

    Parameters
    ----------
    history : History
    as_of : Timestamp
        With a time zone.
    unit : {"day", "week", "month", "quarter", "year"}
    zone, fiscal_start
        As in :func:`crm.periods.split`.
    most : int
        So many at most, the last ones.

    Raises
    ------
    NotEnoughData
        Where no whole period of the history is over.
    """
    moment = utc(as_of)
    created = pd.concat([history.leads["created_at"], history.deals["created_at"]])
    first = created[created < moment].min()
    if not pd.isna(first):
        every = split(Period(first, moment, "the history"), unit, zone, fiscal_start)
        over = [period for period in every if period.start >= first and period.end <= moment]
        if over:
            return over[-most:]
    raise NotEnoughData(
        f"no whole {unit} of leads or deals is over at {moment.isoformat()}: ask for shorter periods, or "
        "as of a later moment"
    )


def measure_series(
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
    """Measure KPIs over each period that is over, as they were known when it ended.

    Parameters are those of :func:`features.kpis.measure_kpis`; by default the KPIs without details.

    Returns
    -------
    DataFrame
        The rows of :func:`features.kpis.measure_kpis`, period by period.

    Raises
    ------
    InputError
        Where no period is over.
    """
    moment = utc(as_of)
    asked = [kpi.name for kpi in chosen(names) if names is not None or not kpi.detail]
    over = sorted((period for period in periods if period.end <= moment), key=lambda period: period.start)
    if not over:
        raise InputError(f"none of the periods is over at {moment.isoformat()}: ask for earlier ones")
    parts = [
        measure_kpis(
            history, [period], period.end, names=asked, by=by, rates=rates, zone=zone, settings=settings
        )
        for period in over
    ]
    return pd.concat(parts, ignore_index=True)


def find_trends(rows: pd.DataFrame, level: float = LEVEL, *, shown: int | None = None) -> pd.DataFrame:
    """Give each KPI's series with its normal range, and flag where it leaves the range.

    Parameters
    ----------
    rows : DataFrame
        Of :func:`measure_series`.
    level : float
        The share of values that stay within their range if nothing changes.
    shown : int, optional
        How many of the last periods to give ranges for; all by default.

    Returns
    -------
    DataFrame
        One row for each KPI, group, detail and period: ``value``; ``low, expected, high``, ``method`` and
        ``n_past`` of :class:`~features.kpis.ranges.NormalRange`; ``is_flagged``; ``side`` (``above`` or
        ``below`` where flagged); ``verdict`` (``better`` or ``worse`` where flagged and the KPI has a
        direction).

    Examples
    --------
    >>> days = pd.date_range("2025-01-01", periods=9, freq="MS", tz="UTC")
    >>> rows = pd.DataFrame({"kpi": "revenue", "group": "total", "detail": "", "unit": "EUR", "n": 5.0,
    ...     "period": days[:8].strftime("%Y-%m"), "period_start": days[:8], "period_end": days[1:],
    ...     "value": [50.0, 52, 49, 51, 50, 48, 52, 20], "numerator": np.nan, "denominator": np.nan})
    >>> find_trends(rows).loc[7, ["method", "side", "verdict"]].to_list()
    ['median', 'below', 'worse']
    """
    found = [_series(some, level, shown) for _, some in rows.groupby(_KEYS, sort=False)]
    if not found:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(found, ignore_index=True)[list(COLUMNS)]


def _series(some: pd.DataFrame, level: float, shown: int | None) -> pd.DataFrame:
    some = some.sort_values("period_start", ignore_index=True)
    first = 0 if shown is None else max(len(some) - shown, 0)
    season = _season(some)
    ranges = [_range(some, place, level, season) for place in range(first, len(some))]
    some = some.iloc[first:].reset_index(drop=True)
    frame = pd.DataFrame([vars(found) for found in ranges], index=some.index)
    value = some["value"].astype("float64")
    above, below = value > frame["high"], value < frame["low"]
    higher = KPIS[str(some["kpi"].iloc[0])].better
    good = {"higher": above, "lower": below, "neither": above & below}[higher]
    flagged = above | below
    verdict = np.where(good, "better", np.where(flagged & (higher != "neither"), "worse", ""))
    return some.assign(
        **{str(name): frame[name] for name in frame.columns},
        is_flagged=flagged,
        side=np.where(above, "above", np.where(below, "below", "")),
        verdict=verdict,
    )


def _season(some: pd.DataFrame) -> int:
    length = (some["period_end"] - some["period_start"]).dt.total_seconds().median() / 86_400
    return next(season for days, season in _SEASONS if length > days)


def _range(some: pd.DataFrame, place: int, level: float, season: int) -> NormalRange:
    """Give the range of the value at a place from those before it."""
    past, now = some.iloc[:place], some.iloc[place]
    unit = str(now["unit"])
    values = past["value"].to_numpy(dtype="float64")
    found = normal_range(values, level, season=season, is_positive=unit not in _PLAIN_UNITS)
    if found.method == "too short":
        return found
    is_share = unit == "ratio" and bool((past["denominator"] == past["n"]).all())
    low, high = found.low, found.high
    if is_share:
        chance = chance_share(
            found.expected, float(past["denominator"].sum()), float(now["denominator"]), level
        )
        low, high = min(low, chance[0]), max(high, chance[1])
    elif unit == "count" and bool(past["denominator"].isna().all()):
        chance = chance_count(found.expected, found.n_past, level)
        low, high = min(low, chance[0]), max(high, chance[1])
    # What no value can pass is no end of a range.
    least = -math.inf if unit == "points" or np.nanmin(values) < 0 else 0.0
    return replace(found, low=max(low, least), high=min(high, 1.0) if is_share else high)
