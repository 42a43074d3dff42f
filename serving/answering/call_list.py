"""The call list: which records to call first, by what a call now is associated with.

    gain = value x (chance if contacted now - chance after a week of silence)

Both chances are the stored score moved by what the model says of records that were silent for as long
(:mod:`serving.answering.call_effects`). They are associations and no promises: records that reps call differ
from those that they do not. The value is what a sale of it is expected to bring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from serving.answering.call_effects import CallEffects, log_odds, silence_place


@dataclass(frozen=True)
class Candidate:
    """An open record that could be called.

    Parameters
    ----------
    entity : {"lead", "deal"}
    record_id : str
    probability : float
        As stored.
    amount : float or None
        What a sale of it is expected to bring; None where that is not known.
    last_contact_at : datetime or None
        When somebody of us last did something with it.
    """

    entity: str
    record_id: str
    probability: float
    amount: float | None
    last_contact_at: datetime | None


@dataclass(frozen=True)
class Suggestion:
    """A record to call, and why it stands where it stands.

    Parameters
    ----------
    candidate : Candidate
    value : float or None
        The amount, or else a typical sale; None where the history has no sale.
    if_contacted, if_left : float
        The two chances.
    gain : float
        In money; in probability where there is no value.
    silent_days : float or None
        Since the last contact.
    kind, channel : str or None
        The contact that reps make most with such records.
    """

    candidate: Candidate
    value: float | None
    if_contacted: float
    if_left: float
    gain: float
    silent_days: float | None
    kind: str | None
    channel: str | None


def rank_calls(candidates: Sequence[Candidate], effects: CallEffects, now: datetime) -> list[Suggestion]:
    """Give the candidates by gain, the highest first.

    Of equal gains the higher expected value comes first, then the kind and the id: the same candidates have
    the same order. A gain may be below zero, where the model associates nothing good with a call.

    Parameters
    ----------
    candidates : sequence of Candidate
        Any of a kind of which the effects say nothing are left out.
    effects : CallEffects
    now : datetime
    """
    found = []
    for entity, known in effects.by_entity.items():
        mine = [one for one in candidates if one.entity == entity]
        days = np.array([_days(one.last_contact_at, now) for one in mine], np.float64)
        places = silence_place(days)
        odds = log_odds(np.array([one.probability for one in mine], np.float64))
        contacted = _chance(odds + np.array(known.contact)[places])
        left = _chance(odds + np.array(known.wait)[places])
        for one, silent, high, low in zip(mine, days.tolist(), contacted, left, strict=True):
            value = one.amount if one.amount is not None else effects.typical_sale
            found.append(
                Suggestion(
                    candidate=one,
                    value=value,
                    if_contacted=high,
                    if_left=low,
                    gain=(1.0 if value is None else value) * (high - low),
                    silent_days=None if np.isnan(silent) else silent,
                    kind=known.kind,
                    channel=known.channel,
                )
            )
    return sorted(found, key=_order)


def _order(one: Suggestion) -> tuple[float, float, str, str]:
    expected = one.candidate.probability * (1.0 if one.value is None else one.value)
    return -one.gain, -expected, one.candidate.entity, one.candidate.record_id


def _days(moment: datetime | None, now: datetime) -> float:
    return float("nan") if moment is None else max((now - moment).total_seconds() / 86_400, 0.0)


def _chance(odds: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    chances: list[float] = (1.0 / (1.0 + np.exp(-odds))).tolist()
    return chances
