"""From a forecast to the entries of the ledger that keep it, one a period."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import InputError, shorten
from crm.ledger import BESIDE, MOST_CENTS, QUANTILE_LEVELS, LedgerEntry
from crm.periods import Period

if TYPE_CHECKING:
    from serving.forecast.forecast import Forecast

#: Columns of a forecast's rows, and the figures of an entry that they are.
_FIGURES = {"closed": "closed", "open_mean": "open", "new_mean": "new", "mean": "mean"}
_QUANTILE_NAME = re.compile(r"p\d+(\.\d+)?")


def entries_of(forecast: Forecast, made_at: pd.Timestamp) -> list[LedgerEntry]:
    """Give the ledger's entries of a forecast, one for each of its periods.

    Parameters
    ----------
    forecast : Forecast
    made_at : Timestamp with a time zone
        Now.

    Returns
    -------
    list of LedgerEntry

    Raises
    ------
    InputError
        Where an amount is beyond what can be kept to the cent, or the figures do not add up.
    """
    grid = np.moveaxis(np.quantile(forecast.draws, QUANTILE_LEVELS, axis=2), 0, -1)
    entries = []
    for number, period in enumerate(forecast.periods):
        rows = _of_period(forecast.rows, period).set_index("group").reindex(list(forecast.groups))
        entries.append(
            LedgerEntry.of(
                made_at=made_at,
                as_of=forecast.as_of,
                period_start=period.start,
                period_end=period.end,
                period=period.name,
                by=forecast.by,
                level=forecast.level,
                currency=forecast.currency,
                model_version=forecast.model_version,
                seed=forecast.seed,
                rows=_rows(rows, forecast.level),
                quantiles=_cents(grid[number].ravel(), "quantiles").reshape(grid[number].shape),
                deals=_of_period(forecast.deals, period),
            )
        )
    return entries


def _of_period(frame: pd.DataFrame, period: Period) -> pd.DataFrame:
    return frame[(frame["period_start"] == period.start) & (frame["period_end"] == period.end)]


def _rows(rows: pd.DataFrame, level: float) -> pd.DataFrame:
    low, median, high = _range_names(rows, level)
    figures = {**_FIGURES, low: "low", median: "median", high: "high"}
    columns: dict[str, object] = {"group": rows.index.to_numpy()}
    for name, figure in figures.items():
        columns[f"{figure}_cents"] = _cents(rows[name].to_numpy("float64"), name)
    for name in BESIDE:
        given = rows[name].to_numpy("float64") if name in rows else np.full(len(rows), np.nan)
        missing = np.isnan(given)
        values = _cents(np.where(missing, 0.0, given), name)
        columns[f"{name}_cents"] = pd.arrays.IntegerArray(values, missing)
    return pd.DataFrame(columns)


def _range_names(rows: pd.DataFrame, level: float) -> tuple[str, str, str]:
    """Find the columns of the range, which are named after its level: p10 and p90 for 80%."""
    names = [str(name) for name in rows.columns if _QUANTILE_NAME.fullmatch(str(name))]
    ranked = sorted(names, key=lambda name: float(name[1:]))
    if len(ranked) != 3 or ranked[1] != "p50":
        raise InputError(
            f"a forecast at level {level} needs a low, a median p50 and a high column; it has "
            f"{', '.join(ranked) or 'none'}"
        )
    return ranked[0], ranked[1], ranked[2]


def _cents(money: NDArray[np.float64], name: str) -> NDArray[np.int64]:
    """Give money in whole cents."""
    cents = np.rint(100.0 * money)
    off = ~(np.abs(cents) <= MOST_CENTS)
    if off.any():
        raise InputError(
            f"a forecast's {name} is {shorten(money[off][0])}, which cannot be kept to the cent; correct the "
            "amounts of its deals in the CRM"
        )
    return cents.astype("int64")
