"""When each lead was first answered or acted on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from features.kpis.durations import hours_between


def hours_to_answer(
    known: History, activities: pd.DataFrame, lead_of: npt.NDArray[np.intp], is_known: pd.Series
) -> pd.Series:
    """Give the hours from each lead's creation to the first answer.

    An answer is the first of: an activity of ours done with the lead (direction out; where no direction is
    given, one by a rep), a change of its stage, its closing. What is dated before the lead came in is none.

    Parameters
    ----------
    known : History
        As it was known at a moment.
    activities : DataFrame, shape (n_activities, n_columns)
    lead_of : ndarray of int, shape (n_activities,)
        Place of each activity's lead in ``known.leads``; -1 for none.
    is_known : Series of bool, shape (n_activities,)

    Returns
    -------
    Series of float64, shape (n_leads,)
        Missing where there is no answer yet, and of a lead without a time of creation.
    """
    leads = known.leads.reset_index(drop=True)
    acts = pd.concat(
        [
            _ours(activities, lead_of, is_known),
            _moves(known),
            pd.DataFrame({"lead": leads.index, "at": leads["closed_at"].where(leads["outcome"].notna())}),
        ],
        ignore_index=True,
    )
    created = leads["created_at"].take(acts["lead"].to_numpy()).set_axis(acts.index)
    first = acts[acts["at"] >= created].groupby("lead")["at"].min()
    return hours_between(leads["created_at"], first.reindex(leads.index))


def _ours(activities: pd.DataFrame, lead_of: npt.NDArray[np.intp], is_known: pd.Series) -> pd.DataFrame:
    by_us = (activities["direction"] == "out") | (
        activities["direction"].isna() & activities["user_id"].notna()
    )
    rows = (by_us & (activities["status"] == "done") & is_known).to_numpy(dtype=bool) & (lead_of >= 0)
    return pd.DataFrame({"lead": lead_of[rows], "at": activities["occurred_at"].array[rows]})


def _moves(known: History) -> pd.DataFrame:
    changes = known.changes
    moves = changes[
        (changes["field"] == "stage")
        & (changes["entity"] == "lead")
        # The stage that a lead is given when it comes in is no answer to it.
        & changes["old_value"].notna()
    ]
    lead = pd.Index(known.leads["lead_id"]).get_indexer(pd.Index(moves["record_id"]))
    found = pd.DataFrame({"lead": lead, "at": moves["changed_at"].array})
    return found[found["lead"] >= 0]
