"""The command that follows the registry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def test_an_empty_registry_is_told_and_the_directory_left_alone(
    vigie: Any, own_bundle: Path, tmp_path: Path
) -> None:
    """Without a champion one look says what to do, as a line of the log, and changes nothing."""
    before = (own_bundle / "manifest.json").stat()
    result = vigie.run(
        *("follow", "--once", "--bundle", own_bundle, "--tracking", f"sqlite:///{tmp_path / 'mlflow.db'}")
    )
    assert result.exit_code == 0, result.output
    assert (own_bundle / "manifest.json").stat() == before


def test_an_address_that_is_none_is_refused(vigie: Any, tmp_path: Path) -> None:
    """A path is no address of a registry, and is told so at once."""
    said = vigie.refusal("follow", "--bundle", tmp_path / "bundle", "--tracking", "mlflow.db")
    assert "write sqlite:///mlflow.db" in said


def test_it_looks_again_and_again_and_ends_with_its_parent(tmp_path: Path) -> None:
    """Started as the service starts it, it logs what is wrong as JSON once, and ends when its input does."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "VIGIE_"))
    }
    environment |= {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "VIGIE_BUNDLE": str(tmp_path / "bundle"),
    }
    command = (sys.executable, "-m", "vigie", "follow", "--with-parent", "--every", "0.1")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        line = json.loads(child.stdout.readline())
        assert (line["event"], line["logger"]) == ("champion_not_read", "vigie.following")
        assert "vigie train" in line["message"]
        time.sleep(0.5)
        assert child.poll() is None
        child.stdin.close()
        try:
            code = child.wait(20)
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
        assert code == 0
        assert child.stdout.read() == ""
