"""Holds a lease of the store for one process: takes it when nobody else shows that it lives, and beats it.

No clock is compared between machines. Who waits looks at the lease again and again; when it has stood still
for :data:`PATIENCE` seconds of the watcher's own clock, its holder is taken for dead. With a look each
:data:`LOOK` seconds another takes over at most :data:`PATIENCE` + 2 * :data:`LOOK` seconds after the last
beat.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

import sqlalchemy as sa

from crm.errors import StoreError
from crm.store.service.engine import ServiceStore
from crm.store.service.leases import Lease, beat_lease, is_held, read_lease, release_lease, take_lease

#: Seconds between two beats of the holder, and between two looks of who waits.
BEAT: Final = 3.0
LOOK: Final = 1.0
#: Seconds without a beat until the lease is taken from its holder.
PATIENCE: Final = 10.0
#: Seconds that giving the lease back may take when the process ends.
GRACE: Final = 2.0

_LOG = logging.getLogger("vigie.lease")


class LeaseLost(StoreError):
    """The work is another process's by now; what the transaction did is undone."""


def name_of_process() -> str:
    """Give a name that no other process has, from which an operator knows the process."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def check_held(connection: sa.Connection, lease: Lease) -> None:
    """Make sure, first in the transaction of the work, that the lease is still the holder's.

    Raises
    ------
    LeaseLost
    """
    if not is_held(connection, lease):
        raise LeaseLost(f"the lease {lease.name!r} was taken over by another process; it does the work now")


class LeaseKeeper:
    """Keeps one lease.

    Parameters
    ----------
    store : function that gives a ServiceStore or None
        None as long as it is not open.
    name : str
        Of the lease.
    holder : str, optional
    clock : function that gives seconds
        That never goes back.
    """

    def __init__(
        self,
        store: Callable[[], ServiceStore | None],
        name: str,
        holder: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.holder = holder if holder is not None else name_of_process()
        self._store, self._name, self._clock = store, name, clock
        self._mine: Lease | None = None
        self._beaten_at = 0.0
        self._seen: Lease | None = None
        self._seen_at = 0.0
        self._trouble: str | None = None

    @property
    def lease(self) -> Lease | None:
        """The lease, as long as it is held and its last beat is not so old that another may have it."""
        if self._mine is None or self._clock() - self._beaten_at >= PATIENCE:
            return None
        return self._mine

    async def run(self) -> None:
        """Keep the lease, for ever, until cancelled; then give it back."""
        # A thread of its own: beats must not wait behind the work that they guard, nor behind requests.
        thread = ThreadPoolExecutor(1, thread_name_prefix="lease")
        loop = asyncio.get_running_loop()
        try:
            while True:
                await loop.run_in_executor(thread, self.step)
                await asyncio.sleep(LOOK if self._mine is None else BEAT)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await asyncio.shield(loop.run_in_executor(thread, self.release))
            thread.shutdown(wait=False)

    def step(self) -> None:
        """Beat, or look whether the lease can be taken; trouble with the store is logged once."""
        store = self._store()
        if store is None:
            return
        try:
            if self._mine is not None:
                self._beat(store, self._mine)
            else:
                self._look(store)
        except StoreError as error:
            self._tell(str(error))
        else:
            self._trouble = None

    def release(self) -> None:
        """Give the lease back, so that another need not wait."""
        store, mine, self._mine = self._store(), self._mine, None
        if store is None or mine is None:
            return
        try:
            with store.writing() as connection:
                release_lease(connection, mine)
        except StoreError as error:
            self._tell(str(error))

    def _beat(self, store: ServiceStore, mine: Lease) -> None:
        # The moment before the beat: what takes long must not make the lease seem younger than it is.
        began = self._clock()
        with store.writing() as connection:
            beaten = beat_lease(connection, mine)
        self._mine = beaten
        if beaten is None:
            _LOG.warning("lease_lost", extra={"facts": {"lease": self._name, "holder": self.holder}})
            self._seen = None
        else:
            self._beaten_at = began

    def _look(self, store: ServiceStore) -> None:
        with store.reading() as connection:
            found = read_lease(connection, self._name)
        now = self._clock()
        if found is not None and found.holder:
            if found != self._seen:
                self._seen, self._seen_at = found, now
                return
            if now - self._seen_at < PATIENCE:
                return
        with store.writing() as connection:
            taken = take_lease(connection, self._name, self.holder, found)
        if taken is not None:
            self._mine, self._beaten_at, self._seen = taken, now, None
            instead = found.holder if found is not None else ""
            facts = {"lease": self._name, "holder": self.holder, "token": taken.token}
            _LOG.info("lease_taken", extra={"facts": facts | ({"instead_of": instead} if instead else {})})

    def _tell(self, message: str) -> None:
        if message != self._trouble:
            self._trouble = message
            _LOG.error("lease_not_kept", extra={"facts": {"lease": self._name, "message": message}})
