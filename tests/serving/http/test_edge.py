"""The edge keeps its word whatever the handler behind it does."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ConfigDict
from starlette.responses import PlainTextResponse

from crm.errors import StoreBusy, StoreDown, StoreError, StoreFull
from serving.http.app import application
from serving.http.edge import Edge
from serving.http.endpoint import ANYBODY, Call, Endpoint
from serving.http.logs import JsonFormatter
from serving.http.state import State
from serving.served_model import ServedModel
from serving.settings import HttpSettings, ServiceSettings

JSON = {"Content-Type": "application/json"}
NOW = datetime(2024, 9, 2, 9, tzinfo=UTC)


class Page(BaseModel):
    """A query with one number."""

    model_config = ConfigDict(extra="forbid")

    limit: int = 10


class Note(BaseModel):
    """A small body."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str
    weight: float = 1.0


async def echo(call: Call) -> Any:
    """Answer with the size of the body."""
    return {"size": len(call.body), "language": call.language}


async def fill(call: Call) -> Any:
    """Answer with what was read."""
    return {"text": call.body.text, "limit": call.query.limit}


async def show(call: Call) -> Any:
    """Answer with the id in the path, and a number that is none."""
    return {"id": call.path["note_id"], "nothing": float("nan"), "host": call.caller.is_loopback}


async def fail(call: Call) -> Any:
    """Fail, with something in the message that must not come out."""
    raise ValueError("Jane Doe")


async def wait(call: Call) -> Any:
    """Take too long."""
    await asyncio.sleep(5)


async def large(call: Call) -> Any:
    """Answer much that compresses well."""
    return {"text": "abc" * 5000}


async def refuse(call: Call) -> Any:
    """Answer an error in another form."""
    return PlainTextResponse("nope", status_code=int(call.path["status"]))


FAULTS = {"busy": StoreBusy, "down": StoreDown, "full": StoreFull, "odd": StoreError}


async def break_store(call: Call) -> Any:
    """Fail as a store does."""
    raise FAULTS[call.path["fault"]]("sqlite:///Jane.db: it does not work")


def one(method: str, path: str, handle: Any, **more: Any) -> Endpoint:
    """Give an endpoint."""
    operation = f"{method} {path}"
    return Endpoint(method, path, operation, "For a test", handle, **{"needs_store": False} | more)


ENDPOINTS = (
    one("POST", "/echo", echo, body=Note, reads_bytes=True),
    one("POST", "/notes", fill, body=Note, query=Page),
    one("GET", "/notes/{note_id}", show),
    one("GET", "/notes/best", echo, roles=ANYBODY),
    one("GET", "/fail", fail),
    one("GET", "/wait", wait),
    one("GET", "/large", large),
    one("GET", "/refuse/{status}", refuse),
    one("GET", "/store/{fault}", break_store),
    one("GET", "/stored", show, needs_store=True),
    one("GET", "/open", large, roles=ANYBODY),
)


def behind(host: str = "127.0.0.1", **http: Any) -> httpx.AsyncClient:
    """Give a client of these endpoints."""
    state = State(served=ServedModel(), clock=lambda: NOW)
    state.use_settings(ServiceSettings(http=HttpSettings(**http)))
    transport = httpx.ASGITransport(app=Edge(application, state, ENDPOINTS), client=(host, 40_000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def send(method: str, path: str, http: dict[str, Any] | None = None, **arguments: Any) -> httpx.Response:
    """Send one request."""

    async def one_request() -> httpx.Response:
        async with behind(**(http or {})) as client:
            return await client.request(method, path, **arguments)

    return asyncio.run(one_request())


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a problem of that kind."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert (found["code"], found["status"]) == (code, status)
    assert found["remedy"]
    assert response.headers["x-request-id"]
    return found


def test_a_good_request_passes() -> None:
    """The handler sees the body, and the answer has an id, is not kept and is of no other type."""
    response = send("POST", "/echo", content=b'{"a": 1}', headers=JSON)
    assert (response.status_code, response.json()["size"]) == (200, 8)
    assert len(response.headers["x-request-id"]) == 32
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


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
    response = send("POST", "/echo", {"max_body": 1024}, content=b"x" * 1025, headers=JSON)
    assert "1024 bytes" in problem(response, 413, "body_too_large")["detail"]


def test_a_large_body_in_pieces_is_refused() -> None:
    """A body that announces no length is refused once it passes the limit, not read to its end."""
    sent = []

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1000):
            sent.append(1)
            yield b"x" * 1000

    problem(send("POST", "/echo", {"max_body": 2500}, content=pieces(), headers=JSON), 413, "body_too_large")
    assert len(sent) < 10


def test_a_body_is_read_into_its_model() -> None:
    """Body and query reach the handler as they are typed."""
    response = send("POST", "/notes?limit=3", content=b'{"text": "a"}', headers=JSON)
    assert response.json() == {"text": "a", "limit": 3}


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{", 400, "malformed_json", None),
        (b"\xff", 400, "malformed_json", None),
        (b'{"text": ' + b"[" * 300 + b"]" * 300 + b"}", 400, "malformed_json", None),
        (b"[]", 422, "invalid_request", ""),
        (b'{"text": 5}', 422, "invalid_request", "text"),
        (b'{"text": "a", "colour": 1}', 422, "invalid_request", "colour"),
        (b"{}", 422, "invalid_request", "text"),
    ],
)
def test_a_bad_body_is_named(body: bytes, status: int, code: str, field: str | None) -> None:
    """What is no JSON is 400, what is no note 422 with the field and a remedy."""
    found = problem(send("POST", "/notes", content=body, headers=JSON), status, code)
    if field is not None:
        assert [fault["field"] for fault in found["errors"]] == [field]
        assert found["errors"][0]["remedy"]


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("colour=red", "colour", "extra_forbidden"),
        ("limit=1&limit=2", "limit", "repeated"),
        ("limit=many", "limit", "int_parsing"),
        ("limit=NaN", "limit", "int_parsing"),
    ],
)
def test_a_bad_query_is_named(query: str, field: str, code: str) -> None:
    """Unknown, repeated and wrongly typed keys are refused, each by its name."""
    response = send("POST", f"/notes?{query}", content=b'{"text": "a"}', headers=JSON)
    (fault,) = problem(response, 422, "invalid_request")["errors"]
    assert (fault["field"], fault["code"]) == (field, code)


@pytest.mark.parametrize("query", ["%ff=1", "x=%ff", "=&", "&".join(f"k{i}=1" for i in range(60))])
def test_a_query_that_is_none_is_refused(query: str) -> None:
    """What is not made of pairs in UTF-8, or of too many, is refused."""
    problem(send("GET", f"/notes/a?{query}"), 422, "invalid_request")


def test_ids_in_paths_are_read_as_they_were_meant() -> None:
    """An id may hold an encoded slash; one that is too long or no UTF-8 is nowhere."""
    assert send("GET", "/notes/a%2Fb%C3%A9").json()["id"] == "a/bé"
    problem(send("GET", "/notes/" + "x" * 201), 404, "not_found")
    problem(send("GET", "/notes/%ff"), 404, "not_found")
    problem(send("GET", "/notes/a%00b"), 404, "not_found")


def test_a_number_that_is_none_is_null() -> None:
    """JSON has no NaN."""
    assert send("GET", "/notes/a").json()["nothing"] is None


def test_an_exception_becomes_a_problem_and_a_log_line_without_its_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller gets a 500 with nothing of the error, the log its type and place, neither its message."""
    with caplog.at_level(logging.INFO, logger="vigie"):
        response = send("GET", "/fail")
    problem(response, 500, "internal_error")
    assert "Jane" not in response.text
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name.startswith("vigie")]
    assert "Jane" not in "".join(lines)
    failed = json.loads(lines[0])
    assert (failed["event"], failed["error"]) == ("request_failed", "ValueError")
    assert any("test_edge.py" in place for place in failed["at"])


def test_a_late_answer_becomes_a_problem() -> None:
    """Past the deadline the caller is told when to try again."""
    response = send("GET", "/wait", {"deadline_seconds": 0.05})
    problem(response, 503, "too_slow")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("busy", "store_busy"),
        ("down", "store_unavailable"),
        ("full", "store_full"),
        ("odd", "store_unavailable"),
    ],
)
def test_faults_of_the_store_are_503(fault: str, code: str) -> None:
    """Each has its code and says when to try again; the store's address is not told."""
    response = send("GET", f"/store/{fault}")
    problem(response, 503, code)
    assert response.headers["retry-after"] == "2"
    assert "Jane" not in response.text


def test_an_endpoint_that_needs_a_store_says_so() -> None:
    """Where the service was started without one."""
    assert "vigie serve --history" in problem(send("GET", "/stored"), 404, "no_store")["remedy"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not_found"), (405, "method_not_allowed"), (418, "refused"), (502, "internal_error")],
)
def test_an_error_in_another_form_becomes_a_problem(status: int, code: str) -> None:
    """Whatever answered an error, the caller sees a problem; the other text is gone."""
    response = send("GET", f"/refuse/{status}")
    if code == "internal_error":
        status = 500
    problem(response, status, code)
    assert "nope" not in response.text


def test_unknown_paths_and_methods_are_problems() -> None:
    """404 and 405 are problems too, and 405 names the methods; a fixed path is no id of another."""
    problem(send("GET", "/nowhere"), 404, "not_found")
    problem(send("GET", "/echo/"), 404, "not_found")
    response = send("GET", "/echo")
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    assert send("PUT", "/notes/a").headers["allow"] == "GET, HEAD"
    problem(send("OPTIONS", "/notes/a"), 405, "method_not_allowed")


@pytest.mark.parametrize(("given", "kept"), [("order-17.a_B", True), ("x" * 65, False), ('a"b', False)])
def test_a_plain_request_id_of_the_caller_is_kept(given: str, kept: bool) -> None:
    """A short plain id comes back; anything else is replaced."""
    response = send("POST", "/echo", content=b"{}", headers=JSON | {"X-Request-ID": given})
    assert (response.headers["x-request-id"] == given) is kept


def test_the_access_log_names_no_id(caplog: pytest.LogCaptureFixture) -> None:
    """What may hold a person's name is logged as the endpoint has it, or as other."""
    with caplog.at_level(logging.INFO, logger="vigie.access"):
        send("GET", "/notes/Jane?who=Jane")
        send("GET", "/notes/Jane", headers={"Authorization": "Bearer Jane"})
        send("GET", "/Jane")
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert [(line["path"], line["status"]) for line in lines] == [
        ("/notes/{note_id}", 422),
        ("/notes/{note_id}", 401),
        ("other", 404),
    ]
    assert "Jane" not in json.dumps(lines)


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("identity", False), ("gzip;q=0", False), ("", False)],
)
def test_a_large_answer_is_compressed_for_who_takes_that(accepted: str, is_packed: bool) -> None:
    """Only where the caller says so; it is the same answer."""

    async def raw() -> tuple[httpx.Headers, bytes]:
        async with (
            behind() as client,
            client.stream("GET", "/large", headers={"Accept-Encoding": accepted}) as response,
        ):
            return response.headers, b"".join([part async for part in response.aiter_raw()])

    headers, content = asyncio.run(raw())
    assert (headers.get("content-encoding") == "gzip") is is_packed
    assert int(headers["content-length"]) == len(content)
    assert json.loads(gzip.decompress(content) if is_packed else content) == {"text": "abc" * 5000}
    assert (headers.get("vary") == "Accept-Encoding") is is_packed


def test_a_small_answer_is_sent_as_it_is() -> None:
    """Compressing it would cost more than it spares."""
    response = send("GET", "/notes/a", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in response.headers


def test_pages_of_other_origins_may_not_call() -> None:
    """By default no answer lets a browser hand itself to a page, and no preflight passes."""
    asked = {"Origin": "https://crm.example.com", "Access-Control-Request-Method": "POST"}
    assert not [name for name in send("GET", "/open", headers=asked).headers if name.startswith("access-")]
    problem(send("OPTIONS", "/open", headers=asked), 405, "method_not_allowed")


def test_pages_of_named_origins_may_call() -> None:
    """The settings name them; others still may not."""
    http = {"cors_origins": ("https://crm.example.com",)}
    asked = {"Origin": "https://crm.example.com"}
    assert send("GET", "/open", http, headers=asked).headers["access-control-allow-origin"] == asked["Origin"]
    preflight = send("OPTIONS", "/echo", http, headers=asked | {"Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 204
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    other = send("GET", "/open", http, headers={"Origin": "https://other.example.com"})
    assert "access-control-allow-origin" not in other.headers


def test_languages_are_taken_from_the_header() -> None:
    """French where it is preferred, else English."""
    for accepted, language in (("fr-CA, en;q=0.5", "fr"), ("de", "en")):
        response = send("POST", "/echo", content=b"{}", headers=JSON | {"Accept-Language": accepted})
        assert response.json()["language"] == language


def test_beyond_what_it_can_do_it_refuses_at_once() -> None:
    """Of requests at the same time only so many are let in; the others get 503 with Retry-After, quickly."""

    async def storm() -> list[httpx.Response]:
        async with behind(max_in_progress=4, deadline_seconds=0.3) as client:
            return await asyncio.gather(*(client.get("/wait") for _ in range(20)))

    answers = asyncio.run(storm())
    refused = [one for one in answers if one.json()["code"] == "overloaded"]
    assert len(refused) == 16
    assert all(one.status_code == 503 and one.headers["retry-after"] == "1" for one in refused)
    assert {one.json()["code"] for one in answers} == {"overloaded", "too_slow"}


def test_after_overload_it_answers_again() -> None:
    """Nothing of the refused ones stays behind, nor of those that took too long."""

    async def storm_and_calm() -> tuple[httpx.Response, httpx.Response]:
        async with behind(max_in_progress=2, deadline_seconds=0.1) as client:
            slow = [asyncio.create_task(client.get("/wait")) for _ in range(2)]
            await asyncio.sleep(0.02)
            full = await client.get("/notes/a")
            open_to_all = await client.get("/open")
            assert open_to_all.status_code == 200
            await asyncio.gather(*slow)
            return full, await client.get("/notes/a")

    full, calm = asyncio.run(storm_and_calm())
    problem(full, 503, "overloaded")
    assert calm.status_code == 200
