"""Champion and challenger on the same moments: the same question, the same rows, one bootstrap by record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from serving.bundle import ModelBundle
from serving.outcome_model import OutcomeModel
from training.labels import OPEN, WON, outcomes
from training.metrics import bootstrap_mean, log_losses
from training.samples import Sample, draw_snapshots, make_sample
from training.settings import TrainSettings

Floats = npt.NDArray[np.float64]
T = TypeVar("T")

#: Records that must have closed after the moment, won ones among them, for a comparison to say anything.
FEWEST_CLOSED = 20
FEWEST_WON = 5
#: A mean loss higher than the champion's by more than this share is refused even where chance may explain it.
TOLERANCE = 0.02
_RESAMPLES = 1000
_SEED = 7


@dataclass(frozen=True)
class Comparison:
    """Champion and challenger on the same moments of one kind of record.

    Parameters
    ----------
    entity : {"lead", "deal"}
    how : {"as_they_are", "rehearsed", "rehearsed_by_order"}
        Whether both bundles were asked, or what their settings learn from an earlier moment's history; by
        order where outcomes have no time.
    since, until : str
        The moments lie between these.
    n, records, closed, won : int
        Moments, their records, and of these the closed and the won.
    champion, challenger : float
        Mean log loss, in nats.
    difference, low, high : float
        Challenger less champion, and its 90% bootstrap interval drawn by record.
    """

    entity: str
    how: str
    since: str
    until: str
    n: int
    records: int
    closed: int
    won: int
    champion: float
    challenger: float
    difference: float
    low: float
    high: float

    @property
    def objection(self) -> str:
        """Why the challenger is refused; empty where it is not."""
        if self.low > 0:
            return f"the challenger is worse: {self}"
        if self.difference > TOLERANCE * self.champion:
            return f"the challenger is more than {TOLERANCE:.0%} worse, though chance may explain it: {self}"
        return ""

    def __str__(self) -> str:
        return (
            f"{self.entity}s: log loss {self.challenger:.4f} against the champion's {self.champion:.4f} "
            f"(difference {self.difference:+.4f}, 90% interval {self.low:+.4f} to {self.high:+.4f}) "
            f"on {self.n:,} moments of {self.records:,} {self.entity}s, {self.closed:,} of them closed"
        )


def able(bundle: ModelBundle, entity: str) -> bool:
    """Say whether a bundle gives scores of a kind of record."""
    model = bundle.models.get(entity)
    return model is not None and not model.too_early


def settings_of(bundle: ModelBundle) -> TrainSettings:
    """Give the settings a bundle was trained with; what it does not say is as it is by default."""
    return _rebuild(TrainSettings, bundle.config)


def _rebuild(kind: type[T], data: Mapping[str, Any]) -> T:
    default = kind()
    values: dict[str, Any] = {}
    for name in (f.name for f in fields(kind) if f.name in data):  # type: ignore[arg-type]
        value, now = data[name], getattr(default, name)
        if is_dataclass(now) and isinstance(value, Mapping):
            value = _rebuild(type(now), value)
        values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def compare(
    known: History,
    champion: ModelBundle,
    challenger: ModelBundle,
    entities: list[str],
    since: pd.Timestamp,
    until: pd.Timestamp,
    how: str,
) -> list[Comparison]:
    """Compare two bundles on regular snapshots after a moment, taken and weighed as in training.

    Parameters
    ----------
    known : History
        As known at ``until``.
    champion, challenger : ModelBundle
    entities : list of {"lead", "deal"}
        That both can score.
    since, until : Timestamp
    how : str
        As :class:`Comparison` says.

    Returns
    -------
    list of Comparison
        Without the kinds of which too few closed.
    """
    settings = settings_of(challenger)
    comparisons = []
    for entity in entities:
        found = outcomes(known, entity)
        snapshots = draw_snapshots(known, entity, until, settings, start=since)
        if len(snapshots) == 0:
            continue
        old, new = (
            make_sample(known, found, snapshots, bundle.models[entity].spec, until, settings)
            for bundle in (champion, challenger)
        )
        models = champion.models[entity], challenger.models[entity]
        comparison = measure(*models, old, new, how, (since.isoformat(), until.isoformat()))
        if comparison is not None:
            comparisons.append(comparison)
    return comparisons


def measure(
    champion: OutcomeModel,
    challenger: OutcomeModel,
    old: Sample,
    new: Sample,
    how: str,
    window: tuple[str, str],
) -> Comparison | None:
    """Compare two models on the same rows, each with its own features; None where too few closed."""
    labels, records = new.labels, new.records
    horizons = [model.horizon_days for model in (champion, challenger) if model.horizon_days is not None]
    days = np.minimum(labels.observed, min(horizons, default=np.inf))
    won = (labels.events == WON) & (labels.durations <= days)
    n_closed = len(np.unique(records[labels.events != OPEN]))
    n_won = len(np.unique(records[won]))
    if n_closed < FEWEST_CLOSED or n_won < FEWEST_WON:
        return None
    asked = ((champion, old), (challenger, new))
    losses = [log_losses(won, chance(model, sample.x, sample.as_of, days)) for model, sample in asked]
    weights = new.weights
    difference, low, high = bootstrap_mean(losses[1] - losses[0], records, _RESAMPLES, _SEED, weights=weights)
    return Comparison(
        entity=challenger.entity,
        how=how,
        since=window[0],
        until=window[1],
        n=len(new),
        records=len(np.unique(records)),
        closed=n_closed,
        won=n_won,
        champion=float(np.average(losses[0], weights=weights)),
        challenger=float(np.average(losses[1], weights=weights)),
        difference=difference,
        low=low,
        high=high,
    )


def chance(model: OutcomeModel, x: Floats, as_of: npt.NDArray[np.datetime64], days: Floats) -> Floats:
    """Give P(won within so many days), as the bundle's probability and timing say it."""
    shown = model.probability(model.margin(x))
    if model.hazard is None:
        return shown
    timing = model.hazard.predict(x, as_of)
    share = timing.won_share_by(days[:, None])[:, 0]
    if model.horizon_days is not None:
        whole = timing.won_share_by(np.full((len(x), 1), model.horizon_days))[:, 0]
        share = share / np.maximum(whole, 1e-12)
    chance: Floats = shown * np.clip(share, 0.0, 1.0)
    return chance
