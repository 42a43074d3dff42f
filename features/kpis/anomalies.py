"""Why a KPI left its normal range: the segment that brought most of the change, whatever the grouping.

The period is compared with the mean of the periods before it (for a ratio, with the ratio of their sums),
and the change is split by every grouping there is (see :mod:`features.kpis.contributions`). A large segment
brings much of any change; the one shown goes furthest beyond its own size (the surprise of Bhagwan et al.
2014, Adtributor, NSDI).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd

from crm.groups import TOTAL, group_of, groups_there_are
from crm.history import History
from crm.known import known_at
from crm.money import Rates
from crm.periods import Period
from features.kpis.catalogue import KPIS
from features.kpis.contributions import ratio_contributions, sum_contributions
from features.kpis.evidence import Evidence, KpiSettings, gather
from features.kpis.placing import Asked, placed

COLUMNS: Final = (
    "kpi",
    "detail",
    "period",
    "by",
    "segment",
    "was",
    "is",
    "change",
    "effect",
    "share",
    "rate_effect",
    "mix_effect",
    "expected",
    "n_segments",
)
#: A period is compared with so many before it.
COMPARED: Final = 12
#: A grouping with more segments than this names records, not segments.
MOST_SEGMENTS: Final = 50
#: Columns that an outcome fills in, or that are no segment.
_NO_SEGMENTS = frozenset({"outcome", "stage", "currency"})
#: A grouping whose groups end all alike, for more than this share of closed records, is the outcome renamed.
_MOST_PURE, _FEWEST_CLOSED = 0.5, 5


def explain_flags(
    history: History,
    flagged: pd.DataFrame,
    periods: Sequence[Period],
    *,
    groupings: Iterable[str] | None = None,
    rates: Rates | None = None,
    zone: str = "UTC",
    settings: KpiSettings | None = None,
) -> pd.DataFrame:
    """Name the segment that explains most of each flagged change, for each grouping.

    Parameters
    ----------
    history : History
    flagged : DataFrame
        Rows of :func:`~features.kpis.trends.find_trends` whose group is the total.
    periods : sequence of Period
        Those of the series; each flagged period is compared with up to :data:`COMPARED` of them before it.
    groupings : iterable of str, optional
        As :func:`crm.groups.group_of` names them; by default :func:`segments_there_are` at the period's end.
    rates, zone, settings
        As for the series.

    Returns
    -------
    DataFrame
        For each flagged row the groupings, the one that explains most first, each with its foremost
        segment: ``was``, ``is`` and ``change`` of the whole KPI; ``effect``, the segment's part of the
        change, ``share`` of it, and ``expected``, its part had all segments changed alike; a ratio's
        ``rate_effect`` and ``mix_effect``. None for a KPI whose groups do not add up to its total, such as a
        median.
    """
    ordered = sorted(periods, key=lambda period: period.start)
    found: list[dict[str, object]] = []
    for start, some in flagged[flagged["group"] == TOTAL].groupby("period_start", sort=False):
        place = next(place for place, period in enumerate(ordered) if period.start == start)
        tables = {table for name in some["kpi"] for table in KPIS[name].tables}
        gathered = [
            (period, gather(history, period.end, rates=rates, zone=zone, settings=settings, tables=tables))
            for period in ordered[max(place - COMPARED, 0) : place + 1]
        ]
        names = segments_there_are(history, ordered[place].end) if groupings is None else list(groupings)
        for row in some.to_dict("records"):
            found += _explained(row, gathered, names)
    if not found:
        return pd.DataFrame(columns=list(COLUMNS))
    frame = pd.DataFrame(found)
    frame["beyond"] = (frame["effect"] - frame["expected"]) / frame["change"]
    order = frame.groupby(["kpi", "detail", "period"], sort=False).ngroup()
    frame = frame.assign(order=order).sort_values(
        ["order", "beyond", "by"], ascending=[True, False, True], ignore_index=True
    )
    return frame[list(COLUMNS)]


def segments_there_are(history: History, as_of: pd.Timestamp) -> list[str]:
    """Give the groupings of leads and deals worth looking at as of a moment.

    Those with 2 to :data:`MOST_SEGMENTS` groups, but not those that are the outcome by another name (a note
    written when a deal is closed, its last stage).
    """
    known = known_at(history, as_of)
    found: list[str] = []
    for records in (known.deals, known.leads):
        if len(records):
            names = [n for n in groups_there_are(known, records) if n not in _NO_SEGMENTS | set(found)]
            found += [name for name in names if _is_segment(records, group_of(known, records, name))]
    return found


def _is_segment(records: pd.DataFrame, groups: pd.Series) -> bool:
    if not 2 <= groups.nunique() <= MOST_SEGMENTS:
        return False
    closed = records["outcome"].notna()
    won = (records["outcome"] == "won")[closed].groupby(groups[closed]).agg(["mean", "size"])
    if won.empty or not 0 < (records["outcome"][closed] == "won").mean() < 1:
        return True
    pure = won["mean"].isin([0.0, 1.0]) & (won["size"] >= _FEWEST_CLOSED)
    return bool(won.loc[pure, "size"].sum() <= _MOST_PURE * won["size"].sum())


def _explained(
    row: Mapping[Any, Any], gathered: Sequence[tuple[Period, Evidence]], groupings: Iterable[str]
) -> list[dict[str, object]]:
    kpi = KPIS[row["kpi"]]
    found: list[dict[str, object]] = []
    for by in groupings:
        parts = []
        for period, evidence in gathered:
            grouped = replace(evidence, by=by)
            parts.append(placed([(Asked(kpi.name, kpi.unit, period), kpi.measure(grouped, period))], grouped))
        rows = pd.concat(parts, ignore_index=True)
        split = _split(rows[rows["detail"] == row["detail"]], row["period_start"])
        if split is not None:
            was, now, contributions = split
            first = contributions.iloc[0]
            names = ("segment", "effect", "share", "expected", "rate_effect", "mix_effect")
            found.append(
                {"kpi": row["kpi"], "detail": row["detail"], "period": row["period"], "by": by}
                | {"was": was, "is": now, "change": now - was, "n_segments": len(contributions)}
                | {name: first[name] for name in names}
            )
    return found


def _split(rows: pd.DataFrame, start: object) -> tuple[float, float, pd.DataFrame] | None:
    """Split the change of one KPI; None where its groups do not add up to its total."""
    is_total = rows["group"] == TOTAL
    is_now = rows["period_start"] == start
    if rows[~is_total].empty or not (is_now & is_total).any():
        return None
    if rows["denominator"].isna().all():
        return _split_sum(rows, is_total, is_now)
    return _split_ratio(rows, is_total, is_now)


def _split_sum(
    rows: pd.DataFrame, is_total: pd.Series, is_now: pd.Series
) -> tuple[float, float, pd.DataFrame] | None:
    if not _adds_up(rows, is_total, "value"):
        return None
    n_before = rows.loc[~is_now, "period_start"].nunique()
    before = rows[~is_now & ~is_total].groupby("group")["value"].sum() / n_before
    after = rows[is_now & ~is_total].groupby("group")["value"].sum()
    was, now = float(before.sum()), float(after.sum())
    return (was, now, sum_contributions(before, after)) if was != now else None


def _split_ratio(
    rows: pd.DataFrame, is_total: pd.Series, is_now: pd.Series
) -> tuple[float, float, pd.DataFrame] | None:
    sums = ["numerator", "denominator"]
    if not all(_adds_up(rows, is_total, name) for name in sums):
        return None
    now = rows[is_now & is_total].iloc[0]
    # A score in points is a ratio times a hundred.
    scale = now["value"] * now["denominator"] / now["numerator"] if now["numerator"] else 1.0
    before, after = (
        rows[some & ~is_total].groupby("group")[sums].sum().mul([scale, 1.0]) for some in (~is_now, is_now)
    )
    contributions = ratio_contributions(before, after)
    if contributions.empty or not np.isfinite(scale):
        return None
    wholes = [float(part["numerator"].sum() / part["denominator"].sum()) for part in (before, after)]
    return (wholes[0], wholes[1], contributions) if wholes[0] != wholes[1] else None


def _adds_up(rows: pd.DataFrame, is_total: pd.Series, name: str) -> bool:
    """Say whether the groups of each period sum to its total."""
    total = rows[is_total].groupby("period_start")[name].sum()
    groups = rows[~is_total].groupby("period_start")[name].sum().reindex(total.index).fillna(0.0)
    return bool(np.allclose(total, groups, rtol=1e-6, atol=1e-9))
