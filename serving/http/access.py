"""Who calls: a key's role and what it may see."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio.to_thread
import sqlalchemy as sa

from crm.errors import StoreError
from crm.store.layout import STORED
from crm.store.service.keys import ApiKey, any_key, find_key
from serving.http.endpoint import Role
from serving.http.problems import BAD_KEY, NO_KEY, NO_KEY_YET, STORE_UNAVAILABLE, ProblemKind, Refusal

if TYPE_CHECKING:
    from crm.store.service.engine import ServiceStore

#: Seconds for which what the store said of a key counts; so long a revoked key may still open.
FRESH: Final = 2.0
#: Seconds for which it goes on to count while the store cannot be reached.
GRACE: Final = 120.0
#: Keys remembered, also such as there are not; the least lately used go first.
MOST: Final = 2048
#: Seconds for which a store that failed is not asked about keys that it had before.
LEFT_ALONE: Final = 2.0
#: Headers of whoever passes on a request of another machine.
_PASSED_ON: Final = ("forwarded", "x-forwarded-for", "x-real-ip")
_SCHEME: Final = "bearer "


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Parameters
    ----------
    key_id : str or None
        None where no key was needed.
    name : str
        Of the key, for people.
    role : {"crm", "rep", "manager", "admin"}
    owner_id : str or None
        The rep whose records a key of a rep sees.
    teams : tuple of str
        The teams whose records a key of a manager sees.
    is_loopback : bool
    """

    key_id: str | None
    name: str
    role: Role
    owner_id: str | None = None
    teams: tuple[str, ...] = ()
    is_loopback: bool = False

    def owners(self, connection: sa.Connection) -> frozenset[str] | None:
        """Give the owners whose records may be seen; None for all.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            Of the history store: teams are what its users say now.
        """
        if self.role in ("admin", "crm") or (self.role == "manager" and not self.teams):
            return None
        own = frozenset() if self.owner_id is None else frozenset({self.owner_id})
        if self.role == "rep":
            return own
        users = STORED["users"].c
        found = connection.execute(sa.select(users.user_id).where(users.team.in_(self.teams))).scalars()
        return own | frozenset(found)


#: Who calls from this machine while no key was ever made.
LOCAL: Final = Caller(None, "this machine", "admin", is_loopback=True)


class _Known(NamedTuple):
    caller: Caller | None
    at: float


class Access:
    """Finds out who calls; asks the store once every two seconds for each key.

    Parameters
    ----------
    store : ServiceStore or None
        Where the keys are; None as long as it is not open, and where there is none.
    waits : bool
        Whether a store is to come: until then nobody can be told from anybody.
    clock : callable
        Seconds that never go back.

    Attributes
    ----------
    used : dict of str to datetime
        When each key was used last; whoever writes that down takes it away.
    """

    def __init__(
        self,
        store: ServiceStore | None = None,
        *,
        waits: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.waits = waits
        self.used: dict[str, datetime] = {}
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._any_key: tuple[bool, float] = (False, -GRACE)
        self._alone_until = 0.0

    async def caller(self, headers: Mapping[str, str], client_host: str | None, now: datetime) -> Caller:
        """Say who calls.

        Parameters
        ----------
        headers : mapping of str to str
            Names in lower case; ``authorization`` holds the key.
        client_host : str or None
            Address of who is connected.
        now : datetime

        Raises
        ------
        Refusal
            401 without a valid key; 503 where the store that has the keys cannot be reached.
        """
        given = headers.get("authorization")
        if given is None:
            if await self._is_any_key_made():
                raise _refuse(NO_KEY)
            if not is_this_machine(headers, client_host):
                raise _refuse(NO_KEY_YET)
            return LOCAL
        if given[: len(_SCHEME)].lower() != _SCHEME:
            raise _refuse(NO_KEY)
        presented = given[len(_SCHEME) :].strip()
        found = await self._find(presented, now)
        if found is None or found.key_id is None:
            raise _refuse(BAD_KEY)
        self.used[found.key_id] = now
        return replace(found, is_loopback=True) if is_loopback(client_host) else found

    async def _find(self, presented: str, now: datetime) -> Caller | None:
        # What was presented is not kept: a dump of memory or a debugger shows no keys of callers.
        digest = hashlib.sha256(presented.encode("latin-1", "replace")).digest()
        known, moment = self._known.get(digest), self._clock()
        if known is not None and moment - known.at < FRESH:
            return known.caller
        if known is not None and moment < self._alone_until and moment - known.at < GRACE:
            return known.caller
        store = self._store()
        if store is None:
            return None
        try:
            key = await anyio.to_thread.run_sync(_look_up, store, presented, now)
        except StoreError:
            self._alone_until = self._clock() + LEFT_ALONE
            if known is not None and moment - known.at < GRACE:
                return known.caller
            raise
        caller = None if key is None else Caller(key.key_id, key.name, key.role, key.owner_id, key.teams)
        self._known[digest] = _Known(caller, self._clock())
        self._known.move_to_end(digest)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return caller

    async def _is_any_key_made(self) -> bool:
        """Say whether a key was ever made; once it was, that stays so."""
        is_made, at = self._any_key
        moment = self._clock()
        if is_made or moment - at < FRESH or (moment < self._alone_until and moment - at < GRACE):
            return is_made
        store = self._store()
        if store is None:
            return False
        try:
            is_made = await anyio.to_thread.run_sync(_look_for_any, store)
        except StoreError:
            self._alone_until = self._clock() + LEFT_ALONE
            if moment - at < GRACE:
                return is_made
            raise
        self._any_key = (is_made, self._clock())
        return is_made

    def _store(self) -> ServiceStore | None:
        if self.store is None and self.waits:
            raise Refusal(STORE_UNAVAILABLE, "the history store, which holds the keys, is not open yet")
        return self.store


def _look_up(store: ServiceStore, presented: str, now: datetime) -> ApiKey | None:
    with store.reading() as connection:
        return find_key(connection, presented, now)


def _look_for_any(store: ServiceStore) -> bool:
    with store.reading() as connection:
        return any_key(connection)


def _refuse(kind: ProblemKind) -> Refusal:
    return Refusal(kind, headers=(("WWW-Authenticate", "Bearer"),))


def is_loopback(host: str | None) -> bool:
    """Say whether an address is one of this machine alone.

    Examples
    --------
    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "10.0.0.7", None)]
    [True, True, False, False]
    """
    return host is not None and (host == "::1" or host.removeprefix("::ffff:").startswith("127."))


def is_this_machine(headers: Mapping[str, str], client_host: str | None) -> bool:
    """Say whether a request without a key was made on this machine, by a program of it.

    A proxy on this machine passes on what others ask, and says so; a page whose name was made to mean this
    machine names itself as the host.
    """
    if not is_loopback(client_host) or any(name in headers for name in _PASSED_ON):
        return False
    host = headers.get("host", "")
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or is_loopback(name)
