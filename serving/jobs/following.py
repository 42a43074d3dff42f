"""The child that follows the registry: `vigie follow`, so that MLflow never enters the service."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Seconds until a child that ended is started again: the first time, and at most.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
#: A child that lived for so long was well; the next pause is the first again.
LIVED: Final = 120.0
#: Seconds in which a child that is told to end does.
GRACE: Final = 2.0

_LOG = logging.getLogger("vigie.following")


@dataclass
class Following:
    """Keeps the child running.

    Parameters
    ----------
    registry : str
        Address of MLflow's store; it may hold a password, so the child gets it by its environment.
    directory : Path
        Where the champion's bundle is written.
    command : tuple of str, optional
        Another child, for tests.
    """

    registry: str
    directory: Path
    command: tuple[str, ...] = (sys.executable, "-m", "vigie", "follow", "--with-parent")

    async def run(self) -> None:
        """Run the child, for ever, until cancelled; then end it."""
        if self.command[1:3] == ("-m", "vigie") and importlib.util.find_spec("vigie") is None:
            # A bento holds no code that trains, nor MLflow.
            _LOG.error("following_not_installed", extra={"facts": {"remedy": "run vigie follow beside it"}})
            return
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            code = await self._run_once()
            lived = time.monotonic() - began
            pause = FIRST_PAUSE if lived >= LIVED else pause
            facts = {"exit_code": code, "again_in_seconds": pause}
            _LOG.warning("following_ended", extra={"facts": facts})
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _run_once(self) -> int | str:
        found = os.pathsep.join(path for path in sys.path if path)
        given = {"MLFLOW_TRACKING_URI": self.registry, "VIGIE_BUNDLE": str(self.directory)}
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": found, **given},
            )
        except OSError as error:
            return error.strerror or str(error)
        try:
            return await process.wait()
        finally:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(GRACE):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
