"""GET /v1/kpis and /v1/kpis/trends: KPIs with the counts behind them, and their normal ranges."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from features.kpis import KpiSettings
from serving.answering.figure_schemas import KpisAnswer, KpisQuery, TrendsAnswer, TrendsQuery
from serving.answering.kpi_figures import KpiQuestion, kpi_figures, trend_figures
from serving.http.endpoint import Call, Endpoint
from serving.http.resources.asking import (
    FIGURE_ROLES,
    NOT_ENOUGH_DATA,
    figure,
    in_store,
    money_of,
    parts,
    scope_of,
    source_of,
)


async def _kpis(call: Call) -> Any:
    """Measure KPIs."""
    query: KpisQuery = call.query
    more = {"periods": parts(query.period), "days": (query.from_, query.to), "every": query.every}
    return await _asked(call, query, kpi_figures, more)


async def _trends(call: Call) -> Any:
    """Follow KPIs."""
    query: TrendsQuery = call.query
    more = {"every": query.every, "last": query.last, "level": query.level, "explain": query.explain}
    return await _asked(call, query, trend_figures, more)


async def _asked(call: Call, query: Any, make: Any, more: dict[str, Any]) -> Any:
    def look(connection: sa.Connection) -> tuple[Any, KpiQuestion]:
        settings = KpiSettings(query.answer_hours, query.reply_days, (), query.inactive_days)
        asked = KpiQuestion(
            names=parts(query.kpi),
            by=query.by or None,
            as_of=query.as_of,
            now=call.now,
            language=query.language or call.language,
            scope=scope_of(call, connection),
            zone=query.zone,
            fiscal_start=query.fiscal_start,
            settings=settings,
            **money_of(call),
            **more,
        )
        return source_of(call, connection), asked

    known, asked = await in_store(call, look)
    return await figure(call, make, asked, known)


_ROW = {
    "kpi": "win_rate",
    "label": "Win rate",
    "period": "2026-Q3",
    "period_start": "2026-07-01T00:00:00+00:00",
    "period_end": "2026-10-01T00:00:00+00:00",
    "as_of": "2026-09-07T04:00:00+00:00",
    "by": "",
    "group": "total",
    "detail": "",
    "value": 0.31,
    "unit": "ratio",
    "numerator": 31.0,
    "denominator": 100.0,
    "n": 100.0,
    "censored": 0.0,
    "low": 0.228,
    "high": 0.406,
    "target": None,
    "attainment": None,
    "pace": None,
    "still_missing": None,
    "note": "",
}
_TREND = {
    "kpi": "win_rate",
    "label": "Win rate",
    "group": "total",
    "detail": "",
    "period": "2026-08",
    "period_start": "2026-08-01T00:00:00+00:00",
    "period_end": "2026-09-01T00:00:00+00:00",
    "value": 0.31,
    "unit": "ratio",
    "n": 34.0,
    "low": 0.18,
    "expected": 0.29,
    "high": 0.41,
    "method": "median",
    "n_past": 19,
    "is_flagged": False,
    "side": "",
    "verdict": "",
}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/kpis",
        operation="get_kpis",
        summary="KPIs of periods",
        description="Each with the counts behind it, as it was known at a moment; the quarter that was "
        "running where no period is named.",
        roles=FIGURE_ROLES,
        handle=_kpis,
        query=KpisQuery,
        answer=KpisAnswer,
        problems=(NOT_ENOUGH_DATA,),
        example={"kpi": "win_rate,revenue", "period": "2026-Q3"},
        answer_example={
            "as_of": "2026-09-07T04:00:00+00:00",
            "by": None,
            "scope": "all",
            "rows": [_ROW],
            "target_findings": [],
        },
    ),
    Endpoint(
        method="GET",
        path="/v1/kpis/trends",
        operation="get_kpi_trends",
        summary="KPIs beside their normal range",
        description="Each period as it was known when it ended, judged by the periods before it alone.",
        roles=FIGURE_ROLES,
        handle=_trends,
        query=TrendsQuery,
        answer=TrendsAnswer,
        problems=(NOT_ENOUGH_DATA,),
        example={"kpi": "win_rate", "every": "month"},
        answer_example={
            "as_of": "2026-09-07T04:00:00+00:00",
            "by": None,
            "level": 0.99,
            "scope": "all",
            "rows": [_TREND],
            "segments": [],
        },
    ),
)
