"""What a person sees: answers on the standard output, progress and errors on the standard error."""

from __future__ import annotations

import time
from datetime import datetime
from types import TracebackType
from typing import Any

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text


def output() -> Console:
    """Give the console for answers."""
    return Console(highlight=False)


def errors() -> Console:
    """Give the console for progress and errors, so that a pipe gets only the answer."""
    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a value as JSON, for a program to read; moments as ISO 8601, what is not finite as null."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    typer.echo(orjson.dumps(value, default=_plain, option=options).decode())


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


class Steps:
    """Shows what a long command is doing, and how long each step took.

    On a terminal the running step turns; elsewhere each step is a line when it begins.

    Examples
    --------
    >>> with Steps() as steps:
    ...     steps.begin("reading the history")
    """

    def __init__(self) -> None:
        self._console = errors()
        self._status: Status | None = None
        self._step = ""
        self._since = 0.0

    def __enter__(self) -> Steps:
        return self

    def begin(self, step: str) -> None:
        """End the running step and begin another."""
        self._end(done=True)
        self._step, self._since = step, time.perf_counter()
        if self._console.is_terminal:
            self._status = self._console.status(Text(step))
            self._status.start()
        else:
            self._console.print(Text(f"… {step}"), soft_wrap=True)

    def _end(self, *, done: bool) -> None:
        if self._status is None:
            return
        self._status.stop()
        self._status = None
        mark = ("✓ ", "green") if done else ("✗ ", "red")
        seconds = time.perf_counter() - self._since
        self._console.print(Text.assemble(mark, self._step, (f"  {seconds:.1f} s", "dim")), soft_wrap=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(done=kind is None)
