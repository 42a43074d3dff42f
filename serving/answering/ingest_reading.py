"""Read what is to be ingested from a body: one fault of one record never stops the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from crm.errors import InputError, shorten
from crm.ingesting.values import NOT_TOLD_AS_CHANGE, change_text
from crm.moments import in_micros
from crm.schema import TABLE_OF, TABLES
from serving.answering.ingest_schemas import MAX_INGESTED, IngestBatch, IngestError, TableName
from serving.answering.reading import CLOCK_SKEW, MAX_FAULTS
from serving.http.problems import INVALID_REQUEST, MALFORMED_JSON, Fault, Refusal

NAMES: tuple[TableName, ...] = get_args(TableName)
_KEYS: dict[TableName, str] = {name: TABLES[name].key for name in NAMES}
_ENTITY: dict[TableName, str] = {"accounts": "account", "leads": "lead", "deals": "deal"}
#: Moments that cannot lie ahead; what is planned may.
_PAST: dict[TableName, tuple[str, ...]] = {
    "users": (),
    "accounts": ("updated_at", "created_at"),
    "leads": ("updated_at", "created_at", "closed_at"),
    "deals": ("updated_at", "created_at", "closed_at"),
    "activities": ("updated_at",),
    "changes": ("changed_at",),
}
_MOMENTS: dict[TableName, tuple[str, ...]] = {
    name: (*(c.name for c in TABLES[name].columns if c.kind == "timestamp"), "updated_at") for name in NAMES
}
#: Fields that the store sets, and what to do about them.
_OURS = {
    "recorded_at": "is the moment at which this store learns of the row, and set by it; leave it out",
    "closed_recorded_at": "is the moment at which this store learns of the end, and set by it; leave it out",
    "gone_at": 'is set by the store; send "gone": true when the CRM deleted the record',
}


@dataclass(frozen=True)
class ReadBatch:
    """What a body holds that can be used.

    Parameters
    ----------
    records : mapping of str to list of (int, dict)
        By table: place in its list and the record, moments as microseconds, empty text as None.
    errors : list of IngestError
        Of the others.
    """

    records: Mapping[str, list[tuple[int, dict[str, Any]]]]
    errors: list[IngestError]


def read_ingest(body: bytes, now: datetime) -> ReadBatch:
    """Read a batch.

    Parameters
    ----------
    body : bytes
        JSON of an :class:`IngestBatch`.
    now : datetime
        Nothing but what is planned can be later, but for clocks that differ by five minutes.

    Raises
    ------
    Refusal
        If the body as a whole cannot be used.
    """
    batch, places, errors = _validate(body)
    n_records = sum(len(getattr(batch, name)) for name in NAMES) + len(errors)
    if not n_records:
        fault = Fault(field="", code="too_short", value="", remedy=f"send one of {', '.join(NAMES)}")
        raise Refusal(INVALID_REQUEST, "the batch holds no record", (fault,))
    if n_records > MAX_INGESTED:
        remedy = f"is over the limit of {MAX_INGESTED} records in all; send several calls"
        raise Refusal(
            INVALID_REQUEST,
            "the batch holds too many records",
            (Fault(field="", code="too_long", value=str(n_records), remedy=remedy),),
        )
    latest = in_micros(now + CLOCK_SKEW)
    records: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for name in NAMES:
        kept: list[tuple[int, dict[str, Any]]] = []
        seen: dict[tuple[object, ...], int] = {}
        for place, raw in zip(places[name], getattr(batch, name), strict=True):
            record = _plain(name, raw)
            found = _check(name, record, latest) or _check_seen(name, record, seen, place)
            if found is None:
                kept.append((place, record))
            else:
                errors.append(_error(name, place, record.get(_KEYS[name]), [found]))
        if kept:
            records[name] = kept
    errors.sort(key=lambda error: (NAMES.index(error.table), error.index))
    return ReadBatch(records, errors)


def _validate(body: bytes) -> tuple[IngestBatch, dict[TableName, list[int]], list[IngestError]]:
    """Give the batch of the records without a fault, their places, and the errors of the others."""
    try:
        whole = IngestBatch.model_validate_json(body)
        return whole, {name: list(range(len(getattr(whole, name)))) for name in NAMES}, []
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
    of_record = _by_record(details)
    raw = from_json(body)
    errors, places = [], {}
    for name in NAMES:
        rows = raw.get(name, [])
        bad = of_record.get(name, {})
        errors += [
            _error(name, place, _id_of(rows[place], name), list(_faults(found, name)))
            for place, found in sorted(bad.items())
        ]
        places[name] = [place for place in range(len(rows)) if place not in bad]
        raw[name] = [rows[place] for place in places[name]]
    return IngestBatch.model_validate_json(to_json(raw)), places, errors


def _by_record(details: list[ErrorDetails]) -> dict[str, dict[int, list[ErrorDetails]]]:
    """Sort errors by the record they are in; refuse the batch for one that is in none."""
    if details[0]["type"] == "json_invalid":
        # The message names a place in the body, never what stands there.
        raise Refusal(MALFORMED_JSON, details[0]["msg"])
    of_record: dict[str, dict[int, list[ErrorDetails]]] = {}
    of_batch = []
    for detail in details:
        path = detail["loc"]
        if len(path) >= 2 and path[0] in NAMES and isinstance(path[1], int):
            of_record.setdefault(str(path[0]), {}).setdefault(path[1], []).append(detail)
        else:
            of_batch.append(detail)
    if of_batch:
        faults = tuple(_fault(detail, "", 0) for detail in of_batch[:MAX_FAULTS])
        raise Refusal(INVALID_REQUEST, "the batch as a whole cannot be used", faults)
    return of_record


def _id_of(record: Any, name: TableName) -> str | None:
    found = record.get(_KEYS[name]) if isinstance(record, dict) else None
    return shorten(found, 200) if isinstance(found, str) else None


def _error(name: TableName, place: int, record_id: Any, faults: list[Fault]) -> IngestError:
    code: Literal["duplicate_id", "invalid_record"] = (
        "duplicate_id" if faults[0].code == "duplicate_id" else "invalid_record"
    )
    known = shorten(record_id, 200) if isinstance(record_id, str) else None
    return IngestError(table=name, index=place, id=known, code=code, faults=faults)


def _faults(details: list[ErrorDetails], name: TableName) -> Iterator[Fault]:
    """Give a record's faults, one for each path; a value that may be of several types has one."""
    seen: set[str] = set()
    for detail in details:
        fault = _fault(detail, name, 2)
        if fault.field not in seen and len(seen) < MAX_FAULTS:
            seen.add(fault.field)
            yield fault


#: pydantic's names of the alternatives of a value, which are no part of a path.
_ALTERNATIVES = ("constrained-str", "float", "str")
_REMEDIES = {
    "missing": "is required",
    "string_too_short": "must not be empty",
    "string_type": "must be text, in quotes",
    "float_type": "must be a number, without quotes",
    "finite_number": "must be a finite number; leave out what is not known",
    "bool_type": "must be true or false",
    "timezone_aware": "names no time zone; write for example 2026-01-31T12:00:00+00:00",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "model_type": "must be an object",
}


def _fault(detail: ErrorDetails, name: str, skip: int) -> Fault:
    """Turn one of pydantic's errors into a fault."""
    path = [str(part) for part in detail["loc"][skip:]]
    code = str(detail["type"])
    if len(path) > 1 and path[-1] in _ALTERNATIVES:
        path = path[:-1]
        remedy = "must be text, a finite number or null"
    elif code == "extra_forbidden":
        remedy = _unknown_field(name, path[-1])
    elif code.startswith("datetime_"):
        remedy = "must be a moment as text, for example 2026-01-31T12:00:00+00:00"
    else:
        remedy = _REMEDIES.get(code, detail["msg"])
    value = "" if code == "missing" else shorten(detail["input"])
    return Fault(field="/".join(shorten(part, 200) for part in path), code=code, value=value, remedy=remedy)


def _unknown_field(name: str, field: str) -> str:
    if field in _OURS:
        return _OURS[field]
    if not name:
        return f"does not exist; known are {', '.join(NAMES)}"
    if name in _ENTITY:
        return f"is no field of {name}; put a CRM's own fields into attributes"
    return f"is no field of {name}; leave it out"


def _plain(name: TableName, record: Mapping[str, Any]) -> dict[str, Any]:
    """Give a record as it is stored: moments as microseconds, numbers as floats, empty text as None."""
    values: dict[str, Any] = {key: None if value == "" else value for key, value in record.items()}
    for key in _MOMENTS[name]:
        if values.get(key) is not None:
            values[key] = in_micros(values[key])
    if "attributes" in values:
        values["attributes"] = {
            key: None if value == "" else value for key, value in values["attributes"].items()
        }
    return values


def _check(name: TableName, record: Mapping[str, Any], latest: int) -> Fault | None:
    """Give what types cannot say: the first fault of a record, or None."""
    for key, value in _texts(record):
        if "\0" in value or "\0" in key:
            return Fault(field=shorten(key), code="nul", value="", remedy="holds a NUL character; remove it")
    for key in _PAST[name]:
        if record.get(key) is not None and record[key] > latest:
            return _ahead(key, record[key], "lies in the future; correct it, or the clock that made it")
    if name == "activities":
        return _check_activity(record, latest)
    if name == "changes":
        return _check_change(record)
    return _check_record(name, record)


def _ahead(key: str, micros: int, remedy: str) -> Fault:
    value = change_text("timestamp", micros) or ""
    return Fault(field=key, code="in_the_future", value=value, remedy=remedy)


def _check_activity(record: Mapping[str, Any], latest: int) -> Fault | None:
    if record["occurred_at"] > latest and record.get("status") not in ("scheduled", "cancelled"):
        remedy = "lies in the future; send status scheduled for what is planned"
        return _ahead("occurred_at", record["occurred_at"], remedy)
    if not any(record.get(f"{entity}_id") for entity in TABLE_OF):
        remedy = "is required, or deal_id or account_id: an activity is about one of them"
        return Fault(field="lead_id", code="missing", value="", remedy=remedy)
    return None


def _check_record(name: TableName, record: Mapping[str, Any]) -> Fault | None:
    if record.get("closed_at") is not None and record.get("outcome") is None:
        remedy = "is required with closed_at: won or lost; leave both out while the record is open"
        return Fault(field="outcome", code="missing", value="", remedy=remedy)
    for key in record.get("attributes", ()):
        if key in TABLES[name].names or key in ("updated_at", "gone"):
            remedy = _OURS.get(key, f"is a field of its own; give {key} beside attributes, not inside")
            return Fault(
                field=f"attributes/{key}", code="not_an_attribute", value=shorten(key), remedy=remedy
            )
    return None


def _check_change(record: Mapping[str, Any]) -> Fault | None:
    table, field = TABLE_OF[record["entity"]], record["field"]
    if field == table.key or field in NOT_TOLD_AS_CHANGE:
        remedy = (
            f"is told with the record itself, in {table.name}"
            if field in ("outcome", "closed_at", "created_at")
            else "is no field that changes; leave this change out"
        )
        return Fault(field="field", code="not_a_field", value=field, remedy=remedy)
    kind = table.column(field).kind if field in table.names else "text"
    for key in ("old_value", "new_value"):
        try:
            change_text(kind, record.get(key))
        except InputError as error:
            return Fault(field=key, code="invalid_value", value=shorten(record[key]), remedy=str(error))
    return None


def _check_seen(
    name: TableName, record: Mapping[str, Any], seen: dict[tuple[object, ...], int], place: int
) -> Fault | None:
    """Refuse what comes twice: the same id at the same moment."""
    key = _KEYS[name]
    told: tuple[object, ...] = (record.get(key), record.get("updated_at"))
    if name == "changes" and told[0] is None:
        told = tuple(record.get(one) for one in ("entity", "record_id", "field", "changed_at", "new_value"))
    first = seen.setdefault(told, place)
    if first == place:
        return None
    when = "" if name in ("users", "changes") else ", or with the updated_at of each"
    remedy = f"comes before in this batch, at index {first}; send it once{when}"
    return Fault(field=key, code="duplicate_id", value=shorten(record.get(key) or ""), remedy=remedy)


def _texts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        if isinstance(value, str):
            yield key, value
        elif key == "attributes":
            for name, inner in value.items():
                yield f"attributes/{name}", inner if isinstance(inner, str) else ""
