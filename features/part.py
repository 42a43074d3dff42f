"""Some records made ready without the rest of their history.

What crosses records is a series over the whole history; everything else that the features of a record are
made of is its own rows, and those of the accounts, leads and deals that it is or was linked to. Cutting
these rows out costs a look at each table, and sorting them costs far less than sorting all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import pandas as pd

from crm.history import History
from crm.schema import TABLE_OF
from features.columns import Bools, FrameSource
from features.prepared import Prepared, prepare
from features.series import build_series
from features.spec import FeatureSpec

#: The fields that link a record to others.
_LINKS = ("owner_id", "account_id", "lead_id")
#: Above this share of the records, all are made ready.
_MOST = 0.5
#: What features read of activities.
_ACTIVITIES = (
    "lead_id",
    "deal_id",
    "user_id",
    "kind",
    "channel",
    "direction",
    "status",
    "occurred_at",
    "recorded_at",
)


def prepare_records(history: History, spec: FeatureSpec, ids: Collection[str]) -> Prepared:
    """Make some records of a whole history ready; their features are those that :func:`prepare` gives.

    Parameters
    ----------
    history : History
        The whole history.
    spec : FeatureSpec
    ids : collection of str
        The records; those that the history lacks are left out.
    """
    table = TABLE_OF[spec.entity]
    asked = set(ids)
    if len(asked) > _MOST * len(getattr(history, table.name)):
        return prepare(history, spec)
    moved = _rows(history.changes, _is_in(history.changes, "field", _LINKS))
    # The series follow links only, so the other changes need not be read for them.
    links_only = FrameSource(History.of({**history.frames(), "changes": moved}))
    series = build_series(links_only, spec.entity, spec.outcomes_of)
    return prepare(_part(history, moved, spec.entity, asked), spec, series=series)


def _part(history: History, moved: pd.DataFrame, entity: str, ids: set[str]) -> History:
    """Give the rows that the features of some leads or deals are made of, but for the series."""
    frames = history.frames()
    records = _records(history, entity, ids)
    own = _changes_of(history, {entity: ids})
    linked = {"account": _linked(records, own, "account_id")}
    activities = frames["activities"]
    rows = _is_in(activities, f"{entity}_id", ids)
    if entity == "deal":
        linked["lead"] = _linked(records, own, "lead_id")
        of_lead = _is_in(activities, "lead_id", linked["lead"])
        rows = rows | (of_lead & np.asarray(activities["deal_id"].isna()))
    else:
        linked["deal"] = _deals_of(history.deals, moved, ids)
    parts = {TABLE_OF[of].name: _records(history, of, wanted) for of, wanted in linked.items()}
    columns = [name for name in _ACTIVITIES if name in activities.columns]
    parts |= {
        TABLE_OF[entity].name: records,
        "activities": _rows(activities[columns], rows),
        "changes": pd.concat([own, _changes_of(history, linked)]),
    }
    return History.of({**frames, **parts})


def _records(history: History, entity: str, ids: set[str]) -> pd.DataFrame:
    table = TABLE_OF[entity]
    frame: pd.DataFrame = getattr(history, table.name)
    return _rows(frame, _is_in(frame, table.key, ids))


def _changes_of(history: History, wanted: Mapping[str, set[str]]) -> pd.DataFrame:
    """Give the changes of some records of each kind, in one pass over all."""
    changes = history.changes
    about = _rows(changes, _is_in(changes, "record_id", set[str]().union(*wanted.values())))
    kept = np.zeros(len(about), np.bool_)
    for entity, ids in wanted.items():
        kept |= _is_in(about, "entity", [entity]) & _is_in(about, "record_id", ids)
    return _rows(about, kept)


def _linked(records: pd.DataFrame, changes: pd.DataFrame, field: str) -> set[str]:
    """Give every id that a field of some records holds, or ever held."""
    moved = _rows(changes, _is_in(changes, "field", [field]))
    columns = (records[field], moved["old_value"], moved["new_value"])
    return {text for column in columns for text in column.dropna().unique().tolist()}


def _deals_of(deals: pd.DataFrame, moved: pd.DataFrame, leads: set[str]) -> set[str]:
    """Give the deals that are, or ever were, of some leads."""
    found = deals["deal_id"][_is_in(deals, "lead_id", leads)]
    links = _is_in(moved, "field", ["lead_id"]) & _is_in(moved, "entity", ["deal"])
    once = _is_in(moved, "old_value", leads) | _is_in(moved, "new_value", leads)
    return {*found.tolist(), *moved["record_id"][links & once].tolist()}


def _is_in(frame: pd.DataFrame, column: str, values: Iterable[str]) -> Bools:
    wanted, texts = list(values), frame[column].array
    if isinstance(texts, pd.arrays.ArrowStringArray):
        # pandas looks at the wanted values one by one in Python, which would cost more than all rows.
        import pyarrow as pa
        import pyarrow.compute as pc

        held = pa.array(texts)
        return np.asarray(pc.is_in(held, value_set=pa.array(wanted, held.type)), np.bool_)
    return np.asarray(frame[column].isin(wanted), np.bool_)


def _rows(frame: pd.DataFrame, rows: Bools) -> pd.DataFrame:
    return frame if rows.all() else frame[rows]
