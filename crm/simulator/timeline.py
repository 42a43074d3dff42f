"""From days to moments: the hour at which everything that the walk logged took place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crm.simulator.calendar import Ints
from crm.simulator.columns import id_words
from crm.simulator.population import SECONDS, Population
from crm.simulator.walk import DEAL_PHASE, DISQUALIFIED, LEAD_PHASE, WON, Trails

HOUR = 3_600


@dataclass(frozen=True)
class Timeline:
    """The walk in moments, seconds since 1970, and the ids of its records.

    Parameters
    ----------
    people, trails : Population, Trails
    stop : int
        First moment after the history.
    opened, closed, closed_recorded : ndarray of int64, shape (n_cases,)
        -1 for never.
    moved, move_recorded : ndarray of int64, shape (n_moves,)
    deal_cases : ndarray of int64, shape (n_deals,)
        The case of each deal, in order of opening.
    deal_of : ndarray of int64, shape (n_cases,)
        Position of each case's deal; -1 for none.
    lead_ids, deal_ids, account_ids, user_ids : pyarrow.Array
        Reps first among users, then the managers of the teams, then the head of sales.
    """

    people: Population
    trails: Trails
    stop: int
    opened: Ints
    closed: Ints
    closed_recorded: Ints
    moved: Ints
    move_recorded: Ints
    deal_cases: Ints
    deal_of: Ints
    lead_ids: pa.Array
    deal_ids: pa.Array
    account_ids: pa.Array
    user_ids: pa.Array

    def lead_of(self, cases: npt.NDArray[Any]) -> Ints:
        """Give the position of each case's lead; -1 for a deal without one."""
        return np.where(cases < self.people.n_leads, cases, -1).astype(np.int64)


def within_day(rng: np.random.Generator, days: npt.NDArray[Any], first_hour: float, last_hour: float) -> Ints:
    """Draw a moment of each day between two hours."""
    low, high = int(first_hour * HOUR), int(last_hour * HOUR)
    return days.astype(np.int64) * SECONDS + rng.integers(low, high, len(days))


def lay_out(people: Population, trails: Trails, stop: int, rng: np.random.Generator) -> Timeline:
    """Draw the moments; a day's end of a record comes after everything else, and is recorded that day."""
    n = people.n_cases
    opened = np.where(trails.opened >= 0, within_day(rng, trails.opened, 9, 16.5), -1)
    direct = np.arange(n) >= people.n_leads
    opened[direct] = people.recorded[direct]
    opened[trails.opened < 0] = -1
    closed = np.where(trails.closed >= 0, within_day(rng, trails.closed, 17, 18.5), -1)
    slow = np.where(rng.random(n) < 0.3, rng.integers(0, 5 * HOUR, n), 0)
    closed_recorded = np.where(closed >= 0, closed + slow, -1)

    moves = trails.moves
    case, phase, new = moves["case"], moves["phase"], moves["new"]
    is_end = ((phase == LEAD_PHASE) & (new == DISQUALIFIED)) | ((phase == DEAL_PHASE) & (new >= WON))
    is_opening = (phase == LEAD_PHASE) & (new == DISQUALIFIED - 1)
    moved = within_day(rng, moves["day"], 9, 16.5)
    moved = np.where(is_end, closed[case], np.where(is_opening, opened[case], moved))
    recorded = np.where(is_end, closed_recorded[case], moved)

    cases = np.flatnonzero(opened >= 0)
    cases = cases[np.argsort(opened[cases], kind="stable")]
    deal_of = np.full(n, -1, dtype=np.int64)
    deal_of[cases] = np.arange(len(cases))
    return Timeline(
        people=people,
        trails=trails,
        stop=stop,
        opened=opened,
        closed=closed,
        closed_recorded=closed_recorded,
        moved=moved,
        move_recorded=recorded,
        deal_cases=cases,
        deal_of=deal_of,
        lead_ids=id_words("L", people.n_leads),
        deal_ids=id_words("D", len(cases)),
        account_ids=id_words("A", people.n_accounts),
        user_ids=id_words("U", people.n_reps + int(people.team.max()) + 2, width=5),
    )
