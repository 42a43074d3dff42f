"""The group to which a record belongs: its owner, team, manager or region, or any of its attributes."""

from __future__ import annotations

from typing import Final

import pandas as pd

from crm.errors import InputError, shorten
from crm.history import History
from crm.schema import TABLES
from crm.values import as_text

#: The group of records of which the history does not say.
NOBODY: Final = "(none)"

#: The name of all groups together; a group that is itself called so is quoted.
TOTAL: Final = "total"

#: Groups through the rep who owns a record, and the column of ``users`` that names each.
_THROUGH_OWNER = {"team": "team", "manager": "manager_id", "region": "region"}
#: Columns that can group, and that no list of groups names: nearly every value is a group of its own.
_MEANS_LITTLE = frozenset({"amount", "monthly_amount", "sequence", "name"})
#: What a row may refer to, and through which other records where it does not do so itself.
_VIA: dict[str, tuple[str, ...]] = {"deals": (), "leads": ("deals",), "accounts": ("deals", "leads")}


def group_of(history: History, records: pd.DataFrame, by: str) -> pd.Series:
    """Give the group of each record.

    Parameters
    ----------
    history : History
        Where users, accounts and referred-to records are looked up; as it was known, where that matters.
    records : DataFrame, shape (n_records, n_columns)
        Rows of any table of the history.
    by : str
        ``owner`` (the rep's id), ``team``, ``manager`` (the manager's id) or ``region``, all through the
        owner: the record's own, else the rep who did it, else that of its deal or lead. Or the name of any
        column of the records, or ``account.NAME``, ``deal.NAME``, ``lead.NAME`` for what they refer to.
        ``region`` is the records' own column where users name no region.

    Returns
    -------
    Series of str, shape (n_records,)
        With the index of ``records``; :data:`NOBODY` where the history does not say.

    Raises
    ------
    InputError
        Where there is no such group; lists what there is.
    """
    if not _through_owner(history, records, by):
        return _named(_column(history, records, by), by)
    owners = owner_of(history, records)
    if by == "owner":
        return _named(owners, by)
    users = history.users.set_index("user_id")[_THROUGH_OWNER[by]]
    return _named(owners.map(users), by)


def can_group(history: History, records: pd.DataFrame, by: str) -> bool:
    """Say whether :func:`group_of` knows that group for these records."""
    if by in records.columns or by in ("owner", *_THROUGH_OWNER):
        return True
    entity, _, name = by.partition(".")
    return any(
        entity == table[:-1] and name in getattr(history, table).columns and _can_link(records, table)
        for table in _VIA
    )


def owner_of(history: History, records: pd.DataFrame) -> pd.Series:
    """Give the rep of each record: its owner, else who did it, else the owner of its deal, or of its lead.

    Returns
    -------
    Series of str, shape (n_records,)
        Ids, with the index of ``records``; missing where nobody is named.
    """
    owners = pd.Series(pd.NA, index=records.index, dtype="str", name="owner")
    for column in ("owner_id", "user_id"):
        if column in records.columns:
            owners = owners.fillna(records[column])
    for table in ("deals", "leads"):
        if _can_link(records, table) and owners.isna().any():
            owners = owners.fillna(_looked_up(history, linked_id(history, records, table), table, "owner_id"))
    return owners


def linked_id(history: History, records: pd.DataFrame, table: str) -> pd.Series:
    """Give the id of the deal, lead or account of each record: its own, else that of its deal, or lead.

    Parameters
    ----------
    history : History
    records : DataFrame, shape (n_records, n_columns)
    table : {"deals", "leads", "accounts"}

    Returns
    -------
    Series of str, shape (n_records,)
        With the index of ``records``; missing where the history does not say.
    """
    key = TABLES[table].key
    ids = records[key] if key in records.columns else pd.Series(pd.NA, index=records.index, dtype="str")
    for via in _VIA[table]:
        if _can_link(records, via) and ids.isna().any():
            ids = ids.fillna(_looked_up(history, linked_id(history, records, via), via, key))
    return ids


def groups_there_are(history: History, records: pd.DataFrame) -> list[str]:
    """Give the name of every group worth naming of those that :func:`group_of` knows for these records."""
    own = [
        str(name)
        for name in records.columns
        if not isinstance(records[name].dtype, pd.DatetimeTZDtype)
        and not str(name).endswith("_id")
        and name not in _MEANS_LITTLE
    ]
    linked = [
        f"{table[:-1]}.{name}"
        for table in _VIA
        if _can_link(records, table) and not set(history.attributes(table)) <= set(own)
        for name in history.attributes(table)
    ]
    return list(dict.fromkeys(["owner", *_THROUGH_OWNER, *own, *linked]))


def _through_owner(history: History, records: pd.DataFrame, by: str) -> bool:
    if by == "region" and "region" in records.columns:
        return bool(history.users["region"].notna().any())
    return by in ("owner", *_THROUGH_OWNER)


def _column(history: History, records: pd.DataFrame, by: str) -> pd.Series:
    """Give a column of the records, or of what they refer to."""
    if by in records.columns:
        return records[by]
    if not can_group(history, records, by):
        there_are = ", ".join(groups_there_are(history, records))
        raise InputError(f"group {shorten(by)!r} is not known for these records: give one of {there_are}")
    entity, _, name = by.partition(".")
    return _looked_up(history, linked_id(history, records, f"{entity}s"), f"{entity}s", name)


def _can_link(records: pd.DataFrame, table: str) -> bool:
    key = TABLES[table].key
    return key in records.columns or any(TABLES[via].key in records.columns for via in _VIA[table])


def _looked_up(history: History, ids: pd.Series, table: str, column: str) -> pd.Series:
    frame: pd.DataFrame = getattr(history, table)
    # Where none is found, what comes back would have no dtype to go on with.
    return ids.map(frame.set_index(TABLES[table].key)[column]).astype(frame[column].dtype)


def _named(values: pd.Series, by: str) -> pd.Series:
    names = as_text(values).fillna(NOBODY)
    is_total = names == TOTAL
    return names.mask(is_total, f'"{TOTAL}"').rename(by) if is_total.any() else names.rename(by)
