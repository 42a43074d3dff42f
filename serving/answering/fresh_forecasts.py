"""Which of the ledger's forecasts answers a question as well as one that would be made now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import pandas as pd
import sqlalchemy as sa

from crm.ledger import LedgerEntry
from crm.moments import in_micros
from crm.periods import Period
from crm.store import Store
from crm.store.layout import FORECAST_ENTRIES, STORED

#: A kept forecast is fresh for so long after its moment: a nightly one lasts until the next.
FRESH: Final = timedelta(hours=26)


def last_recorded_in(connection: sa.Connection, now: datetime) -> pd.Timestamp | None:
    """Give what :func:`crm.observed.last_recorded` gives of the stored history, without reading it whole.

    None where nothing is recorded.
    """
    before = in_micros(now)
    leads, deals = STORED["leads"].c, STORED["deals"].c
    timed = [STORED[name].c.recorded_at for name in ("activities", "changes")]
    whole: list[sa.Executable] = [sa.select(_last(column, before)) for column in timed]
    untimed: list[sa.Executable] = []
    for records in (leads, deals):
        own = sa.case((records.created_at.is_not(None), records.recorded_at))
        closing = sa.func.coalesce(records.closed_recorded_at, records.closed_at)
        whole.append(sa.select(*(_last(column, before) for column in (own, records.gone_at, closing))))
        untimed.append(sa.select(_last(records.recorded_at, before)))
    for queries in (whole, untimed):
        found = [value for query in queries for value in connection.execute(query).one() if value is not None]
        if found:
            last = pd.Timestamp(max(found), unit="us", tz="UTC")
            return last.floor("s") + pd.Timedelta(seconds=1)
    return None


def _last(column: sa.ColumnElement[int], before: int) -> sa.ColumnElement[int | None]:
    return sa.func.max(sa.case((column < before, column)))


def kept_answer(
    connection: sa.Connection,
    store: Store,
    periods: Sequence[Period],
    *,
    by: Sequence[str | None],
    level: float,
    version: str,
    as_of: pd.Timestamp | None,
    last: pd.Timestamp,
    now: datetime,
    with_deals: bool,
) -> list[LedgerEntry] | None:
    """Give one fresh entry a period, all as of one moment; None where the ledger does not hold them all.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    store : Store
        Of the same database.
    periods : sequence of Period
    by : sequence of str or None
        Groupings that answer the question, the best first.
    level : float
    version : str
        Of the model that is served.
    as_of : Timestamp or None
        The moment asked for; exactly that. Else the latest that is fresh.
    last : Timestamp
        Just after the last thing recorded; an entry as of then is as fresh as any.
    now : datetime
    with_deals : bool
    """
    for grouping in by:
        ids = _entry_ids(connection, periods, grouping, level, version, as_of, last, now)
        if ids is not None:
            found = store.forecasts(with_deals=with_deals, entry_ids=ids)
            by_id = {entry.entry_id: entry for entry in found}
            return [by_id[entry_id] for entry_id in ids]
    return None


def _entry_ids(
    connection: sa.Connection,
    periods: Sequence[Period],
    by: str | None,
    level: float,
    version: str,
    as_of: pd.Timestamp | None,
    last: pd.Timestamp,
    now: datetime,
) -> list[str] | None:
    kept = FORECAST_ENTRIES.c
    oldest = min(in_micros(now - FRESH), in_micros(last.to_pydatetime()))
    moment = kept.as_of >= oldest if as_of is None else kept.as_of == in_micros(as_of.to_pydatetime())
    found: list[dict[int, str]] = []
    for period in periods:
        query = sa.select(kept.as_of, kept.entry_id).where(
            kept.period_start == in_micros(period.start.to_pydatetime()),
            kept.period_end == in_micros(period.end.to_pydatetime()),
            kept.grouped_by == by if by is not None else kept.grouped_by.is_(None),
            kept.level == level,
            kept.model_version == version,
            kept.as_of <= in_micros(now),
            moment,
        )
        # Of two as of one moment the one kept first counts, as in the track record.
        rows = connection.execute(query.order_by(kept.as_of, kept.position.desc()))
        found.append({int(row.as_of): str(row.entry_id) for row in rows})
    shared = set.intersection(*(set(one) for one in found)) if found else set()
    return [one[max(shared)] for one in found] if shared else None
