"""Rows of a KPI from its records: a ratio, a sum, a mean or a median, for each group and in total.

Every function gives one row for the total and for each group, apart by ``detail`` where there is one, with
the columns of :data:`ROW`. A group without records has a row too: nothing of nothing is NaN, never 0%.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.groups import TOTAL
from crm.periods import Period
from features.kpis.evidence import Evidence

#: The columns of a KPI's rows, before :func:`features.kpis.measure_kpis` adds whose and when.
ROW: Final = (
    "group",
    "detail",
    "value",
    "numerator",
    "denominator",
    "n",
    "censored",
    "low",
    "high",
    "note",
)
_TEXT = ("group", "detail", "note")
#: Two-sided 95%: the quantile of the normal distribution.
_Z = 1.959963984540054


def ratio_rows(
    evidence: Evidence,
    records: pd.DataFrame,
    numerator: pd.Series,
    denominator: pd.Series | None = None,
    *,
    censored: pd.Series | None = None,
    detail: pd.Series | None = None,
    wilson: bool = True,
) -> pd.DataFrame:
    """Divide sums: how many, or how much, of how many, or how much.

    Parameters
    ----------
    evidence : Evidence
    records : DataFrame, shape (n, n_columns)
        What is counted.
    numerator : Series of bool or float, shape (n,)
        What each record adds above the line.
    denominator : Series of bool or float, shape (n,), optional
        What each adds below the line; 1 by default.
    censored : Series of bool, shape (n,), optional
        Which records may still change.
    detail : Series of str, shape (n,), optional
        What rows are apart by.
    wilson : bool
        Whether the ratio is one of counts, with the range of its 95% score interval (Wilson 1927, *Journal of
        the American Statistical Association* 22, 209-212).
    """
    ones = pd.Series(1.0, index=records.index)
    sums = summed(
        evidence,
        records,
        detail,
        numerator=numerator,
        denominator=ones if denominator is None else denominator,
        n=ones,
        censored=ones * 0 if censored is None else censored,
    )
    rows = sums.assign(value=divided(sums["numerator"], sums["denominator"]))
    if wilson:
        rows["low"], rows["high"] = wilson_interval(
            rows["numerator"].to_numpy(), rows["denominator"].to_numpy()
        )
    return finished(rows)


def sum_rows(
    evidence: Evidence,
    records: pd.DataFrame,
    values: pd.Series | None = None,
    *,
    detail: pd.Series | None = None,
) -> pd.DataFrame:
    """Add up values; the number of records where there are none."""
    ones = pd.Series(1.0, index=records.index)
    return finished(
        summed(evidence, records, detail, value=ones if values is None else values.fillna(0.0), n=ones)
    )


def mean_rows(
    evidence: Evidence, records: pd.DataFrame, values: pd.Series, *, detail: pd.Series | None = None
) -> pd.DataFrame:
    """Average values; those missing are not counted."""
    there = values.notna().astype("float64")
    sums = summed(evidence, records, detail, numerator=values.fillna(0.0), denominator=there, n=there)
    return finished(sums.assign(value=divided(sums["numerator"], sums["denominator"])))


def median_rows(
    evidence: Evidence, records: pd.DataFrame, values: pd.Series, *, detail: pd.Series | None = None
) -> pd.DataFrame:
    """Take the value in the middle, halfway between both where there are two; none of those missing."""
    frame = _doubled(evidence, records, detail, {"value": values})
    values_of = frame.groupby(["group", "detail"], sort=False)["value"]
    found = pd.DataFrame({"value": values_of.median(), "n": values_of.count().astype("float64")})
    return finished(_completed(evidence, found, fill={"n": 0.0}))


def survival_rows(
    evidence: Evidence,
    records: pd.DataFrame,
    durations: pd.Series,
    ended: pd.Series,
    entered: pd.Series | None = None,
    *,
    detail: pd.Series | None = None,
) -> pd.DataFrame:
    """Take the median of durations of which some are not over yet, with its 95% range.

    The estimator is Kaplan's and Meier's (1958, *Journal of the American Statistical Association* 53,
    457-481), with late entry where records were only watched from some age on. The median is the first
    duration beyond which less than half remain; NaN where half or more do to the end.

    Parameters
    ----------
    evidence : Evidence
    records : DataFrame, shape (n, n_columns)
    durations : Series of float64, shape (n,)
        How long each lasted, or has lasted so far.
    ended : Series of bool, shape (n,)
        Whether it is over; the others are censored.
    entered : Series of float64, shape (n,), optional
        How long each had lasted when it was first watched; from the beginning by default.
    detail : Series of str, shape (n,), optional
    """
    columns = {
        "duration": durations,
        "ended": ended,
        "entered": pd.Series(-1.0, index=records.index) if entered is None else entered,
    }
    frame = _doubled(evidence, records, detail, columns)
    frame = frame[frame["duration"] > frame["entered"]]
    keys, found = [], []
    for key, some in frame.groupby(["group", "detail"], sort=False):
        keys.append(key)
        found.append(_survival(some))
    index = pd.MultiIndex.from_tuples(keys, names=["group", "detail"]) if keys else _no_keys()
    rows = pd.DataFrame(found, index=index, columns=["value", "low", "high", "n", "censored"])
    return finished(_completed(evidence, rows.astype("float64"), fill={"n": 0.0, "censored": 0.0}))


def finished(rows: pd.DataFrame) -> pd.DataFrame:
    """Give rows all the columns of :data:`ROW`, in order; the numbers that are not there are NaN."""
    missing = [name for name in ROW if name not in rows.columns]
    return rows.assign(**{name: "" if name in _TEXT else np.nan for name in missing})[list(ROW)]


def placed(
    rows: pd.DataFrame, name: str, evidence: Evidence, period: Period, unit: str = "currency"
) -> pd.DataFrame:
    """Say which KPI rows are of, over which period, as of when, by which group and in what unit."""
    return rows.assign(
        kpi=name,
        period=period.name,
        period_start=period.start,
        period_end=period.end,
        as_of=evidence.as_of,
        by=evidence.by or "",
        unit=unit.replace("currency", evidence.currency or "currency"),
    )


def noted(rows: pd.DataFrame, note: str) -> pd.DataFrame:
    """Add a remark to every row."""
    return rows.assign(note=[f"{old}; {note}" if old else note for old in rows["note"]]) if note else rows


def _survival(some: pd.DataFrame) -> tuple[float, float, float, float, float]:
    from statsmodels.duration.survfunc import SurvfuncRight

    ended = some["ended"].to_numpy(dtype=bool)
    n, censored = float(len(some)), float((~ended).sum())
    if not ended.any():
        return np.nan, np.nan, np.nan, n, censored
    # Where everything has ended, or nobody is left at risk, the standard error is not a number.
    with np.errstate(all="ignore"):
        curve = SurvfuncRight(
            some["duration"].to_numpy(), ended.astype("int64"), entry=some["entered"].to_numpy()
        )
        low, high = curve.quantile_ci(0.5)
    return curve.quantile(0.5), low, high, n, censored


def summed(
    evidence: Evidence, records: pd.DataFrame, detail: pd.Series | None, **columns: pd.Series
) -> pd.DataFrame:
    """Add up columns, for the total and each group, apart by detail: one row each, with ``group, detail``."""
    frame = _doubled(evidence, records, detail, columns)
    sums = frame.groupby(["group", "detail"], sort=False)[list(columns)].sum()
    return _completed(evidence, sums, fill=dict.fromkeys(columns, 0.0))


def _doubled(
    evidence: Evidence, records: pd.DataFrame, detail: pd.Series | None, columns: dict[str, pd.Series]
) -> pd.DataFrame:
    """Give each record twice: once for the total, once for its group."""
    frame = pd.DataFrame({name: values.astype("float64") for name, values in columns.items()})
    frame["detail"] = "" if detail is None else detail
    total = frame.assign(group=TOTAL)
    if not evidence.can_group(records):
        return total
    return pd.concat([total, frame.assign(group=evidence.group(records))], ignore_index=True)


def _completed(evidence: Evidence, rows: pd.DataFrame, fill: dict[str, float]) -> pd.DataFrame:
    """Give a row to every group that records may have, with each detail; the total first."""
    groups = [TOTAL, *sorted({*evidence.groups, *rows.index.get_level_values("group")} - {TOTAL})]
    details = sorted(set(rows.index.get_level_values("detail"))) or [""]
    every = pd.MultiIndex.from_product([groups, details], names=["group", "detail"])
    return rows.reindex(every).fillna(fill).reset_index()


def _no_keys() -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([[], []], names=["group", "detail"])


def divided(numerator: pd.Series, denominator: pd.Series) -> pd.Series:
    """Divide; NaN where there is nothing to divide by."""
    return numerator / denominator.where(denominator != 0)


def wilson_interval(
    k: npt.NDArray[np.float64], n: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give the 95% score interval of k among n (Wilson 1927); NaN of none."""
    n = np.where(n > 0, n, np.nan)
    share = k / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)
