"""The resources that are read: what there is, which model answers, and the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.answering.inline import facts
from serving.http.openapi import document
from serving.http.problems import NOT_READY, Refusal
from serving.served_model import ServedModel

#: Paths of the whole service that are not secret and hold no id.
PATHS = (
    "/",
    "/livez",
    "/readyz",
    "/docs.json",
    "/v1/models",
    "/v1/leads/score",
    "/v1/deals/score",
)


def answer(content: Any) -> Response:
    """Give a value as a JSON answer."""
    return Response(to_json(content), media_type="application/json")


def create_app(served: ServedModel) -> Starlette:
    """Make the application.

    Parameters
    ----------
    served : ServedModel
    """
    published = to_json(document())

    async def index(request: Request) -> Response:
        return answer({"name": "Vigie", "openapi": "/docs.json", "paths": PATHS})

    async def docs(request: Request) -> Response:
        return Response(published, media_type="application/json")

    async def models(request: Request) -> Response:
        bundle = served.bundle
        if bundle is None:
            return Refusal(NOT_READY).response()
        cards = [
            {
                "entity": entity,
                "horizon_days": model.horizon_days,
                "signal": model.signal,
                "base_rate": model.base_rate,
                "n_features": len(model.spec.names),
            }
            for entity, model in sorted(bundle.models.items())
        ]
        return answer({"models": [{**facts(bundle), "created_at": bundle.created_at, "entities": cards}]})

    return Starlette(
        routes=[
            Route("/", index, methods=["GET"]),
            Route("/docs.json", docs, methods=["GET"]),
            Route("/v1/models", models, methods=["GET"]),
        ]
    )
