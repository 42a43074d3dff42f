"""A CRM's own field history: its values brought to the form in which changes are kept."""

from __future__ import annotations

from collections.abc import Mapping as Dict

import pandas as pd

from crm.errors import shorten
from crm.importing.cells import read_attribute, read_moments, read_numbers
from crm.mapping import FileOptions
from crm.mapping.section import suggest
from crm.schema import DTYPES, TABLE_OF
from crm.values import as_text


def plain_history(
    changes: pd.DataFrame, records: Dict[str, list[pd.DataFrame]], options: FileOptions, file: str
) -> tuple[pd.DataFrame, list[str]]:
    """Write old and new values as ISO 8601 moments and plain decimals, where their field holds such.

    Parameters
    ----------
    changes : DataFrame
        Rows of the table ``changes``.
    records : mapping of str to list of DataFrame
        The export's records by table, from which an attribute's kind is known.
    options : FileOptions
        How the history's file writes numbers and moments.
    file : str
        For messages.

    Returns
    -------
    changes : DataFrame
    notices : list of str
        Fields that no record has: their history can mean nothing until the mapping translates their name.

    Raises
    ------
    ExportError
        Where a value of a field of moments or numbers is none.
    """
    notices = []
    changes = changes.copy()
    pairs = changes[["entity", "field"]].drop_duplicates().dropna()
    for entity, field in pairs.itertuples(index=False):
        table = TABLE_OF.get(entity)
        if table is None:  # refused by name when the rows are checked
            continue
        rows = (changes["entity"] == entity) & (changes["field"] == field)
        known = {name: DTYPES[table.column(name).kind] for name in table.names}
        for frame in records.get(table.name, []):
            known |= {str(name): str(dtype) for name, dtype in frame.dtypes.items() if name not in known}
        if records.get(table.name) and field not in known:
            notices.append(
                f"{file}: {int(rows.sum())} changes of {shorten(field)!r}, which is no column of {table.name}"
                f"{suggest(str(field), known)}; translate it under [changes.values.…] in the mapping"
            )
        for column in ("old_value", "new_value"):
            if column in changes:
                text = changes.loc[rows, column]
                changes.loc[rows, column] = _plain(text, known.get(str(field), "str"), field, options, file)
    return changes, notices


def _plain(text: pd.Series, dtype: str, field: str, options: FileOptions, file: str) -> pd.Series:
    if dtype == DTYPES["timestamp"]:
        return as_text(read_moments(text, options, file))
    if dtype == DTYPES["number"]:
        is_canonical = any(field in table.names for table in TABLE_OF.values())
        # an attribute that is all numbers now may have held words before
        return as_text(read_numbers(text, options, file) if is_canonical else read_attribute(text, options))
    return text
