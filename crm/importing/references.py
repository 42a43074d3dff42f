"""Rows about records that neither the export nor the store holds."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from crm.errors import ExportError, Problem, list_problems, shorten
from crm.schema import TABLE_OF, TABLES

#: The columns of a row that name the record it is about, and that record's table.
_ABOUT = {
    "activities": {"lead_id": "leads", "deal_id": "deals", "account_id": "accounts"},
    "surveys": {"lead_id": "leads", "deal_id": "deals", "account_id": "accounts"},
    "subscriptions": {"account_id": "accounts"},
    "orders": {"account_id": "accounts", "deal_id": "deals"},
    "order_lines": {"order_id": "orders"},
}


def drop_unknown(
    table: str, frame: pd.DataFrame, file: str, known: Mapping[str, pd.Index], policy: str
) -> tuple[pd.DataFrame, str | None]:
    """Treat rows about unknown records as the mapping says.

    Parameters
    ----------
    table : str
    frame : DataFrame
    file : str
    known : mapping of str to Index
        The ids of each table, of the export and the store together. Companies are checked only where some
        are known: many exports name them without listing them.
    policy : {"refuse", "skip"}

    Returns
    -------
    frame : DataFrame
    notice : str or None

    Raises
    ------
    ExportError
        Where a row is about an unknown record and ``policy`` is "refuse".
    """
    bad = pd.Series("", index=frame.index, dtype="str")
    for column, about, rows in _links(table, frame):
        ids = known.get(about, pd.Index([]))
        if about == "accounts" and len(ids) == 0:
            continue
        unknown = rows & frame[column].notna() & ~frame[column].isin(ids)
        bad = bad.mask(unknown & (bad == ""), column)
    wrong = bad != ""
    n = int(wrong.sum())
    if n == 0:
        return frame, None
    if policy == "skip":
        some = ", ".join(shorten(frame[bad[row]][row]) for row in frame.index[wrong][:3])
        return frame[~wrong], f"{file}: {n} rows are about records that are not known ({some}); left out"
    problems = [
        Problem(
            f"{file}, row {row + 1}",
            str(bad[row]),
            shorten(frame[bad[row]][row]),
            'no record has this id; export that record too, or say unknown_records = "skip" in the mapping',
        )
        for row in frame.index[wrong][:5]
    ]
    more = f"\n… {n} such rows in all" if n > 5 else ""
    raise ExportError(list_problems(problems) + more)


def _links(table: str, frame: pd.DataFrame) -> list[tuple[str, str, pd.Series]]:
    """Give column, table it names, and the rows where it does."""
    everywhere = pd.Series(True, index=frame.index)
    if table == "changes":
        return [("record_id", owner.name, frame["entity"] == entity) for entity, owner in TABLE_OF.items()]
    pairs = _ABOUT.get(table, {})
    return [(column, about, everywhere) for column, about in pairs.items() if column in frame]


def known_ids(
    frames: Mapping[str, list[pd.DataFrame]], stored: Mapping[str, pd.DataFrame]
) -> dict[str, pd.Index]:
    """Give the ids of the tables that others refer to."""
    ids = {}
    for table in ("leads", "deals", "accounts", "orders"):
        key = TABLES[table].key
        parts = [frame[key] for frame in [*frames.get(table, []), stored[table]] if len(frame)]
        ids[table] = pd.Index(pd.concat(parts).unique()) if parts else pd.Index([])
    return ids
