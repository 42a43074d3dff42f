"""The law of :mod:`crm.simulator.process` as look-up tables by state number, for walking fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crm.simulator import process
from crm.simulator.process import Codes, Floats

GOOD, LOST_EVENT, ADVANCE, BACK = range(4)

#: Chance per working day of work by the rep, by stage.
LEAD_OUTBOUND = (0.05, 0.06, 0.08)
DEAL_OUTBOUND = (0.09, 0.09, 0.09, 0.09)


@dataclass(frozen=True)
class ChainTables:
    """One chain, leads' or deals', by state number.

    Parameters
    ----------
    n_stages : int
    stage : ndarray of int32, shape (n_states,)
    cumulative : ndarray, shape (N_CLASSES, 4, n_states)
        Cumulative chances of ending well, ending lost, advancing, going back.
    inbound : ndarray, shape (N_CLASSES, n_states)
    outbound, push_chance : ndarray, shape (n_states,)
    monday, advance, back, acted, pushed : ndarray of int32, shape (n_states,)
        The state that follows; ``pushed`` is the one with due week 0, to be counted from.
    """

    n_stages: int
    stage: Codes
    cumulative: Floats
    inbound: Floats
    outbound: Floats
    push_chance: Floats
    monday: Codes
    advance: Codes
    back: Codes
    acted: Codes
    pushed: Codes


def _cumulative(chances: process.Chances) -> Floats:
    parts = (chances.exit_good, chances.exit_lost, chances.advance, chances.back)
    return np.cumsum(np.stack([p.reshape(len(p), -1) for p in parts], axis=1), axis=1)


def _numbers(shape: Sequence[int], parts: Sequence[npt.NDArray[np.int64]]) -> Codes:
    return np.ravel_multi_index(tuple(parts), tuple(shape)).ravel().astype(np.int32)


def lead_tables() -> ChainTables:
    """Lay out the chain of leads."""
    shape = process.LEAD_SHAPE
    q, stage, engagement, age = np.indices(shape)
    fresh = np.zeros_like(age)
    p_in = process.inbound_chance(process.LEAD_INBOUND)[:, q, engagement]
    return ChainTables(
        n_stages=shape[1],
        stage=stage.ravel().astype(np.int32),
        cumulative=_cumulative(process.lead_chances()),
        inbound=p_in.reshape(len(p_in), -1),
        outbound=np.array(LEAD_OUTBOUND)[stage].ravel(),
        push_chance=np.zeros(q.size),
        monday=_numbers(shape, (q, stage, process.MONDAY_ENGAGEMENT[engagement], process.monday_age()[age])),
        advance=_numbers(shape, (q, np.minimum(stage + 1, shape[1] - 1), engagement, fresh)),
        back=_numbers(shape, (q, np.maximum(stage - 1, 0), engagement, fresh)),
        acted=_numbers(shape, (q, stage, process.ACTED_ENGAGEMENT[engagement], age)),
        pushed=np.empty(0, dtype=np.int32),
    )


def deal_tables() -> ChainTables:
    """Lay out the chain of deals."""
    shape = process.DEAL_SHAPE
    q, stage, engagement, due, pushes = np.indices(shape)
    more = np.minimum(pushes + 1, shape[4] - 1)
    p_in = process.inbound_chance(process.DEAL_INBOUND)[:, q, engagement]
    silent, acted = process.MONDAY_ENGAGEMENT[engagement], process.ACTED_ENGAGEMENT[engagement]
    return ChainTables(
        n_stages=shape[1],
        stage=stage.ravel().astype(np.int32),
        cumulative=_cumulative(process.deal_chances()),
        inbound=p_in.reshape(len(p_in), -1),
        outbound=np.array(DEAL_OUTBOUND)[stage].ravel(),
        push_chance=process.PUSH_CHANCE[due].ravel(),
        monday=_numbers(shape, (q, stage, silent, process.monday_due()[due], pushes)),
        advance=_numbers(shape, (q, np.minimum(stage + 1, shape[1] - 1), engagement, due, pushes)),
        back=_numbers(shape, (q, np.maximum(stage - 1, 0), engagement, due, pushes)),
        acted=_numbers(shape, (q, stage, acted, due, pushes)),
        pushed=_numbers(shape, (q, stage, engagement, np.zeros_like(due), more)),
    )
