"""The quota of each period and group: the targets of revenue that cover it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.periods import Period
from features.kpis.targets import with_targets
from serving.forecast.evidence import Evidence

#: The KPI whose target is a quota.
REVENUE = "revenue"


def quotas(
    evidence: Evidence, periods: Sequence[Period], groups: Sequence[str], by: str | None
) -> NDArray[np.float64]:
    """Give the quota of each period and group; NaN where there is none.

    Targets that together cover a period once count, in proportion to time where they reach beyond it.

    Returns
    -------
    ndarray of shape (periods, groups)
    """
    rows = pd.DataFrame(
        [
            {
                "kpi": REVENUE,
                "period_start": period.start,
                "period_end": period.end,
                "by": by or "",
                "group": group,
                "value": 0.0,
                "note": "",
            }
            for period in periods
            for group in groups
        ]
    )
    found = with_targets(rows, evidence.history.targets, evidence.history.users, evidence.as_of, prorate=True)
    quota = np.full((len(periods), len(groups)), np.nan)
    known = found[found["group"].isin(list(groups))].dropna(subset=["target"])
    starts = {(period.start, period.end): place for place, period in enumerate(periods)}
    columns = {group: place for place, group in enumerate(groups)}
    for start, end, group, target in zip(
        known["period_start"], known["period_end"], known["group"], known["target"], strict=True
    ):
        quota[starts[start, end], columns[group]] = target
    return quota
