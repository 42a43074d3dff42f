"""When a record closes: the hazard model's distribution, its median and its shortest interval.

The hazard is a discrete-time competing-risks model (Tutz and Schmid, "Modeling Discrete Time-to-Event Data",
2016, chapter 8): for each interval after ``as_of``, the chances to stay open, to be won and to be lost,
given that the record was open when the interval began.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from crm.errors import BundleError
from serving.week import WeekRhythm

Floats = NDArray[np.float64]
Moments = NDArray[np.datetime64]

#: Order of the classes in the hazard's booster.
STAY, WON, LOST = 0, 1, 2
#: Beyond the last edge a record closes at least at this rate, once in ten years on average.
SLOWEST_RATE = 1.0 / 3653.0
#: No closing is put further away than this.
FURTHEST_DAYS = 36525.0
#: Rows whose intervals are predicted together, so that memory stays flat.
CHUNK = 1024
#: For so many days, the chance to close is spread over days by the week's rhythm; later, evenly.
DAILY_FOR = 28


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
    rhythm : WeekRhythm, optional
    base : tuple of (float, float)
        For each interval, the odds of being won and of being lost against staying open that the booster
        starts from, in an even week; empty where it starts from nothing.

    Raises
    ------
    BundleError
        Where the booster has not three classes or the edges do not rise from 0.
    """

    booster: str
    edges_days: tuple[float, ...]
    rhythm: WeekRhythm | None = None
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
            Needed where the model knows the week's rhythm.
        threads : int
        """
        steps = len(self.edges_days) - 1
        hazards = np.empty((len(x), steps, 3))
        for first in range(0, len(x), CHUNK):
            part = x[first : first + CHUNK]
            rows = np.column_stack([np.repeat(part, steps, axis=0), np.tile(np.arange(steps), len(part))])
            predicted = np.asarray(self._model.predict(rows, num_threads=threads))
            hazards[first : first + CHUNK] = predicted.reshape(len(part), steps, 3)
        edges = np.array(self.edges_days)
        if self.base:
            hazards[:, :, 1:] *= np.array(self.base)
        if self.rhythm is not None and as_of is not None:
            hazards[:, :, 1:] *= self.rhythm.exposure(edges, as_of)
        if self.base or self.rhythm is not None:
            hazards /= hazards.sum(axis=2, keepdims=True)
        open_before = np.cumprod(hazards[:, :, STAY], axis=1)
        open_before = np.column_stack([np.ones(len(x)), open_before[:, :-1]])
        closing = open_before[:, :, None] * hazards[:, :, 1:]
        if self.rhythm is not None and as_of is not None:
            edges, closing = _by_day(edges, closing, self.rhythm, as_of)
        cumulative = np.concatenate([np.zeros((len(x), 1, 2)), np.cumsum(closing, axis=1)], axis=1)
        return Timing(edges, cumulative[:, :, 0], cumulative[:, :, 1])


def _by_day(edges: Floats, closing: Floats, rhythm: WeekRhythm, as_of: Moments) -> tuple[Floats, Floats]:
    """Split the intervals of the first weeks into days, each with its part of the rhythm."""
    days = np.arange(min(DAILY_FOR, edges[-1]) + 1.0)
    finer = np.union1d(edges, days[days < edges[-1]])
    of = np.searchsorted(edges, finer[:-1], side="right") - 1
    held = rhythm.exposure(finer, as_of) * np.diff(finer)[None, :, None]
    whole = rhythm.exposure(edges, as_of) * np.diff(edges)[None, :, None]
    return finer, closing[:, of] * held / whole[:, of]


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
        closed, wanted = self.closed[:, None, :], levels[:, :, None]
        passed = (closed <= wanted if latest else closed < wanted).sum(axis=2)
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
