"""What open deals are expected to bring within a period: amount, times the chance to be won in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import NotEnoughData
from crm.history import History
from crm.periods import Period
from features import Prepared, Snapshots, prepare_records
from serving.expected import Chances, deal_chances, joined
from serving.forecast.evidence import Evidence
from serving.forecast.simulation import THREADS
from serving.forecast_model import ForecastModel, TypicalAmount
from serving.outcome_model import OutcomeModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Deals a thread from which parts pay.
_MANY = 5_000


@dataclass(frozen=True)
class OpenDeals:
    """The open deals behind a forecast, m of them.

    Parameters
    ----------
    place : ndarray of int, shape (m,)
        Their rows among the evidence's deals.
    chances : Chances
    expected_amount : ndarray of shape (m,)
        Of the sale, in the reporting currency.
    model : ForecastModel
    """

    place: Ints
    chances: Chances
    expected_amount: Floats
    model: ForecastModel

    def won_share(self, days: float) -> Floats:
        """Give P(won within so many days, given that it is won at all), shape (m,).

        The hazard's timing, at the level that past forecasts of that horizon came out at.
        """
        share = self.chances.won_share_by(days)
        level = float(self.model.level(np.array([days]))[0])
        held: Floats = np.clip(share * level, 0.0, 1.0)
        return held

    def in_period(self, start_days: float, end_days: float) -> tuple[Floats, Floats]:
        """Give the shares won by the period's start and by its end, in days after ``as_of``."""
        begun = self.won_share(start_days)
        return begun, np.maximum(self.won_share(end_days), begun)


def open_deals(
    evidence: Evidence,
    history: History | Prepared,
    model: OutcomeModel,
    learned: ForecastModel,
) -> OpenDeals:
    """Ask the model for the chances of the deals that are open.

    Parameters
    ----------
    evidence : Evidence
    history : History or Prepared
        The history as it is; its amounts are those that the model learned from.
    model : OutcomeModel
        Of deals.
    learned : ForecastModel

    Raises
    ------
    NotEnoughData
        Where the model knows too little to score.
    """
    if model.too_early or model.hazard is None:
        raise NotEnoughData(
            "the history the model was trained on holds too few closed deals to say anything of open ones; "
            "train again when more deals have closed"
        )
    place = np.flatnonzero(evidence.is_open)
    ids = evidence.deals["deal_id"].iloc[place].tolist()
    now = np.full(len(ids), evidence.now).view("datetime64[us]")
    prepared = history if isinstance(history, Prepared) else prepare_records(history, model.spec, ids)
    chances = _in_parts(model, prepared, Snapshots(ids, now))
    place = place[chances.rows]
    factor = 1.0 if model.amount is None else model.amount.factor
    amount = evidence.amount[place] * factor
    typical = typical_amounts(evidence, place, learned.typical)
    return OpenDeals(place, chances, np.where(np.isnan(amount), typical, amount), learned)


def _in_parts(model: OutcomeModel, prepared: Prepared, asked: Snapshots) -> Chances:
    """Ask for the chances of many deals in parts, one a thread; of each deal they are the same."""
    size = -(-len(asked.record_id) // THREADS)
    if size < _MANY:
        return deal_chances(model, prepared, asked)
    parts = [
        Snapshots(asked.record_id[first : first + size], asked.as_of[first : first + size])
        for first in range(0, len(asked.record_id), size)
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        return joined(list(pool.map(lambda part: deal_chances(model, prepared, part), parts)))


def typical_amounts(evidence: Evidence, place: Ints, typical: TypicalAmount | None) -> Floats:
    """Give what a sale of these deals typically brings, shape of ``place``.

    As the model learned it; where it learned nothing, the mean of the sales known so far.
    """
    if typical is None:
        sales = evidence.amount[evidence.is_won & ~np.isnan(evidence.amount)]
        return np.full(len(place), sales.mean() if len(sales) else 0.0)
    if not typical.attribute or typical.attribute not in evidence.deals.columns:
        return np.full(len(place), typical.mean)
    levels = evidence.deals[typical.attribute].iloc[place]
    means = levels.map(dict(typical.by_level)).fillna(typical.mean).astype("float64")
    return np.asarray(means, np.float64)


def deals_behind(evidence: Evidence, deals: OpenDeals, period: Period) -> pd.DataFrame:
    """Give the open deals behind a period's forecast, one row each, in the columns of ``Forecast.deals``."""
    start, end = (days_after(evidence.as_of, moment) for moment in (period.start, period.end))
    begun, ended = deals.in_period(start, end)
    chance = deals.chances.win_probability[deals.chances.rows]
    stages = evidence.deals["stage"].iloc[deals.place]
    return pd.DataFrame(
        {
            "deal_id": evidence.deals["deal_id"].iloc[deals.place].to_numpy(),
            "group": evidence.groups[deals.place],
            "state": "open",
            "stage": stages.to_numpy(),
            "owner_id": evidence.deals["owner_id"].iloc[deals.place].to_numpy(),
            "amount": evidence.amount[deals.place],
            "expected_amount": deals.expected_amount,
            "win_probability": chance,
            "in_period": ended - begun,
        }
    )


def days_after(as_of: pd.Timestamp, moment: pd.Timestamp) -> float:
    """Give the days from ``as_of`` to a moment, not below 0."""
    return max((moment - as_of) / pd.Timedelta(days=1), 0.0)
