"""What stands beside a forecast: stage-weighted pipeline, run rate, a series forecast, the reps' commit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.moments import DAY, NEVER, column_in_micros
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
#: Past weeks whose deals say what a stage brings.
_WEEKS_BACK = 26
#: Periods of the past that a series needs, and takes at most.
_FEWEST_PERIODS, _MOST_PERIODS = 6, 120
_MICRO = pd.Timedelta(microseconds=1)


def stage_weighted(evidence: Evidence, deals: OpenDeals, period: Period) -> Floats:
    """Give each open deal's amount times its stage's win rate, where it is due in the period, shape (m,).

    A stage's win rate is the share won of the closed deals that were ever in it. A deal is due when its
    expected close lies in the period; for one without a date, or past it, the share counts of the deals in
    that stage at past weeks that were won within the period's distance from then.
    """
    table = evidence.deals
    expected = table["expected_close_at"].iloc[deals.place]
    dated = (expected.notna() & (expected >= evidence.as_of)).to_numpy()
    inside = ((expected >= period.start) & (expected < period.end)).to_numpy()
    start, end = (days_after(evidence.as_of, moment) for moment in (period.start, period.end))
    stages = evidence.once("stages", lambda: _Stages.of(evidence))
    here = stages.now_in[deals.place]
    ever, within = stages.ever()[here], stages.within(start, end)[here]
    own = evidence.amount[deals.place]
    money = np.where(np.isnan(own), deals.expected_amount, own)
    weighted: Floats = money * np.where(dated, np.where(inside, ever, 0.0), within)
    return weighted


@dataclass(frozen=True)
class _Stages:
    """Stays of deals in stages, s of them, in days; ``now_in`` is where each known deal is, or was last.

    ``until`` is when the stay ended, by a move or the closing; ``sold`` when the deal was won, infinite where
    it was not; ``is_over`` says whether the deal was closed.
    """

    now_in: Ints
    code: Ints
    since: Floats
    until: Floats
    sold: Floats
    is_over: NDArray[np.bool_]
    now: float
    n_stages: int

    @classmethod
    def of(cls, evidence: Evidence) -> _Stages:
        deals = evidence.deals
        stays = stage_stays(evidence.history_of_deals, "deal")
        if stays.empty:
            # Without a history of stages, the only stage is to be a deal.
            began = deals["created_at"].fillna(deals["recorded_at"])
            row = np.arange(len(deals))
            stays = pd.DataFrame(
                {"row": row, "stage": "", "entered": began, "left": began.mask(began.notna())}
            )
        codes, names = pd.factorize(stays["stage"], sort=True)
        rows = stays["row"].to_numpy()
        entered = stays["entered"].fillna(deals["recorded_at"].iloc[rows].set_axis(stays.index))
        at = np.full(len(deals), -1)
        at[rows] = codes
        closed = evidence.closed[rows] / DAY
        return cls(
            now_in=at,
            code=codes,
            since=column_in_micros(entered) / DAY,
            until=np.minimum(column_in_micros(stays["left"], NEVER) / DAY, closed),
            sold=np.where(evidence.is_won[rows], evidence.sold[rows] / DAY, np.inf),
            is_over=deals["outcome"].notna().to_numpy()[rows],
            now=evidence.now / DAY,
            n_stages=len(names),
        )

    def ever(self) -> Floats:
        """Give the share won of the closed deals that were in each stage; the last, for no stage, of all."""
        won = np.isfinite(self.sold)
        overall = float(won.sum() / max(self.is_over.sum(), 1))
        seen = np.bincount(self.code[self.is_over], minlength=self.n_stages)
        wins = np.bincount(self.code[won], minlength=self.n_stages)
        rates = (wins + _PRIOR_DEALS * overall) / (seen + _PRIOR_DEALS)
        return np.append(rates, overall)

    def within(self, start: float, end: float) -> Floats:
        """Give the share of each stage's deals that were won between two days from then, at past weeks."""
        there, won = np.zeros(self.n_stages), np.zeros(self.n_stages)
        for week in range(_WEEKS_BACK):
            then = self.now - end - 7.0 * week
            here = (self.since < then) & (self.until >= then)
            soon = here & (self.sold >= then + start) & (self.sold < then + end)
            there += np.bincount(self.code[here], minlength=self.n_stages)
            won += np.bincount(self.code[soon], minlength=self.n_stages)
        rates: Floats = np.append(won / np.maximum(there, 1.0), won.sum() / max(there.sum(), 1.0))
        return rates


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
