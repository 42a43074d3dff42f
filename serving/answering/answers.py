"""Assessed records in words: probability, grade, close, reasons, what would help, what changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import numpy as np

from features.actions import Action
from features.entry import Language
from serving.answering.assessing import Assessed
from serving.answering.grades import grade
from serving.expected import Floats, Ints
from serving.outcome_model import OutcomeModel
from serving.reasons import SMALLEST_EFFECT, strongest
from serving.scoring import Reason, ReasonReader, not_shown

Phrased = dict[str, Any]


class Manner(NamedTuple):
    """How an answer is put: in which language, how many reasons and helps, and whether it names a date."""

    language: Language
    reasons: int
    helps: int
    closes: bool


class LastScore(Protocol):
    """What is needed of a record's last score."""

    @property
    def as_of(self) -> datetime: ...
    @property
    def probability(self) -> float: ...
    @property
    def model_version(self) -> str: ...


def phrase(
    model: OutcomeModel, found: Assessed, rows: Ints, manner: Manner, last: Sequence[LastScore | None]
) -> Iterator[Phrased]:
    """Put some of the assessed records into words.

    Parameters
    ----------
    model : OutcomeModel
    found : Assessed
    rows : array of int, shape (r,)
        Places among the records that have a score, ascending.
    manner : Manner
    last : sequence of LastScore or None, length r
        Where ``found`` says how things stood at that moment.
    """
    whole = len(rows) == len(found.rows)
    x, values, effects = (part if whole else part[rows] for part in (found.x, found.values, found.effects))
    raising, lowering = strongest(effects, manner.reasons)
    reader = ReasonReader(model.spec, manner.language, x, values, effects, found.groups)
    up, down = reader.read(raising, 1.0), reader.read(lowering, -1.0)
    others = not_shown(effects, raising, lowering).tolist()
    probability = found.probability[rows].tolist()
    first, median, final = (_moments(close[rows]) for close in found.closes)
    since = _since(model, found, rows, manner, last)
    for place, row in enumerate(rows.tolist()):
        yield {
            "grade": grade(probability[place]),
            "close_p10": first[place] if manner.closes else None,
            "close_p50": median[place] if manner.closes else None,
            "close_p90": final[place] if manner.closes else None,
            "reasons": {
                "base_probability": found.base,
                "raising": [reason._asdict() for reason in up[place]],
                "lowering": [reason._asdict() for reason in down[place]],
                "other_effects": others[place],
            },
            "helps": _helps(found.actions, found.gains[row], manner) if manner.helps else [],
            "since": since.get(place),
        }


def _moments(moments: np.ndarray[Any, np.dtype[np.datetime64]]) -> list[datetime | None]:
    found: list[datetime | None] = moments.astype("datetime64[us]").tolist()
    return [None if moment is None else moment.replace(tzinfo=UTC) for moment in found]


def _helps(actions: Sequence[Action], gains: Floats, manner: Manner) -> list[dict[str, Any]]:
    """Give the actions that go together with a higher probability, most first."""
    pairs = zip(gains.tolist(), actions, strict=True)
    found = sorted((pair for pair in pairs if pair[0] >= SMALLEST_EFFECT), key=lambda pair: -pair[0])
    return [
        {
            "action": action.name,
            "label": action.label_fr if manner.language == "fr" else action.label_en,
            "text": help_text(action, gain, manner.language),
            "effect": gain,
        }
        for gain, action in found[: manner.helps]
    ]


def help_text(action: Action, gain: float, language: Language) -> str:
    """Say what an action goes together with; never that it would cause it.

    Examples
    --------
    >>> action = Action("do_call", "call made, today", "appel, aujourd’hui")
    >>> help_text(action, 0.0412, "en")
    'call made, today: associated with 4.1 points more in records like this; not a promise'
    """
    points = f"{100 * gain:.1f}"
    if language == "fr":
        return (
            f"{action.label_fr}\u00a0: associé à {points.replace('.', ',')} points de plus pour des fiches "
            "comme celle-ci\u00a0; ce n’est pas une promesse"
        )
    return f"{action.label_en}: associated with {points} points more in records like this; not a promise"


def _since(
    model: OutcomeModel, found: Assessed, rows: Ints, manner: Manner, last: Sequence[LastScore | None]
) -> dict[int, dict[str, Any]]:
    """Say what changed since the last scores, by the place among ``rows``."""
    place_of = {row: place for place, row in enumerate(rows.tolist())}
    then_rows = [at for at, row in enumerate(found.before.rows.tolist()) if row in place_of]
    now_rows = found.before.rows[then_rows]
    answers: dict[int, dict[str, Any]] = {}
    if len(now_rows):
        # Both explanations start from the same base, so the differences of effects sum to the difference.
        values = found.values[now_rows] - found.before.values[then_rows]
        effects = found.groups.effects(values)
        raising, lowering = strongest(effects, manner.reasons)
        reader = ReasonReader(model.spec, manner.language, found.x[now_rows], values, effects, found.groups)
        up, down = reader.read(raising, 1.0), reader.read(lowering, -1.0)
        for at, row in enumerate(now_rows.tolist()):
            before = last[place_of[row]]
            if before is not None:
                answers[place_of[row]] = _change(float(found.probability[row]), before, up[at], down[at])
    for place, before in enumerate(last):
        if before is not None and place not in answers:
            answers[place] = _change(float(found.probability[rows[place]]), before, (), ())
    return answers


def _change(
    probability: float, before: LastScore, up: Sequence[Reason], down: Sequence[Reason]
) -> dict[str, Any]:
    difference = probability - before.probability
    return {
        "previous_as_of": before.as_of,
        "previous_probability": before.probability,
        "previous_version": before.model_version,
        "difference": difference,
        "raising": [reason._asdict() for reason in up],
        "lowering": [reason._asdict() for reason in down],
        "other_effects": difference - sum(reason.effect for reason in (*up, *down)),
    }
