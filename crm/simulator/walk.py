"""Walking every record forward, one working day at a time, all live records at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from crm.simulator import process
from crm.simulator.calendar import WorkingDays
from crm.simulator.population import Population
from crm.simulator.tables import ADVANCE, BACK, GOOD, ChainTables, deal_tables, lead_tables

Ints = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]

HANDOVER_CHANCE = 0.0006
OUTBOUND_IN_SLOW_WEEKS = 0.6
#: Below this many open leads a rep, on average, nobody counts as busy or idle.
LEAST_MEAN_LOAD = 3.0

LEAD_PHASE, DEAL_PHASE = 0, 1
CONVERTED, DISQUALIFIED = len(process.LEAD_STAGES), len(process.LEAD_STAGES) + 1
WON, LOST = len(process.DEAL_STAGES), len(process.DEAL_STAGES) + 1

LEAD_CODES = int(np.prod(process.LEAD_SHAPE))
CLOSED = -1


@dataclass
class Log:
    """Rows appended as arrays, one list a column."""

    columns: tuple[str, ...]
    chunks: list[tuple[npt.NDArray[Any], ...]] = field(default_factory=list)

    def add(self, *values: npt.NDArray[Any] | int) -> None:
        """Append rows; the first value is an array, a number stands for all its rows."""
        first = np.asarray(values[0], dtype=np.int32)
        if len(first):
            rest = (np.broadcast_to(np.asarray(v, dtype=np.int32), first.shape) for v in values[1:])
            self.chunks.append((first, *rest))

    def table(self) -> dict[str, Small]:
        """Give the rows, one array a column."""
        if not self.chunks:
            return {name: np.empty(0, dtype=np.int32) for name in self.columns}
        columns = zip(*self.chunks, strict=True)
        return {name: np.concatenate(c) for name, c in zip(self.columns, columns, strict=True)}


@dataclass(frozen=True)
class Trails:
    """What happened to every case (a lead, or a deal without one), as arrays of day and case numbers.

    Parameters
    ----------
    states : dict
        ``case, day, code``: the state at the end of the day, where it changed; ``CLOSED`` once closed, a
        deal's code counted from ``LEAD_CODES``.
    moves : dict
        ``case, day, phase, old, new, owner``: stage moves, the last of which may be an end.
    inbound, outbound : dict
        ``case, day, phase, owner``: days on which the prospect acted, or the rep did.
    pushes : dict
        ``case, day, due``: the close date moved to the week ``due``.
    handovers : dict
        ``case, day, phase, old, new``.
    opened, closed : ndarray of int32, shape (n_cases,)
        Day the deal was opened and the case ended; -1 for never.
    is_won : ndarray of bool, shape (n_cases,)
    owner, first_owner : ndarray of int32, shape (n_cases,)
    """

    states: dict[str, Small]
    moves: dict[str, Small]
    inbound: dict[str, Small]
    outbound: dict[str, Small]
    pushes: dict[str, Small]
    handovers: dict[str, Small]
    opened: Small
    closed: Small
    is_won: npt.NDArray[np.bool_]
    owner: Small
    first_owner: Small


class Walk:
    """The live records of one simulation, and what they leave behind."""

    def __init__(self, population: Population, days: WorkingDays, rng: np.random.Generator) -> None:
        people, n = population, population.n_cases
        self.people, self.days, self.rng = people, days, rng
        self.tables = (lead_tables(), deal_tables())
        self.ids = [np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)]
        self.codes = [np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)]
        self.states = Log(("case", "day", "code"))
        self.moves = Log(("case", "day", "phase", "old", "new", "owner"))
        self.inbound = Log(("case", "day", "phase", "owner"))
        self.outbound = Log(("case", "day", "phase", "owner"))
        self.pushes = Log(("case", "day", "due"))
        self.handovers = Log(("case", "day", "phase", "old", "new"))
        self.opened = np.full(n, -1, dtype=np.int32)
        self.closed = np.full(n, -1, dtype=np.int32)
        self.is_won = np.zeros(n, dtype=np.bool_)
        self.owner = people.first_owner.astype(np.int32)
        self.first_owner = self.owner.copy()
        self.is_customer = np.zeros(people.n_accounts, dtype=np.bool_)
        self.joins = np.searchsorted(days.days, people.recorded_day, side="right")

    def run(self) -> Trails:
        """Walk through all days."""
        order = np.argsort(self.joins, kind="stable").astype(np.int32)
        bounds = np.searchsorted(self.joins[order], np.arange(len(self.days.days) + 2))
        for t, day in enumerate(self.days.days.tolist()):
            self._hand_over(day)
            self._join(order[bounds[t] : bounds[t + 1]], day)
            self._move(t, day)
        # Records that came in after the last working day have a state and have not moved.
        self._join(order[bounds[-2] : bounds[-1]], int(self.days.days[-1]))
        return Trails(
            self.states.table(),
            self.moves.table(),
            self.inbound.table(),
            self.outbound.table(),
            self.pushes.table(),
            self.handovers.table(),
            self.opened,
            self.closed,
            self.is_won,
            self.owner,
            self.first_owner,
        )

    def _join(self, cases: Small, day: int) -> None:
        people = self.people
        if not len(cases):
            return
        owner = self.owner[cases]
        owner = np.where(people.leaves_on[owner] <= day, people.peer[owner], owner).astype(np.int32)
        self.owner[cases] = self.first_owner[cases] = owner
        quality = people.quality[cases] + people.skill[owner]
        quality = quality + process.RETURNING_EFFECT * self.is_customer[people.account[cases]]
        is_lead = cases < people.n_leads
        quality[is_lead] += self._load_effect(owner[is_lead], day)
        quality = process.clip_quality(quality)

        leads = cases[is_lead]
        codes = lead_code(quality[is_lead], 0, people.engagement[leads], 0)
        self._enter(LEAD_PHASE, leads, codes, people.recorded_day[leads])
        deals = cases[~is_lead]
        if len(deals):
            self.opened[deals] = people.recorded_day[deals]
            self._open(deals, quality[~is_lead], people.engagement[deals], people.recorded_day[deals])

    def _load_effect(self, owner: Small, day: int) -> Ints:
        """Effect of how many open leads a rep has beside the others, at the close of the day before."""
        people = self.people
        load = np.bincount(self.owner[self.ids[LEAD_PHASE]], minlength=people.n_reps)[: people.n_reps]
        mean = load[people.leaves_on > day].mean()
        if mean < LEAST_MEAN_LOAD:
            return np.zeros(len(owner), dtype=np.int64)
        ratio = load[owner] / mean
        effect = np.where(ratio > process.BUSY_RATIO, process.BUSY_EFFECT, 0)
        return np.where(ratio < process.IDLE_RATIO, process.IDLE_EFFECT, effect)

    def _enter(self, phase: int, cases: Small, codes: Small, day: npt.NDArray[Any] | int) -> None:
        self.ids[phase] = np.concatenate([self.ids[phase], cases])
        self.codes[phase] = np.concatenate([self.codes[phase], codes])
        self.states.add(cases, day, codes + LEAD_CODES * phase)

    def _open(
        self,
        cases: Small,
        quality: npt.NDArray[Any],
        engagement: npt.NDArray[Any],
        day: npt.NDArray[Any] | int,
    ) -> None:
        quality = process.clip_quality(quality + self.people.deal_offset[cases])
        self._enter(
            DEAL_PHASE, cases, deal_code(quality, 0, engagement, self.people.first_due[cases], 0), day
        )

    def _hand_over(self, day: int) -> None:
        people, rng = self.people, self.rng
        for phase in (LEAD_PHASE, DEAL_PHASE):
            ids = self.ids[phase]
            n = rng.binomial(len(ids), HANDOVER_CHANCE)
            picked = np.zeros(len(ids), dtype=np.bool_)
            picked[rng.integers(0, max(len(ids), 1), n)] = True
            picked |= people.leaves_on[self.owner[ids]] <= day
            cases = ids[picked]
            old = self.owner[cases]
            new = people.peer[old].astype(np.int32)
            changed = new != old
            self.handovers.add(cases[changed], day, phase, old[changed], new[changed])
            self.owner[cases] = new

    def _move(self, t: int, day: int) -> None:
        converted, codes = self._step(LEAD_PHASE, t, day)
        quality, _, engagement, _ = np.unravel_index(codes, process.LEAD_SHAPE)
        won, _ = self._step(DEAL_PHASE, t, day)
        self.is_won[won] = True
        self.is_customer[self.people.account[won]] = True
        # A deal opened today moves from the next working day on.
        self.opened[converted] = day
        self._open(converted, quality + process.Q_MIN, engagement, day)

    def _step(self, phase: int, t: int, day: int) -> tuple[Small, Small]:
        """Move the live records of one phase; give those that ended well and their last states."""
        rng, tables = self.rng, self.tables[phase]
        kind = int(self.days.classes[t])
        ids, start = self.ids[phase], self.codes[phase]
        codes = tables.monday[start] if self.days.is_monday[t] else start.copy()

        u = rng.random(len(ids))
        moving = np.flatnonzero(u < tables.cumulative[kind, BACK][codes])
        event = (u[moving] >= tables.cumulative[kind][:, codes[moving]]).sum(axis=0)
        ended = event < ADVANCE
        good = moving[event == GOOD]
        self._log_moves(phase, day, tables, ids[moving], codes[moving], event)
        result = ids[good], codes[good]
        for what, following in ((ADVANCE, tables.advance), (BACK, tables.back)):
            rows = moving[event == what]
            codes[rows] = following[codes[rows]]

        gone = moving[ended]
        final = ids[gone] if phase == DEAL_PHASE else ids[moving[ended & (event != GOOD)]]
        self.closed[final] = day
        self.states.add(final, day, CLOSED)
        if len(gone):
            stays = np.ones(len(ids), dtype=np.bool_)
            stays[gone] = False
            ids, start, codes = ids[stays], start[stays], codes[stays]

        acted = np.flatnonzero(rng.random(len(ids)) < tables.inbound[kind][codes])
        codes[acted] = tables.acted[codes[acted]]
        self.inbound.add(ids[acted], day, phase, self.owner[ids[acted]])
        if phase == DEAL_PHASE:
            self._push(day, tables, ids, codes)
        pace = OUTBOUND_IN_SLOW_WEEKS if kind >= 2 else 1.0
        worked = np.flatnonzero(rng.random(len(ids)) < tables.outbound[codes] * pace)
        self.outbound.add(ids[worked], day, phase, self.owner[ids[worked]])

        changed = np.flatnonzero(codes != start)
        self.states.add(ids[changed], day, codes[changed] + LEAD_CODES * phase)
        self.ids[phase], self.codes[phase] = ids, codes
        return result

    def _log_moves(
        self, phase: int, day: int, tables: ChainTables, cases: Small, codes: Small, event: npt.NDArray[Any]
    ) -> None:
        old = tables.stage[codes]
        n_stages = tables.n_stages
        # Events are good, lost, advance, back; the ends stand after the stages, good first.
        new = np.where(event < ADVANCE, n_stages + event, np.where(event == ADVANCE, old + 1, old - 1))
        self.moves.add(cases, day, phase, old, new, self.owner[cases])

    def _push(self, day: int, tables: ChainTables, ids: Small, codes: Small) -> None:
        rows = np.flatnonzero(self.rng.random(len(ids)) < tables.push_chance[codes])
        weeks, shares = zip(*process.PUSHED_DUE, strict=True)
        due = self.rng.choice(np.array(weeks, dtype=np.int32), size=len(rows), p=shares)
        codes[rows] = tables.pushed[codes[rows]] + due * process.N_PUSHES
        self.pushes.add(ids[rows], day, due)


def lead_code(quality: npt.NDArray[Any], stage: int, engagement: npt.NDArray[Any], age: int) -> Small:
    """Give the number of each lead's state."""
    parts = np.broadcast_arrays(quality - process.Q_MIN, stage, engagement, age)
    return np.ravel_multi_index(tuple(parts), process.LEAD_SHAPE).astype(np.int32)


def deal_code(
    quality: npt.NDArray[Any], stage: int, engagement: npt.NDArray[Any], due: npt.NDArray[Any], pushes: int
) -> Small:
    """Give the number of each deal's state."""
    parts = np.broadcast_arrays(quality - process.Q_MIN, stage, engagement, due, pushes)
    return np.ravel_multi_index(tuple(parts), process.DEAL_SHAPE).astype(np.int32)
