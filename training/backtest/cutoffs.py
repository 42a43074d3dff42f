"""Which past moments to go back to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crm.errors import InputError, NotEnoughData
from crm.history import History, utc
from crm.periods import next_period
from training.backtest.settings import BacktestSettings
from training.labels import OPEN, WON, outcomes, with_lead_outcome
from training.settings import TrainSettings
from training.train import ENTITIES

#: Distance between two cutoffs where none is asked for, and how many there are then at most.
EVERY = "1W"
MOST = 26


@dataclass(frozen=True)
class Plan:
    """The cutoffs of a backtest.

    Parameters
    ----------
    cutoffs : tuple of Timestamp
        Ascending, in UTC.
    every : str
        Their distance before any were left out.
    possible : int
        How many there were before.
    end : Timestamp
        End of observation: what happened is judged by what was recorded before it.
    """

    cutoffs: tuple[pd.Timestamp, ...]
    every: str
    possible: int
    end: pd.Timestamp

    def __str__(self) -> str:
        first, last = self.cutoffs[0], self.cutoffs[-1]
        said = f"{len(self.cutoffs)} cutoffs from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
        if self.possible > len(self.cutoffs):
            return f"{said}, evenly chosen from {self.possible} at {self.every}; ask for all with --every"
        return f"{said}, every {self.every}"


def plan_cutoffs(
    history: History,
    end: pd.Timestamp,
    settings: BacktestSettings,
    *,
    every: str | None = None,
    start: pd.Timestamp | None = None,
    until: pd.Timestamp | None = None,
) -> Plan:
    """Choose the cutoffs.

    Parameters
    ----------
    history : History
    end : Timestamp with a time zone
        End of observation.
    settings : BacktestSettings
    every : str, optional
        Their distance, as ``1W``; without it a week, and an even choice of :data:`MOST` where there would be
        more.
    start : Timestamp, optional
        The first; by default the first Monday (first of a month, for months and longer; midnight, for days)
        by which enough outcomes were known to train.
    until : Timestamp, optional
        None is later; by default the last for which the shortest horizon has passed.

    Raises
    ------
    NotEnoughData
        If the history never held enough outcomes to train, or no cutoff is left.
    InputError
        If a length of time cannot be read.
    """
    end = utc(end)
    shortest = min(_length(horizon, end) for horizon in settings.horizons)
    step = every or EVERY
    next_period(step, end)
    first = utc(start) if start is not None else _aligned(_first_trainable(history, settings.train), step)
    last = end - shortest if until is None else min(utc(until), end)
    if last < first:
        asked = (
            "--from is later than" if start is not None else "enough outcomes to train were known only after"
        )
        raise NotEnoughData(
            f"no cutoff to go back to: {asked} {last:%Y-%m-%d %H:%M} UTC, the last moment that leaves the "
            f"shortest horizon to judge; the first would be {first:%Y-%m-%d %H:%M} UTC. Ask for a shorter "
            "horizon, or wait for more history"
        )
    cutoffs = [first]
    while (later := next_period(step, cutoffs[-1]).end) <= last:
        cutoffs.append(later)
    chosen = cutoffs
    if every is None and len(cutoffs) > MOST:
        places = np.round(np.linspace(0, len(cutoffs) - 1, MOST)).astype(int)
        chosen = [cutoffs[place] for place in places]
    return Plan(tuple(chosen), step, len(cutoffs), end)


def _length(horizon: str, at: pd.Timestamp) -> pd.Timedelta:
    period = next_period(horizon, at)
    return period.end - period.start


def _first_trainable(history: History, settings: TrainSettings) -> pd.Timestamp:
    """Give the moment just after the outcome that first made enough of one kind of record."""
    history = with_lead_outcome(history, settings.lead_outcome)
    moments, held = [], []
    for entity in ENTITIES:
        found = outcomes(history, entity)
        timed = (found.events != OPEN) & ~found.untimed
        ended, won = np.sort(found.ended[timed]), np.sort(found.ended[timed & (found.events == WON)])
        held.append(f"{len(won)} {entity}s won and {len(ended)} closed at a known time")
        if len(won) >= settings.min_won and len(ended) >= settings.min_closed:
            moments.append(max(won[settings.min_won - 1], ended[settings.min_closed - 1]))
    if not moments:
        raise NotEnoughData(
            f"there is nothing to go back to: the history holds {' and '.join(held)}, and training needs "
            f"{settings.min_won} won and {settings.min_closed} closed before a cutoff; load more history"
        )
    return pd.Timestamp(int(min(moments)) + 1, unit="us", tz="UTC")


def _aligned(moment: pd.Timestamp, step: str) -> pd.Timestamp:
    """Give the first Monday, first of a month, or midnight from a moment on."""
    day = moment.ceil("D").as_unit("us")
    unit = step.strip().upper()[-1]
    if unit == "W":
        return day + pd.Timedelta(days=(7 - day.weekday()) % 7)
    if unit in "MQY" and day.day > 1:
        return (day + pd.offsets.MonthBegin(1)).as_unit("us")
    return day


def check_horizons(horizons: tuple[str, ...]) -> tuple[str, ...]:
    """Give horizons in one spelling, shortest first, each once.

    Raises
    ------
    InputError
        If there is none, or one cannot be read.

    Examples
    --------
    >>> check_horizons(("4w", "1W", "4W"))
    ('1W', '4W')
    """
    at = pd.Timestamp("2024-01-01", tz="UTC")
    read = {one.strip().upper(): _length(one, at) for one in horizons if one.strip()}
    if not read:
        raise InputError("--horizons: names none; write lengths with commas between, such as 1W,4W,1Q")
    return tuple(sorted(read, key=lambda one: read[one]))
