"""KPIs and their trends as answers: the commands' numbers, in the groups that the caller may see."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import pandas as pd

from crm.asked_periods import kpi_periods
from crm.errors import InputError
from crm.groups import TOTAL
from crm.history import History
from features.entry import Language
from features.kpis import KPIS, KpiSettings, measure_kpis
from features.kpis.anomalies import explain_flags
from features.kpis.targets import target_findings
from features.kpis.trends import find_trends, measure_series, past_periods
from serving.answering.kept_history import Source, rates_of
from serving.answering.plain_rows import plain, plain_rows
from serving.answering.scope import Scope, total_of

#: A question measures so many periods at most, and has so many flags explained, the latest.
MOST_PERIODS, MOST_EXPLAINED = 60, 3


@dataclass(frozen=True)
class KpiQuestion:
    """What is to be measured.

    Parameters
    ----------
    names : tuple of str
        Of KPIs; all where it is empty.
    by : str or None
    as_of : datetime or None
        Just after the last thing recorded, where it is not given.
    now : datetime
    language : {"en", "fr"}
    scope : Scope
    zone : str
    fiscal_start : int
    rates, currency : str or None
        Of the service's settings.
    settings : KpiSettings
    periods, days : as :func:`crm.asked_periods.kpi_periods` reads them
    every : str or None
        Also what a period of a trend is.
    last : int
        Periods of a trend that are shown.
    level : float
        Of the normal range.
    explain : bool
        Whether the segments behind flags are looked for, which takes seconds a flag.
    """

    names: tuple[str, ...]
    by: str | None
    as_of: datetime | None
    now: datetime
    language: Language
    scope: Scope
    zone: str = "UTC"
    fiscal_start: int = 1
    rates: str | None = None
    currency: str | None = None
    settings: KpiSettings = field(default_factory=KpiSettings)
    periods: tuple[str, ...] = ()
    days: tuple[str | None, str | None] = (None, None)
    every: str | None = None
    last: int = 1
    level: float = 0.99
    explain: bool = False


def kpi_figures(source: Source, asked: KpiQuestion) -> dict[str, Any]:
    """Measure KPIs, as ``vigie kpis`` does, and give the groups that may be seen.

    Raises
    ------
    VigieError
        As :func:`features.kpis.measure_kpis` and :meth:`serving.answering.scope.Scope.groups`.
    """
    history = source.read()
    moment = source.moment(asked.as_of, asked.now)
    periods = kpi_periods(asked.periods, asked.days, asked.every, moment, asked.zone, asked.fiscal_start)
    if len(periods) > MOST_PERIODS:
        raise InputError(
            f"{len(periods)} periods are asked for: at most {MOST_PERIODS} at once; ask for fewer ones"
        )

    def measured(of: History, by: str | None) -> pd.DataFrame:
        return measure_kpis(
            of,
            periods,
            moment,
            names=asked.names or None,
            by=by,
            rates=rates_of(asked.rates, asked.currency),
            zone=asked.zone,
            settings=asked.settings,
        )

    rows = _seen(source, asked, moment, measured)
    findings = []
    if asked.scope.is_all:
        targets = history.targets[history.targets["recorded_at"] < moment]
        findings = [vars(problem) for problem in target_findings(targets, history.users, list(KPIS))]
    return {
        "as_of": plain(moment),
        "by": asked.by,
        "scope": "all" if asked.scope.is_all else "own",
        "rows": _labelled(rows, asked.language),
        "target_findings": findings,
    }


def trend_figures(source: Source, asked: KpiQuestion) -> dict[str, Any]:
    """Follow KPIs, as ``vigie trends`` does, and give the groups that may be seen.

    The segments behind a flag may be anybody's, so only who may see everything is told.

    Raises
    ------
    VigieError
        As :func:`features.kpis.trends.measure_series` and :meth:`serving.answering.scope.Scope.groups`.
    """
    history = source.read()
    moment = source.moment(asked.as_of, asked.now)
    unit = asked.every or "month"
    periods = past_periods(history, moment, unit, zone=asked.zone, fiscal_start=asked.fiscal_start)
    rates = rates_of(asked.rates, asked.currency)

    def measured(of: History, by: str | None) -> pd.DataFrame:
        return measure_series(
            of,
            periods,
            moment,
            names=asked.names or None,
            by=by,
            rates=rates,
            zone=asked.zone,
            settings=asked.settings,
        )

    found = find_trends(_seen(source, asked, moment, measured), asked.level, shown=asked.last)
    segments: list[dict[str, Any]] = []
    if asked.explain and asked.scope.is_all:
        flagged = found[found["is_flagged"] & (found["group"] == TOTAL)]
        flagged = flagged.sort_values("period_start", kind="stable").tail(MOST_EXPLAINED)
        behind = explain_flags(
            history, flagged, periods, rates=rates, zone=asked.zone, settings=asked.settings
        )
        segments = plain_rows(behind)
    return {
        "as_of": plain(moment),
        "by": asked.by,
        "level": asked.level,
        "scope": "all" if asked.scope.is_all else "own",
        "rows": _labelled(found, asked.language),
        "segments": segments,
    }


class _Measure(Protocol):
    def __call__(self, of: History, by: str | None) -> pd.DataFrame: ...


def _seen(source: Source, asked: KpiQuestion, moment: pd.Timestamp, measured: _Measure) -> pd.DataFrame:
    """Give the rows that may be seen: the scope's total first, then its groups."""
    history = source.read()
    seen = asked.scope.groups(history, asked.by)
    if seen is None:
        return measured(history, asked.by)
    total = total_of(asked.scope, history, moment)
    whole = measured(total.history, total.by)
    mine = whole[whole["group"] == total.group].assign(group=TOTAL, by=asked.by or "")
    if asked.by is None:
        return mine.reset_index(drop=True)
    parts = measured(history, asked.by)
    return pd.concat([mine, parts[parts["group"].isin(seen)]], ignore_index=True)


def _labelled(rows: pd.DataFrame, language: Language) -> list[dict[str, Any]]:
    labels = [KPIS[str(name)].label(language) for name in rows["kpi"]]
    return plain_rows(rows.assign(label=labels))
