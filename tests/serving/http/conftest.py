"""The service in this process: the edge and all endpoints, with a model and with or without a store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from serving.bundle import ModelBundle
from serving.http.app import application
from serving.http.catalogue import ENDPOINTS
from serving.http.edge import Edge
from serving.http.state import State
from serving.served_model import ServedModel

NOW = datetime(2024, 9, 2, 9, tzinfo=UTC)


class Client:
    """Calls the service in this process, one request after the other on one event loop.

    Parameters
    ----------
    state : State
    host : str
        Where its requests seem to come from.
    key : str, optional
    """

    def __init__(self, state: State, host: str = "127.0.0.1", key: str | None = None) -> None:
        self.state = state
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        edge = Edge(application, state, ENDPOINTS)
        transport = httpx.ASGITransport(app=edge, client=(host, 50_000))
        self.http = httpx.AsyncClient(
            transport=transport, base_url="http://localhost:3000", headers=headers, timeout=60
        )

    def __enter__(self) -> Client:
        self._runner = asyncio.Runner()
        return self

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the loop of the requests."""
        return self._runner.run(work)

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send one request."""
        response: httpx.Response = self.run(self.http.request(method, path, **arguments))
        return response

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        """Read."""
        return self.request("GET", path, **arguments)

    def post(self, path: str, body: Any = None, **arguments: Any) -> httpx.Response:
        """Write; a body that is no bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | arguments.pop("headers", {})
        return self.request("POST", path, content=content, headers=headers, **arguments)

    def __exit__(self, *_: object) -> None:
        if self.state.heavy is not None:
            self.run(self.state.heavy.close())
        self.run(self.http.aclose())
        self._runner.close()


@pytest.fixture(scope="session")
def now() -> datetime:
    """Give the moment at which the service's clock stands."""
    return NOW


@pytest.fixture(scope="session")
def state_of() -> Callable[..., State]:
    """Give what makes the state of a worker that serves a bundle."""

    def make(bundle: ModelBundle | None, **more: Any) -> State:
        served = ServedModel()
        state = State(**{"served": served, "clock": lambda: NOW} | more)
        if bundle is not None:
            served.bundle = bundle
            state.metrics.serves(bundle.version)
        return state

    return make


@pytest.fixture(scope="session")
def client_of() -> type[Client]:
    """Give what makes a client; it is a context."""
    return Client


@pytest.fixture
def client(bundle: ModelBundle, state_of: Any, client_of: Any) -> Iterator[Client]:
    """Give a client on this machine of a service without a store."""
    with client_of(state_of(bundle)) as found:
        yield found
