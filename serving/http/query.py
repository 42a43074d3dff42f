"""Read a query string into a model: closed, without repetitions, each fault named."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from crm.errors import shorten
from serving.http.problems import INVALID_REQUEST, Fault, Refusal

#: Keys of one query; more are refused before any is looked at.
MAX_KEYS = 50


def read_query(raw: bytes, model: type[BaseModel] | None) -> BaseModel | None:
    """Read a query string.

    Parameters
    ----------
    raw : bytes
        As it was sent.
    model : type of BaseModel or None
        Fields of plain types; None where no key is taken.

    Raises
    ------
    Refusal
        If a key is unknown, repeated or cannot be read.
    """
    if not raw:
        return None if model is None else _fill(model, {})
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_KEYS,
        )
    except (ValueError, UnicodeDecodeError):
        raise Refusal(
            INVALID_REQUEST,
            f"the query is not made of key=value pairs in UTF-8, or has more than {MAX_KEYS} of them",
        ) from None
    values: dict[str, str] = {}
    for key, value in pairs:
        if key in values:
            raise _refuse(
                Fault(field=shorten(key), code="repeated", value=shorten(value), remedy="give it once")
            )
        values[key] = value
    if model is None:
        key, value = pairs[0]
        raise _refuse(
            Fault(
                field=shorten(key),
                code="extra_forbidden",
                value=shorten(value),
                remedy="this call has no query",
            )
        )
    return _fill(model, values)


def _fill(model: type[BaseModel], values: dict[str, str]) -> BaseModel:
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        known = ", ".join(model.model_fields)
        faults = tuple(
            fault_of(one, known) for one in error.errors(include_url=False, include_context=False)[:10]
        )
        raise Refusal(INVALID_REQUEST, "the query cannot be used", faults) from None


def fault_of(detail: ErrorDetails, known: str = "") -> Fault:
    """Turn one of pydantic's errors into a fault.

    Parameters
    ----------
    detail : mapping
        One of ``ValidationError.errors()``.
    known : str
        The names that there are, told where one is not among them.
    """
    code = str(detail["type"])
    if code == "extra_forbidden":
        remedy = f"does not exist; known are {known}" if known else "does not exist; leave it out"
    elif code == "missing":
        remedy = "is required"
    else:
        remedy = str(detail["msg"])
    value: Any = "" if code == "missing" else detail["input"]
    path = "/".join(shorten(part, 200) for part in detail["loc"])
    return Fault(field=path, code=code, value=shorten(value), remedy=remedy)


def _refuse(fault: Fault) -> Refusal:
    return Refusal(INVALID_REQUEST, "the query cannot be used", (fault,))
