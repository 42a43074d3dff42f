"""GET /v1/forecast and /v1/forecast/moves: revenue of periods, and why it moved."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from crm.asked_periods import forecast_periods
from crm.groups import TOTAL
from crm.history import utc
from crm.store import Store
from serving.answering.figure_schemas import ForecastAnswer, ForecastQuery, MovesAnswer, MovesQuery
from serving.answering.forecast_figures import ForecastQuestion, forecast_figures, from_ledger
from serving.answering.fresh_forecasts import kept_answer, last_recorded_in
from serving.answering.move_figures import MoveQuestion, move_figures
from serving.answering.scope import total_of
from serving.http.endpoint import Call, Endpoint
from serving.http.problems import NO_MODEL, NOT_READY, Refusal
from serving.http.resources.asking import (
    FIGURE_ROLES,
    NOT_ENOUGH_DATA,
    figure,
    in_store,
    money_of,
    parts,
    refuse,
    refusing,
    scope_of,
    source_of,
)

#: Periods of one question.
MOST_PERIODS = 12


async def _forecast(call: Call) -> Any:
    """Give the forecast that the ledger holds where it is fresh, else make it."""
    query: ForecastQuery = call.query
    bundle = call.state.served.bundle
    if bundle is None:
        raise Refusal(NOT_READY)
    if "deal" not in bundle.models:
        raise Refusal(NO_MODEL, f"bundle {bundle.version} has no model of deals")

    def look(connection: sa.Connection) -> tuple[Any, Any, dict[str, Any] | None]:
        known, scope = source_of(call, connection), scope_of(call, connection)
        asked = ForecastQuestion(
            periods=parts(query.period),
            days=(query.from_, query.to),
            spans=parts(query.next),
            by=query.by or None,
            as_of=query.as_of,
            now=call.now,
            level=query.level,
            n_deals=query.deals,
            scope=scope,
            zone=query.zone,
            fiscal_start=query.fiscal_start,
            **money_of(call),
        )
        if len(asked.periods) + len(asked.spans) > MOST_PERIODS:
            raise refuse("period", "too_many", "", f"names more than {MOST_PERIODS} periods; ask for fewer")
        kept = None
        if query.origin == "any" and call.state.store is not None:
            kept = _kept(connection, call.state.store.history, asked, bundle.version)
        return known, asked, kept

    with refusing():
        known, asked, kept = await in_store(call, look)
    return kept if kept is not None else await figure(call, forecast_figures, asked, known)


def _kept(
    connection: sa.Connection, store: Store, asked: ForecastQuestion, version: str
) -> dict[str, Any] | None:
    """Give the ledger's answer; None where it has none that is as good as a new one."""
    last = last_recorded_in(connection, asked.now)
    if last is None:
        return None
    moment = None if asked.as_of is None else utc(asked.as_of)
    periods = forecast_periods(
        asked.periods,
        asked.days,
        asked.spans,
        last if moment is None else moment,
        asked.zone,
        asked.fiscal_start,
    )
    users = store.read(["users"])
    seen = asked.scope.groups(users, asked.by)
    total = total_of(asked.scope, users, last)
    if total.history is not users or (asked.by is not None and total.group != TOTAL and asked.by != total.by):
        # A sum of reps has no range in the ledger, whose groups are kept each on its own.
        return None
    groupings: list[str | None] = [asked.by if asked.by is not None else total.by]
    if asked.by is None and asked.scope.is_all:
        groupings += ["owner", "team"]
    found = kept_answer(
        connection,
        store,
        periods,
        by=groupings,
        level=asked.level,
        version=version,
        as_of=moment,
        last=last,
        now=asked.now,
        with_deals=asked.n_deals > 0,
    )
    if found is None or any(total.group not in entry.groups for entry in found):
        return None
    return from_ledger(found, asked.by, asked.scope, total.group, seen, asked.n_deals)


async def _moves(call: Call) -> Any:
    """Say why a forecast moved."""
    query: MovesQuery = call.query

    def look(connection: sa.Connection) -> tuple[Any, MoveQuestion]:
        scope = scope_of(call, connection)
        asked = MoveQuestion(query.before, query.after, query.period, query.by, query.deals, scope)
        return source_of(call, connection), asked

    known, asked = await in_store(call, look)
    return await figure(call, move_figures, asked, known)


_ROW = {
    "group": "total",
    "closed": 41000.0,
    "open": 22150.5,
    "new": 9800.0,
    "mean": 72950.5,
    "low": 61200.0,
    "median": 72400.0,
    "high": 86010.0,
    "stage_weighted": 80100.0,
    "run_rate": 70050.0,
    "series": 69900.0,
    "commit": None,
    "quota": 75000.0,
    "attainment": 0.973,
    "pipeline": 118000.0,
    "coverage": 3.47,
    "coverage_needed": 3.1,
    "open_low": 14000.0,
    "open_median": 21900.0,
    "open_high": 30900.0,
    "new_low": 4100.0,
    "new_median": 9500.0,
    "new_high": 16200.0,
}
_KEPT = {
    "entry_id": "3f0c9a5be1d24407",
    "made_at": "2026-09-07T04:00:10+00:00",
    "as_of": "2026-09-07T04:00:00+00:00",
    "period": "2026-Q3",
    "period_start": "2026-07-01T00:00:00+00:00",
    "period_end": "2026-10-01T00:00:00+00:00",
    "by": None,
    "level": 0.8,
    "currency": "EUR",
    "model_version": "9f2c41d07a6be813",
    "seed": 7,
    "n_deals": 214,
    "total": {"closed": 41000.0, "open": 22150.5, "new": 9800.0, "mean": 72950.5},
}

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/forecast",
        operation="get_forecast",
        summary="Revenue of periods",
        description="Closed already, from open deals, from deals to come; with a range that is to hold what "
        "comes as often as it says. The running quarter and the next one where no period is named.",
        roles=FIGURE_ROLES,
        handle=_forecast,
        query=ForecastQuery,
        answer=ForecastAnswer,
        problems=(NOT_ENOUGH_DATA, NO_MODEL, NOT_READY),
        example={"period": "2026-Q3", "by": "owner"},
        answer_example={
            "as_of": "2026-09-07T04:00:00+00:00",
            "by": None,
            "level": 0.8,
            "currency": "EUR",
            "model_version": "9f2c41d07a6be813",
            "scope": "all",
            "notes": [],
            "periods": [
                {
                    "name": "2026-Q3",
                    "start": "2026-07-01T00:00:00+00:00",
                    "end": "2026-10-01T00:00:00+00:00",
                    "origin": "computed",
                    "entry_id": None,
                    "rows": [_ROW],
                    "deals": [],
                }
            ],
        },
    ),
    Endpoint(
        method="GET",
        path="/v1/forecast/moves",
        operation="get_forecast_moves",
        summary="Why a forecast moved",
        description="Two kept forecasts of one period, split into won, lost, pushed, changed, created; to "
        "the cent.",
        roles=FIGURE_ROLES,
        handle=_moves,
        query=MovesQuery,
        answer=MovesAnswer,
        problems=(NOT_ENOUGH_DATA,),
        example={"period": "2026-Q3"},
        answer_example={
            "scope": "all",
            "before": _KEPT,
            "after": {**_KEPT, "entry_id": "81d2e7c0a4b35f66", "as_of": "2026-09-14T04:00:00+00:00"},
            "difference": 0.0,
            "model_separable": True,
            "parts": {"total": {"before": 72950.5, "won": 1200.0, "lost": -1200.0, "after": 72950.5}},
            "deals": [],
        },
    ),
)
