"""The table of changes: stages, owners, amounts and expected close dates, and the values they end at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from crm.simulator import process
from crm.simulator.calendar import Ints, weekday
from crm.simulator.columns import frame, id_words, moment_words, moments, number_words, pick
from crm.simulator.population import SECONDS
from crm.simulator.timeline import Timeline, within_day
from crm.simulator.walk import DEAL_PHASE, LEAD_PHASE, WON

LEAD_STAGE_NAMES = (*process.LEAD_STAGES, "converted", "disqualified")
DEAL_STAGE_NAMES = (*process.DEAL_STAGES, "closed won", "closed lost")

PROPOSAL = process.DEAL_STAGES.index("proposal")
REVISED_SHARE, REVISION_SPREAD = 0.5, 0.15
DISCOUNT_SHARE, LARGEST_DISCOUNT = 0.4, 0.15


@dataclass(frozen=True)
class FieldChanges:
    """Changes of some fields of leads or deals, as arrays of equal length.

    Parameters
    ----------
    entity : {"lead", "deal"}
    field : str
    case, user : ndarray
    changed, recorded : ndarray of int64
        Seconds since 1970.
    old, new : pyarrow.Array
        As text.
    """

    entity: str
    field: str
    case: npt.NDArray[Any]
    user: npt.NDArray[Any]
    changed: Ints
    recorded: Ints
    old: pa.Array
    new: pa.Array


@dataclass(frozen=True)
class Fields:
    """The changes, and the present values of what they changed.

    Parameters
    ----------
    changes : DataFrame
        The canonical table.
    lead_stage, deal_stage : ndarray of int64, shape (n_cases,)
    amount, expected_close : ndarray, shape (n_cases,)
        Of the case's deal, should there be one; the second in seconds since 1970.
    """

    changes: pd.DataFrame
    lead_stage: Ints
    deal_stage: Ints
    amount: npt.NDArray[np.float64]
    expected_close: Ints


def make_fields(timeline: Timeline, rng: np.random.Generator) -> Fields:
    """Give the changes, in the order of their recording, and the present values."""
    amount, amounts = _amounts(timeline, rng)
    expected_close, pushes = _pushes(timeline, rng)
    parts = [*_stages(timeline), *_owners(timeline, rng), amounts, pushes]
    lead_stage, deal_stage = _present_stages(timeline)
    return Fields(_table(timeline, parts), lead_stage, deal_stage, amount, expected_close)


def _present_stages(timeline: Timeline) -> tuple[Ints, Ints]:
    moves = timeline.trails.moves
    stages = []
    for phase in (LEAD_PHASE, DEAL_PHASE):
        stage = np.zeros(timeline.people.n_cases, dtype=np.int64)
        rows = np.flatnonzero(moves["phase"] == phase)
        # Moves are logged day by day, so the last assignment is the latest.
        stage[moves["case"][rows]] = moves["new"][rows]
        stages.append(stage)
    return stages[0], stages[1]


def _stages(timeline: Timeline) -> list[FieldChanges]:
    moves = timeline.trails.moves
    parts = []
    for phase, entity, names in (
        (LEAD_PHASE, "lead", LEAD_STAGE_NAMES),
        (DEAL_PHASE, "deal", DEAL_STAGE_NAMES),
    ):
        rows = np.flatnonzero(moves["phase"] == phase)
        parts.append(
            FieldChanges(
                entity,
                "stage",
                moves["case"][rows],
                moves["owner"][rows],
                timeline.moved[rows],
                timeline.move_recorded[rows],
                pick(names, moves["old"][rows]),
                pick(names, moves["new"][rows]),
            )
        )
    return parts


def _owners(timeline: Timeline, rng: np.random.Generator) -> list[FieldChanges]:
    log = timeline.trails.handovers
    at = within_day(rng, log["day"], 8, 9)
    parts = []
    for entity, rows in (
        ("lead", np.flatnonzero(log["case"] < timeline.people.n_leads)),
        ("deal", np.flatnonzero(log["phase"] == DEAL_PHASE)),
    ):
        manager = timeline.people.n_reps + timeline.people.team[log["new"][rows]]
        old, new = pick(timeline.user_ids, log["old"][rows]), pick(timeline.user_ids, log["new"][rows])
        parts.append(
            FieldChanges(entity, "owner_id", log["case"][rows], manager, at[rows], at[rows], old, new)
        )
    return parts


def _amounts(timeline: Timeline, rng: np.random.Generator) -> tuple[npt.NDArray[np.float64], FieldChanges]:
    """Revise amounts with the proposal, and lower some when the deal is won."""
    moves = timeline.trails.moves
    is_deal = moves["phase"] == DEAL_PHASE
    to_proposal = is_deal & (moves["new"] == PROPOSAL) & (moves["old"] < PROPOSAL)
    is_won = is_deal & (moves["new"] == WON)
    u = rng.random(len(is_deal))
    rows = np.flatnonzero((to_proposal & (u < REVISED_SHARE)) | (is_won & (u < DISCOUNT_SHARE)))
    revision = np.exp(REVISION_SPREAD * rng.standard_normal(len(rows)))
    discount = 1 - LARGEST_DISCOUNT * rng.random(len(rows))
    factor = np.where(is_won[rows], discount, revision)

    order = np.argsort(moves["case"][rows], kind="stable")
    rows, factor = rows[order], factor[order]
    case = moves["case"][rows]
    is_first = np.r_[True, case[1:] != case[:-1]][: len(case)]
    initial = timeline.people.amount
    total = np.cumsum(np.log(factor))
    before = (total - np.log(factor))[is_first][np.cumsum(is_first) - 1]
    new = np.maximum(np.rint(initial[case] * np.exp(total - before)), 1.0)
    old = np.where(is_first, initial[case], np.r_[0.0, new[:-1]][: len(new)])
    present = initial.copy()
    present[case] = new
    differs = old != new
    rows, case, old, new = rows[differs], case[differs], old[differs], new[differs]
    changes = FieldChanges(
        "deal",
        "amount",
        case,
        moves["owner"][rows],
        timeline.moved[rows],
        timeline.move_recorded[rows],
        number_words(old),
        number_words(new),
    )
    return present, changes


def _date_of_week(rng: np.random.Generator, day: npt.NDArray[Any], due: npt.NDArray[Any]) -> Ints:
    """Draw a working day of the week ``due``, 1 being that of ``day``; give its first second."""
    day = day.astype(np.int64)
    date: Ints = day - weekday(day) + 7 * (due - 1) + rng.integers(0, 5, len(day))
    return date * SECONDS


def _pushes(timeline: Timeline, rng: np.random.Generator) -> tuple[Ints, FieldChanges]:
    people, log = timeline.people, timeline.trails.pushes
    initial = _date_of_week(rng, timeline.trails.opened, people.first_due)
    order = np.argsort(log["case"], kind="stable")
    case, day = log["case"][order], log["day"][order]
    new = _date_of_week(rng, day, log["due"][order])
    is_first = np.r_[True, case[1:] != case[:-1]][: len(case)]
    old = np.where(is_first, initial[case], np.r_[0, new[:-1]][: len(new)])
    present = initial.copy()
    present[case] = new
    at = within_day(rng, day, 9, 16.5)
    user = timeline.trails.owner[case]
    return present, FieldChanges(
        "deal", "expected_close_at", case, user, at, at, moment_words(old), moment_words(new)
    )


def _table(timeline: Timeline, parts: list[FieldChanges]) -> pd.DataFrame:
    recorded = np.concatenate([p.recorded for p in parts])
    changed = np.concatenate([p.changed for p in parts])
    order = np.lexsort((changed, recorded))
    lengths = [len(p.case) for p in parts]
    which = np.repeat(np.arange(len(parts)), lengths)[order]
    records = [
        pick(timeline.lead_ids, p.case)
        if p.entity == "lead"
        else pick(timeline.deal_ids, timeline.deal_of[p.case])
        for p in parts
    ]

    def sorted_words(arrays: list[pa.Array]) -> pa.Array:
        return pa.concat_arrays(arrays).take(pa.array(order))

    return frame(
        {
            "change_id": id_words("C", len(order), width=9),
            "entity": pick([p.entity for p in parts], which),
            "record_id": sorted_words(records),
            "field": pick([p.field for p in parts], which),
            "old_value": sorted_words([p.old for p in parts]),
            "new_value": sorted_words([p.new for p in parts]),
            "user_id": pick(timeline.user_ids, np.concatenate([p.user for p in parts])[order]),
            "changed_at": moments(changed[order]),
            "recorded_at": moments(recorded[order]),
        }
    )
