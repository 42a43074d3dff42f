"""Rows of a KPI from its records: a ratio, a sum, a mean or a median, for each group and in total.

Every function gives one row for the total and for each group, apart by ``detail`` where there is one, with
the columns of :data:`ROW`. A group without records has a row too: nothing of nothing is NaN, never 0%.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.kpis.cells import Cells, Floats
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
    cells = Cells.of(evidence, records, detail)
    ones = pd.Series(1.0, index=records.index)
    n = cells.sums(ones)
    below = n if denominator is None else cells.sums(denominator)
    above = cells.sums(numerator)
    rows = {
        "value": divided(above, below),
        "numerator": above,
        "denominator": below,
        "n": n,
        "censored": np.zeros_like(n) if censored is None else cells.sums(censored),
    }
    if wilson:
        rows["low"], rows["high"] = wilson_interval(above, below)
    return finished(cells.frame(**rows))


def sum_rows(
    evidence: Evidence,
    records: pd.DataFrame,
    values: pd.Series | None = None,
    *,
    detail: pd.Series | None = None,
) -> pd.DataFrame:
    """Add up values; the number of records where there are none."""
    cells = Cells.of(evidence, records, detail)
    n = cells.sums(pd.Series(1.0, index=records.index))
    return finished(cells.frame(value=n if values is None else cells.sums(values.fillna(0.0)), n=n))


def mean_rows(
    evidence: Evidence, records: pd.DataFrame, values: pd.Series, *, detail: pd.Series | None = None
) -> pd.DataFrame:
    """Average values; those missing are not counted."""
    cells = Cells.of(evidence, records, detail)
    total, n = cells.sums(values.fillna(0.0)), cells.sums(values.notna())
    return finished(cells.frame(value=divided(total, n), numerator=total, denominator=n, n=n))


def median_rows(
    evidence: Evidence, records: pd.DataFrame, values: pd.Series, *, detail: pd.Series | None = None
) -> pd.DataFrame:
    """Take the value in the middle, halfway between both where there are two; none of those missing."""
    cells = Cells.of(evidence, records, detail)
    value, n = np.full(len(cells), np.nan), cells.sums(values.notna())
    found = pd.Series(values.to_numpy(dtype="float64")[cells.records]).groupby(cells.places).median()
    value[found.index.to_numpy()] = found
    return finished(cells.frame(value=value, n=n))


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
    since = np.full(len(records), -1.0) if entered is None else entered.to_numpy(dtype="float64")
    lasted, is_over = durations.to_numpy(dtype="float64"), ended.to_numpy(dtype=bool)
    cells = Cells.of(evidence, records, detail)
    found = np.full((len(cells), 5), (np.nan, np.nan, np.nan, 0.0, 0.0))
    watched = lasted[cells.records] > since[cells.records]
    places, entries = cells.places[watched], cells.records[watched]
    order = np.argsort(places, kind="stable")
    used, starts = np.unique(places[order], return_index=True)
    parts = np.split(entries[order], starts[1:]) if len(used) else []
    for place, some in zip(used, parts, strict=True):
        found[place] = _survival(lasted[some], is_over[some], since[some])
    names = ("value", "low", "high", "n", "censored")
    return finished(cells.frame(**dict(zip(names, found.T, strict=True))))


def finished(rows: pd.DataFrame) -> pd.DataFrame:
    """Give rows all the columns of :data:`ROW`, in order; the numbers that are not there are NaN."""
    missing = [name for name in ROW if name not in rows.columns]
    rows = rows.assign(**{name: "" if name in _TEXT else np.nan for name in missing})
    return rows[list(ROW)]


def noted(rows: pd.DataFrame, note: str) -> pd.DataFrame:
    """Add a remark to every row."""
    return rows.assign(note=[f"{old}; {note}" if old else note for old in rows["note"]]) if note else rows


def divided(numerator: Floats, denominator: Floats) -> Floats:
    """Divide; NaN where there is nothing to divide by."""
    result: Floats = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def wilson_interval(k: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Give the 95% score interval of k among n (Wilson 1927); NaN of none."""
    n = np.where(n > 0, n, np.nan)
    share = k / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)


def _survival(
    lasted: Floats, is_over: npt.NDArray[np.bool_], since: Floats
) -> tuple[float, float, float, float, float]:
    """Give the median, its range, how many records there are and how many are censored."""
    n, censored = float(len(lasted)), float((~is_over).sum())
    if not is_over.any():
        return np.nan, np.nan, np.nan, n, censored
    from statsmodels.duration.survfunc import SurvfuncRight

    # Where everything has ended, or nobody is left at risk, the standard error is not a number.
    with np.errstate(all="ignore"):
        curve = SurvfuncRight(lasted, is_over.astype("int64"), entry=since)
        low, high = curve.quantile_ci(0.5)
    return curve.quantile(0.5), low, high, n, censored
