"""Sales cycles: how long deals take, won and lost apart, and with those that are not over yet."""

from __future__ import annotations

from functools import partial

import pandas as pd

from crm.periods import Period
from features.kpis.aggregates import mean_rows, median_rows, noted, survival_rows
from features.kpis.deals import closed_in
from features.kpis.durations import days_between
from features.kpis.evidence import Evidence
from features.kpis.funnel import untimed
from features.kpis.kpi import Kpi, Measure

#: Late entry begins just before the age at which a deal is first watched, so that one closed then counts.
_JUST = 1e-9


def cycle_mean(evidence: Evidence, period: Period, outcome: str) -> pd.DataFrame:
    """Average time from opening to closing."""
    deals = _ended(evidence, period, outcome)
    return noted(mean_rows(evidence, deals, cycle_days(deals)), untimed(deals))


def cycle_median(evidence: Evidence, period: Period, outcome: str) -> pd.DataFrame:
    """Median time from opening to closing."""
    deals = _ended(evidence, period, outcome)
    return noted(median_rows(evidence, deals, cycle_days(deals)), untimed(deals))


def sales_cycle_km(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Median time from opening to closing, deals still open counted as such."""
    deals = evidence.deals
    last = min(period.end, evidence.as_of)
    ended = deals["closed_at"].where(deals["outcome"].notna(), deals["gone_at"])
    # An outcome without a time says that the deal is over, not since when: it cannot be watched.
    is_over_sometime = deals["outcome"].notna() & deals["closed_at"].isna()
    watched = (deals["created_at"] < last) & ~(ended < period.start) & ~is_over_sometime
    deals, ended = deals[watched], ended[watched]
    age_at_start = days_between(deals["created_at"], period.start)
    until = ended.where(ended < last, last)
    return survival_rows(
        evidence,
        deals,
        days_between(deals["created_at"], until),
        deals["outcome"].notna() & (deals["closed_at"] < last),
        (age_at_start - _JUST).where(age_at_start > 0, -1.0),
    )


def cycle_days(deals: pd.DataFrame) -> pd.Series:
    """Give the days from opening to closing of each deal; missing where either has no time."""
    return days_between(deals["created_at"], deals["closed_at"])


def _ended(evidence: Evidence, period: Period, outcome: str) -> pd.DataFrame:
    deals = closed_in(evidence, period)
    return deals[deals["outcome"] == outcome]


_HOW = {"mean": "average", "median": "median"}


def _naive(outcome: str, how: str, measure: Measure, en: str, fr: str) -> Kpi:
    return Kpi(
        name=f"cycle_{outcome}_{how}",
        label_en=en,
        label_fr=fr,
        formula=f"{_HOW[how]} time from creation to closing of deals {outcome}",
        covers=(
            f"Deals {outcome} in the period. Biased while many deals are open, and in a team that grows: "
            "those that take long are not closed yet. The Kaplan–Meier median beside it is not."
        ),
        unit="days",
        better="lower" if outcome == "won" else "neither",
        source="sales practice",
        tables=("deals",),
        measure=measure,
    )


KPIS = (
    _naive(
        "won",
        "mean",
        partial(cycle_mean, outcome="won"),
        "Average sales cycle, won",
        "Cycle de vente moyen, gagnées",
    ),
    _naive(
        "won",
        "median",
        partial(cycle_median, outcome="won"),
        "Median sales cycle, won",
        "Cycle de vente médian, gagnées",
    ),
    _naive(
        "lost",
        "mean",
        partial(cycle_mean, outcome="lost"),
        "Average sales cycle, lost",
        "Cycle de vente moyen, perdues",
    ),
    _naive(
        "lost",
        "median",
        partial(cycle_median, outcome="lost"),
        "Median sales cycle, lost",
        "Cycle de vente médian, perdues",
    ),
    Kpi(
        name="sales_cycle_km",
        label_en="Median sales cycle, open deals counted",
        label_fr="Cycle de vente médian, affaires ouvertes comprises",
        formula=(
            "median time from creation to closing, won or lost (Kaplan–Meier, with late entry of deals that "
            "were open when the period began)"
        ),
        covers=(
            "Deals open at any time of the period, each watched from its beginning or the deal's, to its end "
            "or as_of; those not closed then are censored. Won and lost together: nobody knows yet which of "
            "the two an open deal will be."
        ),
        unit="days",
        better="lower",
        source="Kaplan and Meier 1958, JASA 53, 457-481; late entry: Klein and Moeschberger 2003, §4.6",
        tables=("deals",),
        measure=sales_cycle_km,
    ),
)
