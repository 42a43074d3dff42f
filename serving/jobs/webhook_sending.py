"""One attempt to send one event to one target, and what came of it."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Final, Literal, Self

import httpx

from crm.store.service.deliveries import Delivery
from crm.store.service.subscriptions import Subscription
from serving.answering.webhook_signing import read_secret, signed_headers
from serving.jobs.webhook_targets import (
    LookUp,
    Network,
    Target,
    TargetRefused,
    addresses,
    look_up,
    read_target,
)
from serving.webhook_settings import DELAYS

#: A target that asks for a longer pause gets this one.
LONGEST_PAUSE: Final = timedelta(hours=24)
_GONE: Final = 410
#: Statuses whose Retry-After is heeded.
_LATER: Final = (429, 503)


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt.

    Parameters
    ----------
    kind : {"arrived", "failed", "gone"}
    error : str
        Of a failed one, for people; holds nothing of the target's address or answer.
    pause : timedelta or None
        What the target asked for.
    """

    kind: Literal["arrived", "failed", "gone"]
    error: str = ""
    pause: timedelta | None = None


class Sender:
    """Sends events; an asynchronous context manager.

    Parameters
    ----------
    timeout : float
        Seconds of one attempt.
    allowed : sequence of networks
        That are not public, and may be sent to all the same.
    find : async function, optional
        Looks names up.
    """

    def __init__(self, timeout: float, allowed: Sequence[Network], find: LookUp = look_up) -> None:
        self._timeout = timeout
        self._allowed = allowed
        self._find = find
        self._open = AsyncExitStack()
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        trusted = await asyncio.to_thread(_trusted)
        self._client = await self._open.enter_async_context(
            httpx.AsyncClient(
                verify=trusted,
                follow_redirects=False,
                # A proxy named by the environment would connect to what was not looked at here.
                trust_env=False,
                timeout=self._timeout,
                # A connection is known by its address: kept, it would serve another name there, whose
                # certificate was never seen.
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def send(self, subscription: Subscription, delivery: Delivery, now: datetime) -> Outcome:
        """Make one attempt; whatever goes wrong on the way is its outcome."""
        try:
            target = read_target(subscription.target_url)
            async with asyncio.timeout(self._timeout):
                found = await addresses(target, self._allowed, self._find)
                return await self._try(target, found, subscription, delivery, now)
        except TargetRefused as refused:
            return Outcome("failed", f"target {refused}")
        except TimeoutError:
            return Outcome("failed", f"no answer within {self._timeout:g} s")
        except httpx.TimeoutException:
            return Outcome("failed", f"no answer within {self._timeout:g} s")
        except httpx.HTTPError as error:
            return Outcome("failed", _told(error))

    async def _try(
        self,
        target: Target,
        found: Sequence[str],
        subscription: Subscription,
        delivery: Delivery,
        now: datetime,
    ) -> Outcome:
        for address in found[:-1]:
            try:
                return await self._post(target, address, subscription, delivery, now)
            except httpx.ConnectError:
                continue
        return await self._post(target, found[-1], subscription, delivery, now)

    async def _post(
        self, target: Target, address: str, subscription: Subscription, delivery: Delivery, now: datetime
    ) -> Outcome:
        if self._client is None:
            raise RuntimeError("a Sender sends inside its async with block")
        secret = read_secret(subscription.secret)
        headers = signed_headers(secret, delivery.event_id, now, delivery.payload)
        headers |= {
            "host": target.host_header,
            "content-type": "application/json",
            "user-agent": "vigie-webhooks",
        }
        request = self._client.build_request(
            "POST",
            target.at(address),
            content=delivery.payload,
            headers=headers,
            extensions={} if target.is_address else {"sni_hostname": target.host},
        )
        # Only the status counts: what the body says is not read, however much it is.
        answer = await self._client.send(request, stream=True)
        try:
            return outcome_of(answer.status_code, answer.headers.get("retry-after"), now)
        finally:
            await answer.aclose()


def outcome_of(status: int, retry_after: str | None, now: datetime) -> Outcome:
    """Say what a status means.

    Examples
    --------
    >>> outcome_of(503, "120", datetime(2026, 3, 1, tzinfo=UTC)).pause
    datetime.timedelta(seconds=120)
    """
    if 200 <= status < 300:
        return Outcome("arrived")
    if status == _GONE:
        return Outcome("gone")
    if 300 <= status < 400:
        return Outcome("failed", f"answered {status}; redirects are not followed, subscribe the new address")
    pause = _pause(retry_after, now) if status in _LATER and retry_after else None
    return Outcome("failed", f"answered {status}", pause)


def next_attempt(
    delivery: Delivery, now: datetime, pause: timedelta | None, attempts: int
) -> datetime | None:
    """Give when to try again after a failed attempt; None for never.

    Parameters
    ----------
    delivery : Delivery
        As it was before the attempt.
    now : datetime
    pause : timedelta or None
        At least so long.
    attempts : int
        How many there are in all.
    """
    failed = delivery.attempts + 1
    if failed >= attempts:
        return None
    # Up to a fifth later, so that what failed together does not come again together.
    spread = zlib.crc32(f"{delivery.event_id} {failed}".encode()) % 1000 / 5000
    wait = timedelta(seconds=DELAYS[failed - 1] * (1 + spread))
    return now + max(wait, pause or wait)


def _pause(text: str, now: datetime) -> timedelta | None:
    """Read Retry-After: seconds, or a date."""
    if text.isascii() and text.isdigit():
        seconds = min(int(text[:9]), int(LONGEST_PAUSE.total_seconds()))
        return timedelta(seconds=seconds)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(until - now, timedelta(0)), LONGEST_PAUSE)


def _told(error: httpx.HTTPError) -> str:
    """Say what went wrong without what the other side wrote."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the target's certificate is not valid: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return "cannot connect to the target"
    return f"the connection to the target broke ({type(error).__name__})"


def _trusted() -> ssl.SSLContext:
    """Give what certificates are checked with: the usual authorities, and those of the system."""
    context = httpx.create_ssl_context(trust_env=False)
    # Also those that SSL_CERT_FILE names: a company's own.
    context.load_default_certs()
    return context
