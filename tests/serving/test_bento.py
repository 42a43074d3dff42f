"""The bento builds, and the built one serves without a network and without the code that fits models."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from serving.bundle import ModelBundle

ROOT = Path(__file__).parents[2]
PACKAGES = ("crm", "features", "serving")

#: Runs in every process of the server: no way out of the machine, and no library that a bento lacks.
GUARD = """
import os, sys

FORBIDDEN = {"training", "vigie", "sklearn", "mlflow", "shap", "woodelf", "optuna", "numba"}


def guard(event, arguments):
    if event == "import" and arguments[0].partition(".")[0] in FORBIDDEN:
        raise ImportError(f"{arguments[0]} is no part of a bento")
    place = None
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        place = arguments[1][0]
    if event == "socket.getaddrinfo":
        place = arguments[0]
    if place not in (None, "127.0.0.1", "::1", "localhost", "0.0.0.0", b"localhost"):
        with open(os.environ["GUARD_LOG"], "a") as log:
            log.write(f"{event} {place}\\n")
        raise OSError("there is no network")


sys.addaudithook(guard)
"""


@dataclass(frozen=True)
class Server:
    """A bento that is being served."""

    client: httpx.Client
    process: subprocess.Popen[bytes]
    log: Path
    attempts: Path

    def score(self, entity: str, body: Any, **headers: str) -> httpx.Response:
        """Ask for scores; a body that is no bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | headers
        return self.client.post(f"/v1/{entity}s/score", content=content, headers=headers)


LEAD: dict[str, Any] = {
    "lead_id": "L-1",
    "created_at": "2024-06-01T00:00:00Z",
    "owner_id": "ann",
    "source": "web",
    "stage": "talk",
    "attributes": {"employees": 120, "industry": "steel", "note": "Jane Doe"},
    "activities": [
        {"kind": "email", "channel": "email", "direction": "in", "occurred_at": f"2024-06-{day:02}T09:00:00Z"}
        for day in range(1, 31)
    ],
}


def environment(home: Path) -> dict[str, str]:
    """Give the environment of BentoML's commands, with nothing of the person who runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    own = {"BENTOML_HOME": str(home / "bentoml"), "BENTOML_DO_NOT_TRACK": "True", "PYTHONWARNINGS": "ignore"}
    # Without an index or a proxy that answers, a build or start that needs one fails.
    return kept | own | {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}


def command(*arguments: str) -> list[str]:
    """Give a BentoML command of this environment."""
    return [str(Path(sys.executable).with_name("bentoml")), *arguments]


@pytest.fixture(scope="module")
def build_context(bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a checkout with a bundle in it, as a person has who runs ``bentoml build``."""
    context = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "bentofile.yaml", context)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, context / package, ignore=shutil.ignore_patterns("__pycache__"))
    bundle.save(context / "bundle")
    return context


@pytest.fixture(scope="module")
def bento(build_context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the bento; give where it lies."""
    home = tmp_path_factory.mktemp("home")
    built = subprocess.run(
        command("build", "--output", "tag"),
        cwd=build_context,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = [path for path in (home / "bentoml" / "bentos" / "vigie").iterdir() if path.is_dir()]
    return found


def free_port() -> int:
    """Find a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(bento: Path, home: Path, **variables: str) -> Iterator[Server]:
    """Serve a bento; the guard is in every process."""
    (home / "sitecustomize.py").write_text(GUARD)
    port, log, attempts = free_port(), home / "server.log", home / "attempts.log"
    env = environment(home) | {"PYTHONPATH": str(home), "GUARD_LOG": str(attempts)} | variables
    with log.open("wb") as output:
        process = subprocess.Popen(
            command("serve", str(bento), "--port", str(port)),
            cwd=home,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            yield Server(client, process, log, attempts)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(server: Server, path: str, status: int, seconds: float = 40) -> None:
    """Wait until a path answers with a status."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if server.client.get(path).status_code == status:
                return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not answer {status}:\n{server.log.read_text()}")


@pytest.fixture(scope="module")
def server(bento: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve the built bento until it is ready."""
    with serving(bento, tmp_path_factory.mktemp("server")) as running:
        wait_for(running, "/readyz", 200)
        yield running


def test_the_bento_ships_what_answers_and_nothing_that_fits(bento: Path) -> None:
    """It holds the three packages and the bundle, no training, no tests, no compiled files."""
    source = bento / "src"
    folders = {path.name for path in source.iterdir() if path.is_dir()}
    assert folders == {*PACKAGES, "bundle"}
    assert not list(source.rglob("*.pyc"))
    assert ModelBundle.load(source / "bundle").name == "test"


def test_the_guard_of_these_tests_holds(server: Server) -> None:
    """In the server's environment no fitting library can be imported and no other machine be reached."""
    for code, error in (
        ("import sklearn", "ImportError"),
        ("import training", "ImportError"),
        ("import socket; socket.create_connection(('192.0.2.1', 80))", "OSError"),
    ):
        env = environment(server.log.parent) | {"PYTHONPATH": str(server.log.parent), "GUARD_LOG": os.devnull}
        ran = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
        )
        assert error in ran.stderr.splitlines()[-1]


def test_its_requirements_are_the_pins_of_the_project() -> None:
    """Each version that a bento asks for is the one that constraints.txt names."""
    pins = set((ROOT / "constraints.txt").read_text().lower().splitlines())
    wanted = (ROOT / "serving" / "requirements.txt").read_text().lower().splitlines()
    assert [line for line in wanted if line and not line.startswith("#") and line not in pins] == []


def test_a_request_is_answered(server: Server, bundle: ModelBundle) -> None:
    """The built bento scores a lead with reasons, and names the model that did."""
    response = server.score("lead", {"as_of": "2024-08-01T00:00:00Z", "language": "fr", "leads": [LEAD]})
    assert response.status_code == 200, response.text
    answered = response.json()
    assert answered["model"]["version"] == bundle.version
    (one,) = answered["scores"]
    shown = one["reasons"]["raising"] + one["reasons"]["lowering"]
    total = one["reasons"]["base_probability"] + one["reasons"]["other_effects"]
    assert total + sum(reason["effect"] for reason in shown) == pytest.approx(one["propensity"], abs=1e-12)
    assert shown


def test_now_is_read_at_the_edge(server: Server) -> None:
    """Without as_of a deal is scored as of now, and its close dates lie ahead."""
    deal = {"deal_id": "D-1", "created_at": "2024-06-01T00:00:00Z", "amount": 1000}
    answered = server.score("deal", {"deals": [deal]}).json()
    assert abs(time.time() - datetime.fromisoformat(answered["as_of"]).timestamp()) < 60
    assert answered["as_of"] <= answered["scores"][0]["close_p50"]


def test_a_large_batch_is_answered_while_liveness_is(server: Server) -> None:
    """A thousand leads are scored in a thread, and /livez is answered meanwhile."""
    leads = [LEAD | {"lead_id": str(i)} for i in range(1000)]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.score, "lead", {"as_of": "2024-08-01T00:00:00Z", "leads": leads})
        waits = []
        while not asked.done():
            began = time.monotonic()
            assert server.client.get("/livez").status_code == 200
            waits.append(time.monotonic() - began)
        answered = asked.result().json()
    assert [one["lead_id"] for one in answered["scores"]] == [str(i) for i in range(1000)]
    assert len(waits) > 3


def test_a_faulty_record_stops_no_other(server: Server) -> None:
    """Over HTTP too, the good record is scored and the bad one named."""
    answered = server.score("lead", {"leads": [LEAD, {"lead_id": "x", "colour": "red"}]}).json()
    assert [one["lead_id"] for one in answered["scores"]] == ["L-1"]
    assert [(error["index"], error["id"]) for error in answered["errors"]] == [(1, "x")]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "malformed_json"),
        (b'{"leads": "\xff"}', {}, 400, "malformed_json"),
        (b"[" * 100_000, {}, 400, "malformed_json"),
        (b"", {}, 400, "malformed_json"),
        (b"[]", {}, 422, "invalid_request"),
        (b'{"leads": []}', {}, 422, "invalid_request"),
        (b"{}", {"Content-Type": "text/csv"}, 415, "unsupported_media_type"),
        (b"{}", {"Content-Type": "application/vnd.bentoml+pickle"}, 415, "unsupported_media_type"),
        (b"x" * (17 * 1024 * 1024), {}, 413, "body_too_large"),
    ],
)
def test_bad_requests_are_problems(
    server: Server, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """Each bad body gets its status as a problem with a code, a remedy and a request id."""
    response = server.score("lead", body, **headers)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["remedy"]
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/livez", 200),
        ("GET", "/docs.json", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/leads/score", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/livez/", 404),
        ("GET", "/schema.json", 404),
        ("GET", "/static_content/index.css", 404),
        ("GET", "/openapi-3.0.json", 200),
        ("GET", "/metrics", 200),
        ("GET", "/v1/leads", 404),
        ("GET", "/healthz", 404),
        ("GET", "/nowhere", 404),
    ],
)
def test_resources(server: Server, method: str, path: str, status: int) -> None:
    """What is offered answers, what is not is a problem, and no path redirects or loads a foreign script."""
    response = server.client.request(method, path)
    assert response.status_code == status
    if status >= 400:
        assert response.headers["content-type"] == "application/problem+json"
    assert "http://" not in response.text.replace("http://127.0.0.1", "")


def test_the_server_listens_on_loopback_only(server: Server) -> None:
    """Unless told otherwise, nothing but this machine is served."""
    first = psutil.Process(server.process.pid)
    sockets = [c for process in (first, *first.children(recursive=True)) for c in process.net_connections()]
    listening = {c.laddr for c in sockets if c.status == psutil.CONN_LISTEN}
    assert (server.client.base_url.host, server.client.base_url.port) in listening
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_nothing_of_a_request_is_logged_and_nothing_went_out(server: Server) -> None:
    """After all these requests, good and bad, the log names no person and no connection was tried."""
    server.score("lead", {"leads": [LEAD | {"stage": 5, "Jane Doe": "Jane Doe"}]})
    server.score("lead", b'{"leads": [{"lead_id": "Jane Doe"')
    server.client.get("/v1/leads/Jane%20Doe")
    time.sleep(0.2)
    text = server.log.read_text()
    assert "Jane" not in text and "L-1" not in text
    assert '"event": "request"' in text
    assert "Traceback" not in text
    assert not server.attempts.exists(), server.attempts.read_text()


def test_without_a_bundle_it_lives_but_is_not_ready_until_one_is_there(
    bento: Path, bundle: ModelBundle, tmp_path: Path
) -> None:
    """VIGIE_BUNDLE names the bundle; while it is missing all but liveness is 503, and it stops when told."""
    with serving(bento, tmp_path, VIGIE_BUNDLE=str(tmp_path / "later")) as running:
        wait_for(running, "/livez", 200)
        assert running.client.get("/readyz").status_code == 503
        response = running.score("lead", {"leads": [LEAD]})
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert response.headers["retry-after"] == "1"
        assert running.client.get("/v1/models").json()["code"] == "not_ready"
        bundle.save(tmp_path / "later")
        wait_for(running, "/readyz", 200)
        assert running.score("lead", {"leads": [LEAD]}).status_code == 200
        os.killpg(running.process.pid, signal.SIGTERM)
        assert running.process.wait(15) in (0, -signal.SIGTERM)
    assert "bundle_not_loaded" in running.log.read_text()
