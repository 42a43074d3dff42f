"""Scoring all open records of a store, by as many processes as there are cores to spare.

Each takes some thousand records at a time, in one transaction. A run that was cut, by whatever, goes on where
it stopped: what it has scored is current, and left as it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import sqlalchemy as sa

from crm.errors import BundleError, StoreBusy, StoreDown
from crm.ingesting.entry import INGESTED_ON
from crm.store.layout import LOADS
from crm.store.service.engine import ServiceStore
from crm.store.service.layout import JOBS
from crm.store.service.moments import to_moment
from serving.answering.ingesting import RESCORE
from serving.answering.rescoring import CHUNK, RescoreReport, drop_ended, open_parts
from serving.jobs.heavy import Heavy
from serving.jobs.rescoring import Part, address_of, kinds_of, rescore_part

T = TypeVar("T")

#: A score of the same model is current for so long, unless something came in since it was made.
CURRENT_FOR: Final = timedelta(hours=12)
#: Seconds for which a store that is busy or gone is waited for, and between two tries.
PATIENCE: Final = 120.0
PAUSE: Final = 1.0
#: Seconds that one part may take at most.
LONGEST: Final = 600.0
_STDERR: Final = 2


@dataclass(frozen=True)
class BulkReport:
    """What a run did.

    Parameters
    ----------
    model_version : str
    done : dict of str to RescoreReport
        By kind of record.
    """

    model_version: str
    done: dict[str, RescoreReport]


#: Told the kind of record, how many of it were gone through, and the report until now.
Progress = Callable[[str, int, RescoreReport], None]


async def rescore_open(
    store: ServiceStore,
    directory: Path,
    entities: Sequence[str] | None,
    as_of: datetime,
    now: datetime,
    *,
    again: bool = False,
    processes: int = 1,
    progress: Progress | None = None,
) -> BulkReport:
    """Score all open leads and deals, and drop the scores of those that are open no more.

    Parameters
    ----------
    store : ServiceStore
    directory : Path
        Of the model bundle.
    entities : sequence of str or None
        Kinds of record; None for all that the bundle has a model of.
    as_of, now : datetime
    again : bool
        Whether to score also what is current, or has a score of a later moment.
    processes : int
    progress : callable, optional

    Raises
    ------
    BundleError
        Where the bundle cannot be read, has no model of a kind asked for, or is replaced meanwhile.
    StoreError
        Where the store cannot be used; what was scored before stays, and the next run goes on from there.
    """
    workers = [Heavy(most_seconds=LONGEST, niceness=0, log_to=_STDERR) for _ in range(processes)]
    try:
        # All at once, so that each has its bundle ready.
        found = await asyncio.gather(*(worker.run(kinds_of, str(directory)) for worker in workers))
        version, has = found[0]
        lacking = [entity for entity in entities or () if entity not in has]
        if lacking:
            raise BundleError(f"bundle {version}: has no model of {lacking[0]}s; train on a history of them")
        part = Part(address_of(store), str(directory), version, "", (), as_of, now, again=again)
        if not again:
            known = await asyncio.to_thread(last_taken_in, store)
            part = replace(part, current_from=as_of - CURRENT_FOR, made_from=known)
        done = {}
        for entity in entities if entities is not None else has:
            one = replace(part, entity=entity)
            done[entity] = await _Run(store, workers, one, progress).run()
        return BulkReport(version, done)
    finally:
        await asyncio.gather(*(worker.close() for worker in workers))


def last_taken_in(store: ServiceStore) -> datetime | None:
    """Give the moment of the last load of an export, or of the last ingest whose rescoring still waits.

    Scores that were made before may not know it; all else that came in had its own rescoring.
    """
    loads, jobs = LOADS.c, JOBS.c
    imported = sa.select(sa.func.max(loads.loaded_at)).where(~loads.mapping_digest.startswith(INGESTED_ON))
    ingested = sa.select(sa.func.max(jobs.created_at)).where(jobs.kind == RESCORE)
    with store.reading() as connection:
        found = [connection.execute(query).scalar() for query in (imported, ingested)]
    return max((to_moment(one) for one in found if one is not None), default=None)


@dataclass
class _Run:
    """The scoring of all open records of one kind."""

    store: ServiceStore
    workers: Sequence[Heavy]
    part: Part
    progress: Progress | None

    async def run(self) -> RescoreReport:
        self.report, self.n_seen = RescoreReport(), 0
        self.parts = open_parts(self.store, self.part.entity, CHUNK)
        self.turn = asyncio.Lock()
        tasks = [asyncio.create_task(self._work(worker)) for worker in self.workers]
        try:
            await asyncio.gather(*tasks)
        finally:
            # Where one failed the others need not go on: what they were at is undone or kept whole.
            for task in tasks:
                task.cancel()
        self.report.n_dropped += await asyncio.to_thread(drop_ended, self.store, self.part.entity)
        self._tell(0)
        return self.report

    async def _work(self, worker: Heavy) -> None:
        while True:
            async with self.turn:
                ids = await asyncio.to_thread(_next, self.parts)
            if not ids:
                return
            self.report.add(await _patiently(worker, replace(self.part, ids=ids)))
            self._tell(len(ids))

    def _tell(self, n: int) -> None:
        self.n_seen += n
        if self.progress is not None:
            self.progress(self.part.entity, self.n_seen, self.report)


def _next(parts: Iterator[Sequence[str]]) -> Sequence[str]:
    return next(parts, ())


async def _patiently(worker: Heavy, part: Part) -> RescoreReport:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return await worker.run(rescore_part, part)
        except (StoreBusy, StoreDown):
            if time.monotonic() >= until:
                raise
        await asyncio.sleep(PAUSE)
