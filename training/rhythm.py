"""The calendar's rhythm as a history shows it, and the hazard that a booster starts from because of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from serving.rhythm import CalendarRhythm, days_of
from serving.timing import HazardModel
from training.beat import find_beat
from training.labels import LOST, OPEN, WON, Labels, Outcomes
from training.person_periods import PersonPeriods, period_weights, person_periods

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Moments = npt.NDArray[np.datetime64]

#: Closings that an interval counts as having seen beside its own, in the overall proportion.
_PRIOR_CLOSINGS = 5.0


def find_rhythm(found: Outcomes, until: np.datetime64) -> CalendarRhythm:
    """Find on which days of the calendar, in UTC, records are won and lost.

    Parameters
    ----------
    found : Outcomes
        What is known of all records by ``until``.
    until : datetime64[us]
        End of observation.
    """
    started, ended = (_days(micros[~found.untimed]) for micros in (found.started, found.ended))
    last = int(np.floor(days_of(np.array([until]))[0]))
    events = found.events[~found.untimed]
    return CalendarRhythm(*(find_beat(started, ended, events == event, last) for event in (WON, LOST)))


def _days(micros: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.floor(days_of(micros.view("datetime64[us]"))).astype(np.int64)


@dataclass(frozen=True)
class HazardStart:
    """The hazard without features that a booster starts from: by interval, in the calendar's rhythm.

    Parameters
    ----------
    rhythm : CalendarRhythm
    base : tuple of (float, float)
        For each interval, the odds of being won and of being lost against staying open, on an even calendar.
    place : ndarray of int, shape (snapshots,)
    exposure : ndarray of shape (moments, intervals, 2)
        As :meth:`CalendarRhythm.exposure` gives them for the snapshots.
    """

    rhythm: CalendarRhythm
    base: tuple[tuple[float, float], ...]
    place: Ints
    exposure: Floats

    def scores(self, periods: PersonPeriods, rows: Ints) -> Floats:
        """Give the margins that LightGBM starts from, shape (rows, classes)."""
        snapshot, interval = periods.snapshot[rows], periods.interval[rows]
        odds = np.array(self.base)[interval] * self.exposure[self.place[snapshot], interval]
        return np.column_stack([np.zeros(len(rows)), np.log(odds)])

    def model(self, booster: str, edges_days: tuple[float, ...]) -> HazardModel:
        """Give the hazard of a booster that was fitted from here."""
        return HazardModel(booster, edges_days, self.rhythm, self.base)


def start_of(
    labels: Labels,
    as_of: Moments,
    edges: tuple[float, ...],
    rhythm: CalendarRhythm,
    half_life_days: float | None,
    weights: Floats | None = None,
) -> HazardStart:
    """Count the closings of each interval, relative to the part of the rhythm that it held.

    Parameters
    ----------
    labels : Labels of length n
    as_of : ndarray of datetime64[us], UTC, shape (n,)
    edges : tuple of float
        Days.
    rhythm : CalendarRhythm
    half_life_days : float, optional
    weights : ndarray of shape (n,), optional
    """
    periods = person_periods(labels, edges)
    own = period_weights(labels, periods, edges, half_life_days, weights)
    place, exposure = rhythm.exposure(np.array(edges), as_of)
    size = len(edges) - 1
    stayed = own * (periods.outcome == OPEN)
    odds = []
    for cause, event in enumerate((WON, LOST)):
        held = exposure[place[periods.snapshot], periods.interval, cause]
        closed = np.bincount(periods.interval, own * (periods.outcome == event), minlength=size)
        stay = np.bincount(periods.interval, stayed * held, minlength=size)
        overall = max(closed.sum(), 0.5) / max(stay.sum(), 1e-9)
        odds.append((closed + _PRIOR_CLOSINGS) / (stay + _PRIOR_CLOSINGS / overall))
    base = tuple((float(won), float(lost)) for won, lost in zip(*odds, strict=True))
    return HazardStart(rhythm, base, place, exposure)


def settle(
    model: HazardModel,
    x: Floats,
    labels: Labels,
    as_of: Moments,
    half_life_days: float | None,
    weights: Floats | None = None,
) -> HazardModel:
    """Scale each interval's odds so that as many records close in it as were seen to.

    A regularised booster pulls the intervals towards each other; what is left of that in the sums is taken
    back here, where it costs one number an interval and cause.
    """
    edges = model.edges_days
    size = len(edges) - 1
    periods = person_periods(labels, edges)
    own = period_weights(labels, periods, edges, half_life_days, weights)
    hazards = model.hazards(x, as_of)
    factors = []
    for cause, event in enumerate((WON, LOST)):
        seen = np.bincount(periods.interval, own * (periods.outcome == event), minlength=size)
        expected = np.bincount(
            periods.interval, own * hazards[periods.snapshot, periods.interval, cause], minlength=size
        )
        factors.append((seen + _PRIOR_CLOSINGS) / (expected + _PRIOR_CLOSINGS))
    base = np.array(model.base) * np.column_stack(factors)
    return replace(model, base=tuple((float(won), float(lost)) for won, lost in base))
