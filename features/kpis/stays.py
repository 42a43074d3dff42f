"""Stays of leads and deals in their stages: when each was entered and left, and where to."""

from __future__ import annotations

import pandas as pd

from crm.history import History
from crm.schema import DTYPES, TABLE_OF


def stage_stays(known: History, entity: str) -> pd.DataFrame:
    """Follow every lead or deal through its stages, by the changes that are known.

    A record begins in the ``old_value`` of its first change of stage, or in its present stage where it is
    open and never changed it. The stage in which a record rests once it is closed is no stay. Of a record
    without a time of creation, the first stay has no beginning.

    Parameters
    ----------
    known : History
        As it was known at a moment; a change counts from ``changed_at`` on.
    entity : {"lead", "deal"}

    Returns
    -------
    DataFrame, shape (n_stays, n_columns)
        ``row`` (place of the record in its table), ``stage``, ``entered``, ``left`` (missing while it lasts)
        and ``to``: the next stage; ``(won)`` or ``(lost)`` where the record was closed without a change of
        stage; missing while it lasts, and of a record that is gone. Each record's are in the order of time.
        Empty where the history has no change of stage.
    """
    table = TABLE_OF[entity]
    records: pd.DataFrame = getattr(known, table.name).reset_index(drop=True)
    moves = _moves(known.changes, records[table.key], entity)
    if moves.empty:
        return _nothing()
    first = moves.drop_duplicates("row")
    unmoved = records[records["outcome"].isna() & ~records.index.isin(first["row"])]
    began = records["created_at"].take(first["row"].to_numpy())
    parts: list[pd.DataFrame] = [
        pd.DataFrame({"row": first["row"].array, "stage": first["old_value"].array, "entered": began.array}),
        pd.DataFrame({"row": unmoved.index, "stage": unmoved["stage"], "entered": unmoved["created_at"]}),
        pd.DataFrame({"row": moves["row"], "stage": moves["new_value"], "entered": moves["changed_at"]}),
    ]
    stays = pd.concat(parts, ignore_index=True).sort_values("row", kind="stable", ignore_index=True)
    goes_on = stays["row"] == stays["row"].shift(-1)
    stays = stays.assign(
        left=stays["entered"].shift(-1).where(goes_on), to=stays["stage"].shift(-1).where(goes_on)
    )
    stays = _closed(stays, records)
    return stays[stays["stage"].notna()].reset_index(drop=True)


def _nothing() -> pd.DataFrame:
    never = pd.Series([], dtype=DTYPES["timestamp"])
    nowhere = pd.Series([], dtype="str")
    row = pd.Series([], dtype="int64")
    return pd.DataFrame({"row": row, "stage": nowhere, "entered": never, "left": never, "to": nowhere})


def _moves(changes: pd.DataFrame, ids: pd.Series, entity: str) -> pd.DataFrame:
    """Give the changes of stage in the order of time, each with the row of its record."""
    of_stage = changes[(changes["field"] == "stage") & (changes["entity"] == entity)]
    moves = of_stage[["old_value", "new_value", "changed_at"]].assign(
        row=pd.Index(ids).get_indexer(pd.Index(of_stage["record_id"]))
    )
    moves = moves[(moves["row"] >= 0) & (moves["old_value"] != moves["new_value"])]
    return moves.sort_values(["row", "changed_at"], kind="stable")


def _closed(stays: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """End the last stay of each record that was closed or is gone."""
    of = records[["outcome", "closed_at", "gone_at"]].take(stays["row"].to_numpy()).set_axis(stays.index)
    is_last = stays["left"].isna()
    is_won_or_lost = is_last & of["outcome"].notna()
    # A stage that was entered when the record closed, or that it rests in without a time, is its end.
    rests = is_won_or_lost & ~(stays["entered"] < of["closed_at"])
    outcome = "(" + of["outcome"] + ")"
    gone = is_last & of["outcome"].isna() & of["gone_at"].notna()
    return stays.assign(
        left=stays["left"].mask(is_won_or_lost, of["closed_at"]).mask(gone, of["gone_at"]),
        to=stays["to"].mask(is_won_or_lost, outcome),
    )[~rests]
