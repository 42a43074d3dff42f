"""Answer questions about records: the one way from rows to answers, for one caller or several at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import numpy as np

from crm.moments import MISSING, in_micros
from features import prepare_rows
from serving.answering.answers import Manner, Phrased, phrase
from serving.answering.assessing import Assessed, assess
from serving.answering.ranks import standing
from serving.answering.reading import Received
from serving.answering.receipts import input_hash, receipt
from serving.answering.record_rows import RecordRows, Tables
from serving.answering.risk_signs import risks_of
from serving.answering.schemas import RecordError, Unscored
from serving.answering.unseen import unseen_values
from serving.bundle import ModelBundle
from serving.expected import Floats, Missing
from serving.http.problems import MODEL_GONE, NO_MODEL, Fault, Refusal
from serving.outcome_model import OutcomeModel

_REMEDIES: dict[Unscored, str] = {
    "unknown": "the store has no such record, or none that this key may see; check the id",
    "not_known_yet": "it was not recorded before as_of; score it at a later moment",
    "closed": "it was closed before as_of; only open records are scored",
    "gone": "it was no longer in the CRM at as_of; only open records are scored",
    "too_early": "the history that the model learned from holds too few outcomes; train again later",
}


class Earlier(Protocol):
    """The last score of a record in the store, as :class:`crm.store.service.scores.StoredScore` has it."""

    @property
    def as_of(self) -> datetime: ...
    @property
    def probability(self) -> float: ...
    @property
    def model_version(self) -> str: ...


@dataclass(frozen=True)
class Question:
    """What one caller asks, with everything that is needed to answer.

    Parameters
    ----------
    received : Received
    rows : sequence of RecordRows or None
        Of each record received; None where the store has none that the caller may see.
    earlier : mapping of str to Earlier
        Last scores, by the record's id.
    ordered : ndarray, optional
        Probabilities of the store's open records, ascending; None where there is no store.
    """

    received: Received
    rows: Sequence[RecordRows | None]
    earlier: Mapping[str, Earlier] = field(default_factory=dict)
    ordered: Floats | None = None


class _Asked(NamedTuple):
    """One record of one question."""

    question: int
    place: int
    rows: RecordRows


def check(bundle: ModelBundle, received: Received) -> OutcomeModel:
    """Give the model that is to answer.

    Raises
    ------
    Refusal
        If the bundle has no model of that entity, or is not of the version asked for.
    """
    wanted = received.model_version
    if wanted is not None and wanted != bundle.version:
        raise Refusal(MODEL_GONE, f"version {bundle.version} is served")
    model = bundle.models.get(received.entity)
    if model is None:
        raise Refusal(NO_MODEL, f"bundle {bundle.version} has no model of {received.entity}s")
    return model


def facts(bundle: ModelBundle) -> dict[str, Any]:
    """Say which model answers."""
    return {"name": bundle.name, "version": bundle.version, "trained_through": bundle.trained_through}


def answer_questions(bundle: ModelBundle, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """Answer questions about records of one entity.

    Each record is answered on its own: what else is asked, by whom, changes nothing.

    Parameters
    ----------
    bundle : ModelBundle
    questions : sequence of Question
        Of one entity, each checked with :func:`check`.

    Returns
    -------
    list of dict
        As :class:`serving.answering.schemas.LeadAnswer` or ``DealAnswer`` describes.
    """
    model = bundle.models[questions[0].received.entity]
    about = facts(bundle)
    scores: list[dict[int, dict[str, Any]]] = [{} for _ in questions]
    errors = [list(question.received.errors) for question in questions]
    for number, question in enumerate(questions):
        for place, rows in enumerate(question.rows):
            if rows is None:
                errors[number].append(_unscored(question.received, place, "unknown"))
    for tables, asked in _layers(model.entity, questions):
        for one, answer in _assess(bundle, model, about, questions, tables, asked):
            if isinstance(answer, dict):
                scores[one.question][one.place] = answer
            else:
                errors[one.question].append(_unscored(questions[one.question].received, one.place, answer))
    return [
        {
            "model": about,
            "as_of": question.received.as_of.astimezone(UTC),
            "horizon_days": model.horizon_days,
            "signal": model.signal,
            "scores": [scored[place] for place in sorted(scored)],
            "errors": [error.model_dump() for error in sorted(wrong, key=lambda one: one.index)],
        }
        for question, scored, wrong in zip(questions, scores, errors, strict=True)
    ]


def _layers(entity: str, questions: Sequence[Question]) -> list[tuple[Tables, list[_Asked]]]:
    """Put all records into as few calls as agree on what their rows say of the same ids."""
    layers: list[tuple[Tables, list[_Asked]]] = []
    for number, question in enumerate(questions):
        for place, rows in enumerate(question.rows):
            if rows is None:
                continue
            for tables, asked in layers:
                if tables.add(rows):
                    asked.append(_Asked(number, place, rows))
                    break
            else:
                tables = Tables(entity)
                tables.add(rows)
                layers.append((tables, [_Asked(number, place, rows)]))
    return layers


def _assess(
    bundle: ModelBundle,
    model: OutcomeModel,
    about: dict[str, Any],
    questions: Sequence[Question],
    tables: Tables,
    asked: list[_Asked],
) -> Iterator[tuple[_Asked, dict[str, Any] | Missing]]:
    """Give the score of each record of one call, or why it has none."""
    series = bundle.series.get(model.entity)
    prepared = prepare_rows(tables.rows, model.spec, series=series, names=tables.record_ids)
    moments = [in_micros(question.received.as_of) for question in questions]
    as_of = np.array([moments[one.question] for one in asked], np.int64)
    earlier = [questions[one.question].earlier.get(one.rows.record_id) for one in asked]
    before = np.array([MISSING if one is None else in_micros(one.as_of) for one in earlier], np.int64)
    found = assess(
        model,
        prepared,
        tables.names,
        as_of,
        # What was scored at a later moment, before this question of the past, did not come before it.
        before=np.where(before < as_of, before, MISSING),
        helps=any(question.received.helps for question in questions),
        closes=any(question.received.expected_close for question in questions),
    )
    for one, why in zip(asked, found.missing, strict=True):
        if why is not None:
            yield one, why
    manners: dict[Manner, list[int]] = {}
    for row, at in enumerate(found.rows.tolist()):
        received = questions[asked[at].question].received
        manner = Manner(received.language, received.reasons, received.helps, received.expected_close)
        manners.setdefault(manner, []).append(row)
    for manner, some in manners.items():
        chosen = np.array(some, np.int64)
        places = found.rows[chosen].tolist()
        last = [earlier[at] if before[at] < as_of[at] else None for at in places]
        for at, row, phrased in zip(places, some, phrase(model, found, chosen, manner, last), strict=True):
            one = asked[at]
            yield one, _score(bundle, model, about, questions[one.question], one, found, row, phrased)


def _score(
    bundle: ModelBundle,
    model: OutcomeModel,
    about: dict[str, Any],
    question: Question,
    one: _Asked,
    found: Assessed,
    row: int,
    phrased: Phrased,
) -> dict[str, Any]:
    """Give one record's score with what is of its own question: index, place among others, receipt."""
    received = question.received
    as_of = received.as_of.astimezone(UTC)
    micros = in_micros(as_of)
    probability = float(found.probability[row])
    extra: dict[str, Any] = {}
    said = ""
    if model.entity == "deal":
        risks = risks_of(bundle.risks, one.rows, micros, received.language)
        amount = float(found.expected_amount[row])
        known = bool(np.isfinite(amount))
        extra = {
            "expected_amount": amount if known else None,
            "expected_value": probability * amount if known else None,
            "risks": risks.words,
        }
        said = f"{amount!r}\0{risks.facts}"
    last = question.earlier.get(one.rows.record_id)
    place = None
    if question.ordered is not None and len(question.ordered):
        place = standing(question.ordered, probability, None if last is None else last.probability)
    digest = input_hash(model.entity, one.rows.record_id, micros, found.x[row], said)
    return {
        "index": received.places[one.place],
        f"{model.entity}_id": one.rows.record_id,
        "propensity" if model.entity == "lead" else "win_probability": probability,
        "horizon_days": model.horizon_days,
        **phrased,
        **extra,
        "rank": None if place is None else place.rank,
        "ranked_among": None if place is None else place.among,
        "percentile": None if place is None else place.percentile,
        "rows_not_known_yet": one.rows.late,
        "warnings": unseen_values(model.spec, one.rows),
        "receipt": receipt(about, as_of, digest),
    }


def _unscored(received: Received, place: int, why: Missing) -> RecordError:
    """Say why an open question stays open."""
    fault = Fault(field="", code=why, value=received.as_of.isoformat(), remedy=_REMEDIES[why])
    record_id = received.records[place][f"{received.entity}_id"]
    return RecordError(index=received.places[place], id=record_id, code=why, faults=[fault])
