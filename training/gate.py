"""The gate: a challenger takes the champion's place unless it is worse on the same later window.

Both are asked the same question about the same moments: will this record be won by the end of observation,
or within its horizon? The moments lie after both were trained. Where too little has closed since then, the
gate rehearses: it goes back to a moment with enough closings behind it, trains each one's settings on what
was known then, and compares on what came after; a champion that is older than that moment stands as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from crm.history import History
from crm.known import known_at
from crm.observed import last_recorded
from serving.bundle import ModelBundle
from serving.outcome_model import ENTITIES
from training.comparison import FEWEST_CLOSED, FEWEST_WON, Comparison, able, compare, settings_of
from training.labels import with_lead_outcome
from training.rehearsal import rehearse

Say = Callable[[str], None]


@dataclass(frozen=True)
class Decision:
    """Whether a challenger becomes champion.

    Parameters
    ----------
    promoted : bool
    reason : str
        In words, with figures.
    figures : dict
        Plain JSON: ``comparisons``, and what else was weighed.
    """

    promoted: bool
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)


def decide(
    history: History,
    champion: ModelBundle,
    challenger: ModelBundle,
    until: pd.Timestamp,
    *,
    say: Say = lambda _: None,
) -> Decision:
    """Decide whether a challenger may take the champion's place.

    Parameters
    ----------
    history : History
        Of the same company, with what came after both were trained as far as it is known.
    champion, challenger : ModelBundle
    until : Timestamp with a time zone
        End of observation; nothing recorded at or after it is used.
    say : callable
        Told what is being done.
    """
    if champion.version == challenger.version:
        return Decision(False, f"the challenger is the champion: both hold bundle {champion.version}")
    # Both are asked what the challenger claims to know.
    known = with_lead_outcome(known_at(history, until), settings_of(challenger).lead_outcome)
    objections, remarks, both = _what_each_scores(champion, challenger)
    since = pd.Timestamp(max(champion.trained_through, challenger.trained_through))
    comparisons = compare(known, champion, challenger, both, since, until, "as_they_are")
    pending = _left(both, comparisons)
    if pending:
        comparisons += rehearse(known, champion, challenger, pending, until, say)
    for entity in _left(both, comparisons):
        if settings_of(champion) == settings_of(challenger):
            problem, remark = _same_recipe(champion, challenger, entity)
            objections += problem
            remarks += remark
        else:
            objections.append(
                f"{entity}s cannot be compared: fewer than {FEWEST_CLOSED} of them closed, or {FEWEST_WON} "
                "were won, after any moment that both can be judged on; wait for more outcomes, or force it"
            )
    objections += [c.objection for c in comparisons if c.objection]
    reason = "; ".join(objections or [*(f"not worse: {c}" for c in comparisons), *remarks])
    return Decision(not objections, reason, {"comparisons": [asdict(c) for c in comparisons]})


def first_champion(bundle: ModelBundle) -> Decision:
    """Decide whether a bundle may be the first champion: it must be able to score something."""
    usable = [entity for entity, model in sorted(bundle.models.items()) if not model.too_early]
    if not usable:
        return Decision(False, "it is too early to score anything: the history holds too few outcomes")
    skilled = [entity for entity in usable if bundle.models[entity].signal]
    words = " and ".join(f"{entity}s" for entity in skilled)
    return Decision(True, f"the first model; signal for {words or 'none, the base rate is served'}")


def observed_until(history: History) -> pd.Timestamp:
    """Give the end of observation where none is asked for; see :func:`crm.observed.last_recorded`.

    Raises
    ------
    NotEnoughData
        If the history is empty.
    """
    return last_recorded(history)


def _left(both: list[str], comparisons: list[Comparison]) -> list[str]:
    compared = {comparison.entity for comparison in comparisons}
    return [entity for entity in both if entity not in compared]


def _what_each_scores(
    champion: ModelBundle, challenger: ModelBundle
) -> tuple[list[str], list[str], list[str]]:
    """Give objections, remarks, and the kinds of record that both score."""
    objections, remarks, both = [], [], []
    for entity in ENTITIES:
        old, new = (able(bundle, entity) for bundle in (champion, challenger))
        if old and new:
            both.append(entity)
        elif old:
            objections.append(f"the challenger cannot score {entity}s, the champion can")
        elif new:
            remarks.append(f"the challenger scores {entity}s, which the champion cannot")
    if not both and not remarks and not objections:
        objections.append("the challenger can score nothing yet: the history holds too few outcomes")
    return objections, remarks, both


def _same_recipe(champion: ModelBundle, challenger: ModelBundle, entity: str) -> tuple[list[str], list[str]]:
    """Weigh two that only differ in the history they saw, where no outcome tells them apart yet."""
    if challenger.trained_through <= champion.trained_through:
        return [
            f"{entity}s: the challenger has the champion's settings and has seen nothing newer "
            f"({challenger.trained_through:%Y-%m-%d} against {champion.trained_through:%Y-%m-%d})"
        ], []
    if champion.models[entity].signal and not challenger.models[entity].signal:
        return [
            f"{entity}s: the challenger no longer shows skill on its own later window, the champion did, and "
            "too few outcomes are known since then to compare them; wait for more, or force it"
        ], []
    days = (challenger.trained_through - champion.trained_through).days
    return [], [
        f"{entity}s: the same settings, trained on {days} more days; too few outcomes are known since then "
        "to tell the two apart"
    ]
