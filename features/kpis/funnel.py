"""Leads: how many come in, are qualified, and become purchases."""

from __future__ import annotations

import pandas as pd

from crm.periods import Period
from features.kpis.aggregates import noted, ratio_rows, sum_rows
from features.kpis.evidence import Evidence, within
from features.kpis.kpi import Kpi

_COHORT = (
    "Leads that came in during the period, whatever became of them since, as far as it was known: a rate of "
    "leads converted in the period would divide by the work of another month. Leads still open count as not "
    "converted and are shown as censored; the rate of a recent period still rises."
)


def leads_created(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Number of leads that came in."""
    return noted(sum_rows(evidence, cohort(evidence, period)), untimed(evidence.leads))


def lead_conversion_rate(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of the leads that came in which became a purchase."""
    leads = cohort(evidence, period)
    rows = ratio_rows(evidence, leads, leads["converted"], censored=undecided(leads))
    return noted(rows, untimed(evidence.leads))


def cohort(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Give the leads that came in during the period."""
    leads = evidence.leads
    return leads[within(leads["created_at"], period)]


def undecided(leads: pd.DataFrame) -> pd.Series:
    """Say which leads may still become a purchase: not converted, not closed, not gone."""
    return ~leads["converted"] & leads["outcome"].isna() & leads["gone_at"].isna()


def untimed(records: pd.DataFrame) -> str:
    """Give a remark on the records that belong to no period, as the export gives them no time."""
    n = int(records["created_at"].isna().sum())
    return f"{n} without a time of creation are in no period" if n else ""


KPIS = (
    Kpi(
        name="leads_created",
        label_en="New leads",
        label_fr="Nouveaux leads",
        formula="number of leads created",
        covers="Leads that came in during the period.",
        unit="count",
        better="higher",
        source="counting",
        tables=("leads",),
        measure=leads_created,
    ),
    Kpi(
        name="lead_conversion_rate",
        label_en="Lead conversion rate",
        label_fr="Taux de conversion des leads",
        formula=(
            "leads that became a purchase / leads created; a purchase is a won deal linked to the lead, or "
            "the conversion that the CRM records where it links no deals to leads"
        ),
        covers=_COHORT,
        unit="ratio",
        better="higher",
        source="Farris et al., Marketing Metrics, 3rd ed. 2015, ch. 6",
        tables=("leads",),
        measure=lead_conversion_rate,
    ),
)
