"""What an export says that the store did not know: new records, changed fields, records that are gone.

Most exports hold only the present. Each difference from what the store holds becomes a change recorded at
the export's time, so that history begins with the second load (as dbt's snapshots do).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crm.importing.cells import MOMENT
from crm.schema import TABLE_OF, Table
from crm.values import as_text

#: Columns that tell when something was known rather than what; they are not compared.
_BOOKKEEPING = ("recorded_at", "closed_recorded_at", "gone_at")
_ENDS = ("outcome", "closed_at", "closed_recorded_at")


@dataclass(frozen=True)
class Times:
    """The moments that a comparison stands between.

    Parameters
    ----------
    previous : Timestamp, optional
        When the last export of this source and table was taken; None for the first.
    exported_at : Timestamp
    """

    previous: pd.Timestamp | None
    exported_at: pd.Timestamp

    def known(self, own: pd.Series) -> pd.Series:
        """Give when the CRM knew of rows that are new to the store, from their own times.

        At the first load that is their own time. Later, a row that happened before the previous export and
        yet was not in it was entered afterwards: it is known from this export on.
        """
        if self.previous is not None:
            own = own.where(own > self.previous)
        return own.fillna(self.exported_at)


@dataclass(frozen=True)
class Comparison:
    """What to load.

    Parameters
    ----------
    rows : DataFrame
        The records that are new, changed, gone or back.
    changes : DataFrame
        One row a field that differs.
    new_ids : Index
    n_gone, n_back : int
    """

    rows: pd.DataFrame
    changes: pd.DataFrame
    new_ids: pd.Index
    n_gone: int = 0
    n_back: int = 0


def compare(
    entity: str,
    frame: pd.DataFrame,
    given: set[str],
    stored: pd.DataFrame,
    times: Times,
    history: pd.DataFrame,
    marks_gone: bool,
) -> Comparison:
    """Compare an export's records with the store's.

    Parameters
    ----------
    entity : {"lead", "deal", "account"}
    frame : DataFrame, shape (n_records, n_columns)
        The export's records, valid, ids unique.
    given : set of str
        The columns that the export gives; the others keep what the store has.
    stored : DataFrame
        The store's records.
    times : Times
    history : DataFrame
        The changes that the export itself brings; a field whose present value they explain needs no other.
    marks_gone : bool
        Whether a stored record that the export does not hold is gone.

    Returns
    -------
    Comparison
    """
    table = TABLE_OF[entity]
    settled = {table.key, "recorded_at", "gone_at", *(_ENDS if "outcome" in given else ())}
    columns = [name for name in frame.columns if name in given | settled]
    known = frame[table.key].isin(stored[table.key])
    new = _date_new(frame[~known], given, times)
    old = frame[known]
    before = stored.set_index(table.key, drop=False).reindex(old[table.key])
    before.index = old.index
    old = _date_known(old, before, given, times)
    is_back = before["gone_at"].notna()
    old = old.assign(gone_at=pd.Series(pd.NaT, index=old.index, dtype=MOMENT))
    differing = {
        name: differs(old[name], before[name])
        for name in columns
        if name in before and name not in (table.key, *_BOOKKEEPING)
    }
    changes = [
        _change_rows(entity, old[rows], before[rows], name, times.exported_at)
        for name, rows in differing.items()
        if rows.any()
    ]
    changes = [_uncovered(rows, history) for rows in changes]
    if is_back.any():
        changes.append(_change_rows(entity, old[is_back], before[is_back], "gone_at", times.exported_at))
    touched = is_back.copy()
    for rows in differing.values():
        touched |= rows
    for name in columns:  # an attribute that no earlier export had is taken as it stands, as at a first load
        if name not in before:
            touched |= old[name].notna()
    parts = [new[columns], old.loc[touched, columns]]
    gone = stored.iloc[:0]
    if marks_gone:
        is_gone = ~stored[table.key].isin(frame[table.key]) & stored["gone_at"].isna()
        present = stored[is_gone]
        gone = present.assign(gone_at=pd.Series(times.exported_at, index=present.index, dtype=MOMENT))
        parts.append(gone.reindex(columns=columns))
        if len(gone):
            changes.append(_change_rows(entity, gone, present, "gone_at", times.exported_at))
    return Comparison(
        rows=_stack(parts),
        changes=pd.concat(changes, ignore_index=True) if changes else pd.DataFrame(),
        new_ids=pd.Index(new[table.key]),
        n_gone=len(gone),
        n_back=int(is_back.sum()),
    )


def _date_new(frame: pd.DataFrame, given: set[str], times: Times) -> pd.DataFrame:
    """Say when records that are new to the store were known, and known to have ended."""
    recorded = times.known(frame["created_at"])
    if "recorded_at" in given:
        recorded = frame["recorded_at"].fillna(recorded)
    frame = frame.assign(recorded_at=recorded)
    if "outcome" not in given:
        return frame
    closed = frame["closed_at"]
    if times.previous is not None:
        untimed = frame["outcome"].notna() & closed.isna() & (frame["created_at"] > times.previous)
        closed = closed.mask(untimed, times.exported_at)
    known_closed = times.known(closed).where(closed.notna())
    known_closed = known_closed.mask(known_closed < recorded, recorded)
    if "closed_recorded_at" in given:
        known_closed = frame["closed_recorded_at"].fillna(known_closed)
    return frame.assign(closed_at=closed, closed_recorded_at=known_closed)


def _date_known(frame: pd.DataFrame, before: pd.DataFrame, given: set[str], times: Times) -> pd.DataFrame:
    """Keep what the store knows of times; an outcome that is new is known by this export."""
    frame = frame.assign(recorded_at=before["recorded_at"])
    if "outcome" not in given:
        return frame
    outcome, closed = frame["outcome"], frame["closed_at"]
    same = outcome.notna() & (outcome == before["outcome"])
    ended = outcome.notna() & ~same
    closed = closed.mask(same & closed.isna(), before["closed_at"])
    closed = closed.mask(ended & closed.isna(), times.exported_at)
    late = ended if times.previous is None else ended & ~(closed > times.previous)
    known_closed = closed.mask(late, times.exported_at).where(ended)
    if "closed_recorded_at" in given:
        known_closed = frame["closed_recorded_at"].where(ended).fillna(known_closed)
    known_closed = known_closed.mask(same, before["closed_recorded_at"])
    return frame.assign(closed_at=closed, closed_recorded_at=known_closed)


def differs(new: pd.Series, old: pd.Series) -> pd.Series:
    """Say where two aligned columns differ; two missing values do not."""
    if new.dtype != old.dtype:
        new, old = as_text(new), as_text(old)
    return (new.isna() != old.isna()) | (new.notna() & old.notna() & (new != old))


def _change_rows(
    entity: str, new: pd.DataFrame, old: pd.DataFrame, field: str, moment: pd.Timestamp
) -> pd.DataFrame:
    rows = pd.DataFrame(
        {
            "entity": pd.Series(entity, index=new.index, dtype="str"),
            "record_id": new[TABLE_OF[entity].key],
            "field": pd.Series(field, index=new.index, dtype="str"),
            "old_value": as_text(old[field]),
            "new_value": as_text(new[field]),
            "changed_at": pd.Series(moment, index=new.index, dtype=MOMENT),
            "recorded_at": pd.Series(moment, index=new.index, dtype=MOMENT),
        }
    )
    return with_ids(rows)


def with_ids(rows: pd.DataFrame) -> pd.DataFrame:
    """Give changes that we found the same id whenever they are found again."""
    keys = zip(rows["entity"], rows["record_id"], rows["field"], rows["changed_at"], strict=True)
    ids = [
        hashlib.sha256("\0".join((e, r, f, t.isoformat())).encode()).hexdigest()[:32] for e, r, f, t in keys
    ]
    return rows.assign(change_id=pd.Series(ids, index=rows.index, dtype="str"))


def _uncovered(rows: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Drop changes of fields whose present value the export's own history explains."""
    if history.empty:
        return rows
    mine = history[history["entity"] == rows["entity"].iloc[0]]
    mine = mine[mine["field"] == rows["field"].iloc[0]]
    last = mine.sort_values("changed_at", kind="stable").drop_duplicates("record_id", keep="last")
    explained = last.set_index("record_id")["new_value"]
    value = explained.reindex(rows["record_id"])
    value.index = rows.index
    covered = rows["record_id"].isin(explained.index) & ~differs(rows["new_value"], value)
    return rows[~covered]


def _stack(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Put frames of the same columns one after the other; a column that is text in one is text in all."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return parts[0].reset_index(drop=True)
    for name in filled[0].columns:
        if len({part[name].dtype for part in filled}) > 1:
            filled = [part.assign(**{name: as_text(part[name])}) for part in filled]
    return pd.concat(filled, ignore_index=True)


def arrivals(
    table: Table, frame: pd.DataFrame, given: set[str], stored: pd.DataFrame, times: Times
) -> pd.DataFrame:
    """Give the rows of a table of events that are new to the store or changed, with when they were known.

    An activity whose status moved on stays as it was known, and its new state is a row of its own, named
    ``id@exported_at``: what was planned was known as planned until then.
    """
    key, last = table.key, _latest(table, stored)
    known = frame[key].isin(last.index)
    new = frame[~known]
    recorded = [c for c in table.columns if c.default_from is not None]
    for column in recorded:
        own = new[str(column.default_from)]
        moment = times.known(own).where(own.notna())
        if column.name in given:
            moment = new[column.name].fillna(moment)
        new = new.assign(**{column.name: moment})
    old = frame[known]
    before = last.reindex(old[key])
    before.index = old.index
    for column in recorded:
        kept = before[column.name]
        own = old[str(column.default_from)]
        fresh = times.known(own).where(own.notna())
        old = old.assign(**{column.name: kept.fillna(fresh).where(own.notna())})
    names = [n for n in table.names if n in given and n != key and n not in {c.name for c in recorded}]
    touched = pd.Series(np.zeros(len(old), bool), index=old.index)
    for name in names:
        touched |= differs(old[name], before[name])
    if table.name == "activities" and "status" in given:
        moved = differs(old["status"], before["status"])
        versions = old[moved].assign(recorded_at=times.exported_at)
        stamp = times.exported_at.isoformat().replace("+00:00", "Z")
        versions = versions.assign(**{key: versions[key] + "@" + stamp})
        corrected = old[touched & ~moved]
        corrected = corrected.assign(**{key: before[key].loc[corrected.index]})
        parts = [new, corrected, versions]
    else:
        parts = [new, old[touched]]
    columns = [n for n in table.names if n in given or n == key or n in {c.name for c in recorded}]
    return _stack([part[columns] for part in parts])


def _latest(table: Table, stored: pd.DataFrame) -> pd.DataFrame:
    """Give the store's rows by the export's id, the last state of each."""
    ids = stored[table.key]
    if table.name == "activities":
        ids = ids.str.replace(r"@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$", "", regex=True)
        order = stored.assign(_id=ids).sort_values("recorded_at", kind="stable")
        return order.drop_duplicates("_id", keep="last").set_index("_id")
    return stored.set_index(ids)
