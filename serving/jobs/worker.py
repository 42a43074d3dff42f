"""The work beside answering: one process of all that serve a store does what waits in it, and no other.

Each worker process runs one :class:`Worker`. Whoever holds the lease works; the others watch it, and one of
them takes over when its holder dies. What waits is in the store, so nothing of it is lost with a process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

from crm.errors import StoreBusy, StoreDown, StoreError, VigieError
from crm.store.service.engine import ServiceStore
from crm.store.service.jobs import Job, due_jobs, enqueue, fail_job, finish_jobs
from crm.store.service.leases import Lease
from serving.answering.ingesting import RESCORE
from serving.jobs.handlers import HANDLERS, Duty, NoModelYet
from serving.jobs.heavy import Heavy
from serving.jobs.lease_keeper import LeaseKeeper, LeaseLost, check_held
from serving.jobs.pruning import prune
from serving.jobs.rescoring import RESCORE_ALL, scored_by_others
from serving.served_model import ServedModel
from serving.settings import ServiceSettings

#: The lease of who works.
LEASE: Final = "worker"
#: Seconds between two looks at the queue, and until the next try where the store is in trouble.
PAUSE: Final = 0.5
TROUBLE: Final = 2.0
#: Jobs taken at once.
AT_ONCE: Final = 100
#: A job that failed so often is dead; it is tried again after 5 s, 20 s, 80 s and so on.
MOST_ATTEMPTS: Final = 6
FIRST_BACK_OFF: Final = timedelta(seconds=5)
#: By so much at most the clock was set back that a job which was never put off is not due.
SET_BACK: Final = timedelta(hours=1)
#: Seconds between two prunings.
PRUNING: Final = 3600.0

_LOG = logging.getLogger("vigie.jobs")


class WorkerState(Protocol):
    """What a worker needs of the state that its process serves with."""

    served: ServedModel
    settings: ServiceSettings
    store: ServiceStore | None

    @property
    def clock(self) -> Callable[[], datetime]:
        """Gives the moment, in UTC."""
        ...


#: Sends events on their way: takes the state and the lease, gives how many it handled.
Deliver = Callable[[Any, Lease], Awaitable[int]]


class Worker:
    """Does what waits in the store, as long as it holds the lease.

    Parameters
    ----------
    state : WorkerState
    deliver : callable, optional
        Sends the events that are due.
    keeper : LeaseKeeper, optional
    heavy : Heavy, optional
        Where many records are scored; one of its own, so that nobody who asks waits for it.
    """

    def __init__(
        self,
        state: WorkerState,
        deliver: Deliver | None = None,
        keeper: LeaseKeeper | None = None,
        heavy: Heavy | None = None,
    ) -> None:
        self._state, self._deliver = state, deliver
        self._keeper = keeper if keeper is not None else LeaseKeeper(lambda: state.store, LEASE)
        self._heavy = heavy if heavy is not None else Heavy(niceness=10)
        self._noticed: tuple[int, str] | None = None
        self._pruned_at = float("-inf")
        self._trouble: str | None = None

    @property
    def is_working(self) -> bool:
        """Whether this process holds the lease."""
        return self._keeper.lease is not None

    async def run(self) -> None:
        """Work, for ever, until cancelled; then give the lease back."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keeper.run())
                # What came in is not to wait behind what takes long, nor for another machine's answer.
                group.create_task(self._again_and_again(self._do_quick))
                group.create_task(self._again_and_again(self._do_slow))
                if self._deliver is not None:
                    group.create_task(self._again_and_again(partial(self._send, self._deliver)))
        finally:
            await self._heavy.close()

    async def _again_and_again(self, turn: Callable[[Duty], Awaitable[bool]]) -> None:
        """Take turns: at once after one that found work, else after a pause."""
        while True:
            pause = PAUSE
            duty = self._duty()
            if duty is not None:
                try:
                    pause = 0.0 if await turn(duty) else PAUSE
                    self._trouble = None
                except LeaseLost:
                    pass
                except StoreError as error:
                    self._tell(str(error))
                    pause = TROUBLE
                except Exception:
                    # Whatever goes wrong in one turn, the next may do better; nobody else would take them.
                    _LOG.exception("turn_failed")
                    pause = TROUBLE
            await asyncio.sleep(pause)

    def _duty(self) -> Duty | None:
        state, lease = self._state, self._keeper.lease
        if state.store is None or lease is None:
            return None
        return Duty(state.store, lease, state.served, self._heavy, state.clock)

    async def _do_quick(self, duty: Duty) -> bool:
        return await self._do_due(duty, RESCORE)

    async def _do_slow(self, duty: Duty) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._pruned_at >= PRUNING:
            await self._prune(duty)
            self._pruned_at = now
        await self._notice_model(duty)
        return await self._do_due(duty, RESCORE_ALL)

    async def _send(self, deliver: Deliver, duty: Duty) -> bool:
        return await deliver(self._state, duty.lease) > 0

    async def _do_due(self, duty: Duty, kind: str) -> bool:
        """Do the jobs of a kind that are due, together; where that fails, each alone."""
        if duty.served.bundle is None:
            return False
        jobs = await asyncio.to_thread(_due, duty, [kind])
        if not jobs:
            return False
        if len(jobs) == 1 or not await self._try(duty, kind, jobs):
            for job in jobs:
                await self._try(duty, kind, [job])
        return True

    async def _try(self, duty: Duty, kind: str, jobs: Sequence[Job]) -> bool:
        try:
            await HANDLERS[kind](duty, jobs)
        except (LeaseLost, StoreBusy, StoreDown, NoModelYet):
            # Not the jobs' fault: they stay as they are.
            raise
        except Exception as error:
            # Work that fails must not keep the rest from being done, whatever it fails by.
            if len(jobs) == 1:
                await asyncio.to_thread(_fail, duty, jobs[0], error)
            return False
        await asyncio.to_thread(_finish, duty, [job.job_id for job in jobs])
        return True

    async def _notice_model(self, duty: Duty) -> None:
        """Let all records be scored again when scores of another model than that served are there."""
        bundle = duty.served.bundle
        if bundle is None or self._noticed == (duty.lease.token, bundle.version):
            return
        await asyncio.to_thread(_follow_model, duty, bundle.version, bundle.models)
        self._noticed = (duty.lease.token, bundle.version)

    async def _prune(self, duty: Duty) -> None:
        guard = partial(check_held, lease=duty.lease)
        keeping, now = self._state.settings.keeping, duty.clock()
        gone = await asyncio.to_thread(prune, duty.store, keeping, now, by="service", guard=guard)
        if any(gone.values()):
            _LOG.info("pruned", extra={"facts": gone})

    def _tell(self, message: str) -> None:
        if message != self._trouble:
            self._trouble = message
            _LOG.error("work_waits", extra={"facts": {"message": message}})


def _due(duty: Duty, kinds: Collection[str]) -> list[Job]:
    now = duty.clock()
    with duty.store.reading() as connection:
        found = due_jobs(connection, now + SET_BACK, AT_ONCE, kinds)
    # One that was never put off is due whatever the clock says now: it may have been set back since.
    return [job for job in found if job.due_at <= now or job.due_at == job.created_at]


def _finish(duty: Duty, job_ids: Sequence[int]) -> None:
    with duty.store.writing() as connection:
        check_held(connection, duty.lease)
        finish_jobs(connection, job_ids)


def _fail(duty: Duty, job: Job, error: Exception) -> None:
    """Put a job off, each time for longer, in the end for ever."""
    # The words of an error that nobody foresaw may quote a record.
    said = str(error) if isinstance(error, VigieError) else type(error).__name__
    is_dead = job.attempts + 1 >= MOST_ATTEMPTS
    due_at = None if is_dead else duty.clock() + FIRST_BACK_OFF * 4**job.attempts
    with duty.store.writing() as connection:
        check_held(connection, duty.lease)
        fail_job(connection, job.job_id, said, due_at)
    facts = {"job": job.job_id, "kind": job.kind, "attempts": job.attempts + 1, "message": said}
    again = {} if due_at is None else {"again_at": due_at.isoformat()}
    _LOG.error("job_dead" if is_dead else "job_failed", extra={"facts": facts | again}, exc_info=error)


def _follow_model(duty: Duty, version: str, kinds: Collection[str]) -> None:
    with duty.store.reading() as connection:
        if not set(scored_by_others(connection, version)) & set(kinds):
            return
    with duty.store.writing() as connection:
        check_held(connection, duty.lease)
        enqueue(connection, RESCORE_ALL, {"version": version}, duty.clock(), key=version)
    _LOG.info("model_changed", extra={"facts": {"version": version, "next": RESCORE_ALL}})
