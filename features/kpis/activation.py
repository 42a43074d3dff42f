"""Lead activation: whether, and how soon, a lead is answered or acted on."""

from __future__ import annotations

import pandas as pd

from crm.periods import Period
from features.kpis.aggregates import median_rows, noted, ratio_rows, survival_rows
from features.kpis.durations import hours_between
from features.kpis.evidence import Evidence
from features.kpis.funnel import cohort, untimed
from features.kpis.kpi import Kpi

_ANSWER = (
    "the first of: an activity of ours done with the lead (direction out, or by a rep where no direction is "
    "given), a change of its stage, its closing"
)
_COHORT = "Leads that came in during the period, and what was done with each by as_of."


def lead_activation_rate(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of leads answered or acted on in time."""
    leads = cohort(evidence, period)
    hours = evidence.answer_hours.loc[leads.index]
    limit = evidence.settings.answer_hours
    # A lead younger than the limit is not counted, even if answered: its unanswered peers cannot be either.
    is_old = hours_between(leads["created_at"], evidence.as_of) >= limit
    rows = ratio_rows(evidence, leads, is_old & (hours <= limit), is_old, censored=~is_old)
    return noted(noted(rows, f"within {limit:g} hours"), _note(evidence))


def lead_response_time(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Median time to the first answer, of leads that were answered."""
    leads = cohort(evidence, period)
    return noted(median_rows(evidence, leads, evidence.answer_hours.loc[leads.index]), _note(evidence))


def lead_response_time_km(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Median time to the first answer, of all leads."""
    leads = cohort(evidence, period)
    hours = evidence.answer_hours.loc[leads.index]
    seen = hours_between(leads["created_at"], leads["gone_at"].fillna(evidence.as_of))
    return noted(survival_rows(evidence, leads, hours.fillna(seen), hours.notna()), _note(evidence))


def _note(evidence: Evidence) -> str:
    """Give a remark on leads without a time, else on a history that does not say what was done with them."""
    if not evidence.is_known.any() and len(evidence.leads):
        return "the history has no activities: only closings and changes of stage count as answers"
    return untimed(evidence.leads)


KPIS = (
    Kpi(
        name="lead_activation_rate",
        label_en="Leads answered in time",
        label_fr="Leads traités à temps",
        formula=f"leads answered within 24 hours (or the hours set) / leads that old; answered: {_ANSWER}",
        covers=f"{_COHORT} Leads younger than the limit are not counted and are shown as censored.",
        unit="ratio",
        better="higher",
        source="Oldroyd, McElheran and Elkington 2011, Harvard Business Review 89(3)",
        tables=("leads", "activities", "changes"),
        measure=lead_activation_rate,
    ),
    Kpi(
        name="lead_response_time",
        label_en="Median time to first answer (answered leads)",
        label_fr="Délai médian de première réponse (leads traités)",
        formula=f"median time from a lead's creation to its answer: {_ANSWER}",
        covers=f"{_COHORT} Leads without an answer are left out, so it looks better than it is.",
        unit="hours",
        better="lower",
        source="Oldroyd, McElheran and Elkington 2011, Harvard Business Review 89(3)",
        tables=("leads", "activities", "changes"),
        measure=lead_response_time,
    ),
    Kpi(
        name="lead_response_time_km",
        label_en="Median time to first answer (all leads)",
        label_fr="Délai médian de première réponse (tous les leads)",
        formula=(
            "median time from a lead's creation to its answer, those that still wait counted (Kaplan–Meier)"
        ),
        covers=f"{_COHORT} Leads without an answer are censored at as_of, or when they were gone.",
        unit="hours",
        better="lower",
        source="Kaplan and Meier 1958, JASA 53, 457-481",
        tables=("leads", "activities", "changes"),
        measure=lead_response_time_km,
    ),
)
