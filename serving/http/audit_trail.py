"""The audit log as the service writes it: reads in batches, changes before they are answered."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from crm.errors import StoreError
from crm.store.service.audit import AuditRow, append_audit
from crm.store.service.keys import note_use

if TYPE_CHECKING:
    from crm.store.service.engine import ServiceStore

#: Rows that wait at most while the store cannot be written; then the oldest are given up, which is logged.
MOST: Final = 20_000
#: Rows written in one transaction.
AT_ONCE: Final = 2_000

_LOG = logging.getLogger("vigie.audit")


class AuditTrail:
    """Takes down calls, and writes them to the store.

    Parameters
    ----------
    store : ServiceStore or None
        Without one nothing is taken down: there is nothing to read or change either.
    """

    def __init__(self, store: ServiceStore | None = None) -> None:
        self.store = store
        self._waiting: deque[AuditRow] = deque()
        self._writing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, row: AuditRow) -> None:
        """Take a call down, to be written soon."""
        if self.store is None:
            return
        if len(self._waiting) >= MOST:
            self._waiting.popleft()
            _LOG.error("audit_row_lost", extra={"facts": {"waiting": MOST}})
        self._waiting.append(row)

    async def flush(self, used: dict[str, datetime] | None = None) -> None:
        """Write what waits; what cannot be written goes on to wait.

        Parameters
        ----------
        used : dict of str to datetime, optional
            When keys were used last; emptied once it is written.
        """
        async with self._writing:
            while self.store is not None and (self._waiting or used):
                rows = [self._waiting[place] for place in range(min(AT_ONCE, len(self._waiting)))]
                noted = dict(used or {})
                try:
                    await anyio.to_thread.run_sync(_write, self.store, rows, noted)
                except StoreError as error:
                    facts = {"waiting": len(self._waiting), "message": str(error)}
                    _LOG.warning("audit_not_written", extra={"facts": facts})
                    return
                for row in rows:
                    # While this was written, the oldest may have been given up.
                    if self._waiting and self._waiting[0] is row:
                        self._waiting.popleft()
                for key_id, moment in noted.items():
                    if used is not None and used.get(key_id) == moment:
                        del used[key_id]

    async def run(self, seconds: float, used: dict[str, datetime]) -> None:
        """Write what waits, every so many seconds, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await self.flush(used)


def _write(store: ServiceStore, rows: list[AuditRow], used: dict[str, datetime]) -> None:
    with store.writing() as connection:
        append_audit(connection, rows)
        note_use(connection, used)
