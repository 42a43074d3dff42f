"""Rescoring as work of the store's queue: what came in is scored within seconds, all records by a new model.

A few records are scored in a thread. Many are scored in a process of its own, some thousand at a time, so
that requests go on being answered and what came in need not wait for the end of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from crm.errors import BundleError
from crm.store.service.deliveries import Event, emit
from crm.store.service.engine import ServiceStore
from crm.store.service.layout import SCORES
from crm.store.service.leases import Lease
from serving.answering.rescoring import OnChanges, RescoreReport, ScoreChange, rescore
from serving.bundle import ModelBundle
from serving.jobs.lease_keeper import check_held

#: The kind of job that scores all open records, after a change of model.
RESCORE_ALL: Final = "rescore_all"
#: The event of a score that changed.
SCORE_CHANGED: Final = "score_changed"
#: Where all records are scored, only a change of the grade or by so much is told.
TOLD_FROM: Final = 0.01
#: Records scored in a thread; more are scored in a process of its own.
FEW: Final = 100
#: Records of one transaction in a thread: others take turns with it.
FEW_AT_ONCE: Final = 25


@dataclass(frozen=True)
class Part:
    """Records to be scored in another process.

    Parameters
    ----------
    address : str
        Of the store; it may hold a password.
    directory : str
        Of the model bundle.
    version : str
        That the bundle must have.
    entity : {"lead", "deal"}
    ids : sequence of str
    as_of, now : datetime
    current_from, made_from : datetime or None
        As :func:`serving.answering.rescoring.rescore` takes it.
    again : bool
    lease : Lease or None
        That must be held.
    everything : bool
        Whether all records are being scored; then only large changes are told.
    """

    address: str = field(repr=False)
    directory: str
    version: str
    entity: str
    ids: Sequence[str]
    as_of: datetime
    now: datetime
    current_from: datetime | None = None
    made_from: datetime | None = None
    again: bool = False
    lease: Lease | None = None
    everything: bool = True


def rescore_part(part: Part) -> RescoreReport:
    """Score records, in the process that is called; it keeps its connection and the bundle for the next.

    Raises
    ------
    BundleError
        Where another version of the bundle lies in the directory by now.
    LeaseLost
        Where the lease was taken over by another process.
    StoreError
    """
    return rescore(
        _store(part.address),
        _bundle(part.directory, part.version),
        part.entity,
        part.ids,
        part.as_of,
        part.now,
        current_from=part.current_from,
        made_from=part.made_from,
        again=part.again,
        on_changes=telling(part.now, everything=part.everything),
        guard=None if part.lease is None else partial(check_held, lease=part.lease),
    )


def rescore_few(
    store: ServiceStore, bundle: ModelBundle, entity: str, ids: Sequence[str], as_of: datetime, lease: Lease
) -> RescoreReport:
    """Score a few records, in the thread that calls.

    Raises
    ------
    LeaseLost
    StoreError
    """
    return rescore(
        store,
        bundle,
        entity,
        ids,
        as_of,
        as_of,
        chunk=FEW_AT_ONCE,
        on_changes=telling(as_of, everything=False),
        guard=partial(check_held, lease=lease),
    )


def telling(now: datetime, *, everything: bool) -> OnChanges:
    """Give what tells subscriptions of changed scores, in the transaction that keeps them.

    Parameters
    ----------
    now : datetime
    everything : bool
        Whether all records are being scored. Then first scores are not told, nor changes that leave the grade
        and move the probability by less than :data:`TOLD_FROM`.
    """

    def tell(connection: sa.Connection, changes: Sequence[ScoreChange]) -> None:
        told = [change for change in changes if not everything or _is_large(change)]
        if told:
            emit(connection, SCORE_CHANGED, [event_of(change) for change in told], now)

    return tell


def _is_large(change: ScoreChange) -> bool:
    return change.before is not None and (
        change.grade_before != change.grade_after or abs(change.after - change.before) >= TOLD_FROM
    )


def event_of(change: ScoreChange) -> Event:
    """Give the event that tells of a changed score."""
    before = None
    if change.before is not None:
        before = {"probability": change.before, "grade": change.grade_before}
    data = {
        "entity": change.entity,
        "id": change.record_id,
        "owner_id": change.owner_id,
        "as_of": change.as_of.isoformat(),
        "model_version": change.model_version,
        "before": before,
        "after": {"probability": change.after, "grade": change.grade_after},
    }
    return Event(change.record_id, change.owner_id, data)


def scored_by_others(connection: sa.Connection, version: str) -> list[str]:
    """Give the kinds of record of which some score was made by another model than this version."""
    columns = SCORES.c
    return [
        entity
        for entity in ("lead", "deal")
        if connection.execute(
            sa.select(sa.literal(1))
            .where(columns.entity == entity, columns.model_version != version)
            .limit(1)
        ).first()
    ]


def address_of(store: ServiceStore) -> str:
    """Give the address of a store for another process, password included."""
    return store.history.address.url.render_as_string(hide_password=False)


@lru_cache(maxsize=1)
def _store(address: str) -> ServiceStore:
    return ServiceStore.open(address, pool_size=1)


def kinds_of(directory: str) -> tuple[str, tuple[str, ...]]:
    """Give the version of the bundle in a directory, and the kinds of record that it has models of.

    The process that is called keeps the bundle, ready to score by it.

    Raises
    ------
    BundleError
    """
    _loaded.cache_clear()
    found = _loaded(directory)
    return found.version, tuple(found.models)


@lru_cache(maxsize=1)
def _loaded(directory: str) -> ModelBundle:
    return ModelBundle.load(Path(directory))


def _bundle(directory: str, version: str) -> ModelBundle:
    if _loaded(directory).version != version:
        _loaded.cache_clear()
    found = _loaded(directory)
    if found.version != version:
        raise BundleError(
            f"{directory}: holds bundle {found.version}, not {version} that scoring began with; begin again"
        )
    return found
