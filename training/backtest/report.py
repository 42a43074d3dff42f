"""The report as plain JSON, per cutoff and over all, beside the baselines; see ``docs/backtest.md``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from training.backtest.calls import reach
from training.backtest.cutoffs import Plan
from training.backtest.probabilities import (
    SHARES,
    Judged,
    gain_curves,
    measure,
    reliability,
)
from training.backtest.resampling import LEVEL, finite
from training.backtest.revenue import judge_forecasts
from training.backtest.settings import BacktestSettings
from training.backtest.timing import judge_timing
from training.backtest.truth import Followed, judged_rows

#: Raised whenever a name or a meaning in the report changes.
SCHEMA_VERSION = 1
#: Resamples of a single cutoff's intervals, at most.
_RESAMPLES_EACH = 200
#: Rows of all resamples together, at most, unless these would be fewer than are enough.
_ROWS_DRAWN, _FEWEST_RESAMPLES = 40_000_000, 100
#: Rows with an answer below which nothing is measured.
_FEWEST = 2


def make_report(
    plan: Plan,
    settings: BacktestSettings,
    tables: Mapping[str, str],
    cutoffs: Sequence[Mapping[str, Any]],
    followed: Mapping[str, Followed],
    forecasts: pd.DataFrame,
) -> dict[str, Any]:
    """Give the report of a backtest.

    Parameters
    ----------
    plan : Plan
    settings : BacktestSettings
    tables : mapping of str to str
        Digest of each table of the history.
    cutoffs : sequence of mapping
        What is told of each cutoff, in the order of time.
    followed : mapping of {"deal", "lead"} to Followed
    forecasts : DataFrame
        With what came.

    Returns
    -------
    dict
        Plain JSON, the same for the same history, settings and code: it holds no time of day.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "history": dict(tables),
        "settings": settings.to_json_dict(),
        "plan": {
            "every": plan.every,
            "possible": plan.possible,
            "end": plan.end.isoformat(),
            "cutoffs": [moment.isoformat() for moment in plan.cutoffs],
        },
        "interval_level": LEVEL,
        "cutoffs": [dict(one) for one in cutoffs],
        "deals": _section(followed["deal"], settings),
        "leads": _section(followed["lead"], settings),
        "forecast": {
            "currency": str(forecasts["currency"].iloc[0]) if len(forecasts) else "",
            "horizons": judge_forecasts(forecasts, settings.resamples, settings.seed),
            "rows": _forecast_rows(forecasts),
        },
    }


def _section(followed: Followed, settings: BacktestSettings) -> dict[str, Any]:
    entity, table, judged = followed.entity, followed.table, followed.judged
    section: dict[str, Any] = {
        "won_means": followed.definition,
        "n_said": len(table),
        "n_judged": len(judged),
        "records": int(judged[f"{entity}_id"].nunique()),
        "n_won": int(judged["is_won"].sum()),
    }
    if entity == "lead" and len(table):
        section["horizon_days"] = finite(float(table["horizon_days"].iloc[-1]))
    if len(judged) < _FEWEST:
        return section | {"status": "nothing to judge"}
    rows, resamples = judged_rows(judged, entity), resamples_for(len(judged), settings.resamples)
    return section | {
        "status": "judged",
        "resamples": resamples,
        "measures": _plain(measure(rows, resamples, settings.seed)),
        "reliability": reliability(rows, resamples, settings.seed),
        "gain_shares": [float(share) for share in SHARES],
        "gains": gain_curves(rows),
        "calls": reach(judged, entity, settings.calls, resamples, settings.seed),
        "timing": judge_timing(judged, resamples, settings.seed) if entity == "deal" else {},
        "by_cutoff": [
            _one(moment, judged[judged["cutoff"] == moment], entity, settings)
            for moment in sorted(judged["cutoff"].unique())
        ],
    }


def resamples_for(rows: int, asked: int) -> int:
    """Give how many resamples to draw of so many rows: fewer where there are many, but enough for a range.

    Examples
    --------
    >>> resamples_for(8_000, 500), resamples_for(100_000, 500), resamples_for(3_000_000, 500)
    (500, 400, 100)
    """
    return min(asked, max(_ROWS_DRAWN // max(rows, 1), _FEWEST_RESAMPLES))


def _one(moment: Any, judged: pd.DataFrame, entity: str, settings: BacktestSettings) -> dict[str, Any]:
    rows: Judged = judged_rows(judged, entity)
    resamples = resamples_for(len(rows), min(settings.resamples, _RESAMPLES_EACH))
    found: dict[str, Any] = {
        "cutoff": pd.Timestamp(moment).isoformat(),
        "n": len(rows),
        "n_won": int(rows.happened.sum()),
        "measures": _plain(measure(rows, resamples, settings.seed)),
    }
    if entity == "deal":
        found["timing"] = judge_timing(judged, resamples, settings.seed)
    return found


def _plain(measures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        method: {name: one.to_json_dict() for name, one in found.items()}
        for method, found in measures.items()
    }


def _forecast_rows(forecasts: pd.DataFrame) -> list[dict[str, Any]]:
    if len(forecasts) == 0:
        return []
    rows = forecasts.drop(columns=["currency"]).to_dict("records")
    return [{str(name): _cell(value) for name, value in row.items()} for row in rows]


def _cell(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
