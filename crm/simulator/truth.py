"""The true probabilities, by exact backward recursion over the law that the records followed.

The state of a record at a moment is what the history recorded before that moment says it is; nothing is
latent, so these are the best predictions that anybody could make from the history. They know the law and
the calendar, not the future. The moment is taken at the first instant of its day (UTC).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.errors import InputError
from crm.history import utc
from crm.simulator import process
from crm.simulator.calendar import Ints, WorkingDays
from crm.simulator.process import Floats
from crm.simulator.walk import CLOSED, LEAD_CODES

#: Nearly every deal has ended after so many days: what is left is under one in a million.
EVENTUALLY_DAYS = 1_100

Moments = datetime | str | pd.Series | pd.DatetimeIndex


@dataclass(frozen=True)
class Law:
    """Backward steps of both chains, by calendar class."""

    deals: process.Chances = field(default_factory=process.deal_chances)
    leads: process.Chances = field(default_factory=process.lead_chances)
    deal_acts: Floats = field(default_factory=lambda: process.inbound_chance(process.DEAL_INBOUND))
    lead_acts: Floats = field(default_factory=lambda: process.inbound_chance(process.LEAD_INBOUND))

    def step(self, kind: int, is_monday: bool, deal: Floats, lead: Floats) -> tuple[Floats, Floats]:
        """Give the values before a working day from those after it."""
        pushed = np.tensordot(deal, process.due_shares(process.PUSHED_DUE), axes=(3, 0))
        pushed = np.concatenate([pushed[..., 1:], pushed[..., -1:]], axis=-1)[:, :, :, None, :]
        p_push = process.PUSH_CHANCE[:, None]
        deal_next = (1 - p_push) * deal + p_push * pushed
        deal_before = _move(self.deals, kind, deal_next, self.deal_acts[kind], 1.0)

        fresh = np.broadcast_to(lead[..., :1], lead.shape)
        lead_before = _move(
            self.leads, kind, lead, self.lead_acts[kind], self._opened(deal)[:, None, :, None], fresh
        )
        if is_monday:
            deal_before = deal_before[:, :, process.MONDAY_ENGAGEMENT][:, :, :, process.monday_due()]
            lead_before = lead_before[:, :, process.MONDAY_ENGAGEMENT][..., process.monday_age()]
        return deal_before, lead_before

    def _opened(self, deal: Floats) -> Floats:
        """Value of a deal just opened, by quality of its lead and engagement: shape (N_Q, N_ENGAGEMENT)."""
        at_birth = np.tensordot(deal[:, 0, :, :, 0], process.due_shares(process.FIRST_DUE), axes=(2, 0))
        quality = np.arange(process.Q_MIN, process.Q_MAX + 1)
        value = np.zeros_like(at_birth)
        for offset, share in process.deal_offsets():
            value += share * at_birth[process.clip_quality(quality + offset) - process.Q_MIN]
        return value


def _move(
    chances: process.Chances,
    kind: int,
    after: Floats,
    acts: Floats,
    value_of_good: Floats | float,
    after_change: Floats | None = None,
) -> Floats:
    """Expected value over the day; ``after_change`` is what follows once the stage moved."""
    p_in = acts.reshape(process.N_Q, 1, process.N_ENGAGEMENT, *([1] * (after.ndim - 3)))

    def with_acting(value: Floats) -> Floats:
        return (1 - p_in) * value + p_in * value[:, :, process.ACTED_ENGAGEMENT]

    same = with_acting(after)
    changed = same if after_change is None else with_acting(after_change)
    forward = np.concatenate([changed[:, 1:], changed[:, -1:]], axis=1)
    backward = np.concatenate([changed[:, :1], changed[:, :-1]], axis=1)
    good, lost = chances.exit_good[kind], chances.exit_lost[kind]
    advance, back = chances.advance[kind], chances.back[kind]
    stay = 1 - good - lost - advance - back
    return np.asarray(good * value_of_good + advance * forward + back * backward + stay * same)


@dataclass(frozen=True)
class Truth:
    """True probabilities of the records of one simulation.

    Parameters
    ----------
    leads, deals : Series
        Number of the case, by the record's id.
    case, day, code : ndarray
        The log of states, sorted by case and day.
    first, stop : int
        Days of the simulation.
    """

    leads: pd.Series
    deals: pd.Series
    case: npt.NDArray[np.int32]
    day: npt.NDArray[np.int32]
    code: npt.NDArray[np.int32]
    first: int
    stop: int

    @cached_property
    def _order(self) -> Ints:
        return self.case.astype(np.int64) * (self.stop - self.first + 2) + (self.day - self.first)

    @cached_property
    def _law(self) -> Law:
        return Law()

    def lead_probability(
        self, lead_ids: Sequence[str] | pd.Series, as_of: Moments, horizon_days: int
    ) -> Floats:
        """Give the chance that each lead's deal is won within the horizon.

        Parameters
        ----------
        lead_ids : sequence of str, shape (n,)
        as_of : datetime, str, Series or DatetimeIndex
            One moment with a time zone, or one for each lead.
        horizon_days : int
            Days from the first instant of the day of ``as_of``.

        Returns
        -------
        ndarray of float64, shape (n,)
            NaN where the lead was unknown or closed.

        Raises
        ------
        InputError
            Where an id is not a lead's.
        """
        rows, days, codes = self._states(self.leads, "lead_id", lead_ids, as_of)
        result = np.full(len(codes), np.nan)
        for day in np.unique(days[rows]).tolist():
            *_, (_, deal, lead) = self._backward(day, day + horizon_days)
            here = rows[days[rows] == day]
            result[here] = np.concatenate([lead.ravel(), deal.ravel()])[codes[here]]
        return result

    def deal_probability(self, deal_ids: Sequence[str] | pd.Series, as_of: Moments) -> Floats:
        """Give the chance that each deal ends won, whenever that is.

        Parameters
        ----------
        deal_ids : sequence of str, shape (n,)
        as_of : datetime, str, Series or DatetimeIndex
            One moment with a time zone, or one for each deal.

        Returns
        -------
        ndarray of float64, shape (n,)
            NaN where the deal was unknown or closed.

        Raises
        ------
        InputError
            Where an id is not a deal's.
        """
        rows, days, codes = self._states(self.deals, "deal_id", deal_ids, as_of)
        rows = rows[codes[rows] >= LEAD_CODES]
        result = np.full(len(codes), np.nan)
        if not len(rows):
            return result
        asked = np.unique(days[rows])
        waiting = asked.tolist()
        for day, deal, _ in self._backward(int(asked[0]), int(asked[-1]) + EVENTUALLY_DAYS):
            while waiting and waiting[-1] >= day:
                here = rows[days[rows] == waiting.pop()]
                result[here] = deal.ravel()[codes[here] - LEAD_CODES]
        return result

    def lead_states(self, lead_ids: Sequence[str] | pd.Series, as_of: Moments) -> pd.DataFrame:
        """Give the state of each lead, and of its deal once there is one, on which the probability rests.

        Parameters
        ----------
        lead_ids : sequence of str, shape (n,)
        as_of : datetime, str, Series or DatetimeIndex
            One moment with a time zone, or one for each lead.

        Returns
        -------
        DataFrame, shape (n, 8)
            ``has_deal, quality`` (tenths of a logit), ``stage, engagement, has_acted, age, due, pushes`` as
            :mod:`crm.simulator.process` defines them; NaN where the lead was unknown or closed, ``age``
            once there is a deal, ``due`` and ``pushes`` before.
        """
        rows, _, codes = self._states(self.leads, "lead_id", lead_ids, as_of)
        names = ["has_deal", "quality", "stage", "engagement", "has_acted", "age", "due", "pushes"]
        values = np.full((len(codes), len(names)), np.nan)
        has_deal = codes[rows] >= LEAD_CODES
        for n_phase, shape, last in ((0, process.LEAD_SHAPE, [5]), (1, process.DEAL_SHAPE, [6, 7])):
            here = rows[has_deal == bool(n_phase)]
            quality, stage, engagement, *more = np.unravel_index(codes[here] - LEAD_CODES * n_phase, shape)
            known = (
                np.full(len(here), n_phase),
                quality + process.Q_MIN,
                stage,
                engagement // 2,
                engagement % 2,
            )
            values[here[:, None], [0, 1, 2, 3, 4, *last]] = np.stack([*known, *more], axis=1)
        return pd.DataFrame(values, columns=names)

    def _backward(self, first: int, stop: int) -> Iterator[tuple[int, Floats, Floats]]:
        """Give the values at the start of each working day, last first, then those at ``first``.

        A day that is given stands for itself and the weekend before it.
        """
        deal, lead = np.zeros(process.DEAL_SHAPE), np.zeros(process.LEAD_SHAPE)
        yield stop, deal, lead
        days = WorkingDays.between(first, stop)
        for t in range(len(days.days) - 1, -1, -1):
            deal, lead = self._law.step(int(days.classes[t]), bool(days.is_monday[t]), deal, lead)
            yield (int(days.days[t - 1]) + 1 if t else first), deal, lead

    def _states(
        self, records: pd.Series, key: str, ids: Sequence[str] | pd.Series, as_of: Moments
    ) -> tuple[Ints, Ints, Ints]:
        """Give the positions of records open then, and for all the day asked and the state."""
        names = pd.Index(ids)
        position = records.index.get_indexer(names)
        if (position < 0).any():
            unknown = names[position < 0][0]
            raise InputError(
                f"truth: {key} = {unknown!r}: not in this simulation; ask for ids of its history"
            )
        cases = records.to_numpy()[position].astype(np.int64)
        days = _days(as_of, len(names))
        span = self.stop - self.first + 2
        asked = cases * span + np.clip(days - self.first, 0, span - 1)
        last = np.searchsorted(self._order, asked, side="left") - 1
        codes = np.full(len(names), CLOSED, dtype=np.int64)
        known = (last >= 0) & (self.case[last] == cases)
        codes[known] = self.code[last[known]]
        return np.flatnonzero(codes != CLOSED), days, codes


def _days(as_of: Moments, n: int) -> Ints:
    if isinstance(as_of, pd.Series | pd.DatetimeIndex):
        moments = pd.DatetimeIndex(as_of).tz_convert("UTC").tz_localize(None)
        return moments.to_numpy().astype("datetime64[D]").astype(np.int64)
    day = utc(as_of).tz_localize(None).to_datetime64().astype("datetime64[D]").astype(np.int64)
    return np.full(n, day, dtype=np.int64)
