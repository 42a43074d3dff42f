"""Deals: how many are won, how often, and what they are worth."""

from __future__ import annotations

import pandas as pd

from crm.periods import Period
from features.kpis.aggregates import mean_rows, median_rows, noted, ratio_rows, sum_rows
from features.kpis.evidence import Evidence, within
from features.kpis.funnel import untimed
from features.kpis.kpi import Kpi

_CLOSED = (
    "Deals closed in the period, whenever they were opened: what was decided in it. The rate of the deals "
    "opened in the period is not known before the last of them is closed."
)
_WON = "Deals won in the period, by the day on which they were won, at the rate of that month."


def deals_created(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Number of deals opened."""
    deals = evidence.deals
    return noted(sum_rows(evidence, deals[within(deals["created_at"], period)]), untimed(deals))


def deals_won(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Number of deals won."""
    return noted(sum_rows(evidence, won_in(evidence, period)), _unclosed(evidence))


def revenue(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Value of the deals won."""
    deals = won_in(evidence, period)
    values = value_of(evidence, deals)
    return noted(noted(sum_rows(evidence, deals, values), without_amount(values)), _unclosed(evidence))


def win_rate(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of closed deals that were won."""
    deals = closed_in(evidence, period)
    return noted(ratio_rows(evidence, deals, deals["outcome"] == "won"), _unclosed(evidence))


def win_rate_by_value(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of the value of closed deals that was won."""
    deals = closed_in(evidence, period)
    values = value_of(evidence, deals)
    there = values.notna()
    deals, known = deals[there], values[there]
    won = known.where(deals["outcome"] == "won", 0.0)
    return noted(ratio_rows(evidence, deals, won, known, wilson=False), without_amount(values))


def deal_value_mean(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Average value of a won deal."""
    deals = won_in(evidence, period)
    values = value_of(evidence, deals)
    return noted(mean_rows(evidence, deals, values), without_amount(values))


def deal_value_median(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Median value of a won deal."""
    deals = won_in(evidence, period)
    values = value_of(evidence, deals)
    return noted(median_rows(evidence, deals, values), without_amount(values))


def closed_in(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Give the deals closed in the period, as far as was known."""
    deals = evidence.deals
    return deals[deals["outcome"].notna() & within(deals["closed_at"], period)]


def won_in(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Give the deals won in the period."""
    deals = closed_in(evidence, period)
    return deals[deals["outcome"] == "won"]


def value_of(evidence: Evidence, deals: pd.DataFrame) -> pd.Series:
    """Give the amount of each deal in the reporting currency, at the rate of its closing; open, of as_of."""
    closed = deals["closed_at"].where(deals["outcome"].notna())
    return evidence.in_currency(deals["amount"], deals["currency"], closed)


def without_amount(values: pd.Series) -> str:
    """Give a remark on the deals that count for nothing, as they have no amount."""
    n = int(values.isna().sum())
    return f"{n} without an amount" if n else ""


def _unclosed(evidence: Evidence) -> str:
    deals = evidence.deals
    n = int((deals["outcome"].notna() & deals["closed_at"].isna()).sum())
    return f"{n} closed without a time are in no period" if n else ""


KPIS = (
    Kpi(
        name="deals_created",
        label_en="New deals",
        label_fr="Nouvelles affaires",
        formula="number of deals created",
        covers="Deals opened in the period.",
        unit="count",
        better="higher",
        source="counting",
        tables=("deals",),
        measure=deals_created,
    ),
    Kpi(
        name="deals_won",
        label_en="Deals won",
        label_fr="Affaires gagnées",
        formula="number of deals won",
        covers=_WON,
        unit="count",
        better="higher",
        source="counting",
        tables=("deals",),
        measure=deals_won,
    ),
    Kpi(
        name="revenue",
        label_en="Revenue won",
        label_fr="Chiffre d’affaires gagné",
        formula="sum of the amounts of deals won",
        covers=_WON,
        unit="currency",
        better="higher",
        source="adding up",
        tables=("deals",),
        measure=revenue,
    ),
    Kpi(
        name="win_rate",
        label_en="Win rate",
        label_fr="Taux de réussite",
        formula="deals won / deals won or lost",
        covers=_CLOSED,
        unit="ratio",
        better="higher",
        source="sales practice",
        tables=("deals",),
        measure=win_rate,
    ),
    Kpi(
        name="win_rate_by_value",
        label_en="Win rate by value",
        label_fr="Taux de réussite en valeur",
        formula="amount of deals won / amount of deals won or lost",
        covers=f"{_CLOSED} Deals without an amount are left out.",
        unit="ratio",
        better="higher",
        source="sales practice",
        tables=("deals",),
        measure=win_rate_by_value,
    ),
    Kpi(
        name="deal_value_mean",
        label_en="Average value of a won deal",
        label_fr="Valeur moyenne d’une affaire gagnée",
        formula="amount of deals won / deals won that have an amount",
        covers=_WON,
        unit="currency",
        better="higher",
        source="sales practice",
        tables=("deals",),
        measure=deal_value_mean,
    ),
    Kpi(
        name="deal_value_median",
        label_en="Median value of a won deal",
        label_fr="Valeur médiane d’une affaire gagnée",
        formula="median amount of deals won",
        covers=_WON,
        unit="currency",
        better="higher",
        source="counting",
        tables=("deals",),
        measure=deal_value_median,
    ),
)
