"""Hazards as they would have been fitted in the past, to see how far forecasts of then were off.

Fitted quickly, on fewer rows and rounds than the one that is served, from what was known at each of a few
moments of the history's later half; an error they make is one that a forecast of then would have made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from serving.timing import HazardModel
from training.hazard import choose_edges, fit_hazard
from training.labels import OPEN, WON, Labels, Outcomes
from training.rhythm import find_rhythm, start_of
from training.samples import Sample
from training.settings import HazardSettings

#: Moments at which a hazard is fitted, and the share of the history's span after which they begin.
_MOMENTS, _BEGIN = 5, 0.4
#: Rows and rounds of each.
_PERIODS, _ROUNDS = 30_000, 60
#: Wins that must have been seen by then.
_FEWEST_WINS = 20
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class HazardOfThen:
    """A hazard and the moment, microseconds since 1970, whose knowledge it was fitted from."""

    since: int
    model: HazardModel


def hazards_of_then(
    sample: Sample, found: Outcomes, until: np.datetime64, settings: HazardSettings
) -> tuple[HazardOfThen, ...]:
    """Fit the hazards, oldest first; none where the history is too young.

    Parameters
    ----------
    sample : Sample
    found : Outcomes
        Of all records, for the calendar's rhythm.
    until : datetime64[us]
        End of observation.
    settings : HazardSettings
        Of the timing.
    """
    as_of = sample.as_of
    first = as_of.min()
    few = replace(settings, periods=_PERIODS, rounds=min(settings.rounds, _ROUNDS), half_life_days=None)
    fitted = []
    for share in np.linspace(_BEGIN, 1.0, _MOMENTS + 1)[:-1]:
        then = first + np.timedelta64(int((until - first) / np.timedelta64(1, "us") * share), "us")
        rows = np.flatnonzero(as_of < then)
        labels = _cut(sample.labels.take(rows), (then - as_of[rows]) / _DAY)
        if len(np.unique(sample.records[rows][labels.events == WON])) < _FEWEST_WINS:
            continue
        known = found.ended < then.astype("datetime64[us]").astype(np.int64)
        rhythm = find_rhythm(replace(found, events=np.where(known, found.events, OPEN).astype("int8")), then)
        edges, weights = choose_edges(labels, few), sample.weights[rows]
        start = start_of(labels, as_of[rows], edges, rhythm, None, weights)
        model = fit_hazard(
            sample.x[rows], labels, edges, few, categorical=sample.categorical, weights=weights, start=start
        ).model
        fitted.append(HazardOfThen(int(then.astype("datetime64[us]").astype(np.int64)), model))
    return tuple(fitted)


def _cut(labels: Labels, days: npt.NDArray[np.float64]) -> Labels:
    """Give the labels as they were known so many days after each snapshot."""
    closed = (labels.events != OPEN) & (labels.durations < days)
    return Labels(
        np.minimum(labels.durations, days),
        np.where(closed, labels.events, OPEN).astype("int8"),
        np.minimum(labels.observed, days),
        labels.entered,
    )
