"""Replay forecasts of the past, to learn at what level they came out and how far they may be off.

The deals open at each past moment are asked for their chances as they were then, and what they brought since
is held against it. The models know those outcomes, so these replays show only where the sums of chances are
off in time. How much more the revenue of a period varies than the luck of single deals explains is judged by
hazards that were fitted from what was known then. How good all of it is, the backtest shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.errors import VigieError
from crm.history import History
from crm.moments import DAY
from crm.money import Rates
from features import Prepared, Snapshots, prepare
from serving.expected import Chances, deal_chances, look_up
from serving.forecast.arrivals import forecast_arrivals
from serving.forecast.cohorts import learn_cohorts
from serving.forecast.evidence import Evidence, gather
from serving.forecast.new_deals import NewDeals, winning_rhythm
from serving.forecast.open_deals import typical_amounts
from serving.forecast_model import USUAL_SHOCK, ForecastModel, TypicalAmount
from serving.outcome_model import OutcomeModel
from serving.timing import Timing
from training.rehearsed_hazards import HazardOfThen
from training.typical import amount_spread, typical_amount

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Horizons that are replayed, in days; those longer than the history allows are left out.
HORIZONS = (7.0, 14.0, 28.0, 56.0, 91.0, 182.0)
#: Moments that are replayed, at most, and how far back; open deals that are asked at each, at most.
_MOMENTS, _SPAN_DAYS, _MOST_DEALS = 30, 540.0, 3_000
#: Replays of a horizon below which it is not judged; wins known at a moment below which it is not replayed.
_FEWEST, _FEWEST_WINS = 3, 20
#: A period that brought so many times what was expected, or more, tells no more than that.
_MOST_TIMES = 4.0
#: The level wanders so much in a week, and is known so well before anything is seen; it is no less than that.
_DRIFT, _PRIOR, _LEAST_LEVEL = 0.03, 0.1, 0.1
#: The shock is believed to be this before anything is seen, as firmly as so many periods would show.
_PRIOR_PERIODS = 4.0


@dataclass(frozen=True)
class Replay:
    """One past moment's forecast of one horizon, in money.

    Parameters
    ----------
    weeks_ago : float
    open_expected, open_brought, new_expected, new_brought : float
    chance_variance : float
        Variance of the total that the luck of single deals explains.
    then_expected : float
        Of open deals, by a hazard fitted from what was known then; NaN where there is none.
    """

    weeks_ago: float
    open_expected: float
    open_brought: float
    new_expected: float
    new_brought: float
    chance_variance: float
    then_expected: float = float("nan")


def learn_forecast(
    known: History,
    model: OutcomeModel,
    until: pd.Timestamp,
    seed: int,
    say: Callable[[str], None],
    hazards: Sequence[HazardOfThen] = (),
) -> ForecastModel | None:
    """Learn the part of a bundle that forecasts need.

    Parameters
    ----------
    known : History
        As known at ``until``.
    model : OutcomeModel
        Of deals.
    until : Timestamp
    seed : int
    say : callable
    hazards : sequence of HazardOfThen
        Oldest first; the errors of forecasts of then are judged by them.

    Returns
    -------
    ForecastModel or None
        None where the history has no revenue to learn from, or the model knows too little.
    """
    if model.too_early or model.hazard is None:
        return None
    try:
        # Levels and shocks are ratios: one currency's money or another's makes no difference to them.
        evidence = gather(_in_one_currency(known), until, None, Rates.none(), "UTC")
    except VigieError:
        return None
    say("deals: replaying past forecasts")
    typical = typical_amount(evidence)
    replays = replay(known, evidence, model, typical, seed, hazards)
    horizons, levels, shocks, facts = [], [], [], []
    for horizon in HORIZONS:
        mine = replays.get(horizon, [])
        if len(mine) < _FEWEST:
            continue
        shock = _shock(mine, horizon, 1.0)
        level = _level(mine, horizon, shock)
        shock = _shock(mine, horizon, level)
        horizons.append(horizon)
        levels.append(level)
        shocks.append(shock)
        facts.append(_facts(mine, horizon, level, shock))
    usual = not horizons
    return ForecastModel(
        horizons_days=(28.0,) if usual else tuple(horizons),
        levels=(1.0,) if usual else tuple(levels),
        shocks=(USUAL_SHOCK,) if usual else tuple(shocks),
        typical=typical,
        amount_spread=amount_spread(evidence),
        replays=tuple(facts),
    )


def replay(
    known: History,
    evidence: Evidence,
    model: OutcomeModel,
    typical: TypicalAmount | None,
    seed: int,
    hazards: Sequence[HazardOfThen] = (),
) -> dict[float, list[Replay]]:
    """Forecast from past moments, and hold the forecasts against what came, by horizon, oldest first."""
    span = (evidence.now - int(evidence.recorded.min())) / DAY
    weeks = max(int(np.ceil(min(span, _SPAN_DAYS) / 7 / _MOMENTS)), 1)
    prepared = prepare(known, model.spec)
    rng = np.random.default_rng(seed)
    found: dict[float, list[Replay]] = {horizon: [] for horizon in HORIZONS}
    for back in range(weeks * _MOMENTS, 0, -weeks):
        now = evidence.now - back * 7 * DAY
        reachable = [horizon for horizon in HORIZONS if horizon <= back * 7]
        known_wins = (evidence.is_won & (evidence.closed < now)).sum()
        if known_wins < _FEWEST_WINS or not reachable:
            continue
        open_then = np.flatnonzero(
            (evidence.recorded < now) & (evidence.closed >= now) & _still_there(evidence, now)
        )
        share = min(1.0, _MOST_DEALS / max(len(open_then), 1))
        some = open_then if share == 1.0 else np.sort(rng.choice(open_then, _MOST_DEALS, replace=False))
        ids = evidence.deals["deal_id"].iloc[some].tolist()
        moments = np.full(len(ids), now).view("datetime64[us]")
        chances = deal_chances(model, prepared, Snapshots(ids, moments))
        place = some[chances.rows]
        amount = _believed(evidence, chances, place, typical)
        asked = _Asked(evidence, place, chances.win_probability[chances.rows], amount, share, now)
        of_then = _timing_of_then(hazards, model, prepared, Snapshots(ids, moments), now)
        to_come = _to_come(evidence, model, now, max(reachable))
        for horizon in reachable:
            within = chances.won_share_by(horizon)
            found[horizon].append(asked.against(within, of_then, to_come, horizon, float(back)))
    return found


@dataclass(frozen=True)
class _Asked:
    """Deals that were open at a past moment, and their chances then."""

    evidence: Evidence
    place: Ints
    chance: Floats
    amount: Floats
    share: float
    now: int

    def against(
        self, within: Floats, of_then: Timing | None, to_come: NewDeals, horizon: float, back: float
    ) -> Replay:
        """Hold what was expected within a horizon against what came."""
        evidence, end = self.evidence, self.now + int(horizon * DAY)
        money, mine = np.nan_to_num(evidence.amount), self.amount
        chance = self.chance * within
        won = evidence.is_won & (evidence.sold >= self.now) & (evidence.sold < end)
        new = won & (evidence.recorded >= self.now)
        revenue, wins = to_come.within(0.0, horizon)
        sizes = to_come.cohorts.amounts
        per_sale = revenue / wins if wins > 0 else 0.0
        spread = float((sizes**2).mean() / sizes.mean() ** 2) if len(sizes) and sizes.mean() else 1.0
        return Replay(
            weeks_ago=back,
            open_expected=float((chance * mine).sum()) / self.share,
            open_brought=float((won[self.place] * money[self.place]).sum()) / self.share,
            new_expected=revenue,
            new_brought=float(money[new].sum()),
            then_expected=float("nan")
            if of_then is None
            else float((of_then.won_by(np.full((len(mine), 1), horizon))[:, 0] * mine).sum()) / self.share,
            chance_variance=float((chance * (1.0 - chance) * mine**2).sum()) / self.share**2
            + wins * per_sale**2 * spread,
        )


def _believed(evidence: Evidence, chances: Chances, place: Ints, typical: TypicalAmount | None) -> Floats:
    """Give what each deal was then expected to bring; where no amount was known, a typical one.

    Many CRMs set the amount of a lost deal to 0 and keep no history of it: no amount is taken for missing.
    """
    then = chances.expected_amount[chances.rows]
    return np.where(then > 0.0, then, typical_amounts(evidence, place, typical))


def _timing_of_then(
    hazards: Sequence[HazardOfThen], model: OutcomeModel, prepared: Prepared, asked: Snapshots, now: int
) -> Timing | None:
    """Give when these deals were to close by the last hazard fitted before; None where there was none."""
    before = [one for one in hazards if one.since <= now]
    if not before:
        return None
    seen = look_up(model, prepared, asked)
    return before[-1].model.predict(seen.x, np.asarray(asked.as_of, "datetime64[us]")[seen.rows])


def _to_come(evidence: Evidence, model: OutcomeModel, now: int, furthest: float) -> NewDeals:
    rhythm = winning_rhythm(model)
    arrivals = forecast_arrivals(evidence.recorded, now, int(np.ceil(furthest)))
    cohorts = learn_cohorts(evidence.recorded, evidence.closed, evidence.is_won, evidence.amount, now, rhythm)
    return NewDeals(now, arrivals, cohorts)


def _level(replays: list[Replay], horizon: float, shock: float) -> float:
    """Filter the ratio of what open deals brought to what was expected, as a level that wanders.

    The local-level filter (Harvey, "Forecasting, Structural Time Series Models and the Kalman Filter", 1989,
    section 4.1), from a level of 1. Horizons overlap, so that each replay tells only its part. Not in logs:
    luck alone would draw their mean below that of revenue.
    """
    mean, variance, before = 1.0, _PRIOR**2, None
    for one in replays:
        if one.open_expected <= 0.0:
            continue
        if before is not None:
            variance += _DRIFT**2 * (before - one.weeks_ago)
        luck = one.chance_variance / one.open_expected**2
        noise = (luck + shock**2) * max(horizon / 7.0 / _apart(replays), 1.0)
        ratio = min(one.open_brought / one.open_expected, _MOST_TIMES)
        gain = variance / (variance + noise)
        mean += gain * (ratio - mean)
        variance *= 1.0 - gain
        before = one.weeks_ago
    return max(float(mean), _LEAST_LEVEL)


def _shock(replays: list[Replay], horizon: float, level: float) -> float:
    """Give the standard deviation of the log of revenue beyond luck, drawn towards the usual one."""
    beyond = []
    of_then = [one for one in replays if np.isfinite(one.then_expected)]
    is_honest = len(of_then) >= _FEWEST
    for one in of_then if is_honest else replays:
        opened = one.then_expected if is_honest else level * one.open_expected
        expected = opened + one.new_expected
        if expected <= 0.0:
            continue
        # Not in logs: they would make little of the few large sales by which most forecasts are missed.
        error = min((one.open_brought + one.new_brought) / expected, _MOST_TIMES) - 1.0
        beyond.append(error**2 - one.chance_variance / expected**2)
    if not beyond:
        return USUAL_SHOCK
    # Overlapping periods tell as much as those that do not overlap.
    n = len(beyond) / max(horizon / 7.0 / _apart(replays), 1.0)
    prior = _PRIOR_PERIODS * USUAL_SHOCK**2
    return float(np.sqrt(max((n * float(np.mean(beyond)) + prior) / (n + _PRIOR_PERIODS), 0.02**2)))


def _apart(replays: list[Replay]) -> float:
    """Give the weeks between two replays."""
    return replays[0].weeks_ago - replays[1].weeks_ago if len(replays) > 1 else 1.0


def _facts(replays: list[Replay], horizon: float, level: float, shock: float) -> dict[str, Any]:
    expected = sum(one.open_expected for one in replays)
    brought = sum(one.open_brought for one in replays)
    new_expected = sum(one.new_expected for one in replays)
    new_brought = sum(one.new_brought for one in replays)
    return {
        "horizon_days": horizon,
        "n": len(replays),
        "level": level,
        "shock": shock,
        "open_ratio": brought / expected if expected > 0 else None,
        "new_ratio": new_brought / new_expected if new_expected > 0 else None,
    }


def _still_there(evidence: Evidence, now: int) -> npt.NDArray[np.bool_]:
    gone = evidence.deals["gone_at"]
    moment = pd.Timestamp(now, unit="us", tz="UTC")
    return (gone.isna() | (gone >= moment)).to_numpy()


def _in_one_currency(known: History) -> History:
    """Take amounts as numbers: for ratios, and without rates, no currency is better than another."""
    deals = known.deals.assign(currency=pd.Series(pd.NA, index=known.deals.index, dtype="str"))
    return replace(known, deals=deals)
