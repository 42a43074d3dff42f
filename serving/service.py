"""The BentoML service: process model and packaging; everything it answers is made elsewhere.

BentoML reports usage unless ``BENTOML_DO_NOT_TRACK=True`` stands in the environment before this is imported:
``vigie serve``, the Makefile and the bento set it. The type checker does not see BentoML, hence the ignores.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import bentoml
from starlette.requests import Request
from starlette.responses import Response

from serving.http.app import ANSWERING
from serving.http.catalogue import ENDPOINTS
from serving.http.edge import Edge
from serving.http.logs import start_logging
from serving.http.running import Running
from serving.http.state import State
from serving.served_model import ServedModel, location
from serving.settings import read_service_settings

#: How many workers answer; each is a process.
WORKERS_VARIABLE = "VIGIE_WORKERS"
#: The address of the history store; it may hold a password, so it is in no argument and no file.
HISTORY_VARIABLE = "VIGIE_HISTORY"

#: The address of MLflow's registry, where its champion is to be served.
REGISTRY_VARIABLE = "VIGIE_REGISTRY"

_SETTINGS = read_service_settings()
_WORKERS = max(1, int(os.environ.get(WORKERS_VARIABLE, "1")))
_HISTORY = os.environ.get(HISTORY_VARIABLE, "")


def _clock() -> datetime:
    return datetime.now(UTC)


# The edge and the service must share one state, and BentoML makes both itself.
_STATE = State(served=ServedModel(), clock=_clock, wants_store=bool(_HISTORY))
_STATE.use_settings(_SETTINGS, _WORKERS)


class Answering(bentoml.IODescriptor):  # type: ignore[misc]
    """What the edge has prepared: BentoML's own reading would log what a body held."""

    __root_input__ = True

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Any:
        """Give the call that the edge has let in."""
        return request.scope[ANSWERING]


@bentoml.service(
    name="vigie",
    workers=_WORKERS,
    http={"host": "127.0.0.1", "port": 3000},
    # The edge answers before; this is for what would hang all the same.
    traffic={"timeout": _SETTINGS.http.deadline_seconds + 2},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class Vigie:
    """Scores leads and deals, and tells what is known of them."""

    def __init__(self) -> None:
        is_first = (bentoml.server_context.worker_index or 1) == 1
        registry = os.environ.get(REGISTRY_VARIABLE, "") if is_first else ""
        self._running = Running(_STATE, location(), _HISTORY, registry)

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def begin(self) -> None:
        """Begin to load the model and to open the store."""
        start_logging()
        self._running.begin()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def end(self) -> None:
        """Write what was taken down, and end what runs."""
        await self._running.end()

    @bentoml.api(route="/v1/leads/score", input_spec=Answering, output_spec=Answering)  # type: ignore[untyped-decorator]
    async def score_leads(self, answering: Any, /) -> Response:
        """Score a batch of leads."""
        found: Response = await answering()
        return found

    @bentoml.api(route="/v1/deals/score", input_spec=Answering, output_spec=Answering)  # type: ignore[untyped-decorator]
    async def score_deals(self, answering: Any, /) -> Response:
        """Score a batch of deals."""
        found: Response = await answering()
        return found


Vigie.add_asgi_middleware(Edge, state=_STATE, endpoints=ENDPOINTS)  # type: ignore[attr-defined]
