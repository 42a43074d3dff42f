"""What Vigie and its baselines said at a cutoff: made of what was known then, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.errors import VigieError
from crm.history import History
from crm.known import known_at
from crm.periods import Period, next_period
from features import Snapshots, open_at, prepare
from serving.bundle import ModelBundle
from serving.expected import deal_chances, look_up
from serving.outcome_model import OutcomeModel
from training.backtest.peers import BASELINES, ask_peers
from training.backtest.settings import BacktestSettings

Floats = npt.NDArray[np.float64]

#: Quantiles that are kept of each forecast: the ends of 95%, 80% and 50% ranges, and the median.
QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
#: What people use today, as a forecast's rows carry it.
FORECAST_BASELINES = ("stage_weighted", "run_rate", "series")
#: Figures of a forecast's rows that are kept.
_KEPT = (
    "closed", "open_mean", "new_mean", "mean", "p10", "p50", "p90", *FORECAST_BASELINES, "commit", "quota",
)  # fmt: skip
_DAY = pd.Timedelta(days=1)


class RevenueForecast(Protocol):
    """What is used of a forecast."""

    currency: str
    rows: pd.DataFrame
    draws: Floats

    def quantile(self, level: float) -> Floats:
        """Give the revenue not exceeded with this chance, shape (periods, groups)."""
        ...


Forecaster = Callable[[ModelBundle, History, pd.Timestamp, Sequence[Period], BacktestSettings], Any]


@dataclass(frozen=True)
class Predictions:
    """What was said at one cutoff.

    Parameters
    ----------
    cutoff : Timestamp
    deals, leads : DataFrame
        One row a record open then, with what each method said.
    forecasts : DataFrame
        One row a horizon.
    draws : ndarray of shape (horizons, draws)
        Simulated totals behind the forecasts.
    facts : dict
        Plain JSON: ``status`` and ``reason`` by kind of record, and what the baselines lacked.
    """

    cutoff: pd.Timestamp
    deals: pd.DataFrame
    leads: pd.DataFrame
    forecasts: pd.DataFrame
    draws: Floats
    facts: dict[str, Any]


def predict(
    history: History,
    bundle: ModelBundle,
    cutoff: pd.Timestamp,
    settings: BacktestSettings,
    forecaster: Forecaster | None,
) -> Predictions:
    """Score what was open at a cutoff and forecast what would come, as it would have been done then.

    Parameters
    ----------
    history : History
        Nothing recorded at the cutoff or later is looked at.
    bundle : ModelBundle
        Trained until ``cutoff``.
    cutoff : Timestamp
    settings : BacktestSettings
    forecaster : callable, optional
        None for no forecasts.
    """
    known = known_at(history, cutoff)
    facts: dict[str, Any] = {"cutoff": cutoff.isoformat(), "model_version": bundle.version, "models": {}}
    tables = {}
    for entity in ("deal", "lead"):
        model = bundle.models.get(entity)
        section: dict[str, Any] = {"status": "none", "n_open": 0}
        tables[entity] = _empty(entity)
        if model is not None:
            section = {"status": bundle.report["models"][entity]["status"], "n_open": 0}
            ids = [] if model.too_early else [str(one) for one in open_at(known, entity, cutoff)]
            if ids:
                tables[entity], told = _ask(known, model, ids, cutoff, settings)
                section |= {"n_open": len(ids), **told}
        facts["models"][entity] = section
    forecasts, draws, facts["forecast"] = _forecast(known, bundle, cutoff, settings, forecaster)
    return Predictions(cutoff, tables["deal"], tables["lead"], forecasts, draws, facts)


def _ask(
    known: History, model: OutcomeModel, ids: list[str], cutoff: pd.Timestamp, settings: BacktestSettings
) -> tuple[pd.DataFrame, dict[str, Any]]:
    peers = ask_peers(known, model, ids, cutoff, settings)
    moments = np.full(len(ids), cutoff.tz_localize(None).to_datetime64()).astype("datetime64[us]")
    snapshots, prepared = Snapshots(ids, moments), prepare(known, model.spec)
    records = known.deals if model.entity == "deal" else known.leads
    own = records.set_index(f"{model.entity}_id").loc[ids]
    table = pd.DataFrame(
        {
            "cutoff": [cutoff] * len(ids),
            f"{model.entity}_id": ids,
            "owner_id": own["owner_id"].to_numpy(),
            "stage": own["stage"].to_numpy(),
            "created_at": own["created_at"].to_numpy(),
        }
    )
    if model.entity == "deal":
        chances = deal_chances(model, prepared, snapshots)
        table["amount"], table["expected_amount"] = chances.amount, chances.expected_amount
        table["vigie"] = chances.win_probability
        days = np.full((len(ids), 3), np.nan)
        if chances.timing is not None:
            start, end = chances.timing.shortest_interval(0.8)
            median = chances.timing.quantile(np.full((len(chances.rows), 1), 0.5))[:, 0]
            days[chances.rows] = np.column_stack([start, median, end])
        for place, name in enumerate(("p10", "p50", "p90")):
            table[f"close_{name}_days"] = days[:, place]
            table[f"stage_{name}_days"] = peers.days[:, place]
    else:
        seen = look_up(model, prepared, snapshots)
        table["horizon_days"] = np.nan if model.horizon_days is None else model.horizon_days
        table["vigie"] = model.probability(model.margin(seen.x))
    for name in BASELINES:
        table[name] = peers.answers[name]
    dtypes = {name: _empty(model.entity)[name].dtype for name in table}
    told = {"baselines_learned_from": peers.n_learned, "baselines_fell_back": list(peers.fell_back)}
    return table.astype(dtypes), told


def _empty(entity: str) -> pd.DataFrame:
    numbers = {
        "deal": ["amount", "expected_amount", "vigie"]
        + [f"{kind}_{name}_days" for name in ("p10", "p50", "p90") for kind in ("close", "stage")],
        "lead": ["horizon_days", "vigie"],
    }[entity]
    dtypes = {
        "cutoff": "datetime64[us, UTC]",
        f"{entity}_id": "str",
        "owner_id": "str",
        "stage": "str",
        "created_at": "datetime64[us, UTC]",
        **dict.fromkeys([*numbers, *BASELINES], "float64"),
    }
    return pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in dtypes.items()})


def quantile_name(level: float) -> str:
    """Give the column that holds a quantile.

    Examples
    --------
    >>> quantile_name(0.025), quantile_name(0.5)
    ('q025', 'q500')
    """
    return f"q{round(level * 1000):03d}"


def _forecast(
    known: History,
    bundle: ModelBundle,
    cutoff: pd.Timestamp,
    settings: BacktestSettings,
    forecaster: Forecaster | None,
) -> tuple[pd.DataFrame, Floats, dict[str, Any]]:
    nothing = pd.DataFrame(), np.empty((0, 0))
    if forecaster is None:
        return *nothing, {"status": "not asked"}
    model = bundle.models.get("deal")
    if model is None or model.too_early:
        return *nothing, {"status": "too_early"}
    periods = [next_period(horizon, cutoff) for horizon in settings.horizons]
    try:
        made: RevenueForecast = forecaster(bundle, known, cutoff, periods, settings)
    except VigieError as error:
        return *nothing, {"status": "failed", "reason": str(error)}
    rows = made.rows[made.rows["group"] == "total"].reset_index(drop=True)
    found = pd.DataFrame(
        {
            "cutoff": pd.Series([cutoff] * len(periods), dtype="datetime64[us, UTC]"),
            "horizon": list(settings.horizons),
            "period_start": pd.Series([p.start for p in periods], dtype="datetime64[us, UTC]"),
            "period_end": pd.Series([p.end for p in periods], dtype="datetime64[us, UTC]"),
            "currency": made.currency,
        }
    )
    for name in _KEPT:
        found[name] = rows[name].astype("float64").to_numpy() if name in rows else np.nan
    for level in QUANTILES:
        found[quantile_name(level)] = made.quantile(level)[:, 0]
    return found, np.asarray(made.draws[:, 0, :], np.float64), {"status": "made"}


def forecast_as_served(
    bundle: ModelBundle,
    known: History,
    cutoff: pd.Timestamp,
    periods: Sequence[Period],
    settings: BacktestSettings,
) -> Any:
    """Forecast as ``vigie forecast`` does, with the rates of the months that had begun."""
    from serving.forecast import forecast

    given = settings.given_rates
    month = f"{cutoff:%Y-%m}"
    begun = {(when, code): rate for (when, code), rate in given.by_month.items() if when <= month}
    return forecast(
        bundle,
        known,
        cutoff,
        list(periods),
        rates=replace(given, by_month=begun),
        draws=settings.draws,
        seed=settings.seed,
    )
