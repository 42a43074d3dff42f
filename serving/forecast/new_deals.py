"""What deals to come will bring within a period: arrivals, times what a deal brings by its age."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crm.moments import DAY
from crm.periods import Period
from serving.forecast.arrivals import Arrivals, forecast_arrivals
from serving.forecast.cohorts import Cohorts, learn_cohorts
from serving.forecast.evidence import Evidence
from serving.forecast.open_deals import days_after
from serving.outcome_model import OutcomeModel
from serving.rhythm import EVEN, Beat, days_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Parts of a day in which deals are opened.
_PARTS = 4
#: New deals are shared among groups as those of so many days were; newer ones count more.
_SHARED_DAYS, _SHARED_HALF_LIFE = 182.0, 91.0


@dataclass(frozen=True)
class NewDeals:
    """What is expected of deals to come.

    Parameters
    ----------
    now : int
        Microseconds since 1970.
    arrivals : Arrivals
        As far as the longest period.
    cohorts : Cohorts
    """

    now: int
    arrivals: Arrivals
    cohorts: Cohorts

    def within(self, start_days: float, end_days: float) -> tuple[float, float]:
        """Give the expected revenue and number of wins between two days after ``as_of``."""
        if end_days <= 0.0:
            return 0.0, 0.0
        parts = int(np.ceil(end_days)) * _PARTS
        middle = (np.arange(parts) + 0.5) / _PARTS
        opened = np.repeat(self.arrivals.daily[: parts // _PARTS], _PARTS) / _PARTS
        # A period that ends within a day has only the part of the day that it holds.
        opened = np.where(middle < end_days, opened, 0.0)
        today = float(days_of(np.array([self.now]).view("datetime64[us]"))[0])
        revenue, wins = self.cohorts.between(today + middle, today + start_days, today + end_days)
        return float((opened * revenue).sum()), float((opened * wins).sum())


def winning_rhythm(model: OutcomeModel) -> Beat:
    """Give how winning deals follows the calendar; evenly where the model knows nothing of it."""
    hazard = model.hazard
    return EVEN if hazard is None or hazard.rhythm is None else hazard.rhythm.won


def new_deals(evidence: Evidence, periods: tuple[Period, ...], rhythm: Beat) -> NewDeals:
    """Learn from the deals known so far what those to come will bring.

    Parameters
    ----------
    evidence : Evidence
    periods : tuple of Period
    rhythm : Beat
        Of winning.
    """
    furthest = max((days_after(evidence.as_of, period.end) for period in periods), default=0.0)
    arrivals = forecast_arrivals(evidence.recorded, evidence.now, int(np.ceil(furthest)))
    cohorts = learn_cohorts(
        evidence.recorded,
        evidence.closed,
        evidence.is_won,
        evidence.amount,
        evidence.now,
        rhythm,
    )
    return NewDeals(evidence.now, arrivals, cohorts)


def shares(evidence: Evidence) -> Floats:
    """Give each known deal's share of what new deals will bring, shape (n,); sums to 1.

    New deals are expected to fall on groups as those of the last half year did, newer ones counting more:
    half by how many there were, half by what was sold. Who had no deal since then gets none.
    """
    age = (evidence.now - evidence.recorded) / DAY
    recent = np.where(age <= _SHARED_DAYS, np.power(0.5, age / _SHARED_HALF_LIFE), 0.0)
    if recent.sum() == 0.0:
        recent = np.ones(len(age))
    sold = recent * np.where(evidence.is_won, np.maximum(np.nan_to_num(evidence.amount), 0.0), 0.0)
    by_number: Floats = recent / recent.sum()
    if sold.sum() <= 0.0:
        return by_number
    halves: Floats = 0.5 * by_number + 0.5 * sold / sold.sum()
    return halves
