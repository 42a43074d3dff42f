"""What one field shows on closed records: filled with the outcome, stating it, or knowing too much of it."""

from __future__ import annotations

import numpy as np

from training.audit.bounds import near_odds_ratio, odds, odds_ratio, wilson
from training.audit.evidence import Evidence, Suspicion
from training.audit.limits import Limits

#: Name of the rule for a field that one outcome hardly has.
FILLED = "filled by the outcome"


def suspect_alone(found: Evidence, limits: Limits) -> Suspicion | None:
    """Give the first reason to leave a field out that its closed records show, or None.

    Every rule adds its figures to ``found.figures``.
    """
    rules = (_filled_by_outcome, _states_outcome, _knows_too_much)
    suspicions = [rule(found, limits) for rule in rules]
    return next((suspicion for suspicion in suspicions if suspicion), None)


def _filled_by_outcome(found: Evidence, limits: Limits) -> Suspicion | None:
    (won, n_won), (lost, n_lost) = found.fill(found.won), found.fill(found.lost)
    if min(n_won, n_lost) < limits.least:
        return None
    ratio = odds_ratio(won, n_won, lost, n_lost)
    bound = near_odds_ratio(won, n_won, lost, n_lost, limits.z)
    found.figures["fill_odds_ratio"] = ratio
    if max(ratio, 1 / ratio) < limits.fill_odds or bound < limits.fill_odds_bound:
        return None
    return Suspicion(
        FILLED,
        f"filled for {won / n_won:.0%} of the won and {lost / n_lost:.0%} of the lost records: "
        "it is filled in once the outcome is known",
    )


def _knows_too_much(found: Evidence, limits: Limits) -> Suspicion | None:
    if found.skill.gain < limits.gain or found.skill.bound < limits.gain_bound:
        return None
    return Suspicion(
        "knows too much",
        f"alone it takes away {found.skill.gain:.0%} of the uncertainty of the outcome "
        f"(AUC {found.skill.auc:.2f}), more than what is known beforehand does: it was written after it",
    )


def _states_outcome(found: Evidence, limits: Limits) -> Suspicion | None:
    if found.skill.gain < limits.stating_gain or found.skill.bound <= 0:
        return None
    codes = found.levels.codes
    won = np.bincount(codes[found.won], minlength=len(found.levels.names))
    lost = np.bincount(codes[found.lost], minlength=len(found.levels.names))
    usual = odds(won.sum() / (won.sum() + lost.sum()))
    bounds = [wilson(w, w + n, limits.z) for w, n in zip(won.tolist(), lost.tolist(), strict=True)]
    winning = np.array([odds(low) >= usual * limits.stating_odds for low, _ in bounds])
    losing = np.array([odds(high) <= usual / limits.stating_odds for _, high in bounds])
    of_won, of_lost = won[winning].sum() / won.sum(), lost[losing].sum() / lost.sum()
    found.figures.update({"won_in_stating_levels": float(of_won), "lost_in_stating_levels": float(of_lost)})
    if min(of_won, of_lost) < limits.stating_share:
        return None
    best, worst = int(np.argmax(won * winning)), int(np.argmax(lost * losing))
    names = found.levels.names
    return Suspicion(
        "states the outcome",
        f"its values say how it ended: {names[best]!r} is won in {won[best] / (won[best] + lost[best]):.0%} "
        f"of the records, {names[worst]!r} in {won[worst] / (won[worst] + lost[worst]):.0%}",
    )
