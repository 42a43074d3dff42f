"""Score records at moments: probability, reasons, expected close and amount, from a bundle and a history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import BundleError
from crm.history import History
from features import FeatureSpec, Prepared, Snapshots, describe, format_value, prepare_records
from features.entry import Language
from serving.bundle import ModelBundle
from serving.expected import Missing, expected_amount, look_up
from serving.outcome_model import OutcomeModel
from serving.reasons import Groups, explain, strongest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Moments = NDArray[np.datetime64]

_DAY = 86_400_000_000


class Reason(NamedTuple):
    """One feature's part in a probability.

    Parameters
    ----------
    feature : str
    label, value : str
        As a person reads them.
    effect : float
        In probability: 0.02 is two points.
    """

    feature: str
    label: str
    value: str
    effect: float


@dataclass(frozen=True)
class Scores:
    """Scores of n snapshots, in the order asked for.

    Parameters
    ----------
    entity : {"lead", "deal"}
    record_id : sequence of str
    as_of : ndarray of datetime64[us], UTC
    probability : ndarray of shape (n,)
        NaN where there is none.
    base_probability : float
    horizon_days : float or None
    signal : bool
        False where the base rate is served for all.
    close_p10, close_p50, close_p90 : ndarray of datetime64[us], UTC
        Ends of the shortest time that holds 80% of the chances to close, and the median; NaT where there is
        none.
    expected_amount : ndarray of shape (n,)
        Of the sale, if it is won; NaN where the amount is not known.
    model_version : str
    reason_missing : list of str or None
        ``unknown``, ``not_known_yet``, ``closed`` or ``gone``; ``too_early`` where the history the model was
        trained on holds too few outcomes; None where there is a score.
    raising, lowering : list of tuple of Reason
        Strongest first.
    other_effects : ndarray of shape (n,)
        What the effects that are not shown sum to: base, effects shown and these sum to the probability.
    """

    entity: str
    record_id: Sequence[str]
    as_of: Moments
    probability: Floats
    base_probability: float
    horizon_days: float | None
    signal: bool
    close_p10: Moments
    close_p50: Moments
    close_p90: Moments
    expected_amount: Floats
    model_version: str
    reason_missing: list[Missing | None]
    raising: list[tuple[Reason, ...]]
    lowering: list[tuple[Reason, ...]]
    other_effects: Floats

    def __len__(self) -> int:
        return len(self.record_id)


def score(
    bundle: ModelBundle,
    history: History | Prepared,
    snapshots: pd.DataFrame | Snapshots,
    entity: str,
    *,
    top: int = 3,
    language: Language = "en",
) -> Scores:
    """Score records at moments.

    Parameters
    ----------
    bundle : ModelBundle
    history : History or Prepared
        A whole history; or what :func:`features.prepared.prepare` or ``prepare_rows`` made ready for the
        model's spec, where records are scored without the history they belong to.
    snapshots : DataFrame or Snapshots
        ``record_id`` and ``as_of`` (datetime64[us, UTC]), in any order.
    entity : {"lead", "deal"}
    top : int
        At most so many reasons that raise the probability, and so many that lower it.
    language : {"en", "fr"}

    Returns
    -------
    Scores

    Raises
    ------
    BundleError
        If the bundle has no model of that entity.
    """
    model = model_of(bundle, entity)
    asked = snapshots if isinstance(snapshots, Snapshots) else _read(snapshots)
    prepared = history
    if not isinstance(prepared, Prepared):
        prepared = prepare_records(prepared, model.spec, asked.record_id)
    seen = look_up(model, prepared, asked)
    rows, x = seen.rows, seen.x
    found = explain(model, x)
    groups = groups_of(model.spec)
    effects = groups.effects(found.values)
    raising, lowering = strongest(effects, top)
    reader = ReasonReader(model.spec, language, x, found.values, effects, groups)
    n = len(seen.missing)
    nothing = np.full(len(rows), np.datetime64("NaT", "us"))
    closes = expected_closes(model, x, asked.as_of[rows]) if entity == "deal" else (nothing, nothing, nothing)
    return Scores(
        entity=entity,
        record_id=asked.record_id,
        as_of=asked.as_of,
        probability=_spread(found.probability, rows, n),
        base_probability=found.base,
        horizon_days=model.horizon_days,
        signal=model.signal,
        close_p10=_spread_moments(closes[0], rows, n),
        close_p50=_spread_moments(closes[1], rows, n),
        close_p90=_spread_moments(closes[2], rows, n),
        expected_amount=expected_amount(model, seen.amount),
        model_version=bundle.version,
        reason_missing=seen.missing,
        raising=_spread_reasons(reader.read(raising, 1.0), rows, n),
        lowering=_spread_reasons(reader.read(lowering, -1.0), rows, n),
        other_effects=_spread(not_shown(effects, raising, lowering), rows, n),
    )


def model_of(bundle: ModelBundle, entity: str) -> OutcomeModel:
    """Give the bundle's model of leads or deals; BundleError where it has none."""
    model = bundle.models.get(entity)
    if model is None:
        raise BundleError(
            f"bundle {bundle.version}: has no model of {entity}s; the history it was trained on could not "
            f"support one (see its report), train on one that holds closed {entity}s"
        )
    return model


@lru_cache(maxsize=16)
def groups_of(spec: FeatureSpec) -> Groups:
    """Give the groups of a spec's features, made once."""
    return Groups.of(spec)


def _read(snapshots: pd.DataFrame) -> Snapshots:
    ids = snapshots["record_id"].astype("str").tolist()
    as_of = snapshots["as_of"].dt.tz_convert("UTC").to_numpy(dtype="datetime64[us]")
    return Snapshots(ids, as_of)


def expected_closes(model: OutcomeModel, x: Floats, as_of: Moments) -> tuple[Moments, Moments, Moments]:
    """Give the start of the shortest interval holding 80%, the median, and its end."""
    if model.hazard is None:
        nothing = np.full(len(x), np.datetime64("NaT", "us"))
        return nothing, nothing, nothing
    timing = model.hazard.predict(x, as_of)
    start, end = timing.shortest_interval(0.8)
    median = timing.quantile(np.full((len(x), 1), 0.5))[:, 0]
    first, middle, last = (as_of + (d * _DAY).astype("timedelta64[us]") for d in (start, median, end))
    return first, middle, last


def not_shown(effects: Floats, raising: Ints, lowering: Ints) -> Floats:
    """Sum the effects that are not shown."""
    # In one memory order, so that a row is summed alike alone and in a batch.
    left = np.array(effects, order="C")
    for shown in (raising, lowering):
        rows, places = np.nonzero(shown >= 0)
        left[rows, shown[rows, places]] = 0.0
    total: Floats = left.sum(axis=1)
    return total


class ReasonReader:
    """Turns the strongest effects into reasons in a language."""

    def __init__(
        self,
        spec: FeatureSpec,
        language: Language,
        x: Floats,
        values: Floats,
        effects: Floats,
        groups: Groups,
    ) -> None:
        self._spec, self._language = spec, language
        self._x, self._values, self._effects, self._groups = x, values, effects, groups
        self._words: dict[tuple[int, float], tuple[str, str, str]] = {}

    def read(self, chosen: Ints, sign: float) -> list[tuple[Reason, ...]]:
        """Give each row's reasons, for the groups chosen, shape (rows, top); -1 for none."""
        columns = self._groups.shown(self._values, chosen, sign)
        rows = np.arange(len(chosen))[:, None]
        effects = self._effects[rows, chosen].tolist()
        numbers = self._x[rows, columns].tolist()
        return [
            tuple(
                self._reason(column, number, effect)
                for column, number, effect in zip(*row, strict=True)
                if column >= 0
            )
            for row in zip(columns.tolist(), numbers, effects, strict=True)
        ]

    def _reason(self, column: int, number: float, effect: float) -> Reason:
        words = self._words.get((column, number))
        if words is None:
            name = self._spec.names[column]
            label = _label(self._spec, name, self._language)
            words = name, label, format_value(self._spec, name, number, self._language)
            self._words[column, number] = words
        return Reason(*words, effect)


@lru_cache(maxsize=4096)
def _label(spec: FeatureSpec, name: str, language: Language) -> str:
    return describe(spec, name, language)


def _spread(values: Floats, rows: Ints, n: int) -> Floats:
    whole = np.full(n, np.nan)
    whole[rows] = values
    return whole


def _spread_moments(values: Moments, rows: Ints, n: int) -> Moments:
    whole = np.full(n, np.datetime64("NaT", "us"))
    whole[rows] = values
    return whole


def _spread_reasons(reasons: list[tuple[Reason, ...]], rows: Ints, n: int) -> list[tuple[Reason, ...]]:
    whole: list[tuple[Reason, ...]] = [()] * n
    for row, one in zip(rows.tolist(), reasons, strict=True):
        whole[row] = one
    return whole
