"""A score as the service knows it, and as the store holds it: one row, its lists as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from crm.store.service.moments import to_micros, to_moment

#: A feature, its number (None where it has none), and its effect in probability.
Effect = tuple[str, float | None, float]


@dataclass(frozen=True, slots=True)
class StoredScore:
    """The last score of a record.

    Parameters
    ----------
    entity, record_id : str
    as_of, scored_at : datetime
        What it knew, and when it was made.
    model_version : str
    probability, base_probability : float
    grade : str
    close_p10, close_p50, close_p90 : datetime or None
        Of a deal.
    expected_amount, expected_value : float or None
        The second is the first times the probability.
    reasons : tuple of Effect
    other_effects : float
        What all effects that ``reasons`` does not name sum to.
    previous_probability, previous_as_of : float, datetime or None
        Of the score before.
    change_reasons : tuple of Effect
        What moved it since.
    risks : tuple of dict
        Signs of a deal at risk, as they are answered.
    valid_until : datetime
    input_hash : str
    owner_id, stage : str or None
    amount : float or None
    """

    entity: str
    record_id: str
    as_of: datetime
    scored_at: datetime
    model_version: str
    probability: float
    base_probability: float
    grade: str
    close_p10: datetime | None
    close_p50: datetime | None
    close_p90: datetime | None
    expected_amount: float | None
    expected_value: float | None
    reasons: tuple[Effect, ...]
    other_effects: float
    previous_probability: float | None
    previous_as_of: datetime | None
    change_reasons: tuple[Effect, ...]
    risks: tuple[dict[str, Any], ...]
    valid_until: datetime
    input_hash: str
    owner_id: str | None
    stage: str | None
    amount: float | None


class LoggedScore(NamedTuple):
    """A score that a record had."""

    as_of: datetime
    scored_at: datetime
    model_version: str
    probability: float
    reasons: tuple[Effect, ...]


def score_row(score: StoredScore, logged_probability: float, logged_version: str) -> tuple[Any, ...]:
    """Give a score as a row of the columns of :data:`crm.store.service.layout.SCORES`, in their order."""
    before = score.previous_probability
    return (
        score.entity,
        score.record_id,
        to_micros(score.as_of),
        to_micros(score.scored_at),
        score.model_version,
        score.probability,
        score.base_probability,
        score.grade,
        to_micros(score.close_p10),
        to_micros(score.close_p50),
        to_micros(score.close_p90),
        score.expected_amount,
        score.expected_value,
        orjson.dumps(score.reasons).decode(),
        score.other_effects,
        before,
        to_micros(score.previous_as_of),
        orjson.dumps(score.change_reasons).decode(),
        orjson.dumps(score.risks).decode(),
        to_micros(score.valid_until),
        score.input_hash,
        score.owner_id,
        score.stage,
        score.amount,
        None if before is None else score.probability - before,
        logged_probability,
        logged_version,
    )


def read_score(row: Sequence[Any]) -> StoredScore:
    """Read what :func:`score_row` gave."""
    (entity, record_id, as_of, scored_at, version, probability, base, grade, *_) = row
    (p10, p50, p90, expected_amount, expected_value, reasons, other_effects, before, before_as_of) = row[8:17]
    (change_reasons, risks, valid_until, input_hash, owner_id, stage, amount) = row[17:24]
    return StoredScore(
        entity,
        record_id,
        to_moment(as_of),
        to_moment(scored_at),
        version,
        probability,
        base,
        grade,
        to_moment(p10),
        to_moment(p50),
        to_moment(p90),
        expected_amount,
        expected_value,
        read_effects(reasons),
        other_effects,
        before,
        to_moment(before_as_of),
        read_effects(change_reasons),
        tuple(orjson.loads(risks)),
        to_moment(valid_until),
        input_hash,
        owner_id,
        stage,
        amount,
    )


def log_row(row: Sequence[Any]) -> tuple[Any, ...]:
    """Give what the log keeps of a row, in the order of the log's columns after its position."""
    entity, record_id, as_of, scored_at, version, probability = row[:6]
    return entity, record_id, as_of, scored_at, version, probability, row[13]


def read_effects(text: str) -> tuple[Effect, ...]:
    """Read effects from JSON."""
    return tuple(map(tuple, orjson.loads(text)))
