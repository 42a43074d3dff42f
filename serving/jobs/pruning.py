"""What was kept long enough goes: old entries of the audit log, remembered answers, events, ended records."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from crm.store.service.audit import drop_audit_before
from crm.store.service.deliveries import drop_delivered_before
from crm.store.service.engine import ServiceStore
from crm.store.service.forgetting import forget, older_than
from crm.store.service.idempotency import drop_remembered_before
from serving.answering.rescoring import Guard
from serving.settings import KeepingSettings

#: Records that are forgotten in one transaction.
AT_ONCE: Final = 50
#: Why and by whom, as the receipts say.
WHY: Final = "retention"


def prune(
    store: ServiceStore, keeping: KeepingSettings, now: datetime, *, by: str, guard: Guard | None = None
) -> dict[str, int]:
    """Let go of what is older than the settings keep it.

    Parameters
    ----------
    store : ServiceStore
    keeping : KeepingSettings
    now : datetime
    by : str
        Who does it, for the receipts of what is forgotten.
    guard : callable, optional
        Says by raising that this may not write any more.

    Returns
    -------
    dict of str to int
        How much went: ``audit``, ``answers``, ``events``, ``leads``, ``deals``.

    Raises
    ------
    StoreError
        What was let go before stays gone.
    """
    gone = {}
    for name, days, drop in (
        ("audit", keeping.audit_days, drop_audit_before),
        ("answers", keeping.answers_days, drop_remembered_before),
        ("events", keeping.events_days, drop_delivered_before),
    ):
        with store.writing() as connection:
            if guard is not None:
                guard(connection)
            gone[name] = drop(connection, now - timedelta(days=days))
    entities: tuple[Literal["lead", "deal"], ...] = ("lead", "deal")
    for entity in entities:
        gone[f"{entity}s"] = 0
        if keeping.records_days > 0:
            gone[f"{entity}s"] = _forget_old(store, entity, keeping.records_days, now, by, guard)
    return gone


def _forget_old(
    store: ServiceStore,
    entity: Literal["lead", "deal"],
    days: float,
    now: datetime,
    by: str,
    guard: Guard | None,
) -> int:
    n = 0
    while True:
        with store.writing() as connection:
            if guard is not None:
                guard(connection)
            old = older_than(connection, entity, now - timedelta(days=days), AT_ONCE)
            for record_id in old:
                forget(connection, entity, record_id, now, why=WHY, by=by)
        n += len(old)
        if len(old) < AT_ONCE:
            return n
