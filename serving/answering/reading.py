"""Read a batch from a body: one fault of one record never stops the others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from crm.errors import shorten
from crm.schema import TABLE_OF
from serving.answering.schemas import DealBatch, Language, LeadBatch, RecordError
from serving.http.problems import INVALID_REQUEST, MALFORMED_JSON, Fault, Refusal

#: Clocks differ: so far ahead ``as_of`` may lie.
CLOCK_SKEW = timedelta(minutes=5)
#: Faults named in one answer, of the request or of one record.
MAX_FAULTS = 10

Entity = Literal["lead", "deal"]
Origin = Literal["sent", "stored", "both"]
_NO_STORE = "this service has no store to read records from; start it with vigie serve --history URL"
BATCHES: dict[Entity, type[LeadBatch] | type[DealBatch]] = {"lead": LeadBatch, "deal": DealBatch}


@dataclass(frozen=True)
class Received:
    """A batch as it was read.

    Parameters
    ----------
    entity : {"lead", "deal"}
    records : list of dict
        The usable ones, as :mod:`serving.answering.schemas` types them.
    places : list of int
        Place in the body of each usable record.
    as_of : datetime
    language : {"en", "fr"}
    reasons, helps : int
    errors : list of RecordError
        Of the records that cannot be used.
    origins : list of {"sent", "stored", "both"}
        Where each usable record's rows are: in the body, in the store, or in the body on top of the store.
    model_version : str or None
        The only version that may answer.
    expected_close : bool
    """

    entity: Entity
    records: list[dict[str, Any]]
    places: list[int]
    as_of: datetime
    language: Language
    reasons: int
    errors: list[RecordError]
    origins: list[Origin] = field(default_factory=list)
    helps: int = 0
    model_version: str | None = None
    expected_close: bool = True

    @property
    def needs_store(self) -> bool:
        """Whether a record is read from the store."""
        return any(origin != "sent" for origin in self.origins)

    def only(self, places: list[int], errors: list[RecordError]) -> Received:
        """Give the batch with some of its records, and these errors."""
        return replace(
            self,
            records=[self.records[place] for place in places],
            places=[self.places[place] for place in places],
            origins=[self.origins[place] for place in places],
            errors=errors,
        )


def read_batch(body: bytes, entity: Entity, now: datetime, *, has_store: bool = False) -> Received:
    """Read a batch of leads or deals.

    Parameters
    ----------
    body : bytes
    entity : {"lead", "deal"}
    now : datetime
        The moment to score at, where the body names none.
    has_store : bool
        Whether records without ``created_at`` can be read from a store.

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
    origins: list[Origin] = []
    seen: dict[str, int] = {}
    on_top = batch.use_store
    if on_top and not has_store:
        fault = Fault(field="use_store", code="no_store", value="true", remedy=_NO_STORE)
        raise Refusal(INVALID_REQUEST, "the service has no history store", (fault,))
    # Without any usable record, what was validated is a stand-in without a place.
    for place, record in zip(places, getattr(batch, f"{entity}s"), strict=False):
        found = _check(record, entity, seen, place, has_store=has_store)
        if found is None:
            records.append(record)
            kept.append(place)
            origins.append(_origin(record, on_top=on_top))
            seen[record[f"{entity}_id"]] = place
        else:
            code: Literal["duplicate_id", "invalid_record"] = (
                "duplicate_id" if found.code == "duplicate_id" else "invalid_record"
            )
            errors.append(RecordError(index=place, id=record[f"{entity}_id"], code=code, faults=[found]))
    return Received(
        entity,
        records,
        kept,
        as_of,
        batch.language,
        batch.reasons,
        errors,
        origins,
        batch.helps,
        batch.model_version,
        batch.expected_close,
    )


def _origin(record: Any, *, on_top: bool) -> Origin:
    """Say where a record's rows are: one that says no more than its id is the stored one."""
    if "created_at" in record and not on_top:
        return "sent"
    return "stored" if len(record) == 1 else "both"


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
    start = 1 if path[:1] == ["account"] else 0
    is_attribute = len(path) == start + 3 and path[start] == "attributes" and path[start + 2] in _ALTERNATIVES
    if is_attribute:
        path = path[:-1]
        remedy = "must be text, a finite number or null"
    elif code == "extra_forbidden":
        remedy = f"is no field of {what}; put a CRM's own fields into attributes"
    elif code.startswith("datetime_"):
        remedy = _REMEDIES["datetime_type"]
    else:
        remedy = _REMEDIES.get(code, detail["msg"])
    value = "" if code == "missing" else shorten(detail["input"])
    return Fault(field="/".join(path), code=code, value=value, remedy=remedy)


def _check(record: Any, entity: str, seen: dict[str, int], place: int, *, has_store: bool) -> Fault | None:
    """Give what types cannot say: the first fault of a record among the others, or None."""
    record_id = record[f"{entity}_id"]
    if record_id in seen:
        return Fault(
            field=f"{entity}_id",
            code="duplicate_id",
            value=shorten(record_id),
            remedy=f"comes before in this batch, at index {seen[record_id]}, which was scored; send it once",
        )
    if not has_store and "created_at" not in record:
        return Fault(
            field="created_at",
            code="missing",
            value="",
            remedy=f"is required, for {_NO_STORE}",
        )
    if record.get("closed_at") is not None and record.get("outcome") is None:
        return Fault(
            field="outcome",
            code="missing",
            value="",
            remedy="is required with closed_at: won or lost; leave both out while the record is open",
        )
    misplaced = _misplaced(record.get("attributes"), entity, "")
    account = record.get("account")
    if misplaced is None and account is not None:
        misplaced = _misplaced(account.get("attributes"), "account", "account/")
        said = record.get("account_id")
        if said is not None and said != account["account_id"]:
            return Fault(
                field="account/account_id",
                code="another_account",
                value=shorten(account["account_id"]),
                remedy=f"differs from the {entity}'s account_id; send the account that it names",
            )
    return misplaced


def _misplaced(attributes: Any, entity: str, path: str) -> Fault | None:
    """Give the fault of an attribute that is a column of its own."""
    for name in attributes or ():
        if name in TABLE_OF[entity].names:
            return Fault(
                field=f"{path}attributes/{name}",
                code="not_an_attribute",
                value=name,
                remedy=f"is a column of its own; give {name} beside attributes, not inside",
            )
    return None
