"""Until when a history was observed: just after the last thing that the CRM recorded in it."""

from __future__ import annotations

import pandas as pd

from crm.errors import NotEnoughData
from crm.history import History
from crm.known import closing_time


def last_recorded(history: History, now: pd.Timestamp | None = None) -> pd.Timestamp:
    """Give the first whole second after the last thing that the CRM recorded about its leads and deals.

    A history that ended years ago says nothing about the years since: observed until today, each of its open
    records would look silent all that time. So only what has a time of its own counts, not a record that is
    known from its export on; and nothing that is dated in the future, as planned work and slips of the pen
    are.

    Parameters
    ----------
    history : History
    now : Timestamp with a time zone, optional
        What is dated at it or later does not count; None where the clock is not known, and then all does.

    Raises
    ------
    NotEnoughData
        Where the history holds nothing.
    """
    timed = [history.activities["recorded_at"], history.changes["recorded_at"]]
    for records in (history.leads, history.deals):
        own = records["recorded_at"].where(records["created_at"].notna())
        timed += [own, records["gone_at"], closing_time(records)]
    untimed = [history.leads["recorded_at"], history.deals["recorded_at"]]
    last = _latest(timed, now) or _latest(untimed, now)
    if last is None:
        raise NotEnoughData(
            "the history holds nothing yet; load an export with vigie import, or vigie simulate one"
        )
    until: pd.Timestamp = last.floor("s") + pd.Timedelta(seconds=1)
    return until


def _latest(series: list[pd.Series], before: pd.Timestamp | None) -> pd.Timestamp | None:
    found = [(moments if before is None else moments[moments < before]).max() for moments in series]
    return max((moment for moment in found if not pd.isna(moment)), default=None)
