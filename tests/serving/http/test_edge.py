"""The edge keeps its word whatever the application behind it does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from serving.http.edge import Edge
from serving.http.logs import JsonFormatter

JSON = {"Content-Type": "application/json"}


async def echo(request: Request) -> Response:
    """Answer with the size of the body."""
    return PlainTextResponse(str(len(await request.body())))


async def fail(request: Request) -> Response:
    """Fail, with something in the message that must not come out."""
    raise ValueError("Jane Doe")


async def wait(request: Request) -> Response:
    """Take too long."""
    await asyncio.sleep(5)
    return PlainTextResponse("late")


async def refuse(request: Request) -> Response:
    """Answer an error in another form."""
    return PlainTextResponse("nope", status_code=int(request.query_params["status"]))


def behind(**options: Any) -> httpx.AsyncClient:
    """Give a client of a small application behind the edge."""
    app = Starlette(
        routes=[
            Route("/echo", echo, methods=["POST"]),
            Route("/fail", fail, methods=["POST"]),
            Route("/wait", wait),
            Route("/refuse", refuse),
        ]
    )
    edge = Edge(app, hidden=("/secret",), known=("/echo",), **options)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=edge), base_url="http://vigie")


def send(method: str, path: str, options: dict[str, Any] | None = None, **arguments: Any) -> httpx.Response:
    """Send one request."""

    async def one() -> httpx.Response:
        async with behind(**(options or {})) as client:
            return await client.request(method, path, **arguments)

    return asyncio.run(one())


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a problem of that kind."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert (found["code"], found["status"]) == (code, status)
    assert found["remedy"]
    return found


def test_a_good_request_passes() -> None:
    """The application sees the body, and the answer carries a request id."""
    response = send("POST", "/echo", content=b'{"a": 1}', headers=JSON)
    assert (response.status_code, response.text) == (200, "8")
    assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""]
)
def test_another_content_type_is_refused(kind: str) -> None:
    """Only JSON in UTF-8 is read."""
    problem(
        send("POST", "/echo", content=b"{}", headers={"Content-Type": kind}), 415, "unsupported_media_type"
    )


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_content_types_pass(kind: str) -> None:
    """The ways to write JSON in UTF-8 are all taken."""
    assert send("POST", "/echo", content=b"{}", headers={"Content-Type": kind}).status_code == 200


def test_a_compressed_body_is_refused() -> None:
    """A small compressed body could be a large one."""
    headers = JSON | {"Content-Encoding": "gzip"}
    problem(send("POST", "/echo", content=b"x", headers=headers), 415, "unsupported_media_type")


def test_a_large_body_is_refused_by_its_announced_length() -> None:
    """A Content-Length over the limit is refused before the body is read."""
    response = send("POST", "/echo", {"max_body": 10}, content=b"x" * 11, headers=JSON)
    assert "10 bytes" in problem(response, 413, "body_too_large")["detail"]


def test_a_large_body_in_pieces_is_refused() -> None:
    """A body that announces no length is refused once it passes the limit, not read to its end."""
    sent = []

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1000):
            sent.append(1)
            yield b"x" * 10

    problem(send("POST", "/echo", {"max_body": 25}, content=pieces(), headers=JSON), 413, "body_too_large")
    assert len(sent) < 10


def test_an_exception_becomes_a_problem_and_a_log_line_without_its_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller gets a 500 with nothing of the error, the log its type and place, neither its message."""
    with caplog.at_level(logging.INFO, logger="vigie"):
        response = send("POST", "/fail", content=b"{}", headers=JSON)
    problem(response, 500, "internal_error")
    assert "Jane" not in response.text
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name.startswith("vigie")]
    assert "Jane" not in "".join(lines)
    failed = json.loads(lines[0])
    assert (failed["event"], failed["error"]) == ("request_failed", "ValueError")
    assert any("test_edge.py" in place for place in failed["at"])


def test_a_late_answer_becomes_a_problem() -> None:
    """Past the deadline the caller is told when to try again."""
    response = send("GET", "/wait", {"deadline": 0.05})
    problem(response, 503, "too_slow")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not_found"), (405, "method_not_allowed"), (418, "refused"), (502, "internal_error")],
)
def test_an_error_in_another_form_becomes_a_problem(status: int, code: str) -> None:
    """Whatever answered an error, the caller sees a problem; the other text is gone."""
    response = send("GET", f"/refuse?status={status}")
    if code == "internal_error":
        status = 500
    problem(response, status, code)
    assert "nope" not in response.text


def test_unknown_paths_and_methods_are_problems() -> None:
    """404 and 405 are problems too, and 405 keeps the methods allowed."""
    problem(send("GET", "/nowhere"), 404, "not_found")
    response = send("GET", "/echo")
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_hidden_paths_are_not_there() -> None:
    """A hidden path and what lies below it are not found."""
    problem(send("GET", "/secret"), 404, "not_found")
    problem(send("GET", "/secret/plan.js"), 404, "not_found")


@pytest.mark.parametrize(("given", "kept"), [("order-17.a_B", True), ("x" * 65, False), ('a"b', False)])
def test_a_plain_request_id_of_the_caller_is_kept(given: str, kept: bool) -> None:
    """A short plain id comes back; anything else is replaced."""
    response = send("POST", "/echo", content=b"{}", headers=JSON | {"X-Request-ID": given})
    assert (response.headers["x-request-id"] == given) is kept


def test_the_access_log_names_known_paths_only(caplog: pytest.LogCaptureFixture) -> None:
    """A path that may hold a person's name is logged as other."""
    with caplog.at_level(logging.INFO, logger="vigie.access"):
        send("POST", "/echo?who=Jane", content=b"{}", headers=JSON)
        send("GET", "/Jane")
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert [(line["path"], line["status"]) for line in lines] == [("/echo", 200), ("other", 404)]
    assert "Jane" not in json.dumps(lines)
