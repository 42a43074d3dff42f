"""The OpenAPI documents are whole and valid, and their examples are requests and answers that are."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator
from pydantic import TypeAdapter

from serving.answering.ingest_reading import read_ingest
from serving.answering.reading import read_batch
from serving.http.catalogue import ENDPOINTS
from serving.http.endpoint import Endpoint
from serving.http.openapi import document
from serving.http.openapi_30 import rendered_30
from serving.http.query import read_query

DOCUMENT = document(ENDPOINTS)
NOW = datetime(2026, 4, 1, tzinfo=UTC)


def references(node: Any) -> set[str]:
    """Find every reference in a document."""
    if isinstance(node, dict):
        found = {node["$ref"]} if "$ref" in node else set()
        return found.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


def test_every_reference_leads_somewhere() -> None:
    """Each $ref names a schema of the document, and each schema is used."""
    schemas = DOCUMENT["components"]["schemas"]
    assert references(DOCUMENT) == {f"#/components/schemas/{name}" for name in schemas}


def test_it_is_valid_as_31_and_as_30() -> None:
    """Validators of both versions have nothing to say."""
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    OpenAPIV30SpecValidator(rendered_30(DOCUMENT)).validate()


def test_the_30_rendering_has_nothing_of_31() -> None:
    """No null type, no list of types, no const, no bound that is no flag, anywhere in a schema."""
    rendered = rendered_30(DOCUMENT)

    def walk(schema: Any, where: str) -> None:
        assert not {"const", "examples", "prefixItems", "$defs"} & set(schema), where
        assert schema.get("type") != "null" and not isinstance(schema.get("type"), list), where
        assert isinstance(schema.get("exclusiveMinimum", True), bool), where
        if "$ref" in schema:
            assert set(schema) == {"$ref"}, where
        for name, inner in schema.get("properties", {}).items():
            walk(inner, f"{where}/{name}")
        for key in ("items", "additionalProperties", "not"):
            if isinstance(schema.get(key), dict):
                walk(schema[key], f"{where}/{key}")
        for key in ("anyOf", "oneOf", "allOf"):
            for inner in schema.get(key, ()):
                walk(inner, f"{where}/{key}")

    for name, schema in rendered["components"]["schemas"].items():
        walk(schema, name)
    for methods in rendered["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                walk(parameter["schema"], f"{operation['operationId']} {parameter['name']}")


def test_every_call_is_described() -> None:
    """The paths are those of the catalogue, each with an operation id of its own."""
    published = {
        (method.upper(), path): one["operationId"]
        for path, methods in DOCUMENT["paths"].items()
        for method, one in methods.items()
    }
    assert published == {(one.method, one.path): one.operation for one in ENDPOINTS}
    assert len(set(published.values())) == len(published)


def named(one: Endpoint) -> str:
    """Give the name of a case."""
    return one.operation


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=named)
def test_every_call_has_an_example(endpoint: Endpoint) -> None:
    """Of its body or query where it has one, and of its answer, each as its type is."""
    if endpoint.body is not None or endpoint.query is not None:
        assert endpoint.example is not None
    if endpoint.query is not None and endpoint.body is None:
        query = "&".join(f"{key}={value}" for key, value in endpoint.example.items())
        assert read_query(query.encode(), endpoint.query) is not None
    if endpoint.body is not None:
        endpoint.body.model_validate_json(json.dumps(endpoint.example))
    if endpoint.answer is not None:
        assert endpoint.answer_example is not None
        TypeAdapter(endpoint.answer).validate_json(json.dumps(endpoint.answer_example))


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_examples_of_batches_have_no_fault(entity: Any) -> None:
    """The example of each scoring call is a batch of which every record is read."""
    call = DOCUMENT["paths"][f"/v1/{entity}s/score"]["post"]
    body = json.dumps(call["requestBody"]["content"]["application/json"]["example"]).encode()
    received = read_batch(body, entity, NOW)
    assert len(received.records) == 1
    assert received.errors == []


def test_the_example_of_ingest_has_no_fault() -> None:
    """Every record of it is read."""
    body = json.dumps(DOCUMENT["paths"]["/v1/ingest"]["post"]["requestBody"]["content"]["application/json"])
    read = read_ingest(json.dumps(json.loads(body)["example"]).encode(), NOW)
    assert read.errors == []


def test_requests_are_closed() -> None:
    """Every object that a caller sends refuses unknown keys."""
    schemas = DOCUMENT["components"]["schemas"]
    for name in ("LeadBatch", "DealBatch", "Lead", "Deal", "Activity", "Change", "MarkBody", "IngestBatch"):
        assert schemas[name]["additionalProperties"] is False


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=named)
def test_statuses_are_declared(endpoint: Endpoint) -> None:
    """What the edge answers of itself is in the document: keys, roles, rates, overload, bad queries."""
    declared = set(DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]["responses"])
    assert {"422", "500", "503", str(endpoint.status)} <= declared
    if endpoint.roles:
        assert {"401", "403", "429"} <= declared
    if endpoint.body is not None:
        assert {"400", "413", "415"} <= declared
