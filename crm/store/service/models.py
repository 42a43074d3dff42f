"""The models that made stored scores: what is needed to word their reasons, whatever is served by now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from crm.store.service.layout import SCORING_MODELS


def keep_model(
    connection: sa.Connection, version: str, card: Mapping[str, Any], specs: Mapping[str, Mapping[str, Any]]
) -> None:
    """Keep a model's card and its features by kind of record; a version that is there stays as it is."""
    there = connection.execute(
        sa.select(SCORING_MODELS.c.entity).where(SCORING_MODELS.c.version == version)
    ).scalars()
    new = set(specs) - set(there)
    rows = [
        {
            "version": version,
            "entity": entity,
            "card": orjson.dumps(card).decode(),
            # A spec holds named tuples, which are lists to the standard library alone.
            "spec": json.dumps(specs[entity]),
        }
        for entity in sorted(new)
    ]
    if rows:
        connection.execute(SCORING_MODELS.insert(), rows)


def spec_of(connection: sa.Connection, version: str, entity: str) -> bytes | None:
    """Give the features of a model for a kind of record, as JSON; None where they were not kept."""
    query = sa.select(SCORING_MODELS.c.spec).where(
        SCORING_MODELS.c.version == version, SCORING_MODELS.c.entity == entity
    )
    found = connection.execute(query).scalar()
    return None if found is None else str(found).encode()


def cards(connection: sa.Connection) -> dict[str, dict[str, Any]]:
    """Give the cards of all models that were kept, by version."""
    query = sa.select(SCORING_MODELS.c.version, SCORING_MODELS.c.card).distinct()
    return {version: orjson.loads(card) for version, card in connection.execute(query)}
