"""Leads: how many come in, are qualified, and become purchases."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from crm.periods import Period
from features.kpis.aggregates import noted, ratio_rows, sum_rows
from features.kpis.evidence import Evidence, linked_leads, within
from features.kpis.kpi import Kpi

_QUALIFIED = re.compile(r"(?<![a-z])(qualified|qualifiée?s?|mql|sql)(?![a-z])", re.IGNORECASE)
_NOT_YET = re.compile(r"(?<![a-z])(not|non|to be|à|pre|un|dis)[ -]", re.IGNORECASE)
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


def qualification_rate(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of the leads that came in which were qualified."""
    leads = cohort(evidence, period)
    yes = qualified(evidence).loc[leads.index]
    rows = ratio_rows(evidence, leads, yes, censored=~yes & undecided(leads))
    return noted(rows, untimed(evidence.leads))


def qualified(evidence: Evidence) -> pd.Series:
    """Say which leads were qualified: a deal was opened from them, they converted, or their stage says so.

    Returns
    -------
    Series of bool, shape (n_leads,)
        With the index of the leads of the evidence.
    """
    leads, stays = evidence.leads, evidence.lead_stays
    has_deal = linked_leads(evidence.records, evidence.deals["lead_id"]).to_numpy()
    passed = np.zeros(len(leads), dtype=bool)
    passed[stays.loc[_is_qualified(evidence, stays["stage"]), "row"].to_numpy(dtype=np.intp)] = True
    return leads["converted"] | _is_qualified(evidence, leads["stage"]) | passed | has_deal


def _is_qualified(evidence: Evidence, stages: pd.Series) -> pd.Series:
    named = evidence.settings.qualified_stages
    says_so = {
        stage
        for stage in stages.dropna().unique()
        if (stage in named if named else _QUALIFIED.search(stage) and not _NOT_YET.search(stage))
    }
    return stages.isin(says_so)


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
        source="sales funnel: Farris et al., Marketing Metrics, 3rd ed. 2015, ch. 6",
        tables=("leads",),
        measure=lead_conversion_rate,
    ),
    Kpi(
        name="qualification_rate",
        label_en="Lead qualification rate",
        label_fr="Taux de qualification des leads",
        formula=(
            "leads qualified / leads created; qualified: a deal was opened from the lead, it was converted, "
            "or it reached a stage whose name says qualified (or one of the stages set)"
        ),
        covers=_COHORT.replace("converted in the period", "qualified in the period").replace(
            "not converted and", "not qualified and"
        ),
        unit="ratio",
        better="higher",
        source="sales funnel: Farris et al., Marketing Metrics, 3rd ed. 2015, ch. 6",
        tables=("leads", "deals", "changes"),
        measure=qualification_rate,
    ),
)
