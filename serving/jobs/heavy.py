"""Work that takes seconds, done one by one in a child process, so that the event loop goes on answering.

The child is started for the first call, keeps what it has read (a history, a bundle) for the next ones, and
ends when nobody has asked for a while. It also ends when this process does, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from crm.errors import VigieError
from serving.http.problems import OVERLOADED, TOO_SLOW, Refusal

T = TypeVar("T")

#: Bytes that say how long a message is.
HEADER: Final = 8
_RUN: Final = "from serving.jobs.heavy_child import main; main()"
_LOG = logging.getLogger("vigie.heavy")


class HeavyFailed(VigieError):
    """A function that failed in the child, for a reason that nobody foresaw; the log says where."""


@dataclass
class Heavy:
    """Runs functions in one child process, one after the other.

    Parameters
    ----------
    most_waiting : int
        Calls that wait while one runs; one more is refused at once.
    idle_seconds : float
        Without a call for so long, the child ends.
    most_seconds : float
        A call that takes longer is given up, and its child with it.
    niceness : int
        How far the child stands back behind who answers requests.
    log_to : int or None
        File descriptor to which the child logs; None: as this process, to the standard output.
    """

    most_waiting: int = 16
    idle_seconds: float = 60.0
    most_seconds: float = 300.0
    niceness: int = 5
    log_to: int | None = None
    _child: _Child | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _n_calls: int = 0
    _idle: asyncio.TimerHandle | None = None
    _running: set[asyncio.Task[Any]] = field(default_factory=set)
    _is_closed: bool = False

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return None if self._child is None else self._child.process.pid

    @property
    def n_calls(self) -> int:
        """Calls that run or wait."""
        return self._n_calls

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in the child.

        Parameters
        ----------
        function : callable
            Found by its module and name; it and its arguments and answer are pickled.
        *arguments

        Raises
        ------
        Refusal
            Where too many wait already, it takes too long, or the child ended meanwhile; the next call has
            a child again.
        VigieError
            What the function itself raises; anything else that it raises is a :class:`HeavyFailed`.
        """
        if self._is_closed or self._n_calls > self.most_waiting:
            raise Refusal(OVERLOADED, "figures of others are being computed", retry_after=5.0)
        message = pickle.dumps((function, arguments), pickle.HIGHEST_PROTOCOL)
        call = _Call(message)
        task = asyncio.create_task(self._take_turn(call))
        self._running.add(task)
        task.add_done_callback(self._forget)
        self._n_calls += 1
        try:
            # Who gives up waiting cannot stop the child, which would lose what it keeps: the answer is read.
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            if not call.has_begun:
                task.cancel()
            raise
        return answer  # type: ignore[no-any-return]

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        self._n_calls -= 1
        if not task.cancelled():
            # Whoever asked may be gone; then nobody else looks at what went wrong.
            task.exception()

    async def close(self) -> None:
        """End the child at once, whatever it does."""
        self._is_closed = True
        if self._idle is not None:
            self._idle.cancel()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._end("closed")

    async def _take_turn(self, call: _Call) -> Any:
        async with self._turn:
            call.has_begun = True
            if self._idle is not None:
                self._idle.cancel()
            try:
                return await self._call(call.message)
            finally:
                loop = asyncio.get_running_loop()
                self._idle = loop.call_later(self.idle_seconds, self._rest)

    async def _call(self, message: bytes) -> Any:
        try:
            if self._child is not None and self._child.process.returncode is not None:
                await self._end("lost")
            if self._child is None:
                self._child = await _Child.start(self.niceness, self.log_to)
            kind, answer = await asyncio.wait_for(self._child.ask(message), self.most_seconds)
        except TimeoutError:
            await self._end("took_too_long")
            raise Refusal(TOO_SLOW, "it took too long to compute") from None
        except (OSError, EOFError):
            await self._end("lost")
            raise Refusal(OVERLOADED, "the process that computes figures ended", retry_after=2.0) from None
        except asyncio.CancelledError:
            # Only when this is closed: an answer that is half read leaves a child of no use.
            await self._end("closed")
            raise
        if kind == "answer":
            return answer
        raise answer if kind == "refusal" else HeavyFailed(answer)

    def _rest(self) -> None:
        self._idle = None
        if not self._turn.locked() and not self._is_closed:
            task = asyncio.create_task(self._rest_in_turn())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _rest_in_turn(self) -> None:
        async with self._turn:
            if self._idle is None:
                await self._end("idle")

    async def _end(self, why: str) -> None:
        child, self._child = self._child, None
        if child is not None:
            code = await child.end()
            level = logging.WARNING if why in ("lost", "took_too_long") else logging.DEBUG
            _LOG.log(level, "heavy_ended", extra={"facts": {"why": why, "exit_code": code}})


@dataclass
class _Call:
    message: bytes
    has_begun: bool = False


@dataclass
class _Child:
    """A child process, and the channel to it."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def start(cls, niceness: int, log_to: int | None) -> _Child:
        ours, theirs = socket.socketpair()
        # The child finds the same packages; not multiprocessing, whose child would import the server.
        found = os.pathsep.join(path for path in sys.path if path)
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-c", _RUN, str(theirs.fileno()), str(niceness)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log_to,
                    pass_fds=(theirs.fileno(),),
                    env=os.environ | {"PYTHONPATH": found, "OMP_NUM_THREADS": "1"},
                )
            except BaseException:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours)
        child = cls(process, reader, writer)
        try:
            # It says so when it has read its code, which is no part of anybody's call.
            await reader.readexactly(HEADER)
        except BaseException:
            await child.end()
            raise
        return child

    async def ask(self, message: bytes) -> tuple[str, Any]:
        self.writer.write(len(message).to_bytes(HEADER, "big") + message)
        await self.writer.drain()
        size = int.from_bytes(await self.reader.readexactly(HEADER), "big")
        content = await self.reader.readexactly(size)
        # A long answer is unpickled here; it holds plain values only.
        found: tuple[str, Any] = pickle.loads(content)
        return found

    async def end(self) -> int | None:
        self.writer.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
        return await self.process.wait()
