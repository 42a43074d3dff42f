"""One field beside the outcome: its levels, its fill rates and its skill."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.audit.cases import Cases
from training.audit.levels import Levels, to_levels
from training.audit.limits import Limits
from training.audit.skill import NONE, Skill, skill
from training.labels import LOST, OPEN, WON


class Suspicion(NamedTuple):
    """Why a field is left out.

    Parameters
    ----------
    rule : str
    reason : str
        In plain words, with the figures.
    """

    rule: str
    reason: str


@dataclass(frozen=True)
class Evidence:
    """One field of n records.

    Parameters
    ----------
    name : str
    levels : Levels
    usable : ndarray of bool, shape (n,)
        Records that the field is judged by.
    won, lost, is_open : ndarray of bool, shape (n,)
        Among the usable ones.
    order : ndarray of int64
        Rows of usable closed records, first closed first.
    skill : Skill
    figures : dict of str to float
    """

    name: str
    levels: Levels
    usable: NDArray[np.bool_]
    won: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    is_open: NDArray[np.bool_]
    order: NDArray[np.int64]
    skill: Skill
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def closed(self) -> NDArray[np.bool_]:
        """Where a usable record is closed, shape (n,)."""
        return self.won | self.lost

    def fill(self, rows: NDArray[np.bool_]) -> tuple[int, int]:
        """Give how many of these records have a value, of how many."""
        return int(self.levels.filled[rows].sum()), int(rows.sum())


def collect(cases: Cases, limits: Limits) -> list[Evidence]:
    """Give the evidence of every field, by name."""
    return [_of(cases, name, limits) for name in sorted(cases.columns)]


def _of(cases: Cases, name: str, limits: Limits) -> Evidence:
    usable = cases.usable[name]
    levels = to_levels(cases.columns[name])
    won, lost, is_open = ((cases.events == event) & usable for event in (WON, LOST, OPEN))
    order = cases.closing_order[usable[cases.closing_order]]
    enough = min(won.sum(), lost.sum()) >= limits.least
    alone = skill(levels.codes[order], won[order], limits.z) if enough else NONE
    found = Evidence(name, levels, usable, won, lost, is_open, order, alone)
    for state, rows in (("won", won), ("lost", lost), ("open", is_open)):
        hits, size = found.fill(rows)
        if size:
            found.figures[f"filled_{state}"] = hits / size
    if enough:
        found.figures.update({"log_loss_gain": alone.gain, "log_loss_gain_bound": alone.bound})
        if np.isfinite(alone.auc):
            found.figures["auc"] = alone.auc
    return found
