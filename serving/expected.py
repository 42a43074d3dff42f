"""What is expected of records at moments, without reasons: the chance to win, when, and how much.

:func:`serving.scoring.score` and the forecast both start here, so that their numbers agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features import FeatureSpec, Prepared, Snapshots, build_features
from features.catalogue import features_of
from serving.outcome_model import OutcomeModel
from serving.timing import Timing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Moments = NDArray[np.datetime64]

#: Why a record has no score.
Missing = Literal["unknown", "not_known_yet", "closed", "gone", "too_early"]

#: What is read of a deal whether or not the model uses it.
_READ = ("amount", "stage")


@dataclass(frozen=True)
class Seen:
    """What was known of n snapshots.

    Parameters
    ----------
    missing : list of str or None
        Why a snapshot has no score; None where the record was open.
    rows : ndarray of shape (m,)
        The places of those that were open, ascending.
    x : ndarray of shape (m, features)
        Of these only, in the order of the model's ``spec.names``.
    amount : ndarray of shape (n,)
        Of an open deal; NaN where there is none.
    stage : ndarray of shape (n,)
        Code of an open deal's stage among the spec's levels; NaN where there is none.
    """

    missing: list[Missing | None]
    rows: Ints
    x: Floats
    amount: Floats
    stage: Floats


@dataclass(frozen=True)
class Chances:
    """What is expected of n snapshots of deals, in the order asked for.

    Parameters
    ----------
    record_id : sequence of str
    as_of : ndarray of datetime64[us], UTC
    missing : list of str or None
        Why a snapshot has no chances, as ``Scores.reason_missing``; None where it has.
    rows : ndarray of shape (m,)
        The places of those that have, ascending.
    win_probability : ndarray of shape (n,)
        P(won) ever, as :func:`serving.scoring.score` gives it; NaN where there is none.
    timing : Timing or None
        When the m deals close, in the order of ``rows``; None where the model knows nothing of it.
    amount : ndarray of shape (n,)
        As known at ``as_of``; NaN where there is none.
    expected_amount : ndarray of shape (n,)
        Of the sale, if it is won.
    stage : list of str or None
        As known at ``as_of``; None where there is none, or one so rare that the model has no level for it.
    signal : bool
        False where all deals have the base rate for a win probability.
    """

    record_id: Sequence[str]
    as_of: Moments
    missing: list[Missing | None]
    rows: Ints
    win_probability: Floats
    timing: Timing | None
    amount: Floats
    expected_amount: Floats
    stage: list[str | None]
    signal: bool = True

    def __len__(self) -> int:
        return len(self.record_id)

    def won_share_by(self, days: float) -> Floats:
        """Give P(won within so many days, given that it is won at all), shape (m,).

        The timing's own, so that score, expected close and forecast agree. Where no skill was found, all
        deals have one win probability, but the timing still knows that an old deal is won less often than a
        new one: then what it says of winning by then counts, as far as the probability allows.
        """
        if self.timing is None or days <= 0.0 or not len(self.rows):
            return np.zeros(len(self.rows))
        at = np.full((len(self.rows), 1), days)
        if self.signal:
            return self.timing.won_share_by(at)[:, 0]
        chance = np.maximum(self.win_probability[self.rows], 1e-12)
        share: Floats = np.minimum(self.timing.won_by(at)[:, 0] / chance, 1.0)
        return share


def deal_chances(model: OutcomeModel, prepared: Prepared, snapshots: Snapshots) -> Chances:
    """Give the chances of deals at moments: to be won, when, and for how much.

    Parameters
    ----------
    model : OutcomeModel
        Of deals.
    prepared : Prepared
        For ``model.spec``.
    snapshots : Snapshots
        In any order.
    """
    seen = look_up(model, prepared, snapshots)
    chances = np.full(len(seen.missing), np.nan)
    chances[seen.rows] = model.probability(model.margin(seen.x)) if model.signal else model.base_rate
    return Chances(
        record_id=snapshots.record_id,
        as_of=np.asarray(snapshots.as_of, "datetime64[us]"),
        missing=seen.missing,
        rows=seen.rows,
        win_probability=chances,
        timing=None
        if model.hazard is None
        else model.hazard.predict(seen.x, np.asarray(snapshots.as_of, "datetime64[us]")[seen.rows]),
        amount=seen.amount,
        expected_amount=expected_amount(model, seen.amount),
        stage=stage_names(model.spec, seen.stage),
        signal=model.signal,
    )


def joined(parts: list[Chances]) -> Chances:
    """Join the chances of consecutive parts of what was asked."""
    starts = np.cumsum([0, *(len(part) for part in parts)])
    timings = [part.timing for part in parts if part.timing is not None]
    timing = None
    if timings:
        won, lost = (np.concatenate([getattr(one, name) for one in timings]) for name in ("won", "lost"))
        timing = Timing(timings[0].edges_days, won, lost)
    return Chances(
        record_id=[record for part in parts for record in part.record_id],
        as_of=np.concatenate([part.as_of for part in parts]),
        missing=[why for part in parts for why in part.missing],
        rows=np.concatenate([part.rows + start for part, start in zip(parts, starts[:-1], strict=True)]),
        win_probability=np.concatenate([part.win_probability for part in parts]),
        timing=timing,
        amount=np.concatenate([part.amount for part in parts]),
        expected_amount=np.concatenate([part.expected_amount for part in parts]),
        stage=[stage for part in parts for stage in part.stage],
        signal=parts[0].signal,
    )


def look_up(model: OutcomeModel, prepared: Prepared, asked: Snapshots) -> Seen:
    """Read what was known of snapshots, and which of them the model may score."""
    missing = why_missing(prepared, asked)
    if model.too_early:
        missing = ["too_early" if why is None else why for why in missing]
    rows = np.array([place for place, why in enumerate(missing) if why is None], np.int64)
    spec = with_read(model.spec)
    some = asked
    if len(rows) < len(missing):
        some = Snapshots([asked.record_id[row] for row in rows.tolist()], np.asarray(asked.as_of)[rows])
    values = build_features(prepared, some, spec).values
    read = {}
    for name in _READ:
        read[name] = np.full(len(missing), np.nan)
        if model.entity == "deal" and name in spec.names:
            read[name][rows] = values[:, spec.names.index(name)]
    x = values[:, : len(model.spec.names)]
    return Seen(missing, rows, np.ascontiguousarray(x), read["amount"], read["stage"])


@lru_cache(maxsize=16)
def with_read(spec: FeatureSpec) -> FeatureSpec:
    """Give the spec with what is read of every deal at its end, where the model does not use it."""
    if spec.entity != "deal":
        return spec
    there = features_of(spec)
    further = tuple(name for name in _READ if name in there and name not in spec.names)
    return replace(spec, names=(*spec.names, *further)) if further else spec


def why_missing(prepared: Prepared, asked: Snapshots) -> list[Missing | None]:
    """Say why each snapshot has no score; None where the record was open."""
    records = prepared.records
    as_of = np.asarray(asked.as_of, "datetime64[us]").view(np.int64)
    rank = np.array([records.rank_of.get(record, -1) for record in asked.record_id], np.int64)
    why: list[Missing | None] = [None] * len(rank)
    if len(records.ids) == 0:
        return ["unknown"] * len(rank)
    # The first that applies stands, so the last is written first.
    reasons: tuple[tuple[Missing, NDArray[np.bool_]], ...] = (
        ("gone", records.gone[rank] < as_of),
        ("closed", records.closed[rank] < as_of),
        ("not_known_yet", records.recorded[rank] >= as_of),
        ("unknown", rank < 0),
    )
    for reason, applies in reasons:
        for place in np.flatnonzero(applies).tolist():
            why[place] = reason
    return why


def expected_amount(model: OutcomeModel, amount: Floats) -> Floats:
    """Give what sales are expected to bring whose amounts are now believed to be so."""
    return amount if model.amount is None else amount * model.amount.factor


def stage_names(spec: FeatureSpec, codes: Floats) -> list[str | None]:
    """Give stages by their codes; None for no code, or that of all rare ones."""
    found = spec.levels_of("stage")
    levels: list[str | None] = [*(found.levels if found else ()), None]
    place = np.where(np.isnan(codes), len(levels) - 1, codes).astype(np.int64)
    return [levels[one] for one in np.minimum(place, len(levels) - 1).tolist()]
