"""Which of the three models a history can train, from what, and what it lacks for the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from training.doctor.finding import length, number, share
from training.labels import LOST, OPEN, WON, Outcomes, outcomes
from training.settings import TrainSettings

PROPENSITY = "purchase propensity"
WIN = "deal-win probability"
CYCLE = "cycle length"

_DAY_US = 86_400e6


@dataclass(frozen=True)
class Sizes:
    """How the records of one kind ended, and what a model can see of them.

    Parameters
    ----------
    entity : {"lead", "deal"}
    records, won, lost, open : int
    untimed : int
        Outcomes without a time.
    seen : int
        Records with a timed outcome that were open at a regular look, and so can teach how open ones end.
    looks : int
        Regular looks at open records: the rows a model learns from, before sampling.
    median_days : float or None
        From when the CRM knew a record to its outcome.
    definition : str
        What counts as won.
    """

    entity: str
    records: int
    won: int
    lost: int
    open: int
    untimed: int
    seen: int
    looks: int
    median_days: float | None
    definition: str

    @property
    def closed(self) -> int:
        """Records that were won or lost."""
        return self.won + self.lost

    @property
    def mostly_untimed(self) -> bool:
        """Whether training must take the records without time, as single steps."""
        return self.untimed * 2 > self.closed


@dataclass(frozen=True)
class Readiness:
    """Whether one model can be trained.

    Parameters
    ----------
    model : str
    entity : {"lead", "deal"}
    can : bool
    says : str
        The answer in plain words: what there is, or what is missing and how to get it.
    missing_won, missing_closed : int
        How many more wins, and outcomes in all, it takes.
    cautions : tuple of str
        What weakens a model that can be trained.
    """

    model: str
    entity: str
    can: bool
    says: str
    missing_won: int
    missing_closed: int
    cautions: tuple[str, ...] = ()


def measure(known: History, entity: str, as_of: pd.Timestamp, every_days: float) -> Sizes:
    """Count the outcomes of one kind of record, as training would.

    Parameters
    ----------
    known : History
        As known at ``as_of``.
    entity : {"lead", "deal"}
    as_of : Timestamp
    every_days : float
        Distance between two looks.
    """
    found = outcomes(known, entity)
    records = known.leads if entity == "lead" else known.deals
    looks, days = _looks(found, records, as_of, every_days)
    timed = (found.events != OPEN) & ~found.untimed
    return Sizes(
        entity=entity,
        records=len(found.record_ids),
        won=int((found.events == WON).sum()),
        lost=int((found.events == LOST).sum()),
        open=int((found.events == OPEN).sum()),
        untimed=int(found.untimed.sum()),
        seen=int((timed & (looks > 0)).sum()),
        looks=int(looks.sum()),
        median_days=float(np.median(days[timed])) if timed.any() else None,
        definition=found.definition,
    )


def _looks(
    found: Outcomes, records: pd.DataFrame, as_of: pd.Timestamp, every_days: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Give each record's number of looks while it was open, and its days from first known to its end."""
    step = round(every_days * _DAY_US)
    last = as_of.value // 1000
    since = pd.DatetimeIndex(records["recorded_at"]).as_unit("us").asi8
    until = np.where(found.untimed, since, np.minimum(found.ended, last))
    until = np.maximum(until, since)
    # A record is open at those looks, last - k * step, that lie in (since, until].
    looks = (last - since - 1) // step - (last - until + step - 1) // step + 1
    return np.maximum(looks, 0), (until - since) / _DAY_US


def judge_models(leads: Sizes, deals: Sizes, settings: TrainSettings) -> tuple[Readiness, ...]:
    """Say of each of the three models whether it can be trained, by the rules that training follows."""
    return (
        _score(PROPENSITY, leads, settings),
        _score(WIN, deals, settings),
        _cycle(leads, deals, settings),
    )


def _score(model: str, sizes: Sizes, settings: TrainSettings) -> Readiness:
    many = f"{sizes.entity}s"
    more_won = max(0, settings.min_won - sizes.won)
    more_closed = max(0, settings.min_closed - sizes.closed)
    if sizes.records == 0:
        says = f"there are no {many}; map the CRM's export of {many} (see docs/import.md)"
        return Readiness(model, sizes.entity, False, says, more_won, more_closed)
    if more_won or more_closed:
        says = (
            f"too early: {sizes.won:,} won and {sizes.lost:,} lost of {number(sizes.records, many)}. "
            f"{settings.min_won} won, and {settings.min_closed} closed in all, are needed: "
            f"{_missing(more_won, more_closed)}. Until then every score is the base rate"
        )
        if sizes.closed == 0:
            says += f". If {many} did end, say in the mapping which values mean won and lost"
        return Readiness(model, sizes.entity, False, says, more_won, more_closed)
    lost = f"{sizes.lost:,}" if sizes.lost else "no"
    says = f"from {sizes.won:,} won and {lost} lost {many}, and {sizes.open:,} still open"
    if sizes.entity == "lead":
        says += f"; won means that {sizes.definition}"
    return Readiness(model, sizes.entity, True, says, 0, 0, tuple(_cautions(sizes, settings)))


def _missing(won: int, closed: int) -> str:
    if won and closed > won:
        return f"{won} more won, and {closed} more closed in all, are missing"
    # Each further win is a further closing too.
    return f"{won} more won are missing" if won else f"{closed} more closed are missing"


def _cautions(sizes: Sizes, settings: TrainSettings) -> list[str]:
    many = f"{sizes.entity}s"
    said = []
    if sizes.lost == 0:
        said.append(
            f"no {sizes.entity} was ever marked lost: only time tells that a silent one is lost, and that is "
            f"slow to learn. Ask the team to close dead {many}, or map the values that mean lost"
        )
    if sizes.mostly_untimed:
        said.append(
            f"{_part(sizes)} of the outcomes carry no time: each {sizes.entity} is one row, and nothing "
            "shows which of its fields were filled in after the outcome. Read the leakage audit"
        )
    elif sizes.untimed:
        said.append(
            f"{number(sizes.untimed, many)} ended without a time and teach nothing; map closed_at for them"
        )
    if not sizes.mostly_untimed:
        timed = sizes.closed - sizes.untimed
        looks = f"looks that training takes at open {many}, one every {length(settings.every_days)}"
        if sizes.seen < settings.min_closed:
            said.append(
                f"only {sizes.seen:,} of {timed:,} closed {many} were open at one of the {looks}: the "
                f"others were entered as they ended, which tells nothing of open ones. Enter {many} early"
            )
        elif sizes.seen < 0.7 * timed:
            said.append(
                f"{timed - sizes.seen:,} of {timed:,} closed {many} ended between two of the {looks}: the "
                f"model learns how open ones end from the other {sizes.seen:,}"
            )
    if sizes.closed < 5 * settings.min_closed:
        said.append("so few outcomes prove little: expect wide intervals, or the base rate")
    return said


def _cycle(leads: Sizes, deals: Sizes, settings: TrainSettings) -> Readiness:
    """Judge the deals' cycle length, or the leads' where only theirs can be learned."""
    answers = [_cycle_of(sizes, settings) for sizes in (deals, leads) if sizes.records]
    if not answers:
        says = "there are no deals and no leads; map the CRM's export (see docs/import.md)"
        return Readiness(CYCLE, "deal", False, says, settings.min_won, settings.min_closed)
    return next((answer for answer in answers if answer.can), answers[0])


def _cycle_of(sizes: Sizes, settings: TrainSettings) -> Readiness:
    many = f"{sizes.entity}s"
    more_won = max(0, settings.min_won - sizes.won)
    more_closed = max(0, settings.min_closed - sizes.closed)
    if more_won or more_closed:
        says = f"too early for {many}: {_missing(more_won, more_closed)}"
        return Readiness(CYCLE, sizes.entity, False, says, more_won, more_closed)
    if sizes.mostly_untimed:
        says = (
            f"{_part(sizes)} of the {many}' outcomes carry no time, so nothing tells how long one takes; map "
            "closed_at, or a date column of the outcome"
        )
        return Readiness(CYCLE, sizes.entity, False, says, 0, 0)
    median = length(sizes.median_days or 0.0)
    timed = sizes.closed - sizes.untimed
    says = f"from {number(timed, many)} whose end has a time; half of them ended within {median}"
    only_wins = "wins alone say when one is won, not when one is lost"
    return Readiness(CYCLE, sizes.entity, True, says, 0, 0, () if sizes.lost else (only_wins,))


def _part(sizes: Sizes) -> str:
    return "all" if sizes.untimed == sizes.closed else share(sizes.untimed, sizes.closed)
