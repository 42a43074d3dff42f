"""Whether customers stay: retention and churn by cohort, revenue retention, and what a customer is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from crm.periods import Period
from features.kpis.aggregates import noted, ratio_rows
from features.kpis.customer_base import customers_over
from features.kpis.evidence import Evidence
from features.kpis.kpi import Kpi


def customer_retention(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of the customers at the beginning who are customers at the end."""
    return _kept(evidence, period, "is")


def customer_churn(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of the customers at the beginning who are none at the end."""
    return _kept(evidence, period, "gone")


def cohort_churn(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of the customers at the beginning who are none at the end, by when they first bought."""
    return _kept(evidence, period, "gone", by_cohort=True)


def cohort_retention(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of all who ever became customers in a quarter who are customers at the end."""
    accounts, base = customers_over(evidence, period)
    rows = ratio_rows(evidence, accounts, accounts["is"], detail=accounts["cohort"])
    return noted(rows, _remark(evidence, period, base.remark))


def _kept(evidence: Evidence, period: Period, what: str, *, by_cohort: bool = False) -> pd.DataFrame:
    accounts, base = customers_over(evidence, period)
    accounts = accounts[accounts["was"]].assign(gone=lambda frame: ~frame["is"])
    # Until the period is over, whoever is still there may yet leave, and whoever has left come back.
    open_ended = pd.Series(float(evidence.as_of < period.end), index=accounts.index)
    rows = ratio_rows(
        evidence,
        accounts,
        accounts[what],
        censored=open_ended,
        detail=accounts["cohort"] if by_cohort else None,
    )
    return noted(rows, _remark(evidence, period, base.remark))


def gross_revenue_retention(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of the recurring revenue at the beginning that is left at the end, growth not counted."""
    return _revenue(evidence, period, growth=False)


def net_revenue_retention(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Recurring revenue at the end of those who were customers at the beginning, over theirs then."""
    return _revenue(evidence, period, growth=True)


def _revenue(evidence: Evidence, period: Period, *, growth: bool) -> pd.DataFrame:
    accounts, base = customers_over(evidence, period)
    accounts = accounts[accounts["was"]]
    after = accounts["after"] if growth else accounts[["before", "after"]].min(axis=1)
    open_ended = pd.Series(float(evidence.as_of < period.end), index=accounts.index)
    rows = ratio_rows(evidence, accounts, after, accounts["before"], censored=open_ended, wilson=False)
    return noted(rows, _remark(evidence, period, base.remark))


def customer_lifetime_value(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Monthly revenue of a customer times the months a customer stays: revenue over customers lost.

    Were each of n customers to leave at a constant rate c a month, they would stay 1 / c months. Over a
    period with T customer-months, revenue R and L customers lost, c = L / T (maximum likelihood, customers
    who stay being censored) and the revenue of a customer-month is R / T; their product is R / L. The range
    is that of a Poisson count L (Garwood 1936, *Biometrika* 28, 437-442).
    """
    accounts, base = customers_over(evidence, period)
    lost = accounts["lost"].astype("float64")
    rows = ratio_rows(evidence, accounts, accounts["revenue"], lost, wilson=False)
    low, high = _poisson_range(rows["denominator"].to_numpy())
    rows = rows.assign(
        low=rows["numerator"] / high,
        high=(rows["numerator"] / np.where(low > 0, low, np.nan)),
    )
    there = ratio_rows(evidence, accounts, (accounts["revenue"] > 0) | accounts["lost"], wilson=False)
    rows["n"] = there["numerator"]
    rows["low"] = rows["low"].where(rows["n"] > 0)
    # Who has not left yet is all that is uncertain about how long customers stay.
    rows["censored"] = rows["n"] - rows["denominator"]
    return noted(rows, _remark(evidence, period, base.remark))


def _poisson_range(count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy import stats

    low = np.where(count > 0, stats.chi2.ppf(0.025, 2 * np.maximum(count, 1)) / 2, 0.0)
    return low, stats.chi2.ppf(0.975, 2 * (count + 1)) / 2


def _remark(evidence: Evidence, period: Period, remark: str) -> str:
    return f"{remark}; the period is not over" if evidence.as_of < period.end else remark


_WHO = (
    "Accounts with a running contract; where there are no subscriptions, accounts that ordered (else won a "
    "deal) in the last inactive_days days (365), whose revenue then is that of those days. "
)
_AT = _WHO + "Taken just before the period begins and at its end, or at as_of where that is earlier."
_TABLES = ("subscriptions", "orders")
_SOURCE = "Farris et al., Marketing Metrics, 3rd ed. 2015, ch. 5"

KPIS = (
    Kpi(
        name="customer_retention",
        label_en="Customer retention",
        label_fr="Rétention des clients",
        formula="customers at the beginning who are customers at the end / customers at the beginning",
        covers=_AT,
        unit="ratio",
        better="higher",
        source=_SOURCE,
        tables=_TABLES,
        measure=customer_retention,
    ),
    Kpi(
        name="customer_churn",
        label_en="Customer churn",
        label_fr="Attrition des clients",
        formula="customers at the beginning who are none at the end / customers at the beginning",
        covers=_AT,
        unit="ratio",
        better="lower",
        source=_SOURCE,
        tables=_TABLES,
        measure=customer_churn,
    ),
    Kpi(
        name="cohort_retention",
        label_en="Retention by cohort",
        label_fr="Rétention par cohorte",
        formula="accounts of the cohort who are customers at the end / accounts of the cohort",
        covers=_WHO + "A cohort is the accounts whose first contract or purchase was in one quarter.",
        unit="ratio",
        better="higher",
        source=_SOURCE,
        tables=_TABLES,
        measure=cohort_retention,
        detail="the quarter in which they became customers",
    ),
    Kpi(
        name="cohort_churn",
        label_en="Churn by cohort",
        label_fr="Attrition par cohorte",
        formula="customers of the cohort at the beginning who are none at the end / those at the beginning",
        covers=_AT + " A cohort is the accounts whose first contract or purchase was in one quarter.",
        unit="ratio",
        better="lower",
        source=_SOURCE,
        tables=_TABLES,
        measure=cohort_churn,
        detail="the quarter in which they became customers",
    ),
    Kpi(
        name="gross_revenue_retention",
        label_en="Gross revenue retention",
        label_fr="Rétention brute du revenu",
        formula=(
            "sum over customers at the beginning of the smaller of their monthly revenue then and at the end "
            "/ their monthly revenue then"
        ),
        covers=_AT,
        unit="ratio",
        better="higher",
        source="Skok, SaaS Metrics 2.0, 2013",
        tables=_TABLES,
        measure=gross_revenue_retention,
    ),
    Kpi(
        name="net_revenue_retention",
        label_en="Net revenue retention",
        label_fr="Rétention nette du revenu",
        formula="monthly revenue at the end of the customers at the beginning / their monthly revenue then",
        covers=_AT,
        unit="ratio",
        better="higher",
        source="Skok, SaaS Metrics 2.0, 2013",
        tables=_TABLES,
        measure=net_revenue_retention,
    ),
    Kpi(
        name="customer_lifetime_value",
        label_en="Customer lifetime value",
        label_fr="Valeur vie client",
        formula=(
            "monthly revenue of a customer x months a customer stays = revenue of the period / customers "
            "lost in it; no customer lost: unknown, above the low end of the range"
        ),
        covers=_WHO
        + (
            "Assumes that customers leave at a constant rate and bring what they bring now; it is revenue, "
            "not margin, and nothing is discounted."
        ),
        unit="currency",
        better="higher",
        source="Farris et al., Marketing Metrics, 3rd ed. 2015, ch. 5; range: Garwood 1936",
        tables=_TABLES,
        measure=customer_lifetime_value,
    ),
)
