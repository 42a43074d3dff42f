"""Targets beside what was measured: attainment, pace, and what is still missing.

- A target counts for rows of its KPI, period and group: a user's for the rows of that owner, a team's for
  those of that team, the company's for the total. Its period must be the row's, give or take the hours by
  which time zones differ; prorated by time only when asked.
- The total of a flow (:data:`FLOWS`) without a target of the company has the sum of the teams' targets, else
  that of the users'.
- Of two targets for the same thing and period, the one recorded last counts; of those recorded at once, the
  one with the greater id.
- No target is dropped in silence: :func:`target_findings` names each that cannot count, and a target for
  somebody of whom nothing was measured has a row of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from crm.errors import Problem
from crm.groups import TOTAL

#: KPIs that add up over time and groups, so that a share of the period should bring that share of the target.
FLOWS: Final = frozenset({"leads_created", "deals_created", "deals_won", "revenue", "activities"})
#: KPIs of which less is better.
LOWER: Final = frozenset(
    {
        "activities_per_won_deal",
        "cohort_churn",
        "customer_churn",
        "cycle_won_mean",
        "cycle_won_median",
        "deal_time_between_stages",
        "deal_time_in_stage",
        "lead_response_time",
        "lead_response_time_km",
        "lead_time_between_stages",
        "lead_time_in_stage",
        "sales_cycle_km",
    }
)
#: Midnight of one date comes at moments so far apart, from one time zone to another.
_SAME_DATE = pd.Timedelta(hours=14)
_SCOPES = {"user": "owner", "team": "team"}


@dataclass(frozen=True)
class _Goal:
    """What one KPI should reach in one period, for one scope."""

    scope: str
    scope_id: str
    value: float
    target_id: str


def with_targets(
    rows: pd.DataFrame,
    targets: pd.DataFrame,
    users: pd.DataFrame,
    as_of: pd.Timestamp,
    *,
    prorate: bool = False,
) -> pd.DataFrame:
    """Set ``target``, ``attainment``, ``pace`` and ``still_missing`` of each row that has a target.

    Parameters
    ----------
    rows : DataFrame, shape (n_rows, n_columns)
        With ``kpi``, ``period_start``, ``period_end``, ``by`` (the group asked for; empty where none was),
        ``group`` and ``value``; ``detail`` and ``note`` where there are any. Only rows without a detail have
        targets.
    targets, users : DataFrame
        As known at ``as_of``.
    as_of : Timestamp
    prorate : bool
        Whether a period without a target of its own takes its share, by time, of the targets that together
        cover it just once; a ratio or a level takes the one that contains it as it is.

    Returns
    -------
    DataFrame
        ``attainment``: the value over the target; of what should be low, the target over the value. ``pace``:
        for a flow the attainment less the share of the period that is gone, so that 0 is on course; else by
        how much the value is better than the target. ``still_missing``: by how much the target is missed; 0
        where it is reached. NaN without a target, and what would be divided by zero. Further rows, with a
        ``note``, for targets of users or teams of which nothing was measured: 0 of a flow, else no value; no
        value either where the history knows nobody of that id.
    """
    rows = rows.assign(target=np.nan)
    if "note" not in rows.columns:
        rows["note"] = ""
    if len(targets) and len(rows):
        named = set(targets["kpi"])
        parts = [
            _with_goals(part, targets, users, prorate) if kpi in named else part
            for (kpi, _, _), part in rows.groupby(["kpi", "period_start", "period_end"], sort=False)
        ]
        rows = pd.concat(parts, ignore_index=True)
    return _judged(rows, as_of)


def target_findings(targets: pd.DataFrame, users: pd.DataFrame, kpis: Collection[str]) -> list[Problem]:
    """Name each target that cannot count, and why.

    Parameters
    ----------
    targets, users : DataFrame
    kpis : collection of str
        The names of the KPIs there are.

    Returns
    -------
    list of Problem
        For a target of an unknown KPI, user or team, and one that a later one replaces.
    """
    found = []
    last = _last(targets)["target_id"]
    replaced = ~targets["target_id"].isin(last)
    for row, is_replaced in zip(targets.to_dict("records"), replaced, strict=True):
        where = f"targets, target_id {row['target_id']}"
        scope, scope_id = str(row["scope"]), _text(row["scope_id"])
        if row["kpi"] not in kpis:
            found.append(Problem(where, "kpi", str(row["kpi"]), f"no such KPI; one of {', '.join(kpis)}"))
        elif _is_unknown(scope, scope_id, users):
            remedy = f"no {scope} is called so; correct it, or add the {scope} to the users"
            found.append(Problem(where, "scope_id", scope_id, remedy))
        elif is_replaced:
            remedy = "another target for the same KPI, period and scope was recorded later and counts instead"
            found.append(Problem(where, "value", f"{row['value']:g}", remedy))
    return found


def _with_goals(
    part: pd.DataFrame, targets: pd.DataFrame, users: pd.DataFrame, prorate: bool
) -> pd.DataFrame:
    """Give the rows of one KPI and period their targets, and rows to the targets that have none."""
    first = part.iloc[0]
    goals = _goals(targets[targets["kpi"] == first["kpi"]], first, prorate)
    if not goals:
        return part
    plain = part["detail"] == "" if "detail" in part.columns else pd.Series(True, index=part.index)
    by = str(first["by"])
    of_group = {g.scope_id: g for g in goals if _SCOPES.get(g.scope) == by}
    of_total = _total(goals, str(first["kpi"]))
    is_total = part["group"] == TOTAL
    values = part["group"].map({name: goal.value for name, goal in of_group.items()}).astype("float64")
    part = part.assign(target=values.mask(is_total, of_total).where(plain))
    unknown = [g for g in goals if _is_unknown(g.scope, g.scope_id, users)]
    if unknown:
        words = "; ".join(f"target {g.target_id} names an unknown {g.scope}, {g.scope_id}" for g in unknown)
        notes = [f"{note}; {words}" if note else words for note in part["note"]]
        part = part.assign(note=part["note"].where(~(is_total & plain), pd.Series(notes, index=part.index)))
    alone = [goal for name, goal in of_group.items() if name not in set(part["group"])]
    return pd.concat([part, *(_row_of(first, goal, users) for goal in alone)], ignore_index=True)


def _row_of(first: pd.Series, goal: _Goal, users: pd.DataFrame) -> pd.DataFrame:
    """Give a row to a target of somebody of whom nothing was measured."""
    kept = {"kpi", "period", "period_start", "period_end", "as_of", "by", "unit"}
    row = {name: first[name] if name in kept else np.nan for name in first.index}
    unknown = _is_unknown(goal.scope, goal.scope_id, users)
    note = f"target {goal.target_id} names an unknown {goal.scope}" if unknown else "nothing measured"
    is_flow = str(first["kpi"]) in FLOWS and not unknown
    row |= {"group": goal.scope_id, "detail": "", "note": note, "target": goal.value}
    row |= {"value": 0.0 if is_flow else np.nan, "n": 0.0}
    return pd.DataFrame([row], columns=[*first.index, *(set(row) - set(first.index))])


def _goals(targets: pd.DataFrame, row: pd.Series, prorate: bool) -> list[_Goal]:
    """Give what counts of one KPI's targets for the period of a row."""
    start, end = row["period_start"], row["period_end"]
    same = (targets["period_start"] - start).abs() <= _SAME_DATE
    same &= (targets["period_end"] - end).abs() <= _SAME_DATE
    # Of a day or less, another day's target would be as near.
    if end - start <= 2 * _SAME_DATE:
        same = (targets["period_start"] == start) & (targets["period_end"] == end)
    exact = _last(targets[same], whole_period=False)
    goals = [
        _Goal(str(t.scope), _text(t.scope_id), float(str(t.value)), str(t.target_id))
        for t in exact.itertuples()
    ]
    if not prorate:
        return goals
    there = {(goal.scope, goal.scope_id) for goal in goals}
    touching = _last(targets[(targets["period_start"] < end) & (targets["period_end"] > start)])
    keys = [touching["scope"], touching["scope_id"].fillna("")]
    for (scope, scope_id), some in touching.groupby(keys, sort=True):
        value = _prorated(some, start, end, str(row["kpi"]) in FLOWS)
        if (scope, scope_id) not in there and not np.isnan(value):
            goals.append(_Goal(str(scope), str(scope_id), value, ", ".join(some["target_id"])))
    return goals


def _prorated(some: pd.DataFrame, start: pd.Timestamp, end: pd.Timestamp, is_flow: bool) -> float:
    """Give a period's share of targets that together cover it just once; NaN where they do not."""
    first = some["period_start"].where(some["period_start"] > start, start)
    after = some["period_end"].where(some["period_end"] < end, end)
    overlap = after - first
    ordered = some.sort_values("period_start")
    gaps = ordered["period_start"].iloc[1:].to_numpy() != ordered["period_end"].iloc[:-1].to_numpy()
    if overlap.sum() != end - start or gaps.any():
        return np.nan
    if not is_flow:
        return float(some["value"].iloc[0]) if len(some) == 1 else np.nan
    return float((some["value"] * (overlap / (some["period_end"] - some["period_start"]))).sum())


def _last(targets: pd.DataFrame, *, whole_period: bool = True) -> pd.DataFrame:
    """Give of each KPI, scope and period the target recorded last."""
    period = ["period_start", "period_end"] if whole_period else []
    ordered = targets.assign(whose=targets["scope_id"].fillna("")).sort_values(["recorded_at", "target_id"])
    return ordered.drop_duplicates(["kpi", "scope", "whose", *period], keep="last")


def _total(goals: list[_Goal], kpi: str) -> float:
    company = [goal.value for goal in goals if goal.scope == "company"]
    if company:
        return company[-1]
    for scope in ("team", "user"):
        values = [goal.value for goal in goals if goal.scope == scope]
        if values and kpi in FLOWS:
            return sum(values)
    return np.nan


def _is_unknown(scope: str, scope_id: str, users: pd.DataFrame) -> bool:
    """Say whether the history names its users, and none, or no team, is called so."""
    column = {"user": "user_id", "team": "team"}.get(scope)
    return column is not None and bool(len(users)) and scope_id not in set(users[column].dropna())


def _judged(rows: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    value, target = rows["value"].astype("float64"), rows["target"]
    is_lower, is_flow = rows["kpi"].isin(LOWER), rows["kpi"].isin(FLOWS)
    above, below = value.mask(is_lower, target), target.mask(is_lower, value)
    attainment = above / below.where(below != 0)
    gone = (as_of - rows["period_start"]) / (rows["period_end"] - rows["period_start"])
    better = (value - target).where(~is_lower, target - value)
    return rows.assign(
        attainment=attainment,
        pace=better.mask(is_flow, attainment - gone.clip(0.0, 1.0)),
        still_missing=(-better).clip(lower=0.0),
    )


def _text(value: object) -> str:
    return "" if pd.isna(value) else str(value)  # type: ignore[call-overload]
