"""Every KPI there is, by name."""

from __future__ import annotations

from collections.abc import Iterable

from crm.errors import InputError, shorten
from features.kpis import (
    activation,
    baskets,
    customers,
    cycles,
    deals,
    engagement,
    funnel,
    pipeline,
    stages,
    surveys,
)
from features.kpis.kpi import Kpi

#: In the order in which they are shown. A new KPI is one function and one entry in the module of its subject.
KPIS: dict[str, Kpi] = {
    kpi.name: kpi
    for kpi in (
        *funnel.KPIS,
        *activation.KPIS,
        *deals.KPIS,
        *cycles.KPIS,
        *pipeline.KPIS,
        *stages.KPIS,
        *engagement.KPIS,
        *customers.KPIS,
        *baskets.KPIS,
        *surveys.KPIS,
    )
}


def chosen(names: Iterable[str] | None) -> list[Kpi]:
    """Give the KPIs of these names, in the catalogue's order; every one where none are named.

    Raises
    ------
    InputError
        Where there is none of a name; lists those there are.
    """
    if names is None:
        return list(KPIS.values())
    asked = list(names)
    for name in asked:
        if name not in KPIS:
            raise InputError(f"KPI {shorten(name)!r} is not known: give one of {', '.join(KPIS)}")
    return [kpi for kpi in KPIS.values() if kpi.name in asked]
