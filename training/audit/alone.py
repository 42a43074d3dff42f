"""What one field shows by itself: filled with the outcome, stating it, or changed when the record closed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.audit.bounds import near_odds_ratio, odds, odds_ratio, wilson
from training.audit.cases import Cases
from training.audit.evidence import Evidence, Suspicion
from training.audit.limits import Limits

#: Groups of records that came in at about the same time, within which open and closed are compared.
COHORTS = 10
#: Chance of a level being so rare in one state by accident, over all levels of a field.
ACCIDENT = 1e-4


def suspect_alone(found: Evidence, cases: Cases, limits: Limits) -> Suspicion | None:
    """Give the first reason to leave a field out that it shows by itself, or None.

    Every rule adds its figures to ``found.figures``.
    """
    rules = (_filled_by_outcome, _states_outcome, _knows_too_much)
    suspicions: Iterator[Suspicion | None] = (rule(found, limits) for rule in rules)
    first = next((suspicion for suspicion in suspicions if suspicion), None)
    changed = _changed_by_closing(found, cases, limits)
    moved = _moved_to_closing(found, cases, limits)
    return moved or changed or first


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
        "filled by the outcome",
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
        f"its values say how it ended: {names[best]!r} is won in {won[best] / (won[best] + lost[best]):.0%} of "
        f"the records, {names[worst]!r} in {won[worst] / (won[worst] + lost[worst]):.0%}",
    )


def _changed_by_closing(found: Evidence, cases: Cases, limits: Limits) -> Suspicion | None:
    closed, is_open = found.closed, found.is_open
    if min(closed.sum(), is_open.sum()) < limits.least:
        return None
    cohort = _cohorts(cases.created, found.usable)
    only_closed = _levels_lacking(found, cohort, closed, is_open, limits)
    only_open = _levels_lacking(found, cohort, is_open, closed, limits)
    # The share is taken at equal age: among closed records, weighted by when the open ones came in.
    found.figures.update({"only_on_closed": only_closed[0], "only_on_open": only_open[0]})
    (filled_closed, n_closed), (filled_open, n_open) = found.fill(closed), found.fill(is_open)
    rates = (
        f"filled for {filled_closed / n_closed:.0%} of the closed and {filled_open / n_open:.0%} of the open"
    )
    if only_closed[0] >= limits.state_share:
        return Suspicion(
            "changed by closing",
            f"{rates} records; {only_closed[0]:.0%} of the closed ones have {only_closed[1]}, which open records "
            "of equal age hardly have: it is set when a record closes",
        )
    if only_open[0] >= limits.state_share:
        return Suspicion(
            "changed by closing",
            f"{rates} records; {only_open[0]:.0%} of the open ones have {only_open[1]}, which closed records of "
            "equal age hardly have: it changes by the time a record closes",
        )
    return None


def _cohorts(created: NDArray[np.int64], usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    edges = np.quantile(created[usable], np.linspace(0, 1, COHORTS + 1)[1:-1], method="nearest")
    return np.searchsorted(np.unique(edges), created, side="right").astype("int64")


def _levels_lacking(
    found: Evidence,
    cohort: NDArray[np.int64],
    having: NDArray[np.bool_],
    lacking: NDArray[np.bool_],
    limits: Limits,
) -> tuple[float, str]:
    """Give the share of records in levels that the other state lacks at equal age, and the level's name.

    What a level should hold in the other state is its share in each cohort of this one, times the other's
    records in that cohort; Poisson's law says whether so few are an accident.
    """
    names = found.levels.names
    shape = (COHORTS, len(names))
    have, lack = np.zeros(shape), np.zeros(shape)
    np.add.at(have, (cohort[having], found.levels.codes[having]), 1.0)
    np.add.at(lack, (cohort[lacking], found.levels.codes[lacking]), 1.0)
    size = have.sum(axis=1, keepdims=True)
    both = (size[:, 0] > 0) & (lack.sum(axis=1) > 0)
    if not both.any():
        return 0.0, ""
    share, there = have[both] / size[both], lack[both].sum(axis=1, keepdims=True)
    expected, seen = (share * there).sum(axis=0), lack[both].sum(axis=0)
    # P(X <= seen) of a Poisson law, bounded by Chernoff: exp(-(e - s + s log(s / e))).
    tail = np.exp(-(expected - seen + seen * np.log(np.maximum(seen, 1e-9) / np.maximum(expected, 1e-9))))
    gone = (seen <= limits.state_ratio * expected) & (tail < ACCIDENT / len(names)) & (expected > 0)
    if not gone.any():
        return 0.0, ""
    most = int(np.argmax(expected * gone))
    label = "no value" if most == 0 else repr(names[most])
    label += f" or {int(gone.sum()) - 1} more values" if gone.sum() > 1 else ""
    return float(expected[gone].sum() / there.sum()), label


def _moved_to_closing(found: Evidence, cases: Cases, limits: Limits) -> Suspicion | None:
    if found.name != "expected_close_at":
        return None
    same = cases.ended_on_expected_day[found.closed]
    same = same[np.isfinite(same)]
    if len(same) < limits.least:
        return None
    found.figures["closed_on_expected_day"] = float(same.mean())
    if wilson(float(same.sum()), len(same), limits.z)[0] < limits.same_moment:
        return None
    return Suspicion(
        "moved to the closing",
        f"{same.mean():.0%} of the closed records ended within a day of it: it is set to the day of closing",
    )
