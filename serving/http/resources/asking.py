"""What resources that read share: the store in a thread, figures in the child, as the caller sees them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypedDict, TypeVar

import anyio
import sqlalchemy as sa

from crm.errors import BundleError, InputError, NotEnoughData
from crm.store.layout import FORECAST_ENTRIES
from crm.store.service.revision import revision
from serving.answering.kept_history import Source
from serving.answering.scope import Scope
from serving.http.endpoint import Call, Role
from serving.http.problems import INVALID_REQUEST, NO_MODEL, Fault, ProblemKind, Refusal

T = TypeVar("T")


class Money(TypedDict):
    """The reporting currency, and the file of the rates into it, as questions take them."""

    rates: str | None
    currency: str | None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Who may read figures: a CRM's key scores and ingests.
FIGURE_ROLES: frozenset[Role] = frozenset({"rep", "manager", "admin"})

NOT_ENOUGH_DATA = ProblemKind(
    "not_enough_data",
    409,
    "The history cannot answer that yet",
    "ask about another period or moment, or again when more is recorded",
)


async def in_store(call: Call, read: Callable[[sa.Connection], T]) -> T:
    """Read from one snapshot of the store, off the event loop."""
    store = call.state.store
    if store is None:  # the catalogue refuses before
        raise RuntimeError("an endpoint that needs the store was called without one")

    def run() -> T:
        with store.reading() as connection:
            return read(connection)

    return await anyio.to_thread.run_sync(run)


def scope_of(call: Call, connection: sa.Connection) -> Scope:
    """Give what the caller may see."""
    return Scope(call.caller.owners(connection))


def money_of(call: Call) -> Money:
    """Give the reporting currency and the rates into it, as questions take them."""
    money = call.state.settings.money
    return {"rates": money.rates or None, "currency": money.currency or None}


def refuse(field: str, code: str, value: str, remedy: str) -> Refusal:
    """Give the refusal of a query for one of its keys."""
    fault = Fault(field=field, code=code, value=value, remedy=remedy)
    return Refusal(INVALID_REQUEST, "the query cannot be used", (fault,))


def source_of(call: Call, connection: sa.Connection) -> tuple[Source, int, int]:
    """Give what figures are made from, and the revisions of the scores and of the ledger."""
    store, bundle = call.state.store, call.state.served.bundle
    if store is None:
        raise RuntimeError("an endpoint that needs the store was called without one")
    last = connection.execute(sa.select(sa.func.max(FORECAST_ENTRIES.c.position))).scalar()
    source = Source(
        history=store.history.address.url.render_as_string(hide_password=False),
        revision=revision(connection, "history"),
        bundle=str(call.state.served.directory),
        version=bundle.version if bundle is not None else "",
    )
    return source, revision(connection, "scores"), int(last or 0)


async def figure(
    call: Call,
    make: Callable[[Source, Any], Any],
    question: Any,
    known: tuple[Source, int, int],
) -> Any:
    """Compute a figure in the child process, unless it is there already.

    Parameters
    ----------
    call : Call
    make : function of a Source and a question
        Importable by name.
    question : frozen dataclass
        With ``now``, which does not make it another question: the cache lets answers go after a while.
    known : tuple
        Of :func:`source_of`.

    Raises
    ------
    Refusal
        Where the question cannot be answered.
    """
    source, scores, ledger = known
    timeless = replace(question, now=_EPOCH) if hasattr(question, "now") else question
    key = (make.__name__, source, scores, ledger, timeless)
    run = functools.partial(call.state.heavy.run, make, source, question)
    with refusing():
        return await call.state.figures.get(key, run, time.monotonic())


@contextmanager
def refusing() -> Iterator[None]:
    """Say of a question that cannot be answered what is wrong with it."""
    try:
        yield
    except InputError as error:
        raise Refusal(INVALID_REQUEST, str(error)) from None
    except NotEnoughData as error:
        raise Refusal(NOT_ENOUGH_DATA, str(error)) from None
    except BundleError as error:
        raise Refusal(NO_MODEL, str(error)) from None


def parts(text: str | None) -> tuple[str, ...]:
    """Give what stands between commas; nothing twice.

    Examples
    --------
    >>> parts("2026-Q4, 2027-Q1,2026-Q4"), parts(None)
    (('2026-Q4', '2027-Q1'), ())
    """
    found = [part.strip() for part in (text or "").split(",")]
    return tuple(dict.fromkeys(part for part in found if part))
