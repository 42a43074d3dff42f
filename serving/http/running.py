"""What a worker does beside answering: loads the model, opens the store, writes what it has taken down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crm.errors import StoreError
from crm.store.service.engine import ServiceStore
from serving.jobs.following import Following
from serving.jobs.heavy import Heavy
from serving.jobs.webhooks import deliver_due
from serving.jobs.worker import Worker

if TYPE_CHECKING:
    from serving.http.state import State

#: Seconds between two attempts to open a store that cannot be opened.
PAUSE: Final = 2.0

_LOG = logging.getLogger("vigie.service")


class Running:
    """The tasks of one worker.

    Parameters
    ----------
    state : State
    bundle : Path
        The directory of the model bundle.
    history : str
        The address of the history store; empty for none.
    registry : str
        The address of MLflow's registry, whose champion is to be served; empty for none, and in all workers
        but one of a machine: they share the directory.
    """

    def __init__(self, state: State, bundle: Path, history: str = "", registry: str = "") -> None:
        self._state = state
        self._bundle = bundle
        self._history = history
        self._registry = registry
        self._tasks: list[asyncio.Task[Any]] = []

    def begin(self) -> None:
        """Begin all tasks; until the model is loaded and the store is open, what needs them answers 503."""
        state = self._state
        if state.heavy is None:
            state.heavy = Heavy()
        self._start("model", state.served.serve(self._bundle))
        if self._registry:
            self._start("registry", Following(self._registry, self._bundle).run())
        if self._history:
            self._start("store", self._open_store())
            seconds = state.settings.audit.flush_seconds
            self._start("audit", state.trail.run(seconds, state.access.used))
            self._start("worker", Worker(state, deliver_due).run())

    async def end(self) -> None:
        """End them; what was taken down is written first, as far as the store lets it."""
        state = self._state
        state.is_closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await state.trail.flush(state.access.used)
        if state.heavy is not None:
            await state.heavy.close()
        if state.store is not None:
            state.store.close()
        state.metrics.close()

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_tell)
        self._tasks.append(task)

    async def _open_store(self) -> None:
        said = ""
        while True:
            try:
                store = await asyncio.to_thread(ServiceStore.open, self._history)
            except StoreError as error:
                if str(error) != said:
                    said = str(error)
                    _LOG.error("store_not_opened", extra={"facts": {"message": said}})
                await asyncio.sleep(PAUSE)
                continue
            self._state.use_store(store)
            _LOG.info("store_opened", extra={"facts": {"kind": store.history.address.kind}})
            return


def _tell(task: asyncio.Task[Any]) -> None:
    """Log a task that failed: nobody waits for it."""
    if not task.cancelled() and task.exception() is not None:
        _LOG.error("task_failed", exc_info=task.exception(), extra={"facts": {"task": task.get_name()}})
