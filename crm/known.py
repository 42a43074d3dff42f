"""A history as it was known at a moment: nothing that was recorded at that moment or later is left in it."""

from __future__ import annotations

import pandas as pd

from crm.history import History, utc
from crm.schema import TABLE_OF, TABLES, Table
from crm.values import as_moments, as_numbers, as_text

#: Columns that carry their own time of knowledge, or none at all, and so are never rolled back.
UNTRACKED = frozenset({"recorded_at", "outcome", "closed_at", "closed_recorded_at", "gone_at", "sequence"})

#: The tables whose rows count from the later of two moments, and the moment beside ``recorded_at``.
HAPPENED = {"activities": "occurred_at", "changes": "changed_at"}


def closing_time(frame: pd.DataFrame) -> pd.Series:
    """Give when the CRM knew how each lead or deal ended; missing where open, or ended without a time.

    Parameters
    ----------
    frame : DataFrame, shape (n_records, n_columns)
        Valid leads or deals.

    Returns
    -------
    Series of datetime64[us, UTC], shape (n_records,)
    """
    return frame["closed_recorded_at"].fillna(frame["closed_at"]).rename("closing_time")


def known_time(table: Table, frame: pd.DataFrame) -> pd.Series:
    """Give the moment from which each row exists: ``recorded_at``, or for an event the later of both.

    Parameters
    ----------
    table : Table
        One that has ``recorded_at``.
    frame : DataFrame, shape (n_rows, n_columns)
        Valid rows of it.

    Returns
    -------
    Series of datetime64[us, UTC], shape (n_rows,)
    """
    recorded = frame["recorded_at"]
    if table.name not in HAPPENED:
        return recorded
    happened = frame[HAPPENED[table.name]]
    return recorded.where(recorded >= happened, happened)


def known_at(history: History, as_of: pd.Timestamp) -> History:
    """Give the history as it was known strictly before a moment.

    Rows count from :func:`known_time`. Leads, deals and accounts have their tracked fields rolled back: the
    ``new_value`` of the last change known by then, before the first change its ``old_value``; changes are in
    the order in which they were known. An outcome is known from :func:`closing_time` on, whatever the changes
    say of it, so that a deal that was closed, reopened and closed again is open until it ends for good; an
    outcome without a time is known with its record. Users and the history's facts have no time and are taken
    as they are.

    Parameters
    ----------
    history : History
    as_of : Timestamp
        With a time zone.

    Returns
    -------
    History
        Valid, with the same columns and dtypes, each table with a fresh index.

    Raises
    ------
    ValueError
        Where ``as_of`` has no time zone.
    """
    moment = utc(as_of)
    frames = history.frames()
    known = {
        name: _known_rows(TABLES[name], frame, moment) if "recorded_at" in frame.columns else frame
        for name, frame in frames.items()
    }
    for entity, table in TABLE_OF.items():
        about = frames["changes"][frames["changes"]["entity"] == entity]
        records = _roll_back(table, known[table.name], about, moment)
        if "outcome" in table.names:
            late = closing_time(records) >= moment
            records = _mask(records, ["outcome", "closed_at", "closed_recorded_at"], late)
        known[table.name] = _mask(records, ["gone_at"], records["gone_at"] >= moment)
    contracts = known["subscriptions"]
    ended = contracts["ended_recorded_at"].fillna(contracts["ended_at"])
    known["subscriptions"] = _mask(contracts, ["ended_at", "ended_recorded_at"], ended >= moment)
    lines = known["order_lines"]
    known["order_lines"] = _rows(lines, lines["order_id"].isin(known["orders"]["order_id"]))
    return History.of(known, history.facts)


def _rows(frame: pd.DataFrame, kept: pd.Series) -> pd.DataFrame:
    return frame if kept.all() else frame[kept].reset_index(drop=True)


def _known_rows(table: Table, frame: pd.DataFrame, moment: pd.Timestamp) -> pd.DataFrame:
    return _rows(frame, known_time(table, frame) < moment)


def _mask(frame: pd.DataFrame, names: list[str], hidden: pd.Series) -> pd.DataFrame:
    return frame.assign(**{name: frame[name].mask(hidden) for name in names}) if hidden.any() else frame


def _roll_back(
    table: Table, records: pd.DataFrame, changes: pd.DataFrame, moment: pd.Timestamp
) -> pd.DataFrame:
    """Give the records with each tracked field as it was just before ``moment``."""
    tracked = [
        str(name)
        for name in changes["field"].unique()
        if name in records.columns and name not in UNTRACKED and name != table.key
    ]
    if not tracked or records.empty:
        return records
    since = known_time(TABLES["changes"], changes)
    order = changes.assign(known=since).sort_values(["known", "changed_at"], kind="stable").index
    changes, since = changes.loc[order], since.loc[order]
    before = since < moment
    pair = ["record_id", "field"]
    reached = changes[before].drop_duplicates(pair, keep="last").assign(value=lambda c: c["new_value"])
    awaited = changes[~before].drop_duplicates(pair, keep="first").assign(value=lambda c: c["old_value"])
    # Those with a change before the moment come first, and so win.
    values = pd.concat([reached, awaited]).drop_duplicates(pair, keep="first")
    return records.assign(
        **{name: _restored(records, table, values[values["field"] == name], name) for name in tracked}
    )


def _restored(records: pd.DataFrame, table: Table, values: pd.DataFrame, name: str) -> pd.Series:
    present = records[name]
    row_of = pd.Index(values["record_id"]).get_indexer(pd.Index(records[table.key]))
    has_history = row_of >= 0
    texts = values["value"].take(row_of[has_history])
    texts.index = present.index[has_history]
    restored = _typed(texts, present)
    return present.mask(has_history, restored.reindex(present.index))


def _typed(texts: pd.Series, like: pd.Series) -> pd.Series:
    """Read the text of changes as values of a column; what cannot be read is missing."""
    if like.dtype == "float64":
        return as_numbers(texts)
    if isinstance(like.dtype, pd.DatetimeTZDtype):
        return as_moments(texts)[0]
    return as_text(texts)
