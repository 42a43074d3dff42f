"""Score records that come with the request, and put the answer into words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from features import Snapshots, prepare_rows
from serving.bundle import ModelBundle
from serving.expected import Missing
from serving.problems import NO_MODEL, Refusal
from serving.reading import Received
from serving.schemas import Fault, RecordError, Unscored
from serving.scoring import Reason, Scores, score

_REMEDIES = {
    "not_known_yet": "it was not recorded before as_of; score it at a later moment",
    "closed": "it was closed before as_of; only open records are scored",
    "too_early": "the history that the model learned from holds too few outcomes; train again later",
}


def score_inline(bundle: ModelBundle, received: Received) -> dict[str, Any]:
    """Score the records of a batch.

    Parameters
    ----------
    bundle : ModelBundle
    received : Received

    Returns
    -------
    dict
        As :class:`serving.schemas.LeadAnswer` or ``DealAnswer`` describes.

    Raises
    ------
    Refusal
        If the bundle has no model of that entity.
    """
    entity = received.entity
    model = bundle.models.get(entity)
    if model is None:
        raise Refusal(NO_MODEL, f"bundle {bundle.version} has no model of {entity}s")
    as_of = received.as_of.astimezone(UTC)
    tables, not_yet = _tables(received.records, entity, as_of)
    ids = [record[f"{entity}_id"] for record in tables[f"{entity}s"]]
    prepared = prepare_rows(tables, model.spec, series=bundle.series.get(entity))
    moments = np.full(len(ids), np.datetime64(as_of.replace(tzinfo=None), "us"))
    scores = score(
        bundle, prepared, Snapshots(ids, moments), entity, top=received.reasons, language=received.language
    )
    answers, errors = [], list(received.errors)
    for row, (place, why) in enumerate(zip(received.places, scores.reason_missing, strict=True)):
        if why is None:
            answers.append({"index": place, **_answer(scores, row, not_yet[row])})
        else:
            errors.append(_unscored(place, ids[row], why, as_of))
    return {
        "model": facts(bundle),
        "as_of": as_of,
        "horizon_days": model.horizon_days,
        "signal": model.signal,
        "scores": answers,
        "errors": [error.model_dump() for error in sorted(errors, key=lambda one: one.index)],
    }


def facts(bundle: ModelBundle) -> dict[str, Any]:
    """Say which model answers."""
    return {"name": bundle.name, "version": bundle.version, "trained_through": bundle.trained_through}


def _unscored(place: int, record_id: str, why: Missing, as_of: datetime) -> RecordError:
    """Say why an open question stays open; an inline record is there, so it is never unknown or gone."""
    code: Unscored = why if why == "closed" or why == "too_early" else "not_known_yet"
    fault = Fault(field="", code=code, value=as_of.isoformat(), remedy=_REMEDIES[code])
    return RecordError(index=place, id=record_id, code=code, faults=[fault])


def _tables(
    records: list[Any], entity: str, as_of: datetime
) -> tuple[dict[str, list[dict[str, Any]]], list[int]]:
    """Give the records as canonical tables, and how many rows of each were not known before ``as_of``."""
    key = f"{entity}_id"
    rows: list[dict[str, Any]] = []
    activities: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    not_yet = []
    for record in records:
        late = 0
        for activity in record.get("activities", ()):
            activity[key] = record[key]
            late += _fill(activity, "occurred_at") >= as_of
            activities.append(activity)
        for change in record.get("changes", ()):
            change["entity"], change["record_id"] = entity, record[key]
            late += _fill(change, "changed_at") >= as_of
            changes.append(change)
        _fill(record, "created_at")
        rows.append({**record.get("attributes", {}), **record})
        not_yet.append(late)
    return {f"{entity}s": rows, "activities": activities, "changes": changes}, not_yet


def _fill(row: dict[str, Any], happened: str) -> datetime:
    """Fill when the CRM knew a row; give when it is known to have happened."""
    moment: datetime = row[happened]
    recorded: datetime | None = row.get("recorded_at")
    if recorded is None:
        row["recorded_at"] = moment
        return moment
    return moment if recorded < moment else recorded


def _answer(scores: Scores, row: int, not_yet: int) -> dict[str, Any]:
    reasons = {
        "base_probability": scores.base_probability,
        "raising": [_reason(reason) for reason in scores.raising[row]],
        "lowering": [_reason(reason) for reason in scores.lowering[row]],
        "other_effects": float(scores.other_effects[row]),
    }
    probability = float(scores.probability[row])
    if scores.entity == "lead":
        words: dict[str, Any] = {"lead_id": scores.record_id[row], "propensity": probability}
    else:
        amount = float(scores.expected_amount[row])
        words = {
            "deal_id": scores.record_id[row],
            "win_probability": probability,
            "close_p10": _moment(scores.close_p10[row]),
            "close_p50": _moment(scores.close_p50[row]),
            "close_p90": _moment(scores.close_p90[row]),
            "expected_amount": amount if np.isfinite(amount) else None,
        }
    return {**words, "reasons": reasons, "rows_not_known_yet": not_yet}


def _reason(reason: Reason) -> dict[str, Any]:
    return reason._asdict()


def _moment(moment: np.datetime64) -> datetime | None:
    found: datetime | None = moment.astype("datetime64[us]").item()
    return None if found is None else found.replace(tzinfo=UTC)
