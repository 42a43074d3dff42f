"""An OpenAPI 3.1 document as 3.0, for importers that do not read the newer one."""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

#: What 3.0 cannot say of a value; leaving it out allows more, never less.
_UNKNOWN: Final = frozenset(
    {
        "$schema",
        "propertyNames",
        "patternProperties",
        "contentMediaType",
        "contentEncoding",
        "dependentRequired",
    }
)
_NESTED: Final = ("items", "additionalProperties", "not")
_LISTS: Final = ("anyOf", "oneOf", "allOf")


def rendered_30(document: Schema) -> Schema:
    """Give a document as 3.0.3.

    Parameters
    ----------
    document : dict
        OpenAPI 3.1, as :func:`serving.http.openapi.document` makes it.
    """
    components = document["components"]
    return {
        **document,
        "openapi": "3.0.3",
        "paths": {
            path: {method: _operation(one) for method, one in methods.items()}
            for path, methods in document["paths"].items()
        },
        "components": {
            **components,
            "schemas": {name: schema_30(one) for name, one in components["schemas"].items()},
        },
    }


def _operation(operation: Schema) -> Schema:
    found = dict(operation)
    if "parameters" in found:
        found["parameters"] = [{**one, "schema": schema_30(one["schema"])} for one in found["parameters"]]
    if "requestBody" in found:
        found["requestBody"] = _with_content(found["requestBody"])
    found["responses"] = {status: _with_content(one) for status, one in found["responses"].items()}
    return found


def _with_content(part: Schema) -> Schema:
    if "content" not in part:
        return part
    content = {kind: {**one, "schema": schema_30(one["schema"])} for kind, one in part["content"].items()}
    return {**part, "content": content}


def schema_30(schema: Any) -> Schema:
    """Give one schema as 3.0 has it.

    Examples
    --------
    >>> schema_30({"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}]})
    {'type': 'integer', 'minimum': 0, 'exclusiveMinimum': True, 'nullable': True}
    >>> schema_30({"$ref": "#/components/schemas/Lead", "description": "one"})
    {'description': 'one', 'allOf': [{'$ref': '#/components/schemas/Lead'}]}
    """
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    if "$ref" in schema:
        others = {key: value for key, value in schema.items() if key != "$ref"}
        reference = {"$ref": schema["$ref"]}
        return {**schema_30(others), "allOf": [reference]} if others else reference
    found: Schema = {}
    for key, value in schema.items():
        if key in _UNKNOWN:
            continue
        if key == "properties":
            found[key] = {name: schema_30(one) for name, one in value.items()}
        elif key in _LISTS:
            found[key] = [schema_30(one) for one in value if one != {"type": "null"}]
        elif key == "const":
            found["enum"] = [value]
        elif key == "examples":
            found["example"] = value[0]
        elif key == "prefixItems":
            found.setdefault("items", {})
        elif key in ("exclusiveMinimum", "exclusiveMaximum"):
            found[key.removeprefix("exclusive").lower()] = value
            found[key] = True
        elif key == "additionalProperties" and isinstance(value, bool):
            found[key] = value
        elif key in _NESTED:
            found[key] = schema_30(value)
        elif key == "type":
            found |= _type(value)
        else:
            found[key] = value
    return _nullable(schema, found)


def _type(value: Any) -> Schema:
    kinds = [value] if isinstance(value, str) else list(value)
    named = [one for one in kinds if one != "null"]
    found: Schema = {"type": named[0]} if len(named) == 1 else {}
    if len(named) > 1:
        found["anyOf"] = [{"type": one} for one in named]
    if not named:
        found["enum"] = [None]
    if "null" in kinds:
        found["nullable"] = True
    if "array" in named:
        found.setdefault("items", {})
    return found


def _nullable(schema: Schema, found: Schema) -> Schema:
    """Say of a choice with null that it may be null; a choice of one is that one."""
    for key in ("anyOf", "oneOf"):
        if {"type": "null"} not in schema.get(key, ()):
            continue
        some = found.pop(key)
        if len(some) == 1 and "$ref" not in some[0]:
            found = {**some[0], **found}
        elif len(some) == 1:
            found["allOf"] = some
        else:
            found[key] = some
        found["nullable"] = True
    return found
