"""The table of activities: what prospects did, what reps did, what was planned, and when it was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.schema import STATUSES
from crm.simulator import process
from crm.simulator.calendar import Ints, weekday
from crm.simulator.columns import frame, id_words, moments, pick
from crm.simulator.population import SECONDS, column, draw
from crm.simulator.timeline import HOUR, Timeline, within_day
from crm.simulator.walk import CONVERTED, DEAL_PHASE, LEAD_PHASE, WON

# kind: (channel, direction 0 in 1 out, share among the prospect's acts, share among the rep's work)
KINDS = {
    "web visit": ("web", 0, 0.40, 0.0),
    "email received": ("email", 0, 0.30, 0.0),
    "call received": ("call", 0, 0.10, 0.0),
    "form submitted": ("form", 0, 0.07, 0.0),
    "chat": ("chat", 0, 0.08, 0.0),
    "social reply": ("social", 0, 0.05, 0.0),
    "email sent": ("email", 1, 0.0, 0.58),
    "call made": ("call", 1, 0.0, 0.32),
    "social message": ("social", 1, 0.0, 0.10),
    "meeting": ("meeting", 1, 0.0, 0.0),
}
NAMES = tuple(KINDS)
#: Acts of the prospect in which no rep takes part.
UNATTENDED = tuple(NAMES.index(k) for k in ("web visit", "form submitted"))
FORM_SOURCES = ("web form", "paid search", "webinar")
SECOND_VISIT_SHARE = 0.1
MEETING_SHARE = 0.45
CANCELLED_SHARE = 0.7
SCHEDULED, DONE, CANCELLED = (STATUSES.index(s) for s in ("scheduled", "done", "cancelled"))


@dataclass(frozen=True)
class Block:
    """Activities of one sort, as arrays of equal length; ``user`` is -1 where no rep took part."""

    case: npt.NDArray[Any]
    kind: npt.NDArray[Any]
    status: npt.NDArray[Any]
    user: npt.NDArray[Any]
    occurred: Ints
    recorded: Ints

    @classmethod
    def of(
        cls,
        case: npt.NDArray[Any],
        kind: npt.NDArray[Any] | int,
        user: npt.NDArray[Any],
        occurred: Ints,
        recorded: Ints | None = None,
        status: int = DONE,
    ) -> Block:
        """Make a block in the smallest integers that hold it."""
        return cls(
            case.astype(np.int32),
            np.broadcast_to(np.asarray(kind, dtype=np.int8), case.shape),
            np.full(len(case), status, dtype=np.int8),
            user.astype(np.int32),
            occurred,
            occurred if recorded is None else recorded,
        )


def make_activities(timeline: Timeline, rng: np.random.Generator) -> pd.DataFrame:
    """Give the activities recorded by the end, in the order of their recording."""
    blocks = [
        _births(timeline),
        *_inbound(timeline, rng),
        _outbound(timeline, rng),
        _first_contacts(timeline, rng),
        *_meetings(timeline, rng),
    ]
    recorded = np.concatenate([b.recorded for b in blocks])
    order = np.argsort(recorded, kind="stable")
    order = order[: np.searchsorted(recorded[order], timeline.stop)]

    def joined(name: str) -> npt.NDArray[Any]:
        return np.asarray(np.concatenate([getattr(b, name) for b in blocks])[order])

    case, kind, occurred = joined("case"), joined("kind"), joined("occurred")
    opened = timeline.opened[case]
    has_deal = (opened >= 0) & (occurred >= opened)
    people = timeline.people
    channels = list(dict.fromkeys(k[0] for k in KINDS.values()))
    channel_of = np.array([channels.index(k[0]) for k in KINDS.values()])
    return frame(
        {
            "activity_id": id_words("E", len(order), width=9),
            "lead_id": pick(timeline.lead_ids, timeline.lead_of(case)),
            "deal_id": pick(timeline.deal_ids, np.where(has_deal, timeline.deal_of[case], -1)),
            "account_id": pick(timeline.account_ids, people.account[case]),
            "user_id": pick(timeline.user_ids, joined("user")),
            "kind": pick(NAMES, kind),
            "channel": pick(channels, channel_of[kind]),
            "direction": pick(("in", "out"), column(KINDS, 1).astype(np.int64)[kind]),
            "status": pick(STATUSES, joined("status")),
            "occurred_at": moments(occurred),
            "recorded_at": moments(recorded[order]),
        }
    )


def _births(timeline: Timeline) -> Block:
    """The form with which a lead came in."""
    people = timeline.people
    names = list(process.SOURCES)
    case = np.flatnonzero(np.isin(people.source, [names.index(s) for s in FORM_SOURCES]))
    nobody = np.full(len(case), -1)
    kind = NAMES.index("form submitted")
    return Block.of(case, kind, nobody, people.created[case], people.recorded[case])


def _inbound(timeline: Timeline, rng: np.random.Generator) -> list[Block]:
    log = timeline.trails.inbound
    kind = draw(rng, column(KINDS, 2).astype(np.float64), len(log["case"]))
    user = np.where(np.isin(kind, UNATTENDED), -1, log["owner"])
    first = Block.of(log["case"], kind, user, within_day(rng, log["day"], 7, 17))
    again = np.flatnonzero(rng.random(len(kind)) < SECOND_VISIT_SHARE)
    later = within_day(rng, log["day"][again], 7, 17)
    return [first, Block.of(log["case"][again], NAMES.index("web visit"), np.full(len(again), -1), later)]


def _outbound(timeline: Timeline, rng: np.random.Generator) -> Block:
    log = timeline.trails.outbound
    kind = draw(rng, column(KINDS, 3).astype(np.float64), len(log["case"]))
    occurred = within_day(rng, log["day"], 8, 17)
    late = _typed_in_late(rng, occurred)
    is_automatic = kind == NAMES.index("email sent")
    return Block.of(log["case"], kind, log["owner"], occurred, np.where(is_automatic, occurred, late))


def _typed_in_late(rng: np.random.Generator, occurred: Ints) -> Ints:
    """Draw when a rep records work done by hand: at once, later that day, or some days later."""
    u = rng.random(len(occurred))
    same_day = rng.integers(0, 4 * HOUR, len(occurred))
    days = rng.integers(1, 7, len(occurred)) * SECONDS + same_day
    return occurred + np.where(u < 0.5, 0, np.where(u < 0.92, same_day, days))


def _first_contacts(timeline: Timeline, rng: np.random.Generator) -> Block:
    """The call or email that makes a new lead a contacted one."""
    moves = timeline.trails.moves
    rows = np.flatnonzero((moves["phase"] == LEAD_PHASE) & (moves["old"] == 0) & (moves["new"] == 1))
    kinds = np.array([NAMES.index("email sent"), NAMES.index("call made")])
    kind = kinds[rng.integers(0, 2, len(rows))]
    return Block.of(moves["case"][rows], kind, moves["owner"][rows], timeline.moved[rows])


def _meetings(timeline: Timeline, rng: np.random.Generator) -> list[Block]:
    """Meetings put in the calendar on a step forward; held, or called off, some days later."""
    moves = timeline.trails.moves
    is_step = (moves["new"] > moves["old"]) & (moves["new"] >= 1)
    is_step &= np.where(
        moves["phase"] == DEAL_PHASE, moves["new"] < WON, (moves["old"] >= 1) & (moves["new"] <= CONVERTED)
    )
    rows = np.flatnonzero(is_step)
    rows = rows[rng.random(len(rows)) < MEETING_SHARE]
    case, user, planned = moves["case"][rows], moves["owner"][rows], timeline.moved[rows]
    kind = NAMES.index("meeting")

    day = moves["day"][rows].astype(np.int64) + rng.integers(1, 11, len(rows))
    day += np.where(weekday(day) >= 5, 7 - weekday(day), 0)
    held = within_day(rng, day, 9, 17)
    closed = timeline.closed[case]
    is_off = (closed >= 0) & (closed < held)
    is_on = ~is_off & (held < timeline.stop)
    told = is_off & (rng.random(len(rows)) < CANCELLED_SHARE)
    recorded = _typed_in_late(rng, held)
    return [
        Block.of(case, kind, user, planned, status=SCHEDULED),
        Block.of(case[is_on], kind, user[is_on], held[is_on], recorded[is_on]),
        Block.of(case[told], kind, user[told], closed[told], status=CANCELLED),
    ]
