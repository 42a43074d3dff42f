"""How right Vigie was, as an answer: past forecasts and past scores, of what the caller may see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import pandas as pd

from crm.errors import NotEnoughData
from crm.groups import TOTAL, group_of
from crm.history import History, utc
from crm.known import known_at
from crm.store import Store
from serving.answering.kept_history import Source, rates_of
from serving.answering.kept_scores import kept_scores
from serving.answering.plain_rows import plain, plain_rows
from serving.answering.scope import Scope
from serving.answering.track_record import ScoreRecord, score_record
from serving.forecast.accuracy import Accuracy, forecast_accuracy, pooled_by_horizon
from serving.forecast.entry_choice import of_period

#: Forecasts that one answer lists, the latest.
MOST_FORECASTS: Final = 500


@dataclass(frozen=True)
class AccuracyQuestion:
    """Whose past is asked for.

    Parameters
    ----------
    period : str or None
        Only forecasts of it.
    by : str or None
        Only forecasts grouped by it; an empty text for those without groups.
    as_of : datetime or None
        What had ended and was known then; else now.
    now : datetime
    scope : Scope
    rates, currency : str or None
        Of the service's settings.
    """

    period: str | None
    by: str | None
    as_of: datetime | None
    now: datetime
    scope: Scope
    rates: str | None = None
    currency: str | None = None


def accuracy_figures(source: Source, asked: AccuracyQuestion) -> dict[str, Any]:
    """Say how right forecasts (as ``vigie ledger accuracy``) and scores were.

    Raises
    ------
    VigieError
        As :func:`serving.forecast.accuracy.forecast_accuracy`, but for a ledger of which nothing has ended:
        ``forecasts`` is then null and ``forecasts_missing`` says why.
    """
    moment = utc(asked.as_of if asked.as_of is not None else asked.now)
    history = source.read()
    known = known_at(replace(history, activities=history.activities.iloc[:0]), moment)
    forecasts, missing = None, None
    try:
        forecasts = _forecasts(source, asked, known, moment)
    except NotEnoughData as error:
        missing = str(error)
    return {
        "as_of": plain(moment),
        "scope": "all" if asked.scope.is_all else "own",
        "forecasts": forecasts,
        "forecasts_missing": missing,
        "scores": [_scores(source, asked.scope, known, entity, moment) for entity in ("lead", "deal")],
    }


def _forecasts(
    source: Source, asked: AccuracyQuestion, known: History, moment: pd.Timestamp
) -> dict[str, Any]:
    by = asked.by
    seen = asked.scope.groups(known, by or "owner")
    if seen is not None and not by:
        by = "owner"
    entries = Store.open(source.history).forecasts(by=by)
    if asked.period is not None:
        entries = of_period(entries, asked.period)
    found = forecast_accuracy(entries, known, moment, rates_of(asked.rates, asked.currency))
    horizons, groups, forecasts = found.by_horizon, found.by_group, found.forecasts
    if seen is not None:
        forecasts = forecasts[forecasts["group"].isin(seen) & (forecasts["group"] != TOTAL)]
        groups = groups[groups["group"].isin(seen)]
        horizons = pooled_by_horizon(forecasts[forecasts["is_counted"]])
    return {
        "currency": found.currency,
        "n_pending": found.n_pending if seen is None else None,
        "n_replayed": _replayed(found, forecasts, everything=seen is None),
        "by_horizon": plain_rows(horizons),
        "by_group": plain_rows(groups),
        "forecasts": plain_rows(forecasts.tail(MOST_FORECASTS)),
        "n_forecasts": len(forecasts),
    }


def _replayed(found: Accuracy, forecasts: pd.DataFrame, *, everything: bool) -> int:
    return found.n_replayed if everything else int(forecasts["is_replayed"][forecasts["is_counted"]].sum())


def _scores(
    source: Source, scope: Scope, known: History, entity: str, moment: pd.Timestamp
) -> dict[str, Any]:
    log = kept_scores(source.history, entity, moment)
    records = known.leads if entity == "lead" else known.deals
    if scope.owners is not None:
        owners = group_of(known, records, "owner")
        seen = scope.groups(known, "owner") or frozenset()
        log = log[log["record_id"].isin(records[f"{entity}_id"][owners.isin(seen)])]
    model = source.models().models.get(entity)
    horizon = model.horizon_days if model is not None else None
    return {
        "entity": entity,
        "horizon_days": horizon,
        **_facts(score_record(log, known, entity, moment, horizon)),
    }


def _facts(found: ScoreRecord) -> dict[str, Any]:
    return {
        "n_judged": found.n_records,
        "n_pending": found.n_pending,
        "n_after_the_fact": found.n_after_the_fact,
        "brier": plain(found.brier),
        "brier_of_share": plain(found.brier_of_share),
        "bands": plain_rows(found.bands),
    }
