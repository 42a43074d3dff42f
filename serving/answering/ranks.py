"""Where a probability stands among the open records of the store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from crm.errors import StoreError
from serving.expected import Floats

#: Seconds between two looks at whether the store's scores changed.
PAUSE: Final = 2.0
#: A look may take this share of the time at most, however many scores there are.
SHARE: Final = 0.05

_LOG = logging.getLogger("vigie.scoring")


class Standing(NamedTuple):
    """A place among open records.

    Parameters
    ----------
    rank : int
        1 for the highest probability; equal ones share the best rank.
    among : int
        How many records, this one included.
    percentile : float
        Share of them, in percent, whose probability is at most this one's.
    """

    rank: int
    among: int
    percentile: float


def standing(ordered: Floats, probability: float, own: float | None = None) -> Standing:
    """Place a probability.

    Parameters
    ----------
    ordered : ndarray of shape (n,)
        Probabilities of the open records, ascending.
    probability : float
    own : float, optional
        The record's own among them, which it now takes the place of.

    Examples
    --------
    >>> standing(np.array([0.1, 0.2, 0.2, 0.5]), 0.2)
    Standing(rank=2, among=5, percentile=80.0)
    >>> standing(np.array([0.1, 0.2, 0.2, 0.5]), 0.6, own=0.5)
    Standing(rank=1, among=4, percentile=100.0)
    """
    others, above = len(ordered), len(ordered) - int(ordered.searchsorted(probability, side="right"))
    if own is not None and others:
        others -= 1
        above -= own > probability
    among = others + 1
    return Standing(above + 1, among, round(100.0 * (among - above) / among, 2))


@dataclass
class Ranks:
    """The probabilities of the store's open records, in memory; looked up again where they changed.

    Parameters
    ----------
    read : callable
        Gives the revision of the stored scores and, where it is not the one given, the probabilities of
        each entity in ascending order: ``read(revision | None) -> (revision, {entity: array} | None)``.
    clock : callable
        Seconds that never go back.
    """

    read: Callable[[int | None], tuple[int, Mapping[str, Floats] | None]]
    clock: Callable[[], float] = time.monotonic
    _ordered: Mapping[str, Floats] = field(default_factory=dict)
    _revision: int | None = None
    _next: float = -np.inf
    _looking: asyncio.Task[None] | None = None

    def ordered(self, entity: str) -> Floats:
        """Give the probabilities as last looked up, ascending."""
        return self._ordered.get(entity, _NONE)

    def refresh(self) -> None:
        """Look them up now, where they changed."""
        began = self.clock()
        try:
            revision, found = self.read(self._revision)
        finally:
            ended = self.clock()
            self._next = ended + max(PAUSE, (ended - began) / SHARE)
        if found is not None:
            self._ordered = found
        self._revision = revision

    async def fresh(self) -> None:
        """See to it that they are looked up soon; wait for it the first time only.

        Where the store cannot be read, what was read last goes on to count.
        """
        if self._looking is None or self._looking.done():
            if self.clock() < self._next:
                return
            self._looking = asyncio.create_task(self._look())
        if self._revision is None:
            await self._looking

    async def _look(self) -> None:
        try:
            await asyncio.to_thread(self.refresh)
        except StoreError as error:
            _LOG.warning("ranks_not_read", extra={"facts": {"message": str(error)}})


_NONE: Floats = np.zeros(0)
