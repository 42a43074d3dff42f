"""KPIs: defined once, measured as of any moment, over any period, by any group.

>>> from crm.history import History, utc
>>> from crm.periods import parse_period
>>> quarter, as_of = parse_period("2026-Q1"), utc("2026-04-01T00:00Z")
>>> rows = measure_kpis(History(), [quarter], as_of, names=["leads_created"])
>>> rows[["kpi", "period", "group", "value"]].to_dict("records")
[{'kpi': 'leads_created', 'period': '2026-Q1', 'group': 'total', 'value': 0.0}]
"""

from features.kpis.catalogue import KPIS
from features.kpis.evidence import Evidence, KpiSettings, gather
from features.kpis.kpi import Kpi
from features.kpis.measure import measure_kpis

__all__ = ["KPIS", "Evidence", "Kpi", "KpiSettings", "gather", "measure_kpis"]
