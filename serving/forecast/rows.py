"""A period's rows: the parts of each group in whole cents, their ranges, and what stands beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.periods import Period
from serving.forecast.beside import commit, run_rate, series_forecast, sold_within, stage_weighted
from serving.forecast.cents import split_cents, to_cents
from serving.forecast.evidence import Evidence
from serving.forecast.new_deals import shares
from serving.forecast.open_deals import OpenDeals, deals_behind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Draws:
    """Simulated revenue, each of shape (periods, groups, draws), the total first among groups."""

    open: Floats
    new: Floats
    total: Floats


def behind(evidence: Evidence, deals: OpenDeals, period: Period) -> pd.DataFrame:
    """Give the deals behind a period's forecast: those sold in it, and those open, by id."""
    table = evidence.deals
    sold = np.flatnonzero(evidence.is_won & sold_within(evidence, period))
    won = pd.DataFrame(
        {
            "deal_id": table["deal_id"].iloc[sold].to_numpy(),
            "group": evidence.groups[sold],
            "state": "won",
            "stage": table["stage"].iloc[sold].to_numpy(),
            "owner_id": table["owner_id"].iloc[sold].to_numpy(),
            "amount": evidence.amount[sold],
            "expected_amount": evidence.amount[sold],
            "win_probability": 1.0,
            "in_period": 1.0,
        }
    )
    still = deals_behind(evidence, deals, period) if period.end > evidence.as_of else won.iloc[:0]
    found = pd.concat([part for part in (won, still) if len(part)] or [won], ignore_index=True)
    money = found["expected_amount"] * found["win_probability"] * found["in_period"]
    found.insert(0, "period_start", period.start)
    found.insert(1, "period_end", period.end)
    return found.assign(mean_cents=to_cents(money.fillna(0.0).to_numpy())).astype(
        {"deal_id": "str", "group": "str", "state": "str", "stage": "str", "owner_id": "str"}
    )


@dataclass(frozen=True)
class Sums:
    """Sums by group in whole cents, the total first."""

    names: tuple[str, ...]

    def of(self, cents: Ints, groups: NDArray[np.object_]) -> Ints:
        """Sum what belongs to each group, shape (groups,)."""
        found = pd.Series(cents).groupby(np.asarray(groups, object)).sum()
        rest = found.reindex(list(self.names[1:])).fillna(0).to_numpy(np.int64)
        return np.concatenate([[cents.sum()], rest]).astype(np.int64)


def period_rows(
    evidence: Evidence,
    deals: OpenDeals,
    period: Period,
    table: pd.DataFrame,
    new_revenue: float,
    groups: tuple[str, ...],
) -> pd.DataFrame:
    """Give the rows of a period: means in money, and what stands beside them; one row a group.

    Parameters
    ----------
    evidence : Evidence
    deals : OpenDeals
    period : Period
    table : DataFrame
        As :func:`behind` gives it.
    new_revenue : float
        Expected of deals to come.
    groups : tuple of str
        ``total`` first.
    """
    sums = Sums(groups)
    cents, owner = table["mean_cents"].to_numpy(np.int64), table["group"].to_numpy(object)
    is_won = table["state"].eq("won").to_numpy()
    closed = sums.of(np.where(is_won, cents, 0), owner)
    opened = sums.of(np.where(is_won, 0, cents), owner)
    new = sums.of(split_cents(int(to_cents(np.array([new_revenue]))[0]), shares(evidence)), evidence.groups)
    weighted = sums.of(to_cents(stage_weighted(evidence, deals, period)), evidence.groups[deals.place])
    rate = sums.of(to_cents(run_rate(evidence, period)), evidence.groups)
    promised = commit(evidence, period)
    frame = pd.DataFrame(
        {
            "period_start": period.start,
            "period_end": period.end,
            "as_of": evidence.as_of,
            "group": pd.Series(groups, dtype="str"),
            "closed": closed / 100.0,
            "open_mean": opened / 100.0,
            "new_mean": new / 100.0,
            "mean": (closed + opened + new) / 100.0,
            "stage_weighted": (closed + weighted) / 100.0,
            "run_rate": rate / 100.0,
            "series": np.nan,
            "commit": np.nan if promised is None else sums.of(to_cents(promised), evidence.groups) / 100.0,
        }
    )
    frame.loc[0, "series"] = round(series_forecast(evidence, period, closed[0] / 100.0), 2)
    pipeline = sums.of(to_cents(np.nan_to_num(deals.expected_amount)), evidence.groups[deals.place]) / 100.0
    return frame.assign(pipeline=pipeline, coverage_needed=_needed(evidence, sums))


def with_ranges(
    rows: pd.DataFrame, draws: Draws, place: int, ends: tuple[float, float], names: tuple[str, str, str]
) -> None:
    """Add the ranges of the total and of the parts, in place.

    Parameters
    ----------
    rows : DataFrame
    draws : Draws
    place : int
        Of the period.
    ends : (float, float)
        Levels of the quantiles that the range lies between, corrected by past errors.
    names : tuple of str
        Of the low end, the median and the high end: ``p10``, ``p50``, ``p90``.
    """
    levels = [ends[0], 0.5, ends[1]]
    for prefix, drawn in (("", draws.total), ("open_", draws.open), ("new_", draws.new)):
        found = np.quantile(drawn[place], levels, axis=1)
        for name, values in zip(names, found, strict=True):
            rows[f"{prefix}{name}"] = np.round(values, 2)


def range_names(level: float) -> tuple[str, str, str]:
    """Give the names of a range's low end, median and high end.

    Examples
    --------
    >>> range_names(0.8), range_names(0.95)
    (('p10', 'p50', 'p90'), ('p2.5', 'p50', 'p97.5'))
    """
    low = round(50.0 * (1.0 - level), 6)
    return f"p{low:g}", "p50", f"p{100.0 - low:g}"


def _needed(evidence: Evidence, sums: Sums) -> Floats:
    """Give one over the share won, by value, of what was closed; NaN where nothing was won."""
    money = np.maximum(np.nan_to_num(evidence.amount), 0.0)
    ended = evidence.deals["outcome"].notna().to_numpy()
    closed = sums.of(to_cents(np.where(ended, money, 0.0)), evidence.groups)
    won = sums.of(to_cents(np.where(evidence.is_won, money, 0.0)), evidence.groups)
    needed: Floats = np.divide(closed, won, out=np.full(len(won), np.nan), where=won > 0)
    return needed
