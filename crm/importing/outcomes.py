"""How records ended: which values mean won and lost, and what stood in a field until then."""

from __future__ import annotations

import numpy as np
import pandas as pd

from crm.errors import ExportError, shorten
from crm.importing.cells import MOMENT, fail
from crm.importing.files import RawFile
from crm.mapping import BeforeClose, OutcomeRule
from crm.mapping.section import same_but_for_case
from crm.schema import TABLE_OF
from crm.values import as_text


def read_outcome(rule: OutcomeRule, raw: RawFile, asked_by: str) -> pd.Series:
    """Give each row's outcome, missing where it is open.

    Raises
    ------
    ExportError
        Where the rule lists open values and a value is in none of the lists, where a listed value seems to
        be a slip of the pen, or where a row is won and lost at once.
    """
    outcome: pd.Series = pd.Series(np.nan, index=raw.frame.index, dtype="str")
    if rule.column is not None:
        text = raw.column(rule.column, asked_by).str.strip()
        listed = (*rule.won, *rule.lost, *rule.open)
        seen = [str(value) for value in text.dropna().unique()]
        for value in listed:
            near = None if value in seen else same_but_for_case(value, set(seen) - set(listed))
            if near:
                raise ExportError(
                    f"{raw.name}: no row has {rule.column} = {value!r}, but some have {near!r}; "
                    f"write it so under {asked_by} in the mapping"
                )
        if rule.open:
            unknown = text.notna() & ~text.isin(listed)
            fail(
                raw.name,
                rule.column,
                text,
                unknown,
                f"is unknown to the mapping; list it under won, lost or open of {asked_by}",
            )
        outcome = outcome.mask(text.isin(rule.won), "won").mask(text.isin(rule.lost), "lost")
    for source, value in ((rule.won_where_filled, "won"), (rule.lost_where_filled, "lost")):
        if source is None:
            continue
        filled = raw.column(source, asked_by)
        both = filled.notna() & outcome.notna() & (outcome != value)
        fail(raw.name, source, filled, both, "is filled in a row that the mapping also calls otherwise ended")
        outcome = outcome.mask(filled.notna(), value)
    return outcome


def split_before_close(
    entity: str, frame: pd.DataFrame, field: str, before: pd.Series, rule: BeforeClose
) -> tuple[pd.Series, pd.DataFrame]:
    """Part a field into what stood while the record was open and what it became at the close.

    Parameters
    ----------
    entity : str
    frame : DataFrame, shape (n_rows, n_given)
        The records, with their outcome.
    field : str
    before : Series, shape (n_rows,)
        What stood while the record was open.
    rule : BeforeClose

    Returns
    -------
    values : Series, shape (n_rows,)
        The field's present value. An outcome without a time leaves what stood before, for nothing says when
        it changed.
    closing : DataFrame
        The changes at the close, in the columns of ``changes`` but without ids.
    """
    mapped = frame[field] if field in frame else pd.Series(np.nan, index=frame.index, dtype=before.dtype)
    if mapped.dtype != before.dtype:
        mapped, before = as_text(mapped), as_text(before)
    outcome = frame["outcome"]
    final = outcome.notna() if rule.changes_when == "closed" else outcome == rule.changes_when
    timed = frame["closed_at"].notna() if "closed_at" in frame else pd.Series(False, index=frame.index)
    takes_mapped = mapped.notna() & (outcome.isna() | (final & timed))
    values = mapped.where(takes_mapped, before)
    moved = takes_mapped & final & (before.isna() | (mapped != before))
    return values, closing_rows(entity, frame[moved], field, before[moved], mapped[moved])


def closing_rows(
    entity: str, frame: pd.DataFrame, field: str, old: pd.Series, new: pd.Series
) -> pd.DataFrame:
    """Give changes of a field at the records' close; an open record's has no time yet."""
    never = pd.Series(pd.NaT, index=frame.index, dtype=MOMENT)
    return pd.DataFrame(
        {
            "entity": pd.Series(entity, index=frame.index, dtype="str"),
            "record_id": frame[TABLE_OF[entity].key],
            "field": pd.Series(field, index=frame.index, dtype="str"),
            "old_value": as_text(old),
            "new_value": as_text(new),
            "changed_at": frame.get("closed_at", never),
        }
    )


def unknown_past(entity: str, frame: pd.DataFrame, field: str) -> tuple[pd.Series, pd.DataFrame]:
    """Part a field whose earlier values the export does not hold.

    The present value counts from the close on, for an open record from the export on; before, it is unknown.
    Taken as it stands, it would tell at every earlier moment how the record was to end.

    Returns
    -------
    values : Series, shape (n_rows,)
        Missing where the record ended at an unknown time.
    closing : DataFrame
    """
    timed = frame["closed_at"].notna() if "closed_at" in frame else pd.Series(False, index=frame.index)
    values = frame[field].where(frame["outcome"].isna() | timed)
    there = values.notna()
    nothing = pd.Series(np.nan, index=frame.index, dtype="str")
    return values, closing_rows(entity, frame[there], field, nothing[there], values[there])


def settle_order(frame: pd.DataFrame, file: str, key: str, policy: str) -> tuple[pd.DataFrame, str | None]:
    """Treat records that end before they begin as the mapping says.

    Returns
    -------
    frame : DataFrame
    notice : str or None
    """
    if not {"created_at", "closed_at"} <= set(frame.columns):
        return frame, None
    bad = frame["closed_at"] < frame["created_at"]
    n = int(bad.sum())
    if n == 0:
        return frame, None
    ids = ", ".join(shorten(record) for record in frame.loc[bad, key].head(3))
    some = f"{n} record{'s' if n > 1 else ''} ended before {'they' if n > 1 else 'it'} began ({ids})"
    if policy == "refuse":
        first = frame[bad].iloc[0]
        raise ExportError(
            f"{file}, row {frame.index[bad][0] + 1}: closed_at = '{first['closed_at']}': is before "
            f"created_at '{first['created_at']}': {some}; correct them, check the time zone, or say "
            'outcome_before_creation = "skip" or "close_at_creation" in the mapping'
        )
    if policy == "skip":
        return frame[~bad], f"{file}: {some}; left out"
    moved = frame.assign(closed_at=frame["closed_at"].mask(bad, frame["created_at"]))
    return moved, f"{file}: {some}; taken to have ended as {'they' if n > 1 else 'it'} began"
