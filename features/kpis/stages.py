"""Stages: where leads and deals go from each, and how long they stay."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from crm.periods import Period
from features.kpis.aggregates import (
    divided,
    finished,
    median_rows,
    noted,
    survival_rows,
    wilson_interval,
)
from features.kpis.cells import Cells
from features.kpis.durations import days_between
from features.kpis.evidence import GROUP, Evidence, within
from features.kpis.kpi import Kpi

_ARROW = " → "


def stage_conversion(evidence: Evidence, period: Period, entity: str) -> pd.DataFrame:
    """Share of the stays in a stage that led to each next one."""
    stays, records, note = _stays(evidence, entity)
    entered = within(stays["entered"], period)
    stays, records = stays[entered], records[entered]
    of_stage = Cells.of(evidence, records, stays["stage"])
    left_there = of_stage.frame(
        denominator=of_stage.sums(stays["stage"].notna()), censored=of_stage.sums(stays["left"].isna())
    )
    moved = stays["to"].notna()
    stays, records = stays[moved], records[moved]
    pair = _pair(stays)
    of_pair = Cells.of(evidence, records, pair)
    rows = of_pair.frame(numerator=of_pair.sums(moved[moved]))
    stage_of = dict(zip(pair, stays["stage"], strict=True))
    rows["stage"] = rows["detail"].map(stage_of).astype("str")
    rows = rows.merge(left_there.rename(columns={"detail": "stage"}), on=["group", "stage"], how="left")
    rows[["denominator", "censored"]] = rows[["denominator", "censored"]].fillna(0.0)
    above, below = rows["numerator"].to_numpy(), rows["denominator"].to_numpy()
    rows["value"], rows["n"] = divided(above, below), below
    rows["low"], rows["high"] = wilson_interval(above, below)
    return noted(finished(rows), note)


def time_in_stage(evidence: Evidence, period: Period, entity: str) -> pd.DataFrame:
    """Median time in a stage, those still in it counted as such."""
    stays, records, note = _stays(evidence, entity)
    entered = within(stays["entered"], period)
    stays, records = stays[entered], records[entered]
    lasted = days_between(stays["entered"], stays["left"].fillna(evidence.as_of))
    return noted(survival_rows(evidence, records, lasted, stays["to"].notna(), detail=stays["stage"]), note)


def time_between_stages(evidence: Evidence, period: Period, entity: str) -> pd.DataFrame:
    """Median time in a stage before the move to the next one."""
    stays, records, note = _stays(evidence, entity)
    moved = within(stays["left"], period) & stays["to"].notna() & stays["entered"].notna()
    stays, records = stays[moved], records[moved]
    lasted = days_between(stays["entered"], stays["left"])
    return noted(median_rows(evidence, records, lasted, detail=_pair(stays)), note)


def _stays(evidence: Evidence, entity: str) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Give the stays, the record of each, and a remark where the history has none."""
    stays = evidence.lead_stays if entity == "lead" else evidence.deal_stays
    table = evidence.leads if entity == "lead" else evidence.deals
    records = table.filter([f"{entity}_id", GROUP]).take(stays["row"].to_numpy(dtype=np.intp))
    records = records.set_axis(stays.index)
    return stays, records, f"the history has no changes of a {entity}'s stage" if stays.empty else ""


def _pair(stays: pd.DataFrame) -> pd.Series:
    return (stays["stage"] + _ARROW + stays["to"]).astype("str")


def _of(entity: str, prefix: str, whose_fr: str) -> tuple[Kpi, ...]:
    title = f"{entity.capitalize()}s"
    entered = (
        f"Stays of {entity}s that began in the period, by the changes of stage known; those still in the "
        "stage are shown as censored."
    )
    return (
        Kpi(
            name=f"{prefix}stage_conversion",
            label_en=f"{title}: stage to stage",
            label_fr=f"{whose_fr} : passage d’une étape à l’autre",
            formula=f"stays of {entity}s in the stage that ended with a move to the next / all its stays",
            covers=entered,
            unit="ratio",
            better="higher",
            source="sales funnel: Farris et al., Marketing Metrics, 3rd ed. 2015, ch. 6",
            tables=(f"{entity}s", "changes"),
            measure=partial(stage_conversion, entity=entity),
            detail="stage → next stage",
        ),
        Kpi(
            name=f"{prefix}time_in_stage",
            label_en=f"{title}: median time in stage",
            label_fr=f"{whose_fr} : durée médiane par étape",
            formula="median time from entering a stage to leaving it, for whatever next (Kaplan–Meier)",
            covers=entered,
            unit="days",
            better="lower",
            source="Kaplan and Meier 1958, JASA 53, 457-481",
            tables=(f"{entity}s", "changes"),
            measure=partial(time_in_stage, entity=entity),
            detail="stage",
        ),
        Kpi(
            name=f"{prefix}time_between_stages",
            label_en=f"{title}: median time to the next stage",
            label_fr=f"{whose_fr} : durée médiane jusqu’à l’étape suivante",
            formula="median time from entering a stage to the move to that next one",
            covers=(
                f"Moves of {entity}s made in the period, by the changes of stage known. Beside the median "
                "time in stage it is short while many are still there, as it holds only those who have left."
            ),
            unit="days",
            better="lower",
            source="counting",
            tables=(f"{entity}s", "changes"),
            measure=partial(time_between_stages, entity=entity),
            detail="stage → next stage",
        ),
    )


KPIS = (*_of("lead", "lead_", "Leads"), *_of("deal", "deal_", "Affaires"))
