"""What became of each record, and of each snapshot: won, lost, or still open when observation ended."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import LEAD_OUTCOME, History
from crm.moments import NEVER
from crm.observed import outcomes_since

OPEN, WON, LOST = 0, 1, 2

#: What counts as won, in words.
_DEAL_WON = "the deal is won"
_LEAD_WON = {
    "deals": "a deal linked to the lead is won",
    "leads": "the CRM records the lead as converted",
}
#: The fact that says who chose a lead's outcome, where it was not the mapping; no source gives it.
_CHOSEN_BY = "lead_outcome_chosen_by"

_DAY = np.timedelta64(1, "D").astype("timedelta64[us]").astype("int64")


@dataclass(frozen=True)
class Labels:
    """What followed each of n snapshots.

    Parameters
    ----------
    durations : ndarray of float64, shape (n,)
        Days from ``as_of`` to the closing, or to the end of observation.
    events : ndarray of int8, shape (n,)
        ``OPEN`` (censored), ``WON`` or ``LOST``.
    observed : ndarray of float64, shape (n,)
        Days from ``as_of`` for which the record could have been seen to close.
    entered : ndarray of float64, shape (n,), optional
        Days from ``as_of`` after which the history records outcomes at all; before, an open record says
        nothing. Without it, always.
    """

    durations: npt.NDArray[np.float64]
    events: npt.NDArray[np.int8]
    observed: npt.NDArray[np.float64]
    entered: npt.NDArray[np.float64] | None = None

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Labels:
        """Give the labels of these rows."""
        entered = None if self.entered is None else self.entered[rows]
        return Labels(self.durations[rows], self.events[rows], self.observed[rows], entered)


@dataclass(frozen=True)
class Outcomes:
    """How each record of one kind ended, as far as the history knows.

    Parameters
    ----------
    record_ids : pandas.Index
    events : ndarray of int8, shape (n,)
    ended : ndarray of int64, shape (n,)
        Microseconds since 1970 of the closing, or of the moment from which the record was no longer seen;
        the largest integer where neither happened.
    untimed : ndarray of bool, shape (n,)
        An outcome whose moment is not known.
    definition : str
        What counts as won, in words, and who chose it where somebody did.
    started : ndarray of int64, shape (n,)
        Microseconds since 1970 at which each record became known.
    since : int
        Microseconds since 1970 from which on outcomes were recorded at all; 0 for always.
    """

    record_ids: pd.Index
    events: npt.NDArray[np.int8]
    ended: npt.NDArray[np.int64]
    untimed: npt.NDArray[np.bool_]
    definition: str
    started: npt.NDArray[np.int64]
    since: int = 0


def outcomes(history: History, entity: str) -> Outcomes:
    """Find how each lead or deal ended.

    A deal ends as the CRM says. A lead is won when a deal linked to it is won, and lost when it is closed
    without one; or it ends as the CRM says of the lead itself. Which of the two, the mapping may say (the
    history's fact ``lead_outcome``); where it does not, the first if any deal is linked to a lead.

    Parameters
    ----------
    history : History
    entity : {"lead", "deal"}
    """
    records = history.leads if entity == "lead" else history.deals
    ids = pd.Index(records[f"{entity}_id"])
    definition = _DEAL_WON
    by_deals = False
    if entity == "lead":
        by_deals, definition = _lead_definition(history)
    events, ended, untimed = _purchases(history) if by_deals else _recorded(records)
    gone = _micros(records["gone_at"])
    lost_sight = (events == OPEN) & (gone < ended)
    timed = ~untimed
    closed = np.where(events != OPEN, ended, NEVER)[timed]
    started = _micros(records["recorded_at"])
    since = outcomes_since(started[timed], closed)
    return Outcomes(ids, events, np.where(lost_sight, gone, ended), untimed, definition, started, since)


def with_lead_outcome(history: History, lead_outcome: str) -> History:
    """Give the history with a lead's outcome as the settings want it, whatever its mapping says.

    Parameters
    ----------
    history : History
    lead_outcome : {"auto", "deals", "leads"}
        ``auto`` leaves it to the mapping, and where that is silent to the history.
    """
    if lead_outcome == "auto":
        return history
    chosen = {LEAD_OUTCOME: lead_outcome, _CHOSEN_BY: "the settings say"}
    return replace(history, facts={**history.facts, **chosen})


def label(found: Outcomes, record_ids: pd.Series, as_of: pd.Series, until: pd.Timestamp) -> Labels:
    """Label snapshots with what followed by the end of observation.

    Parameters
    ----------
    found : Outcomes
    record_ids, as_of : Series of length n
    until : Timestamp
        End of observation; what happened at or after it is censored.
    """
    rows = found.record_ids.get_indexer(pd.Index(record_ids))
    end = min(until.value // 1000, NEVER)
    ended = np.minimum(found.ended[rows], end)
    events = np.where(found.ended[rows] < end, found.events[rows], OPEN).astype("int8")
    start = pd.DatetimeIndex(as_of).as_unit("us").asi8
    durations = np.maximum(ended - start, 0) / _DAY
    seen = np.where((events == OPEN) & (ended < end), ended, end)
    entered = np.maximum(found.since - start, 0) / _DAY
    return Labels(durations, events, np.maximum(seen - start, 0) / _DAY, entered)


def _lead_definition(history: History) -> tuple[bool, str]:
    """Say whether a lead's outcome is a deal's, and put it in words."""
    asked = history.facts.get(LEAD_OUTCOME)
    if asked is None:
        by_deals = bool(history.deals["lead_id"].notna().any())
        return by_deals, _LEAD_WON["deals" if by_deals else "leads"]
    chosen_by = history.facts.get(_CHOSEN_BY, "the mapping says")
    return asked == "deals", f"{_LEAD_WON[asked]}, as {chosen_by}"


def _micros(moments: pd.Series) -> npt.NDArray[np.int64]:
    index = pd.DatetimeIndex(moments).as_unit("us")
    return np.where(index.isna(), NEVER, index.asi8)


def _recorded(
    records: pd.DataFrame,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    outcome = records["outcome"]
    events = np.select([outcome.eq("won"), outcome.eq("lost")], [WON, LOST], OPEN).astype("int8")
    ended = _micros(records["closed_recorded_at"].fillna(records["closed_at"]))
    return events, ended, (events != OPEN) & (ended == NEVER)


def _purchases(history: History) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    leads, deals = history.leads, history.deals
    own, own_ended, _ = _recorded(leads)
    event, ended, _ = _recorded(deals)
    linked = pd.DataFrame({"lead_id": deals["lead_id"], "event": event, "ended": ended}).dropna(
        subset=["lead_id"]
    )
    by_lead = linked.groupby("lead_id")
    bought = linked[linked["event"] == WON].groupby("lead_id")["ended"].min()
    all_lost = by_lead["event"].min() == LOST
    last_lost = by_lead["ended"].max()[all_lost]
    ids = leads["lead_id"]
    bought_at = bought.reindex(ids, fill_value=NEVER).to_numpy("int64")
    deal_lost_at = last_lost.reindex(ids, fill_value=NEVER).to_numpy("int64")
    # A lead handed on as a deal is open until the deal ends; one closed without a deal ends by its own word.
    lost_at = np.where(own == LOST, own_ended, np.where(own == WON, deal_lost_at, NEVER))
    events = np.where(bought_at < NEVER, WON, np.where(lost_at < NEVER, LOST, OPEN)).astype("int8")
    ended = np.where(events == WON, bought_at, lost_at)
    return events, ended, np.zeros(len(leads), bool)
