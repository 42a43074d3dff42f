"""Deliver the events that are due: to many targets at once, so that a slow one holds up no other."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from crm.store.service.deliveries import (
    Delivery,
    delivered,
    delivery_failed,
    drop_deliveries_of,
    due_deliveries,
)
from crm.store.service.leases import Lease, is_held
from crm.store.service.subscription_rights import without_key
from crm.store.service.subscriptions import Subscription, end_subscription, subscription
from serving.jobs.webhook_sending import Outcome, Sender, next_attempt
from serving.jobs.webhook_targets import LookUp, look_up

if TYPE_CHECKING:
    from crm.store.service.engine import ServiceStore
    from serving.http.state import State

#: Targets at once, and deliveries at once to one of them.
TARGETS: Final = 32
TOGETHER: Final = 8
#: Deliveries that are read at once.
PIECE: Final = 400
#: Seconds between two looks at what is due, while somebody is being sent to.
LOOK: Final = 0.5
#: Seconds for which nothing more is sent to a target that failed.
REST: Final = 5.0
#: By so much at most the clock was set back that a delivery which was never put off is not due.
SET_BACK: Final = timedelta(hours=1)

_LOG = logging.getLogger("vigie.webhooks")
#: A delivery with what came of it.
_Done = tuple[Delivery, Outcome]


async def deliver_due(state: State, lease: Lease, *, find: LookUp = look_up) -> int:
    """Send what is due, and note what came of it.

    An event is sent at least once: where the process dies between sending and noting, it is sent again, with
    the same id.

    Parameters
    ----------
    state : State
    lease : Lease
        Whoever holds it delivers; once it is lost nothing more is sent.
    find : async function, optional
        Looks names up.

    Returns
    -------
    int
        How many deliveries were tried.

    Raises
    ------
    StoreError
        Where the store cannot be read or written.
    """
    if state.store is None:
        return 0
    turn = _Turn(state, state.store, lease)
    await turn.fetch()
    if not turn.targets:
        return 0
    settings = state.settings.webhooks
    allowed = [ip_network(one) for one in settings.allow_networks]
    async with Sender(settings.timeout_seconds, allowed, find) as sender:
        return await turn.run(sender)


@dataclass(frozen=True)
class _Queue:
    """What is due for one subscription."""

    subscription: Subscription
    deliveries: Sequence[Delivery]


@dataclass
class _Turn:
    """One call: which subscriptions are being sent to, and which are left alone for now."""

    state: State
    store: ServiceStore
    lease: Lease
    n_tried: int = 0
    targets: list[_Queue] = field(default_factory=list)
    busy: dict[asyncio.Task[bool], str] = field(default_factory=dict)
    resting: dict[str, float] = field(default_factory=dict)

    async def run(self, sender: Sender) -> int:
        """Send until nothing is due any more, but to targets that failed a moment ago."""
        try:
            while self.targets or self.busy:
                while self.targets and len(self.busy) < TARGETS:
                    queue = self.targets.pop(0)
                    task = asyncio.create_task(self._send_all(sender, queue))
                    self.busy[task] = queue.subscription.subscription_id
                done, _ = await asyncio.wait(self.busy, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    name = self.busy.pop(task)
                    if not task.result():
                        self.resting[name] = time.monotonic() + REST
                if not self.targets:
                    await self.fetch()
        finally:
            for task in self.busy:
                task.cancel()
            await asyncio.gather(*self.busy, return_exceptions=True)
        return self.n_tried

    async def fetch(self) -> None:
        """Read what is due for subscriptions that are neither being sent to nor resting."""
        if self.state.is_closing:
            return
        moment = time.monotonic()
        self.resting = {name: until for name, until in self.resting.items() if until > moment}
        self.targets = await self.state.run(self._read, [*self.busy.values(), *self.resting])

    def _read(self, but_to: Sequence[str]) -> list[_Queue]:
        now = self.state.clock()
        with self.store.reading() as connection:
            if not is_held(connection, self.lease):
                return []
            by_name: dict[str, list[Delivery]] = {}
            for one in due_deliveries(connection, now + SET_BACK, PIECE, but_to=but_to):
                # One that was never put off is due whatever the clock says now: it may have been set back.
                if one.due_at <= now or one.due_at == one.created_at:
                    by_name.setdefault(one.subscription_id, []).append(one)
            found = [subscription(connection, name) for name in by_name]
            live = [one for one in found if one is not None and one.ended_at is None]
            revoked = without_key(connection, live)
        served = [one for one in live if one not in revoked]
        gone = sorted(set(by_name) - {one.subscription_id for one in served})
        if gone:
            with self.store.writing() as connection:
                for ended in revoked:
                    end_subscription(connection, ended.subscription_id, "its key was revoked", now)
                for name in gone:
                    drop_deliveries_of(connection, name)
        return [_Queue(one, by_name[one.subscription_id]) for one in served]

    async def _send_all(self, sender: Sender, queue: _Queue) -> bool:
        """Send to one subscription; say whether its target does well."""
        for first in range(0, len(queue.deliveries), TOGETHER):
            some = queue.deliveries[first : first + TOGETHER]
            now = self.state.clock()
            outcomes = await asyncio.gather(*(sender.send(queue.subscription, one, now) for one in some))
            self.n_tried += len(some)
            done = list(zip(some, outcomes, strict=True))
            is_held_still = await self.state.run(self._note, queue.subscription, done)
            if not is_held_still or self.state.is_closing:
                return True
            if any(outcome.kind != "arrived" for outcome in outcomes):
                return False
        return True

    def _note(self, one: Subscription, done: Sequence[_Done]) -> bool:
        """Note what came of some deliveries; say whether this process still has the lease."""
        now = self.state.clock()
        with self.store.writing() as connection:
            may_count = is_held(connection, self.lease)
            for delivery, outcome in done:
                if outcome.kind == "arrived":
                    # Also without the lease: it did arrive, and need not be sent again.
                    delivered(connection, delivery.delivery_id, now)
                elif outcome.kind == "failed" and may_count:
                    self._note_failure(connection, delivery, outcome, now)
            if any(outcome.kind == "gone" for _, outcome in done):
                end_subscription(connection, one.subscription_id, "the target answered 410 Gone", now)
                drop_deliveries_of(connection, one.subscription_id)
        for delivery, outcome in done:
            if outcome.kind != "arrived":
                facts = {
                    "subscription_id": one.subscription_id,
                    "event_id": delivery.event_id,
                    "attempts": delivery.attempts + 1,
                    "error": outcome.error or outcome.kind,
                }
                _LOG.warning("webhook_failed", extra={"facts": facts})
        return may_count

    def _note_failure(
        self, connection: sa.Connection, delivery: Delivery, outcome: Outcome, now: datetime
    ) -> None:
        attempts = self.state.settings.webhooks.attempts
        due_at = next_attempt(delivery, now, outcome.pause, attempts)
        delivery_failed(connection, delivery.delivery_id, now, outcome.error, due_at)
