"""What stands beside a forecast: stage-weighted pipeline, run rate, a series forecast, the reps' commit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.moments import DAY, column_in_micros
from crm.periods import Period
from features.kpis.stays import stage_stays
from serving.forecast.evidence import Evidence
from serving.forecast.open_deals import OpenDeals, days_after

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: The deals' column in which reps say what they count on, and the words by which they commit.
COMMIT_COLUMN = "forecast_category"
COMMITTED = frozenset({"commit", "committed", "closed", "engagé", "engagement"})
#: A stage's win rate counts so many deals of the overall one beside its own.
_PRIOR_DEALS = 5.0
#: Periods of the past that a series needs, and takes at most.
_FEWEST_PERIODS, _MOST_PERIODS = 6, 120
_MICRO = pd.Timedelta(microseconds=1)


def stage_weighted(evidence: Evidence, deals: OpenDeals, period: Period) -> Floats:
    """Give each open deal's amount times its stage's win rate, where it is due in the period, shape (m,).

    A stage's win rate is the share won of the closed deals that were ever in it. A deal is due when its
    expected close lies in the period; of one without a date, or past it, the share of the stage's won deals
    counts that were still open so long after entering the stage and closed within the period's distance.
    """
    table = evidence.deals
    expected = table["expected_close_at"].iloc[deals.place]
    dated = (expected.notna() & (expected >= evidence.as_of)).to_numpy()
    inside = ((expected >= period.start) & (expected < period.end)).to_numpy()
    start, end = (days_after(evidence.as_of, moment) for moment in (period.start, period.end))
    stages = _Stages.of(evidence)
    chance, due = stages.ask(deals.place, start, end)
    own = evidence.amount[deals.place]
    money = np.where(np.isnan(own), deals.expected_amount, own)
    weighted: Floats = money * chance * np.where(dated, inside.astype(np.float64), due)
    return weighted


@dataclass(frozen=True)
class _Stages:
    """How deals went on from each stage; n deals are known.

    ``stage`` and ``entered`` (days) say where each deal is, or was last; ``rates`` and ``waits`` (sorted
    days from entering to the sale) how deals fared that were in a stage.
    """

    stage: Ints
    entered: Floats
    now: float
    rates: Floats
    waits: list[Floats]

    @classmethod
    def of(cls, evidence: Evidence) -> _Stages:
        deals = evidence.deals
        stays = stage_stays(evidence.history_of_deals, "deal")
        if stays.empty:
            # Without a history of stages, the only stage is to be a deal.
            row = np.arange(len(deals))
            began = deals["created_at"].fillna(deals["recorded_at"])
            stays = pd.DataFrame({"row": row, "stage": "", "entered": began})
        codes, names = pd.factorize(stays["stage"], sort=True)
        rows = stays["row"].to_numpy()
        entered = stays["entered"].fillna(deals["recorded_at"].iloc[rows].set_axis(stays.index))
        since = column_in_micros(entered) / DAY
        first = pd.DataFrame({"row": rows, "code": codes, "since": since}).drop_duplicates(["row", "code"])
        ended = (evidence.deals["outcome"].notna().to_numpy())[first["row"]]
        won = evidence.is_won[first["row"]]
        overall = float(evidence.is_won.sum() / max(evidence.deals["outcome"].notna().sum(), 1))
        code = first["code"].to_numpy()
        seen = np.bincount(code[ended], minlength=len(names))
        wins = np.bincount(code[ended & won], minlength=len(names))
        rates = (wins + _PRIOR_DEALS * overall) / (seen + _PRIOR_DEALS)
        waits = evidence.sold[first["row"]] / DAY - first["since"].to_numpy()
        last = np.full(len(deals), -1)
        at = np.full(len(deals), np.nan)
        last[rows], at[rows] = codes, since
        by_stage = [np.sort(waits[won & (code == one)]) for one in range(len(names))]
        return cls(last, at, evidence.now / DAY, np.append(rates, overall), by_stage)

    def ask(self, place: Ints, start: float, end: float) -> tuple[Floats, Floats]:
        """Give the win rates of these deals' stages, and the share due between two days from now."""
        stage, been = self.stage[place], self.now - self.entered[place]
        due = np.zeros(len(place))
        for code, waits in enumerate(self.waits):
            here = np.flatnonzero(stage == code)
            if not len(here) or not len(waits):
                continue
            past, first, last = (
                np.searchsorted(waits, been[here] + days, side="left") for days in (0.0, start, end)
            )
            left = len(waits) - past
            due[here] = np.divide(last - first, left, out=np.zeros(len(here)), where=left > 0)
        return self.rates[stage], due


def run_rate(evidence: Evidence, period: Period) -> Floats:
    """Give each known deal's part in what the period brings if sales go on as they did, shape (n,).

    What was sold in it already, and for the time that is left the rate of as long a time before ``as_of``.
    """
    sold, money = evidence.sold, np.nan_to_num(evidence.amount)
    start, end = _ends(evidence, period)
    left = max(end - max(start, evidence.now), 0)
    length = end - start
    inside = evidence.is_won & (sold >= start) & (sold < min(end, max(evidence.now, start)))
    before = evidence.is_won & (sold >= evidence.now - length) & (sold < evidence.now)
    parts: Floats = np.where(inside, money, 0.0) + np.where(before, money, 0.0) * (left / length)
    return parts


def series_forecast(evidence: Evidence, period: Period, closed: float) -> float:
    """Carry the revenue of past periods of the same length forward, by exponential smoothing.

    Holt's damped trend, without one where there are few periods (Gardner, "Exponential smoothing: The state
    of the art, Part II", 2006); NaN where there are too few. Of a period that has begun, what is closed
    counts, and the rest in proportion to the time left.
    """
    length = (period.end - period.start) / _MICRO
    sales = evidence.is_won & (evidence.sold < evidence.now)
    first = int(evidence.recorded.min())
    n = min(int((evidence.now - first) // length), _MOST_PERIODS)
    left = max((period.end - max(period.start, evidence.as_of)) / _MICRO, 0.0) / length
    if n < _FEWEST_PERIODS or left == 0.0:
        return closed if left == 0.0 else float("nan")
    ago = ((evidence.now - 1 - evidence.sold[sales]) // int(length)).astype(np.int64)
    inside = ago < n
    money = np.nan_to_num(evidence.amount[sales])[inside]
    past = np.bincount(ago[inside], money, minlength=n)[::-1].astype(np.float64)
    ahead = int(np.ceil(days_after(evidence.as_of, period.end) * DAY / length - 1e-9))
    return closed + left * _smoothed(past, max(ahead, 1))


def _smoothed(past: Floats, ahead: int) -> float:
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    if not past.any():
        return 0.0
    trend = {"trend": "add", "damped_trend": True} if len(past) >= 3 * _FEWEST_PERIODS else {}
    scale = past.mean()
    with warnings.catch_warnings():
        # A search that stops short stops at a smoothing that is as good as any.
        warnings.simplefilter("ignore")
        fitted = ExponentialSmoothing(past / scale, initialization_method="estimated", **trend).fit()
        found = float(np.asarray(fitted.forecast(ahead))[-1])
    return max(found, 0.0) * scale if np.isfinite(found) else float(past[-_FEWEST_PERIODS:].mean())


def commit(evidence: Evidence, period: Period) -> Floats | None:
    """Give what reps commit to of each known deal, shape (n,): sold in the period, or promised in it.

    None where the CRM has no forecast categories.
    """
    table = evidence.deals
    if COMMIT_COLUMN not in table.columns:
        return None
    committed = table[COMMIT_COLUMN].str.strip().str.lower().isin(COMMITTED).to_numpy()
    expected = table["expected_close_at"]
    due = ((expected >= period.start) & (expected < period.end)).to_numpy()
    promised = evidence.is_open & committed & due
    sold = evidence.is_won & sold_within(evidence, period)
    money: Floats = np.where(promised | sold, np.nan_to_num(evidence.amount), 0.0)
    return money


def sold_within(evidence: Evidence, period: Period) -> NDArray[np.bool_]:
    """Say which deals' own closing lies in the period, shape (n,)."""
    start, end = _ends(evidence, period)
    inside: NDArray[np.bool_] = (evidence.sold >= start) & (evidence.sold < end)
    return inside


def _ends(evidence: Evidence, period: Period) -> tuple[int, int]:
    """Give a period's ends in microseconds since 1970."""
    start, end = (
        evidence.now + int((moment - evidence.as_of) / _MICRO) for moment in (period.start, period.end)
    )
    return start, end
