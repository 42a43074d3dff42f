"""Fields that repeat the record's last activity: rewritten with each one, up to the last."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from crm.history import History
from crm.known import known_time
from crm.schema import TABLES
from training.audit.cases import Cases
from training.audit.evidence import Evidence, Suspicion
from training.audit.limits import Limits

#: Kinds of activity that a field must repeat; with fewer it may agree by chance.
MIN_KINDS = 3


def suspect_mirrors(
    history: History,
    entity: str,
    as_of: pd.Timestamp,
    cases: Cases,
    fields: Sequence[Evidence],
    limits: Limits,
) -> dict[str, Suspicion]:
    """Find fields whose value is the kind of the record's last activity.

    Such a field was rewritten with every activity, those at the outcome included; the activities themselves
    tell the same as of any moment.
    """
    activities = history.activities
    known = known_time(TABLES["activities"], activities)
    mine = activities[f"{entity}_id"].notna() & (known < as_of)
    if not mine.any():
        return {}
    rows = activities[mine].assign(known=known[mine]).sort_values(["known", "activity_id"])
    last = rows.groupby(f"{entity}_id")["kind"].last().reindex(cases.ids).reset_index(drop=True)
    last = last.str.strip().str.casefold()
    suspicions = {}
    for found in fields:
        if not found.levels.is_text:
            continue
        value = cases.columns[found.name].str.strip().str.casefold()
        both = (value.notna() & last.notna()).to_numpy() & found.usable
        if both.sum() < limits.least:
            continue
        same = (value == last).to_numpy() & both
        share = float(same.sum() / both.sum())
        if share >= limits.mirrors and value[same].nunique() >= MIN_KINDS:
            found.figures["equal_to_last_activity"] = share
            suspicions[found.name] = Suspicion(
                "repeats the last activity",
                f"is the kind of the record's last activity for {share:.0%} of the records: it is rewritten "
                "with each one; the activities themselves are used instead, as of each moment",
            )
    return suspicions
