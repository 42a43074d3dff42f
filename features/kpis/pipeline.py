"""The pipeline: what is open, whether it is enough for the quota, and how fast it turns into revenue."""

from __future__ import annotations

import pandas as pd

from crm.groups import NOBODY
from crm.periods import Period
from features.kpis.aggregates import divided, finished, mean_rows, noted, ratio_rows, sum_rows
from features.kpis.cycles import cycle_days
from features.kpis.deals import closed_in, revenue, value_of, without_amount, won_in
from features.kpis.evidence import Evidence
from features.kpis.kpi import Kpi
from features.kpis.placing import Asked, placed
from features.kpis.targets import with_targets

_STOCK = (
    "Deals open at the end of the period, or at as_of where that is earlier; each as it was then, at the "
    "rate of that month."
)


def open_deals(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Number of open deals."""
    then = evidence.open_deals_at(period.end)
    return sum_rows(then, open_in(then))


def pipeline_value(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Value of open deals."""
    then = evidence.open_deals_at(period.end)
    deals = open_in(then)
    values = value_of(then, deals)
    return noted(sum_rows(then, deals, values), without_amount(values))


def pipeline_by_stage(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Value of open deals in each stage."""
    then = evidence.open_deals_at(period.end)
    deals = open_in(then)
    values = value_of(then, deals)
    rows = sum_rows(then, deals, values, detail=deals["stage"].fillna(NOBODY))
    return noted(rows, without_amount(values))


def pipeline_coverage(evidence: Evidence, period: Period) -> pd.DataFrame:
    """How many times the open deals that are due cover what is missing of the quota."""
    is_over = evidence.as_of >= period.end
    then = evidence.open_deals_at(period.start) if is_over else evidence
    deals = open_in(then)
    deals = deals[~(deals["expected_close_at"] >= period.end)]
    values = value_of(then, deals)
    due = sum_rows(then, deals, values).set_index("group")
    quotas = quota_rows(evidence, period).set_index("group")
    groups = quotas.index.union(due.index, sort=False)
    due, quotas = due.reindex(groups), quotas.reindex(groups)
    won = quotas["value"].fillna(0.0) * (0.0 if is_over else 1.0)
    missing = (quotas["target"] - won).clip(lower=0.0)
    rows = pd.DataFrame({"numerator": due["value"].fillna(0.0), "denominator": missing}, index=groups)
    rows["n"] = due["n"].fillna(0.0)
    rows["value"] = _over(rows["numerator"], rows["denominator"])
    rows["note"] = _no_quota(quotas["target"]).mask(missing == 0, "the quota is reached")
    return noted(finished(rows.rename_axis("group").reset_index()), without_amount(values))


def sales_velocity(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Revenue that the open deals bring in a day, at the period's win rate, value and cycle."""
    closed, won = closed_in(evidence, period), won_in(evidence, period)
    parts = {
        "deals": open_deals(evidence, period),
        "rate": ratio_rows(evidence, closed, closed["outcome"] == "won"),
        "worth": mean_rows(evidence, won, value_of(evidence, won)),
        "cycle": mean_rows(evidence, won, cycle_days(won)),
    }
    values = pd.DataFrame({name: rows.set_index("group")["value"] for name, rows in parts.items()})
    worth = values["deals"].fillna(0.0) * values["rate"] * values["worth"]
    rows = values.assign(
        numerator=worth,
        denominator=values["cycle"],
        value=_over(worth, values["cycle"]),
        n=values["deals"].fillna(0.0),
    )
    return finished(rows.rename_axis("group").reset_index())


def quota_attainment(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of the quota that is won."""
    quotas = quota_rows(evidence, period)
    rows = quotas.assign(
        numerator=quotas["value"],
        denominator=quotas["target"],
        value=_over(quotas["value"], quotas["target"]),
        note=_no_quota(quotas["target"]),
    )
    return finished(rows)


def open_in(evidence: Evidence) -> pd.DataFrame:
    """Give the deals that were open at the evidence's moment: not closed, and not gone."""
    deals = evidence.deals
    return deals[deals["outcome"].isna() & deals["gone_at"].isna()]


def quota_rows(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Give the revenue of the period beside its target: ``group, value, n, target``, one row a group."""
    rows = placed([(Asked("revenue", "currency", period), revenue(evidence, period))], evidence)
    known = evidence.records
    found = with_targets(rows, known.targets, known.users, evidence.as_of)
    return found[["group", "value", "n", "target"]]


def _over(numerator: pd.Series, denominator: pd.Series) -> pd.Series:
    return pd.Series(divided(numerator.to_numpy(), denominator.to_numpy()), index=numerator.index)


def _no_quota(target: pd.Series) -> pd.Series:
    note = pd.Series("", index=target.index, dtype="str")
    return note.mask(target.isna(), "no target for revenue")


KPIS = (
    Kpi(
        name="open_deals",
        label_en="Open deals",
        label_fr="Affaires ouvertes",
        formula="number of deals neither won, lost nor gone",
        covers=_STOCK,
        unit="count",
        better="neither",
        source="counting",
        tables=("deals", "changes"),
        measure=open_deals,
    ),
    Kpi(
        name="pipeline_value",
        label_en="Pipeline",
        label_fr="Pipeline",
        formula="sum of the amounts of open deals",
        covers=_STOCK,
        unit="currency",
        better="higher",
        source="sales practice",
        tables=("deals", "changes"),
        measure=pipeline_value,
    ),
    Kpi(
        name="pipeline_by_stage",
        label_en="Pipeline by stage",
        label_fr="Pipeline par étape",
        formula="sum of the amounts of open deals in the stage",
        covers=_STOCK,
        unit="currency",
        better="higher",
        source="sales practice",
        tables=("deals", "changes"),
        measure=pipeline_by_stage,
        detail="stage",
    ),
    Kpi(
        name="pipeline_coverage",
        label_en="Pipeline coverage",
        label_fr="Couverture du pipeline",
        formula="amount of open deals due in the period / (quota - revenue won so far)",
        covers=(
            "Deals open at as_of and expected to close before the period ends, with those overdue and those "
            "without a date. Of a period that is over: those open when it began, against its whole quota. "
            "How much is enough is 1 / win rate by value, not a flat 3."
        ),
        unit="times",
        better="higher",
        source="sales practice; 1 / win rate follows from its definition",
        tables=("deals", "changes", "targets"),
        measure=pipeline_coverage,
    ),
    Kpi(
        name="sales_velocity",
        label_en="Sales velocity",
        label_fr="Vélocité des ventes",
        formula="open deals × win rate × average value of a won deal / average sales cycle of won deals",
        covers=f"{_STOCK} Win rate, value and cycle are those of the deals closed in the period.",
        unit="currency per day",
        better="higher",
        source="sales practice (pipeline velocity); an approximation by Little's law (1961)",
        tables=("deals", "changes"),
        measure=sales_velocity,
    ),
    Kpi(
        name="quota_attainment",
        label_en="Quota attainment",
        label_fr="Atteinte de l’objectif",
        formula="revenue won / target for revenue",
        covers="Deals won in the period, beside the target for it.",
        unit="ratio",
        better="higher",
        source="sales practice",
        tables=("deals", "targets", "users"),
        measure=quota_attainment,
    ),
)
