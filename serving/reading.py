"""Read a batch from a body: one fault of one record never stops the others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from crm.errors import shorten
from crm.schema import TABLE_OF
from serving.problems import INVALID_REQUEST, MALFORMED_JSON, Refusal
from serving.schemas import DealBatch, Fault, Language, LeadBatch, RecordError

#: Clocks differ: so far ahead ``as_of`` may lie.
CLOCK_SKEW = timedelta(minutes=5)
#: Faults named in one answer, of the request or of one record.
MAX_FAULTS = 10

Entity = Literal["lead", "deal"]
BATCHES: dict[Entity, type[LeadBatch] | type[DealBatch]] = {"lead": LeadBatch, "deal": DealBatch}


@dataclass(frozen=True)
class Received:
    """A batch as it was read.

    Parameters
    ----------
    entity : {"lead", "deal"}
    records : list of dict
        The usable ones, as :mod:`serving.schemas` types them.
    places : list of int
        Place in the body of each usable record.
    as_of : datetime
    language : {"en", "fr"}
    reasons : int
    errors : list of RecordError
        Of the records that cannot be used.
    """

    entity: Entity
    records: list[dict[str, Any]]
    places: list[int]
    as_of: datetime
    language: Language
    reasons: int
    errors: list[RecordError]


def read_batch(body: bytes, entity: Entity, now: datetime) -> Received:
    """Read a batch of leads or deals.

    Parameters
    ----------
    body : bytes
    entity : {"lead", "deal"}
    now : datetime
        The moment to score at, where the body names none.

    Raises
    ------
    Refusal
        If the body as a whole cannot be used.
    """
    batch, places, errors = _validate(body, entity)
    as_of = batch.as_of or now
    if as_of > now + CLOCK_SKEW:
        fault = Fault(
            field="as_of",
            code="in_the_future",
            value=as_of.isoformat(),
            remedy="nothing is known yet of that moment; give one that has passed, or leave it out",
        )
        raise Refusal(INVALID_REQUEST, "as_of lies in the future", (fault,))
    records: list[dict[str, Any]] = []
    kept: list[int] = []
    seen: dict[str, int] = {}
    # Without any usable record, what was validated is a stand-in without a place.
    for place, record in zip(places, getattr(batch, f"{entity}s"), strict=False):
        found = _check(record, entity, seen, place)
        if found is None:
            records.append(record)
            kept.append(place)
            seen[record[f"{entity}_id"]] = place
        else:
            code: Literal["duplicate_id", "invalid_record"] = (
                "duplicate_id" if found.code == "duplicate_id" else "invalid_record"
            )
            errors.append(RecordError(index=place, id=record[f"{entity}_id"], code=code, faults=[found]))
    return Received(entity, records, kept, as_of, batch.language, batch.reasons, errors)


def _validate(body: bytes, entity: Entity) -> tuple[LeadBatch | DealBatch, list[int], list[RecordError]]:
    """Give the batch of the records without a fault, their places, and the errors of the others."""
    key = f"{entity}s"
    try:
        whole = BATCHES[entity].model_validate_json(body)
        return whole, list(range(len(getattr(whole, key)))), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
    of_record = _by_record(details, key)
    raw = from_json(body)
    errors = [
        RecordError(
            index=place,
            id=_id_of(raw[key][place], entity),
            code="invalid_record",
            faults=_faults_of(found, entity),
        )
        for place, found in of_record.items()
    ]
    places = [place for place in range(len(raw[key])) if place not in of_record]
    stand_in = {f"{entity}_id": "none", "created_at": "2000-01-01T00:00:00Z"}
    raw[key] = [raw[key][place] for place in places] or [stand_in]
    return BATCHES[entity].model_validate_json(to_json(raw)), places, errors


def _by_record(details: list[ErrorDetails], key: str) -> dict[int, list[ErrorDetails]]:
    """Sort errors by the record they are in; refuse the batch for one that is in none."""
    if details[0]["type"] == "json_invalid":
        # The message names a place in the body, never what stands there.
        raise Refusal(MALFORMED_JSON, details[0]["msg"])
    of_record: dict[int, list[ErrorDetails]] = {}
    of_batch = []
    for detail in details:
        path = detail["loc"]
        if len(path) >= 2 and path[0] == key and isinstance(path[1], int):
            of_record.setdefault(path[1], []).append(detail)
        else:
            of_batch.append(detail)
    if of_batch:
        faults = tuple(_fault(detail, 0, f"a batch of {key}") for detail in of_batch[:MAX_FAULTS])
        raise Refusal(INVALID_REQUEST, "the batch as a whole cannot be used", faults)
    return of_record


def _id_of(record: Any, entity: str) -> str | None:
    found = record.get(f"{entity}_id") if isinstance(record, dict) else None
    return shorten(found, 200) if isinstance(found, str) else None


def _faults_of(details: list[ErrorDetails], entity: str) -> list[Fault]:
    """Give a record's faults, one for each path; a value that may be of several types has one."""
    faults: dict[str, Fault] = {}
    for detail in details:
        fault = _fault(detail, 2, f"a {entity}")
        faults.setdefault(fault.field, fault)
    return list(faults.values())[:MAX_FAULTS]


#: pydantic's names of the alternatives of an attribute, which are no part of a path.
_ALTERNATIVES = ("constrained-str", "float", "str")

_REMEDIES = {
    "missing": "is required",
    "string_too_short": "must not be empty",
    "string_type": "must be text, in quotes",
    "float_type": "must be a number, without quotes",
    "finite_number": "must be a finite number; leave out what is not known",
    "bool_type": "must be true or false",
    "datetime_type": "must be a moment as text, for example 2026-01-31T12:00:00+00:00",
    "timezone_aware": "names no time zone; write for example 2026-01-31T12:00:00+00:00",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "model_type": "must be an object",
}


def _fault(detail: ErrorDetails, skip: int, what: str) -> Fault:
    """Turn one of pydantic's errors into a fault."""
    path = [str(part) for part in detail["loc"][skip:]]
    code = str(detail["type"])
    is_attribute = len(path) == 3 and path[0] == "attributes" and path[2] in _ALTERNATIVES
    if is_attribute:
        path = path[:2]
        remedy = "must be text, a finite number or null"
    elif code == "extra_forbidden":
        remedy = f"is no field of {what}; put a CRM's own fields into attributes"
    elif code.startswith("datetime_"):
        remedy = _REMEDIES["datetime_type"]
    else:
        remedy = _REMEDIES.get(code, detail["msg"])
    value = "" if code == "missing" else shorten(detail["input"])
    return Fault(field="/".join(path), code=code, value=value, remedy=remedy)


def _check(record: Any, entity: str, seen: dict[str, int], place: int) -> Fault | None:
    """Give what types cannot say: the first fault of a record among the others, or None."""
    record_id = record[f"{entity}_id"]
    if record_id in seen:
        return Fault(
            field=f"{entity}_id",
            code="duplicate_id",
            value=shorten(record_id),
            remedy=f"comes before in this batch, at index {seen[record_id]}, which was scored; send it once",
        )
    if record.get("closed_at") is not None and record.get("outcome") is None:
        return Fault(
            field="outcome",
            code="missing",
            value="",
            remedy="is required with closed_at: won or lost; leave both out while the record is open",
        )
    for name in record.get("attributes", ()):
        if name in TABLE_OF[entity].names:
            return Fault(
                field=f"attributes/{name}",
                code="not_an_attribute",
                value=name,
                remedy=f"is a column of its own; give {name} beside attributes, not inside",
            )
    return None
