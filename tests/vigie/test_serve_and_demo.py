"""vigie serve answers over HTTP until it is stopped; vigie demo goes the whole way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

import training.tracking
from crm.store import Store
from serving.bundle import ModelBundle
from training.gate import Decision


def free_port() -> int:
    """Give a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_scores_are_served_until_stopped(company: Any, tmp_path: Path) -> None:
    """The bundle named is the one that answers, from another folder too; a signal ends it well."""
    port = free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "vigie", "serve", "--bundle", company.bundle, "--port", str(port)],
            cwd=tmp_path,
            env=kept | {"BENTOML_HOME": str(tmp_path / "bentoml")},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client:
            for _ in range(300):
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            models = client.get("/v1/models").json()["models"]
            lead = {"lead_id": "L1", "created_at": "2024-10-01T00:00:00Z"}
            body = {"as_of": "2024-11-01T00:00:00Z", "leads": [lead]}
            scored = client.post("/v1/leads/score", json=body).json()
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(timeout=30)
    assert models[0]["version"] == company.trained["version"]
    assert 0 < scored["scores"][0]["propensity"] < 1
    assert code in (0, -signal.SIGTERM)
    assert f"http://127.0.0.1:{port}" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_port_in_use_is_told_in_words(vigie: Any, company: Any, tmp_path: Path) -> None:
    """The server does not begin, the demo not even its work."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = vigie.refusal("serve", "--bundle", company.bundle, "--port", port)
        assert f"127.0.0.1:{port} cannot be listened on" in message
        assert "--port" in message
        assert "--port" in vigie.refusal("demo", "--folder", tmp_path / "demo", "--port", port)
    assert not (tmp_path / "demo").exists()


@pytest.fixture(scope="module")
def shown(vigie: Any, company: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Give the folder of a demo on the company's own history, and what it said."""
    folder = tmp_path_factory.mktemp("demo")
    asked = ("--history", company.history, "--folder", folder, "--config", company.config, "--no-serve")
    return folder, vigie.say("demo", *asked)


def test_the_demo_goes_the_whole_way(shown: tuple[Path, str]) -> None:
    """Models logged in MLflow, a report, the best records with reasons, a bundle."""
    folder, said = shown
    assert "Leads: the chance of a purchase within 90 days" in said
    assert "The most promising of" in said
    assert "points" in said
    bundle = ModelBundle.load(folder / "bundle")
    assert f"Bundle {bundle.version}" in said
    assert bundle.trained_through <= pd.Timestamp("2025-01-01", tz="UTC")
    # One's own history is read, and no other is simulated.
    assert not (folder / "history.sqlite").exists()


def test_the_first_model_is_champion_already(vigie: Any, company: Any, shown: tuple[Path, str]) -> None:
    """Promoting it again is no promotion: exit code 1, the reason, and nothing written."""
    folder, said = shown
    assert "version 1, champion" in said
    tracking = f"sqlite:///{folder / 'mlflow.db'}"
    asked = ("--history", company.history, "--tracking", tracking, "--to", folder / "champion", "--json")
    again = vigie.run("promote", *asked)
    assert again.exit_code == 1
    assert json.loads(again.stdout)["promoted"] is False
    assert "champion already" in json.loads(again.stdout)["reason"]
    assert not (folder / "champion").exists()


def test_a_promoted_model_is_written_to_be_served(
    vigie: Any, company: Any, shown: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the gate lets a challenger through, --to gets the bundle of the champion."""
    folder, _ = shown
    through = Decision(True, "it is better", {})
    monkeypatch.setattr(training.tracking, "promote", lambda *_, **__: through)
    tracking = f"sqlite:///{folder / 'mlflow.db'}"
    asked = ("--history", company.history, "--tracking", tracking, "--to", folder / "served")
    assert "Promoted: it is better." in vigie.say("promote", *asked)
    assert ModelBundle.load(folder / "served").version == ModelBundle.load(folder / "bundle").version


def test_the_demo_simulates_a_history_anew(
    vigie: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a history it makes its own, whatever an earlier demo left."""
    logged = training.tracking.Tracked("r", "1", "champion")
    monkeypatch.setattr(training.tracking, "track", lambda *_, **__: logged)
    (tmp_path / "history.sqlite").write_text("left over")
    assert "open at 2024-12-" in vigie.say("demo", "--leads", 50, "--folder", tmp_path, "--no-serve")
    assert len(Store.open(str(tmp_path / "history.sqlite")).read().leads) == 50
