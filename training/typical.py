"""What a sale brings where the CRM says no amount, and how far sales end from what was believed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.values import as_numbers
from serving.forecast.evidence import Evidence
from serving.forecast_model import TypicalAmount

Floats = npt.NDArray[np.float64]

#: Sales below which nothing is said; levels of an attribute, at most; sales of the overall mean that each
#: level has beside its own.
_FEWEST_SALES, _MOST_LEVELS, _PRIOR_SALES = 20, 200, 3.0
#: An attribute must tell so much of the amounts' variance, on sales that its means did not see.
_LEAST_TOLD = 0.05


def typical_amount(evidence: Evidence) -> TypicalAmount | None:
    """Learn what sales bring, by the attribute that tells most of it; None where no sale has an amount.

    The attribute must have been known of open deals too, else it would be of no use for them.
    """
    priced = evidence.is_won & ~np.isnan(evidence.amount)
    if not priced.any():
        return None
    amounts = evidence.amount[priced]
    mean = float(amounts.mean())
    if len(amounts) < _FEWEST_SALES:
        return TypicalAmount(mean)
    best, told = "", _LEAST_TOLD
    for name in _candidates(evidence):
        share = _told(evidence.deals[name][priced], amounts)
        if share > told:
            best, told = name, share
    if not best:
        return TypicalAmount(mean)
    return TypicalAmount(mean, best, _means(evidence.deals[best][priced], amounts, mean))


def _candidates(evidence: Evidence) -> list[str]:
    deals = evidence.deals
    names = [*evidence.history.attributes("deals"), "source", "owner_id"]
    open_deals = deals[evidence.is_open]
    return [
        name
        for name in names
        if deals[name].dtype == "str"
        and 2 <= deals[name].nunique() <= _MOST_LEVELS
        and (open_deals.empty or open_deals[name].notna().mean() > 0.5)
    ]


def _means(levels: pd.Series, amounts: Floats, mean: float) -> dict[str, float]:
    by_level = pd.Series(amounts).groupby(levels.to_numpy(object)).agg(["sum", "count"])
    drawn = (by_level["sum"] + _PRIOR_SALES * mean) / (by_level["count"] + _PRIOR_SALES)
    return {str(level): float(value) for level, value in drawn.items()}


def _told(levels: pd.Series, amounts: Floats) -> float:
    """Give the share of variance that the levels' means tell of sales they did not see, one in two."""
    even = np.arange(len(amounts)) % 2 == 0
    left = 0.0
    for seen in (even, ~even):
        mean = float(amounts[seen].mean())
        means = _means(levels[seen], amounts[seen], mean)
        expected = levels[~seen].map(means).fillna(mean).to_numpy("float64")
        left += float(((amounts[~seen] - expected) ** 2).sum())
    whole = float(((amounts - amounts.mean()) ** 2).sum())
    return 1.0 - left / whole if whole > 0 else 0.0


def amount_spread(evidence: Evidence) -> float:
    """Give the spread of the log of a sale's amount against the one before its last change; 0 without any."""
    changes = evidence.history.changes
    mine = changes[(changes["entity"] == "deal") & (changes["field"] == "amount")]
    won = evidence.deals["deal_id"][evidence.is_won & (evidence.amount > 0)]
    first = mine[mine["record_id"].isin(won)].drop_duplicates("record_id", keep="first")
    if len(won) < _FEWEST_SALES or first.empty:
        return 0.0
    before = as_numbers(first["old_value"]).to_numpy()
    final = pd.Series(evidence.amount, index=evidence.deals["deal_id"]).reindex(first["record_id"]).to_numpy()
    usable = (before > 0) & (final > 0)
    # Deals whose amount never changed ended where they were.
    squares = float((np.log(final[usable] / before[usable]) ** 2).sum())
    return float(np.sqrt(squares / len(won)))
