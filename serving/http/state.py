"""What one worker holds while it serves; made once, by the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread

from crm.errors import StoreDown, StoreError
from crm.store.service.revision import revision
from crm.store.service.scores import probabilities, scores_of
from serving.answering.figure_cache import FigureCache
from serving.answering.ranks import Ranks
from serving.answering.scorer import Scorer, ranks_of
from serving.http.access import Access
from serving.http.admission import Admission
from serving.http.audit_trail import AuditTrail
from serving.http.metrics import Metrics
from serving.http.rate_limits import RateLimits
from serving.served_model import ServedModel
from serving.settings import ServiceSettings

if TYPE_CHECKING:
    from crm.store.service.engine import ServiceStore

T = TypeVar("T")


def _no_ranks() -> Ranks:
    return Ranks(lambda _: (0, {}))


@dataclass
class State:
    """What handlers and the edge share.

    Parameters
    ----------
    served : ServedModel
    clock : function that gives a datetime
        In UTC.
    settings : ServiceSettings
    store : ServiceStore or None
        None as long as it is not open, and where there is none.
    wants_store : bool
        Whether the service was started with a history store.
    scorer : Scorer
    ranks : Ranks
    heavy : Heavy
        Runs functions that compute for seconds in a process of its own.
    figures : FigureCache
    effects : FigureCache
        What the call list is ranked with.
    access : Access
    rates : RateLimits
    admission : Admission
    metrics : Metrics
    trail : AuditTrail
    once : set
        Writes with an ``Idempotency-Key`` that are in progress.
    opened : frozenset of str
        Operations that the settings open to anybody.
    is_closing : bool
        The worker was told to end.
    """

    served: ServedModel
    clock: Callable[[], datetime]
    settings: ServiceSettings = field(default_factory=ServiceSettings)
    store: ServiceStore | None = None
    wants_store: bool = False
    scorer: Scorer = field(default_factory=Scorer)
    ranks: Ranks = field(default_factory=_no_ranks)
    heavy: Any = None
    figures: FigureCache = field(default_factory=FigureCache)
    effects: FigureCache = field(default_factory=lambda: FigureCache(most=4, seconds=3600.0))
    access: Access = field(default_factory=Access)
    rates: RateLimits = field(default_factory=RateLimits)
    admission: Admission = field(default_factory=Admission)
    metrics: Metrics = field(default_factory=Metrics)
    trail: AuditTrail = field(default_factory=AuditTrail)
    once: set[tuple[str, str, str]] = field(default_factory=set)
    opened: frozenset[str] = frozenset()
    is_closing: bool = False

    def __post_init__(self) -> None:
        self.access.waits = self.wants_store
        if self.store is not None:
            self.use_store(self.store)
        self.scorer.told = self.metrics.scored
        self.served.tell(lambda bundle: self.metrics.serves(bundle.version))

    def use_settings(self, settings: ServiceSettings, workers: int = 1) -> None:
        """Take settings over, before the first request.

        Parameters
        ----------
        settings : ServiceSettings
        workers : int
            How many share the rate of a key.
        """
        self.settings = settings
        self.rates = RateLimits(settings.rate.per_second / workers, max(1.0, settings.rate.burst / workers))
        self.admission = Admission(settings.http.max_in_progress)
        self.opened = frozenset({"metrics"}) if settings.metrics.open else frozenset()

    def use_store(self, store: ServiceStore) -> None:
        """Answer from a store, once it is open."""
        self.ranks = ranks_of(store, revision, probabilities)
        self.scorer.store, self.scorer.scores_of, self.scorer.ranks = store, scores_of, self.ranks
        self.scorer.is_local = store.is_local
        self.trail.store = store
        self.access.store = store
        self.store = store

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run what waits for the store in a thread."""
        return await anyio.to_thread.run_sync(function, *arguments)

    async def is_store_there(self, seconds: float = 1.0) -> bool:
        """Say whether the store answers."""
        if self.store is None:
            return not self.wants_store
        try:
            await asyncio.wait_for(self.run(self._ping), seconds)
        except (StoreError, TimeoutError):
            return False
        return True

    def _ping(self) -> None:
        if self.store is None:
            raise StoreDown("the history store is not open yet")
        with self.store.reading() as connection:
            connection.exec_driver_sql("SELECT 1")
