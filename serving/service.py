"""The BentoML service: process model and packaging; everything it answers is made elsewhere.

BentoML reports usage unless ``BENTOML_DO_NOT_TRACK=True`` stands in the environment before this is imported:
``vigie serve``, the Makefile and the bento set it. The type checker does not see BentoML, hence the ignores.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import anyio
import bentoml
from starlette.requests import Request
from starlette.responses import Response

from serving.answering.inline import score_inline
from serving.answering.reading import Entity, read_batch
from serving.http.app import PATHS, answer, create_app
from serving.http.edge import DEADLINE, Edge
from serving.http.logs import start_logging
from serving.http.problems import INTERNAL_ERROR, NOT_READY, Refusal
from serving.served_model import ServedModel, location

#: A larger body is scored in a thread, so that liveness is answered meanwhile; for a smaller one the thread
#: would cost more than it spares.
SMALL_BODY = 64 * 1024
#: Scoring calls at once in threads; more would only wait for one another.
THREADS = 2
#: Paths of BentoML that stay closed: they describe its own view of the service, or load foreign scripts.
HIDDEN = ("/schema.json", "/assets", "/static_content", "/healthz", "/metrics")

_LOG = logging.getLogger("vigie.service")
# The mounted application and the service must share one model, and BentoML makes the service itself.
_SERVED = ServedModel()


class Body(bentoml.IODescriptor):  # type: ignore[misc]
    """The body as it came: BentoML's own reading would log what it held."""

    __root_input__ = True

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Any:
        """Give the bytes of the body."""
        return await request.body()


@bentoml.service(
    name="vigie",
    workers=1,
    http={"host": "127.0.0.1", "port": 3000},
    traffic={"timeout": DEADLINE + 2},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(create_app(_SERVED), path="/")
class Vigie:
    """Scores leads and deals."""

    def __init__(self) -> None:
        self._served = _SERVED
        self._limiter = anyio.CapacityLimiter(THREADS)
        self._loading: asyncio.Task[None] | None = None

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def begin(self) -> None:
        """Begin to load the model; until it is, readiness and scoring answer 503."""
        start_logging()
        self._loading = asyncio.create_task(self._served.load(location()))

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def end(self) -> None:
        """Stop loading, where it goes on."""
        if self._loading is not None:
            self._loading.cancel()

    async def __is_ready__(self) -> bool:
        """Say whether a model is loaded."""
        return self._served.bundle is not None

    @bentoml.api(route="/v1/leads/score", input_spec=Body, output_spec=Body)  # type: ignore[untyped-decorator]
    async def score_leads(self, body: bytes, /) -> Response:
        """Score a batch of leads."""
        return await self._score("lead", body)

    @bentoml.api(route="/v1/deals/score", input_spec=Body, output_spec=Body)  # type: ignore[untyped-decorator]
    async def score_deals(self, body: bytes, /) -> Response:
        """Score a batch of deals."""
        return await self._score("deal", body)

    async def _score(self, entity: Entity, body: bytes) -> Response:
        if len(body) <= SMALL_BODY:
            return self._respond(entity, body)
        return await anyio.to_thread.run_sync(self._respond, entity, body, limiter=self._limiter)

    def _respond(self, entity: Entity, body: bytes) -> Response:
        try:
            bundle = self._served.bundle
            if bundle is None:
                raise Refusal(NOT_READY)
            return answer(score_inline(bundle, read_batch(body, entity, datetime.now(UTC))))
        except Refusal as refusal:
            return refusal.response()
        except Exception:
            _LOG.exception("scoring_failed")
            return Refusal(INTERNAL_ERROR).response()


Vigie.add_asgi_middleware(Edge, hidden=HIDDEN, known=PATHS)  # type: ignore[attr-defined]
