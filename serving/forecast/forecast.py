"""The revenue forecast of periods: closed already, from open deals, from deals to come, and the total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from crm.errors import InputError
from crm.groups import TOTAL
from crm.history import History, utc
from crm.money import Rates
from crm.periods import Period
from features import Prepared
from serving.bundle import ModelBundle
from serving.forecast import simulation
from serving.forecast.evidence import Evidence, check_reach, gather
from serving.forecast.new_deals import NewDeals, new_deals, shares, winning_rhythm
from serving.forecast.open_deals import OpenDeals, days_after, open_deals
from serving.forecast.quota import quotas
from serving.forecast.rows import Draws, behind, period_rows, range_names, with_ranges
from serving.forecast.widening import PastErrors, widened
from serving.forecast_model import ForecastModel
from serving.scoring import model_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Draws, at most, and at least so that a range means something.
MOST_DRAWS, FEWEST_DRAWS = 20_000, 100


@dataclass(frozen=True)
class Forecast:
    """The forecast of some periods, p of them, for some groups, g of them.

    Parameters
    ----------
    as_of : Timestamp
    by : str or None
    level : float
        Share of outcomes that a range is to hold.
    currency : str
    model_version : str
    seed : int
    periods : tuple of Period
    groups : tuple of str
        ``total`` first, then by name.
    rows : DataFrame
        One a period and group: ``period_start``, ``period_end``, ``as_of``, ``group``, ``closed``,
        ``open_mean``, ``new_mean``, ``mean``; low, median and high named after the level (``p10``, ``p50``,
        ``p90``); ``stage_weighted``, ``run_rate``, ``quota``, ``model_version``, ``series``, ``commit``,
        ``attainment`` (mean over quota), ``coverage`` (open pipeline over what is missing of the quota),
        ``coverage_needed`` (one over the win rate by value); then the ranges of the parts, ``open_p10`` to
        ``new_p90``. Money is exact to the cent: means are sums of the parts, and groups of the total.
    deals : DataFrame
        One a period and deal behind it: ``period_start``, ``period_end``, ``deal_id``, ``group``, ``state``
        (``won`` or ``open``), ``stage``, ``owner_id``, ``amount``, ``expected_amount``, ``win_probability``,
        ``in_period`` (P(won within the period, given that it is won)) and ``mean_cents``.
    draws : ndarray of shape (p, g, n_draws)
        Simulated revenue; the groups' draws add up to the total's.
    notes : tuple of str
        What a reader should know of the data.
    """

    as_of: pd.Timestamp
    by: str | None
    level: float
    currency: str
    model_version: str
    seed: int
    periods: tuple[Period, ...]
    groups: tuple[str, ...]
    rows: pd.DataFrame
    deals: pd.DataFrame
    draws: Floats
    notes: tuple[str, ...] = ()

    def quantile(self, level: float) -> Floats:
        """Give a quantile of the simulated revenue, shape (periods, groups)."""
        found: Floats = np.quantile(self.draws, level, axis=2)
        return found

    def crps(self, actual: Floats) -> Floats:
        """Give the continuous ranked probability score of the total (Gneiting and Raftery, 2007), in money.

        Parameters
        ----------
        actual : ndarray of shape (periods,)
        """
        draws = np.sort(self.draws[:, 0, :], axis=1)
        n = draws.shape[1]
        apart = np.abs(draws - np.asarray(actual)[:, None]).mean(axis=1)
        weights = 2.0 * np.arange(1, n + 1) - n - 1
        among: Floats = (draws * weights).sum(axis=1) / n**2
        score: Floats = apart - among
        return score


def forecast(
    bundle: ModelBundle,
    history: History,
    as_of: pd.Timestamp,
    periods: Sequence[Period],
    *,
    prepared: Prepared | None = None,
    by: str | None = None,
    level: float = 0.8,
    rates: Rates | None = None,
    zone: str = "UTC",
    draws: int = 2000,
    seed: int = 7,
    past_errors: PastErrors | None = None,
) -> Forecast:
    """Forecast the revenue of periods from what was known at a moment.

    Parameters
    ----------
    bundle : ModelBundle
    history : History
        Nothing in it that was recorded at ``as_of`` or later is used.
    as_of : Timestamp with a time zone
    periods : sequence of Period
        Past, running or to come.
    prepared : Prepared, optional
        The history made ready for the model of deals, where that is at hand.
    by : str, optional
        What to group by, as :func:`crm.groups.group_of` knows it.
    level : float
        Share of outcomes that a range is to hold, above 0 and below 1.
    rates : Rates, optional
        For a history in several currencies.
    zone : str
        In which the months of rates begin.
    draws : int
        From 100 to 20,000.
    seed : int
    past_errors : PastErrors, optional
        How kept forecasts came out; ranges are widened or narrowed by them.

    Raises
    ------
    InputError
        Where a period ends before the history begins, a group or rate is missing, or the level or the number
        of draws cannot be.
    NotEnoughData
        Where no deal was known, none has an amount, or the model knows too little.
    BundleError
        Where the bundle has no model of deals.
    """
    if not 0.0 < level < 1.0:
        raise InputError(
            f"level {level}: the share of outcomes a range holds is between 0 and 1, such as 0.8"
        )
    if not FEWEST_DRAWS <= draws <= MOST_DRAWS:
        raise InputError(f"draws {draws}: take from {FEWEST_DRAWS} to {MOST_DRAWS}")
    if not periods:
        raise InputError("no period to forecast: name one, such as 2026-Q4")
    model = model_of(bundle, "deal")
    moment = utc(as_of)
    evidence = gather(history, moment, by, rates or Rates.none(), zone)
    asked = tuple(periods)
    for period in asked:
        check_reach(evidence, period)
    learned = bundle.forecast or ForecastModel()
    deals = open_deals(evidence, history if prepared is None else prepared, model, learned)
    to_come = new_deals(evidence, asked, winning_rhythm(model))
    names = sorted({str(name) for name in evidence.groups}) if by is not None else []
    groups = (TOTAL, *names)
    tables = [behind(evidence, deals, period) for period in asked]
    rows = [
        period_rows(evidence, deals, period, table, _expected_new(to_come, moment, period)[0], groups)
        for period, table in zip(asked, tables, strict=True)
    ]
    # The draws have threads of their own; those of the linear algebra would only stand in their way.
    with threadpool_limits(1):
        simulated = _simulate(evidence, deals, to_come, asked, rows, names, draws, seed)
    quota = quotas(evidence, asked, groups, by)
    for place, period in enumerate(asked):
        ends = widened(level, days_after(moment, period.end), past_errors)
        with_ranges(rows[place], simulated, place, ends, range_names(level))
        rows[place]["quota"] = quota[place]
    whole = pd.concat(rows, ignore_index=True).assign(model_version=bundle.version)
    return Forecast(
        as_of=moment,
        by=by,
        level=level,
        currency=evidence.currency,
        model_version=bundle.version,
        seed=seed,
        periods=asked,
        groups=groups,
        rows=_ordered(whole, range_names(level)),
        deals=pd.concat(tables, ignore_index=True),
        draws=simulated.total,
        notes=evidence.notes,
    )


def _ordered(rows: pd.DataFrame, ends: tuple[str, ...]) -> pd.DataFrame:
    """Give the columns in the order of the documentation, with what follows from the quota."""
    missing = rows["quota"] - rows["closed"]
    rows["attainment"] = rows["mean"] / rows["quota"].where(rows["quota"] > 0)
    rows["coverage"] = rows["pipeline"] / missing.where(missing > 0)
    first = ["period_start", "period_end", "as_of", "group", "closed", "open_mean", "new_mean", "mean", *ends]
    beside = ["stage_weighted", "run_rate", "quota", "model_version", "series", "commit"]
    further = ["attainment", "pipeline", "coverage", "coverage_needed"]
    parts = [f"{part}_{end}" for part in ("open", "new") for end in ends]
    return rows[[*first, *beside, *further, *parts]]


def _expected_new(to_come: NewDeals, as_of: pd.Timestamp, period: Period) -> tuple[float, float]:
    return to_come.within(days_after(as_of, period.start), days_after(as_of, period.end))


def _simulate(
    evidence: Evidence,
    deals: OpenDeals,
    to_come: NewDeals,
    periods: tuple[Period, ...],
    rows: list[pd.DataFrame],
    names: list[str],
    n_draws: int,
    seed: int,
) -> Draws:
    """Draw the revenue of all periods and groups together."""
    code = {name: place for place, name in enumerate(names)}
    group = np.array(
        [code[name] for name in evidence.groups] if names else np.zeros(len(evidence.deals)), np.int64
    )
    n_groups = max(len(names), 1)
    ends = np.array([days_after(evidence.as_of, period.end) for period in periods])
    shocks = simulation.common_shocks(deals.model.shock(ends), n_draws, seed)
    chance = deals.chances.win_probability[deals.chances.rows]
    open_parts, new_parts = [], []
    for period, end in zip(periods, ends.tolist(), strict=True):
        begun, ended = deals.in_period(days_after(evidence.as_of, period.start), end)
        open_parts.append(simulation.OpenPart(chance * begun, chance * ended))
        revenue, wins = _expected_new(to_come, evidence.as_of, period)
        new_parts.append(simulation.NewPart(wins, revenue))
    opened = simulation.draw_open(
        open_parts,
        deals.expected_amount,
        group[deals.place],
        n_groups,
        shocks,
        deals.model.amount_spread,
        seed,
    )
    sales = to_come.cohorts
    new = simulation.draw_new(
        new_parts, sales.amounts, sales.weights, group, shares(evidence), n_groups, shocks, seed + 1
    )
    opened = simulation.centre(opened, np.array([table["open_mean"].iloc[0] for table in rows]))
    new = simulation.centre(new, np.array([table["new_mean"].iloc[0] for table in rows]))
    closed = np.stack([table["closed"].to_numpy() for table in rows])[:, :, None]
    if names:
        opened, new = (
            np.concatenate([part.sum(axis=1, keepdims=True), part], axis=1) for part in (opened, new)
        )
    return Draws(opened, new, opened + new + closed)
