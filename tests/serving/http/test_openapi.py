"""The OpenAPI document is whole, and its examples are requests that work."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from serving.answering.reading import read_batch
from serving.http.app import PATHS
from serving.http.openapi import document


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
    published = document()
    schemas = published["components"]["schemas"]
    assert references(published) == {f"#/components/schemas/{name}" for name in schemas}


def test_every_call_is_described() -> None:
    """The paths are those of the service, each with an operation id of its own."""
    published = document()["paths"]
    assert set(published) == set(PATHS) - {"/", "/docs.json"}
    operations = [call["operationId"] for path in published.values() for call in path.values()]
    assert len(set(operations)) == len(operations)


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_examples_are_valid(entity: Any) -> None:
    """The example of each call is a batch without a fault."""
    call = document()["paths"][f"/v1/{entity}s/score"]["post"]
    body = json.dumps(call["requestBody"]["content"]["application/json"]["example"]).encode()
    received = read_batch(body, entity, datetime(2026, 4, 1, tzinfo=UTC))
    assert len(received.records) == 1
    assert received.errors == []


def test_requests_are_closed() -> None:
    """Every object that a caller sends refuses unknown keys."""
    schemas = document()["components"]["schemas"]
    for name in ("LeadBatch", "DealBatch", "Lead", "Deal", "Activity", "Change"):
        assert schemas[name]["additionalProperties"] is False
