"""From when on a history was observed, and until when: the first ending, and the last thing recorded."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import NotEnoughData
from crm.history import History
from crm.known import closing_time
from crm.moments import DAY, NEVER

#: Endings that should have been seen before the first, from which on it is sure that none was recorded.
SURELY_ENDED = 10.0


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


def outcomes_since(started: NDArray[np.int64], ended: NDArray[np.int64]) -> int:
    """Give the moment from which on a history records how records end; 0 where it always did.

    A CRM that was filled with old records when it was new knows only the endings that came after: that none
    came before says nothing of how records end. It is taken to be so where, by the rate at which records of
    each age end later, at least :data:`SURELY_ENDED` should have ended before the first that did (the
    Nelson-Aalen estimator with delayed entry; Klein and Moeschberger, "Survival Analysis", 2003, chapter 4).

    Parameters
    ----------
    started, ended : ndarray of int64, shape (n,)
        Microseconds since 1970 at which each record became known, and ended; NEVER where it did not.

    Examples
    --------
    >>> day = 86_400_000_000
    >>> started = np.arange(100) * day
    >>> outcomes_since(started, started + 10 * day)
    0
    >>> outcomes_since(started, np.where(started < 60 * day, NEVER, started + 10 * day)) // day
    70
    """
    closed = ended < NEVER
    if not closed.any():
        return 0
    first = int(ended[closed].min())
    entry = np.maximum(first - started, 0) / DAY
    age = np.where(closed, ended - started, max(int(ended[closed].max()), first) - started) / DAY
    inside = age >= entry
    size = int(max(age[inside].max(initial=0.0), entry.max(initial=0.0))) + 2
    enters = np.bincount(entry[inside].astype(np.int64), minlength=size)
    leaves = np.bincount(age[inside].astype(np.int64), minlength=size)
    at_risk = np.cumsum(enters) - np.concatenate([[0], np.cumsum(leaves)[:-1]])
    ends = np.bincount(age[inside & closed].astype(np.int64), minlength=size)
    rate = np.cumsum(np.divide(ends, at_risk, out=np.zeros(size), where=at_risk > 0))
    # What records should have gone through by the day before the first ending.
    before = np.concatenate([[0.0], rate])[np.minimum(entry.astype(np.int64), size - 1)]
    return first if float(before.sum()) >= SURELY_ENDED else 0
