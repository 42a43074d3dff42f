"""The child that follows the registry: kept running, told where by its environment, and ended with us."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from serving.jobs import following
from serving.jobs.following import Following

#: Writes its own number and what it was told, then waits for the end of its standard input.
CHILD = """
import os, sys
told = [os.environ["MLFLOW_TRACKING_URI"], os.environ["VIGIE_BUNDLE"]]
with open(sys.argv[1], "a") as file:
    print(os.getpid(), *told, file=file)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FIRST_PAUSE", 0.05)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def lines(path: Path) -> list[list[str]]:
    """Give the words of each line."""
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def make(tmp_path: Path, program: str = CHILD) -> Following:
    """Follow by another program."""
    command = (sys.executable, "-c", program, str(tmp_path / "told"))
    return Following("postgresql://ann:secret@db/mlflow", tmp_path / "bundle", command)


def test_the_address_reaches_the_child_unseen_by_others(tmp_path: Path) -> None:
    """The child knows registry and directory, and its command line, which all can read, has no password."""

    async def run() -> None:
        running = asyncio.create_task(make(tmp_path).run())
        await until(lambda: len(lines(tmp_path / "told")) == 1)
        pid, *told = lines(tmp_path / "told")[0]
        assert told == ["postgresql://ann:secret@db/mlflow", str(tmp_path / "bundle")]
        assert "secret" not in " ".join(psutil.Process(int(pid)).cmdline())
        running.cancel()
        await asyncio.wait([running])
        assert not psutil.pid_exists(int(pid))

    asyncio.run(run())


def test_a_child_that_dies_is_started_again_each_time_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A killed child is replaced, and the pauses double."""

    async def run() -> None:
        running = asyncio.create_task(make(tmp_path).run())
        for n in range(1, 4):
            await until(lambda n=n: len(lines(tmp_path / "told")) == n)  # type: ignore[misc]
            os.kill(int(lines(tmp_path / "told")[-1][0]), 9)
        await until(lambda: len(caplog.records) == 3)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(run())
    facts = [record.facts for record in caplog.records]  # type: ignore[attr-defined]
    assert facts == [{"exit_code": -9, "again_in_seconds": pause} for pause in (0.05, 0.1, 0.2)]


def test_a_child_that_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ignores the end of its input and every word is gone after the grace."""
    monkeypatch.setattr(following, "GRACE", 0.1)
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN)" + CHILD + "time.sleep(60)"

    async def run() -> None:
        running = asyncio.create_task(make(tmp_path, stubborn).run())
        await until(lambda: len(lines(tmp_path / "told")) == 1)
        running.cancel()
        began = time.monotonic()
        await asyncio.wait([running])
        assert time.monotonic() - began < 5
        assert not psutil.pid_exists(int(lines(tmp_path / "told")[0][0]))

    asyncio.run(run())
