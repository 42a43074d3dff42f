"""Fit when records close: a fine hazard in the calendar's rhythm, whose sums agree with what was seen."""

from __future__ import annotations

import numpy as np

from serving.timing import HazardModel
from training.hazard import choose_edges, fit_hazard
from training.labels import Outcomes
from training.rhythm import find_rhythm, settle, start_of
from training.samples import Sample
from training.settings import HazardSettings


def fit_timing(
    sample: Sample, found: Outcomes, until: np.datetime64, settings: HazardSettings
) -> HazardModel:
    """Fit the hazard whose distribution in time is served.

    Parameters
    ----------
    sample : Sample
    found : Outcomes
        Of all records of the kind: they show the calendar's rhythm.
    until : datetime64[us]
        End of observation.
    settings : HazardSettings
    """
    edges = choose_edges(sample.labels, settings)
    half_life, weights = settings.half_life_days, sample.weights
    start = start_of(sample.labels, sample.as_of, edges, find_rhythm(found, until), half_life, weights)
    model = fit_hazard(
        sample.x,
        sample.labels,
        edges,
        settings,
        categorical=sample.categorical,
        weights=weights,
        start=start,
    ).model
    return settle(model, np.ascontiguousarray(sample.x), sample.labels, sample.as_of, half_life, weights)
