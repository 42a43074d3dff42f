"""When a record closes: the hazard model's distribution, its median and its shortest interval.

The hazard is a discrete-time competing-risks model (Tutz and Schmid, "Modeling Discrete Time-to-Event Data",
2016, chapter 8): for each interval after ``as_of``, the chances to stay open, to be won and to be lost,
given that the record was open when the interval began.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from crm.errors import BundleError
from serving.forest import Forest
from serving.rhythm import CalendarRhythm
from serving.trees import TooDeep

Floats = NDArray[np.float64]
Moments = NDArray[np.datetime64]

#: Order of the classes in the hazard's booster.
STAY, WON, LOST = 0, 1, 2
#: Beyond the last edge a record closes at least at this rate, once in ten years on average.
SLOWEST_RATE = 1.0 / 3653.0
#: No closing is put further away than this.
FURTHEST_DAYS = 36525.0
#: Rows whose intervals are predicted together, so that memory stays flat; and those whose chances are
#: summed together, so that they stay in the cache.
CHUNK, FEW = 8192, 256
#: For so many days the chance to close is spread over days by the calendar's rhythm, then for so many over
#: weeks; later, evenly.
DAILY_FOR, WEEKLY_UNTIL = 28, 182


@dataclass(frozen=True)
class HazardModel:
    """The hazard of being won or lost, by interval.

    Parameters
    ----------
    booster : str
        LightGBM text; multiclass with classes stay open, won, lost; columns are the features, then the
        index of the interval.
    edges_days : tuple of float
        Edges of the intervals, in days after ``as_of``; the first is 0, they rise.
    rhythm : CalendarRhythm, optional
        On which days of the calendar records close, where the history shows it.
    base : tuple of (float, float)
        For each interval the odds of being won, and of being lost, against staying open, on an even calendar;
        the booster's margins come on top. Empty where the booster starts from nothing.

    Raises
    ------
    BundleError
        Where the booster has not three classes, the edges do not rise from 0, or ``base`` is not one pair
        of positive odds an interval.
    """

    booster: str
    edges_days: tuple[float, ...]
    rhythm: CalendarRhythm | None = None
    base: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        edges = np.array(self.edges_days, np.float64)
        if (
            len(edges) < 2
            or edges[0] != 0
            or not np.isfinite(edges).all()
            or (np.diff(edges) <= 0).any()
            or edges[-1] > FURTHEST_DAYS
        ):
            raise BundleError(f"hazard: edges_days = {self.edges_days}: they must rise from 0; train again")
        odds = np.array(self.base, np.float64)
        if self.base and (odds.shape != (len(edges) - 1, 2) or not (np.isfinite(odds) & (odds > 0)).all()):
            raise BundleError(
                f"hazard: base = {self.base}: one pair of odds above 0 an interval; train again"
            )

    @cached_property
    def _model(self) -> lgb.Booster:
        model = lgb.Booster(model_str=self.booster)
        if model.num_model_per_iteration() != 3:
            raise BundleError("hazard: the booster must have the classes stay open, won, lost; train again")
        return model

    @property
    def n_features(self) -> int:
        """The number of features before the interval's index."""
        return int(self._model.num_feature()) - 1

    def predict(self, x: Floats, as_of: Moments | None = None, *, threads: int = 1) -> Timing:
        """Give when these records close, given that they are open now.

        Parameters
        ----------
        x : ndarray of shape (rows, features)
        as_of : ndarray of datetime64[us], UTC, shape (rows,), optional
            Now; needed where the model knows the calendar's rhythm.
        threads : int

        Raises
        ------
        ValueError
            Where the moments are needed and not given.
        """
        start = self._start(len(x), as_of)
        edges = np.array(self.edges_days) if start is None else start.edges_days
        won, lost = np.zeros((len(x), len(edges))), np.zeros((len(x), len(edges)))
        chunks = [slice(first, first + CHUNK) for first in range(0, len(x), CHUNK)]

        def fill(part: slice) -> None:
            raw = self._raw(x[part])
            for first in range(0, raw.shape[2], FEW):
                some = slice(part.start + first, min(part.start + first + FEW, part.stop))
                few = raw[:, :, first : first + FEW]
                if start is None:
                    won[some, 1:], lost[some, 1:] = _incidence(few)
                else:
                    won[some, 1:], lost[some, 1:] = start.spread(_incidence(start.lift(few, some)), some)

        if threads > 1 and len(chunks) > 1:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fill, chunks))
        else:
            for part in chunks:
                fill(part)
        return Timing(edges, won, lost)

    def hazards(self, x: Floats, as_of: Moments | None = None) -> Floats:
        """Give the chance to be won, and to be lost, in each interval, given that it begins open.

        Returns
        -------
        ndarray of shape (rows, intervals, 2)
        """
        start = self._start(len(x), as_of)
        found = np.empty((len(x), len(self.edges_days) - 1, 2))
        for first in range(0, len(x), FEW):
            some = slice(first, min(first + FEW, len(x)))
            raw = self._raw(x[some])
            found[some] = _softmax(raw if start is None else start.lift(raw, some))[1:].transpose(2, 1, 0)
        return found

    def _start(self, rows: int, as_of: Moments | None) -> _Start | None:
        if not self.base and self.rhythm is None:
            return None
        edges = np.array(self.edges_days)
        margins = np.log(self.base) if self.base else np.zeros((len(edges) - 1, 2))
        if self.rhythm is None:
            return _Start(edges, margins[None], np.zeros(rows, np.int64))
        if as_of is None and rows:
            raise ValueError("as_of is needed: the hazard knows on which days records close")
        place, held = self.rhythm.exposure(edges, np.empty(0, "datetime64[us]") if as_of is None else as_of)
        days = np.concatenate([np.arange(DAILY_FOR), np.arange(DAILY_FOR, WEEKLY_UNTIL + 1.0, 7.0)])
        finer = np.union1d(edges, days[days < edges[-1]])
        of = np.searchsorted(edges, finer[:-1], side="right") - 1
        parts = self.rhythm.exposure(finer, np.empty(0, "datetime64[us]") if as_of is None else as_of)[1]
        shares = parts * np.diff(finer)[None, :, None] / (held * np.diff(edges)[None, :, None])[:, of]
        return _Start(finer, margins[None] + np.log(held), place, of, shares)

    @cached_property
    def _forest(self) -> Forest | None:
        """The booster's trees, swept over the intervals; None where only LightGBM can walk them."""
        try:
            return Forest(self._model, swept=self.n_features, steps=len(self.edges_days) - 1)
        except TooDeep:
            return None

    def _raw(self, x: Floats) -> Floats:
        """Give the booster's sums at each interval, shape (classes, intervals, rows)."""
        if self._forest is not None:
            return self._forest(x)
        steps = len(self.edges_days) - 1
        rows = np.column_stack([np.repeat(x, steps, axis=0), np.tile(np.arange(steps), len(x))])
        raw = np.asarray(self._model.predict(rows, raw_score=True, num_threads=1))
        return np.ascontiguousarray(raw.reshape(len(x), steps, 3).transpose(2, 1, 0))


@dataclass(frozen=True)
class _Start:
    """Where the booster starts from at some moments, and how days share an interval.

    Parameters
    ----------
    edges_days : ndarray of shape (edges,)
        Of the answer.
    margins : ndarray of shape (moments, intervals, 2)
        In log-odds, of winning and losing.
    place : ndarray of shape (rows,)
        Which of the moments each row is asked at.
    of : ndarray of int, shape (edges - 1,), optional
        The interval that each of the answer's parts belongs to; None where they are the same.
    shares : ndarray of shape (moments, edges - 1, 2), optional
    """

    edges_days: Floats
    margins: Floats
    place: NDArray[np.int64]
    of: NDArray[np.int64] | None = None
    shares: Floats | None = None

    def lift(self, raw: Floats, rows: slice) -> Floats:
        """Add the margins to the booster's sums, shape (classes, intervals, rows)."""
        lifted = raw.copy()
        lifted[1:] += self.margins[self.place[rows]].transpose(2, 1, 0)
        return lifted

    def spread(self, incidence: tuple[Floats, Floats], rows: slice) -> tuple[Floats, Floats]:
        """Spread P(won) and P(lost) by each interval's end over the parts of the intervals."""
        if self.of is None or self.shares is None:
            return incidence
        shares = self.shares[self.place[rows]]
        won, lost = (
            np.cumsum(np.diff(total, axis=1, prepend=0.0)[:, self.of] * shares[:, :, cause], axis=1)
            for cause, total in enumerate(incidence)
        )
        return won, lost


def _incidence(raw: Floats) -> tuple[Floats, Floats]:
    """Turn sums of trees, shape (classes, intervals, rows), into P(won) and P(lost) by each interval's end.

    Returns
    -------
    won, lost : ndarray of shape (rows, intervals)
    """
    hazards = _softmax(raw)
    open_before = np.ones_like(raw[0])
    np.cumprod(hazards[STAY, :-1], axis=0, out=open_before[1:])
    won = np.cumsum(open_before * hazards[WON], axis=0)
    lost = np.cumsum(open_before * hazards[LOST], axis=0)
    return won.T, lost.T


def _softmax(raw: Floats) -> Floats:
    """Give LightGBM's probabilities; less the largest sum first, so that nothing overflows."""
    hazards: Floats = np.exp(raw - raw.max(axis=0))
    hazards /= hazards[STAY] + hazards[WON] + hazards[LOST]
    return hazards


@dataclass(frozen=True)
class Timing:
    """Cumulative incidence of being won and lost, for some records.

    Between two edges the incidence rises evenly; beyond the last, the record goes on closing at the rate it
    had in the second half of the edges' span, and what closes there is won in the proportion seen before.

    Parameters
    ----------
    edges_days : ndarray of shape (edges,)
    won, lost : ndarray of shape (rows, edges)
        P(won by the edge) and P(lost by the edge), 0 at the first.
    """

    edges_days: Floats
    won: Floats
    lost: Floats

    @cached_property
    def closed(self) -> Floats:
        """P(closed by the edge), shape (rows, edges); it never falls and stays below 1."""
        total: Floats = np.minimum(np.maximum.accumulate(self.won + self.lost, axis=1), 1.0 - 1e-9)
        return total

    @cached_property
    def tail_rate(self) -> Floats:
        """Closings a day beyond the last edge, of what is still open, shape (rows,)."""
        middle = int(np.searchsorted(self.edges_days, self.edges_days[-1] / 2, side="right")) - 1
        span = self.edges_days[-1] - self.edges_days[middle]
        rate = np.log((1.0 - self.closed[:, middle]) / (1.0 - self.closed[:, -1])) / span
        slowest: Floats = np.maximum(rate, SLOWEST_RATE)
        return slowest

    def closed_by(self, days: Floats) -> Floats:
        """Give P(closed within so many days), shape of ``days`` (rows, moments)."""
        return self._at(self.closed, days, 1.0 - self.closed[:, -1:])

    @cached_property
    def tail_share(self) -> Floats:
        """Share of wins among what closes beyond the last edge, shape (rows, 1)."""
        share: Floats = self.won[:, -1:] / np.maximum(self.won[:, -1:] + self.lost[:, -1:], 1e-300)
        return share

    def won_by(self, days: Floats) -> Floats:
        """Give P(won within so many days), shape of ``days`` (rows, moments)."""
        return self._at(self.won, days, (1.0 - self.closed[:, -1:]) * self.tail_share)

    def won_share_by(self, days: Floats) -> Floats:
        """Give P(won within so many days, given that it is won at all), shape (rows, moments).

        The chance to be won by then is this times the win probability, so that a score, an expected close
        and a forecast agree.
        """
        ever = self.won[:, -1:] + (1.0 - self.closed[:, -1:]) * self.tail_share
        return np.divide(self.won_by(days), ever, out=self.closed_by(days), where=ever > 0)

    def _at(self, incidence: Floats, days: Floats, beyond: Floats) -> Floats:
        """Read an incidence between the edges; past the last, ``beyond`` is still to come."""
        days = np.maximum(days, 0.0)
        after = np.clip(np.searchsorted(self.edges_days, days, side="right"), 1, len(self.edges_days) - 1)
        low, high = self.edges_days[after - 1], self.edges_days[after]
        before = np.take_along_axis(incidence, after - 1, axis=1)
        step = np.take_along_axis(incidence, after, axis=1) - before
        within = before + step * np.minimum((days - low) / (high - low), 1.0)
        tail = np.maximum(days - self.edges_days[-1], 0.0)
        value: Floats = within - beyond * np.expm1(-self.tail_rate[:, None] * tail)
        return value

    def quantile(self, levels: Floats, *, latest: bool = False) -> Floats:
        """Give the days by which the record is closed with these probabilities.

        Parameters
        ----------
        levels : ndarray of shape (rows, levels)
            In [0, 1).
        latest : bool
            Where nothing closes for a while at a level, give the end of that while instead of its start.

        Returns
        -------
        ndarray of shape (rows, levels)
            Days after ``as_of``.
        """
        passed = self._passed(levels, np.less_equal if latest else np.less)
        after = np.clip(passed, 1, len(self.edges_days) - 1)
        before = np.take_along_axis(self.closed, after - 1, axis=1)
        step = np.take_along_axis(self.closed, after, axis=1) - before
        low, high = self.edges_days[after - 1], self.edges_days[after]
        share = np.divide(levels - before, step, out=np.zeros_like(levels), where=step > 0)
        inside = low + (high - low) * np.clip(share, 0.0, 1.0)
        left = 1.0 - self.closed[:, -1:]
        # Below the last edge the ratio is cut to 1, whose logarithm is 0.
        tail = np.log(left / np.minimum(1.0 - levels, left)) / self.tail_rate[:, None]
        days: Floats = np.minimum(
            np.where(levels <= self.closed[:, -1:], inside, self.edges_days[-1] + tail), FURTHEST_DAYS
        )
        return days

    def _passed(self, levels: Floats, compare: np.ufunc) -> NDArray[np.int64]:
        """Count the edges whose chance to be closed is below each level."""
        if len(levels) <= FEW:
            return np.asarray(compare(self.closed[:, None, :], levels[:, :, None]).sum(axis=2), np.int64)
        count = np.zeros(levels.shape, np.int64)
        for edge in range(self.closed.shape[1]):
            count += compare(self.closed[:, edge, None], levels)
        return count

    def shortest_interval(self, mass: float = 0.8) -> tuple[Floats, Floats]:
        """Give the shortest interval of days that holds so much of the distribution.

        Returns
        -------
        start, end : ndarray of shape (rows,)
            Days after ``as_of``. For a mass above a half the median lies inside.
        """
        room = 1.0 - mass
        rows = len(self.closed)
        # Between edges the density is flat, so the best interval begins or ends at an edge; the even steps
        # are for an end in the tail, where it is not.
        starts = [self.closed, self.closed - mass, np.tile(np.linspace(0.0, room, 21), (rows, 1))]
        levels = np.hstack(starts)
        levels = np.where((levels >= 0.0) & (levels <= room), levels, 0.0)
        begin = self.quantile(levels, latest=True)
        finish = self.quantile(np.minimum(levels + mass, 1.0 - 1e-9))
        best = np.argmin(finish - begin, axis=1)[:, None]
        start, end = (np.take_along_axis(days, best, axis=1)[:, 0] for days in (begin, finish))
        return start, end
