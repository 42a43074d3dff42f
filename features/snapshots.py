"""Which records were open, and when to look at them."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import InputError
from crm.history import History, utc
from crm.moments import in_micros
from crm.schema import TABLE_OF
from features.columns import FrameSource
from features.prepared import check_entity
from features.records import read_records


def open_at(history: History, entity: str, as_of: datetime) -> NDArray[np.str_]:
    """Give the ids of the records open at a moment.

    A record is open when it was recorded strictly before, its outcome was not recorded strictly before, and
    it was not yet gone. One whose outcome has no time is never open.

    Parameters
    ----------
    history : History
    entity : {"lead", "deal"}
    as_of : datetime with a time zone

    Returns
    -------
    array of str
        In the order of the table.
    """
    records = read_records(FrameSource(history), check_entity(entity))
    moment = _micros(as_of)
    is_open = (records.recorded < moment) & (records.ended >= moment)
    return np.array([records.ids[rank] for rank in np.flatnonzero(is_open)], dtype=np.str_)


def weekly_snapshots(
    history: History,
    entity: str,
    until: datetime,
    *,
    every: timedelta = timedelta(days=7),
    start: datetime | None = None,
) -> pd.DataFrame:
    """Give the open records at ``until``, a week before, two weeks before, and so on.

    Parameters
    ----------
    history : History
    entity : {"lead", "deal"}
    until : datetime with a time zone
        The cutoff that the snapshots are aligned to.
    every : timedelta
    start : datetime, optional
        No snapshot is earlier.

    Returns
    -------
    DataFrame
        ``record_id`` (str) and ``as_of`` (datetime64[us, UTC]), by record, latest first.

    Raises
    ------
    InputError
        If ``every`` is not positive.
    """
    step = every // timedelta(microseconds=1)
    if step <= 0:
        raise InputError(f"every = {every}: snapshots need a positive distance; use for example 7 days")
    table = TABLE_OF[check_entity(entity)]
    records = read_records(FrameSource(history), entity)
    last = _micros(until)
    # Open at until - k * step: recorded < moment <= ended.
    ended = np.minimum(np.maximum(records.ended, records.recorded), last)
    latest = (last - ended + step - 1) // step
    earliest = (last - records.recorded - 1) // step
    if start is not None:
        earliest = np.minimum(earliest, (last - _micros(start)) // step)
    count = np.where(records.ended >= records.recorded, np.maximum(0, earliest - latest + 1), 0)
    rank = np.repeat(np.arange(len(count)), count)
    back = latest[rank] + np.arange(len(rank)) - np.repeat(np.cumsum(count) - count, count)
    moments = (last - back * step).view("datetime64[us]")
    ids = getattr(history, table.name)[table.key].reset_index(drop=True)
    return pd.DataFrame(
        {
            "record_id": ids.take(rank).reset_index(drop=True),
            "as_of": pd.Series(moments).dt.tz_localize("UTC"),
        }
    )


def _micros(moment: datetime) -> int:
    try:
        return in_micros(utc(moment))
    except ValueError as error:
        raise InputError(f"as_of = {moment}: {error}") from error
