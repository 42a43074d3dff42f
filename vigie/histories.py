"""The history store as commands use it: opened, read, made anew or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crm.errors import NotEnoughData

if TYPE_CHECKING:
    import pandas as pd

    from crm.history import History
    from crm.store import Store


def read_history(url: str) -> History:
    """Read the history of a store that is there; StoreError where it is not, or cannot be read."""
    from crm.store import Store

    return Store.open(url).read()


@contextmanager
def store_to_load(url: str) -> Iterator[Store]:
    """Open a store, making it where there is none; where the block fails, a new SQLite file goes again."""
    from crm.store import Store
    from crm.store.address import StoreAddress

    path = StoreAddress.parse(url).path
    is_new = path is not None and not path.exists()
    try:
        yield Store.open(url, create=True)
    except BaseException:
        # Also when interrupted: a store that was made for a load that failed is taken away again.
        if path is not None and is_new:
            for suffix in ("", "-wal", "-shm", "-journal"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        raise


def last_recorded(history: History, now: pd.Timestamp) -> pd.Timestamp:
    """Give the first whole second after the last thing that the CRM recorded about its leads and deals.

    A history that ended years ago says nothing about the years since: observed until today, each of its open
    records would look silent all that time. So only what has a time of its own counts, not a record that is
    known from its export on; and nothing that is dated in the future, as planned work and slips of the pen
    are.

    Raises
    ------
    NotEnoughData
        Where the history holds nothing.
    """
    import pandas as pd

    from crm.known import closing_time

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


def _latest(series: list[pd.Series], before: pd.Timestamp) -> pd.Timestamp | None:
    import pandas as pd

    found = [moments[moments < before].max() for moments in series]
    return max((moment for moment in found if not pd.isna(moment)), default=None)
