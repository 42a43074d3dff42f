"""What is done for each kind of job; several jobs of a kind are done as one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from crm.errors import VigieError
from crm.store.service.engine import ServiceStore
from crm.store.service.jobs import Job
from crm.store.service.leases import Lease
from crm.store.service.records import open_ids
from serving.answering.ingesting import RESCORE
from serving.answering.rescoring import CHUNK, RescoreReport, drop_ended
from serving.bundle import ModelBundle
from serving.jobs.heavy import Heavy
from serving.jobs.lease_keeper import check_held
from serving.jobs.rescoring import FEW, RESCORE_ALL, Part, address_of, rescore_few, rescore_part
from serving.served_model import ServedModel

_LOG = logging.getLogger("vigie.jobs")
_MICROSECOND: Final = timedelta(microseconds=1)


class NoModelYet(VigieError):
    """Work that needs a model, while none is served."""


@dataclass(frozen=True)
class Duty:
    """What a handler works with.

    Parameters
    ----------
    store : ServiceStore
    lease : Lease
        To be checked in each transaction that writes.
    served : ServedModel
    heavy : Heavy
    clock : function that gives a datetime
    """

    store: ServiceStore
    lease: Lease
    served: ServedModel
    heavy: Heavy
    clock: Callable[[], datetime]

    @property
    def bundle(self) -> ModelBundle:
        """The bundle that is served.

        Raises
        ------
        NoModelYet
        """
        if self.served.bundle is None:
            raise NoModelYet("no model is served yet; what waits is done when one is")
        return self.served.bundle


Handler = Callable[[Duty, Sequence[Job]], Awaitable[None]]


async def rescore_named(duty: Duty, jobs: Sequence[Job]) -> None:
    """Score the records that jobs name.

    What came in counts from the moment at which it did, which is a job's, even where the clock was set back
    since.
    """
    bundle = duty.bundle
    as_of = max([duty.clock(), *(job.created_at + _MICROSECOND for job in jobs)])
    done = RescoreReport()
    for entity in bundle.models:
        ids = sorted({name for job in jobs for name in job.payload.get(entity, ())})
        if len(ids) <= FEW:
            found = asyncio.to_thread(rescore_few, duty.store, bundle, entity, ids, as_of, duty.lease)
            done.add(await found)
            continue
        for some in _parts(ids):
            done.add(await _in_child(duty, bundle, entity, some, as_of, everything=False))
    oldest = min(job.created_at for job in jobs)
    facts = {"jobs": len(jobs), "lag_seconds": max(0.0, (duty.clock() - oldest).total_seconds())}
    _LOG.info("rescored", extra={"facts": facts | vars(done)})


async def rescore_all(duty: Duty, jobs: Sequence[Job]) -> None:
    """Score all open records by the model that is served, but those that it has scored since the job began.

    A job of another model's version has nothing to do: the version that is served has its own.
    """
    bundle = duty.bundle
    began = max((job.created_at for job in jobs if job.payload["version"] == bundle.version), default=None)
    if began is None:
        return
    done = RescoreReport()
    for entity in bundle.models:
        after: str | None = None
        while True:
            some = await asyncio.to_thread(_open_after, duty.store, entity, after)
            if not some:
                break
            if duty.served.bundle is not bundle:
                return
            as_of = max(duty.clock(), began)
            found = _in_child(duty, bundle, entity, some, as_of, current_from=began, everything=True)
            done.add(await found)
            after = some[-1]
        guard = partial(check_held, lease=duty.lease)
        done.n_dropped += await asyncio.to_thread(drop_ended, duty.store, entity, guard)
    _LOG.info("rescored_all", extra={"facts": {"version": bundle.version, **vars(done)}})


async def _in_child(
    duty: Duty,
    bundle: ModelBundle,
    entity: str,
    ids: Sequence[str],
    as_of: datetime,
    *,
    current_from: datetime | None = None,
    everything: bool,
) -> RescoreReport:
    part = Part(
        address_of(duty.store),
        str(duty.served.directory),
        bundle.version,
        entity,
        ids,
        as_of,
        as_of,
        current_from=current_from,
        lease=duty.lease,
        everything=everything,
    )
    return await duty.heavy.run(rescore_part, part)


def _open_after(store: ServiceStore, entity: str, after: str | None) -> list[str]:
    with store.reading() as connection:
        return open_ids(connection, entity, after, CHUNK)


def _parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[first : first + CHUNK] for first in range(0, len(ids), CHUNK))


#: Who does what.
HANDLERS: Final[dict[str, Handler]] = {RESCORE: rescore_named, RESCORE_ALL: rescore_all}
