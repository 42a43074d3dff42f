"""What one field shows beside open records of equal age: set, cleared or moved when a record closes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.audit.bounds import wilson
from training.audit.cases import Cases
from training.audit.evidence import Evidence, Suspicion
from training.audit.levels import MISSING, REST
from training.audit.limits import Limits

Floats = NDArray[np.float64]

#: Name of the rule for a field that open records lack.
FILLED = "filled by closing"
#: Groups of records that came in at about the same time, within which open and closed are compared.
COHORTS = 10
#: Chance of a level being so rare in one state by accident, over all levels of a field.
ACCIDENT = 1e-4
#: Log likelihood by which it must be better explained that a level comes with the record than with its state.
FAVOUR = 2.0


@dataclass(frozen=True)
class _Lack:
    """Levels that one state has and the other lacks at equal age.

    Parameters
    ----------
    share : float
        Of the records that would have them if the states were alike.
    levels : ndarray of bool, shape (n_levels,)
    largest : int
        The level with most records.
    """

    share: float
    levels: NDArray[np.bool_]
    largest: int


def suspect_closing(found: Evidence, cases: Cases, limits: Limits) -> Suspicion | None:
    """Give the reason to leave a field out that its open and closed records show, or None.

    Adds its figures to ``found.figures``.
    """
    moved = _moved_to_closing(found, cases, limits)
    return moved or _changed_by_closing(found, cases, limits)


def _changed_by_closing(found: Evidence, cases: Cases, limits: Limits) -> Suspicion | None:
    closed, is_open = found.closed, found.is_open
    if min(closed.sum(), is_open.sum()) < limits.least:
        return None
    codes, names = found.levels.codes, found.levels.names
    cohort = _cohorts(cases.created, found.usable)
    filled = _lacking(_counts(found.levels.filled.astype("int64"), cohort, closed, is_open, 2), limits)
    set_ = _lacking(_counts(codes, cohort, closed, is_open, len(names)), limits)
    cleared = _lacking(_counts(codes, cohort, is_open, closed, len(names)), limits)
    found.figures.update({"only_on_closed": set_.share, "only_on_open": cleared.share})
    (n_filled, n_closed), (n_filled_open, n_open) = found.fill(closed), found.fill(is_open)
    rates = (
        f"filled for {n_filled / n_closed:.0%} of the closed "
        f"and {n_filled_open / n_open:.0%} of the open records"
    )
    if filled.levels[1]:
        return Suspicion(FILLED, f"{rates} of equal age: it is filled in when a record closes")
    if set_.share >= limits.state_share:
        return Suspicion(
            "changed by closing",
            f"{rates}; {set_.share:.0%} of the closed ones have {_label(set_, names)}, which open records of "
            "equal age hardly have: it is set when a record closes",
        )
    if cleared.share >= limits.state_share:
        return Suspicion(
            "changed by closing",
            f"{rates}; {cleared.share:.0%} of the open ones have {_label(cleared, names)}, which closed "
            "records of equal age hardly have: it changes by the time a record closes",
        )
    return None


def _label(lack: _Lack, names: tuple[str, ...]) -> str:
    name = names[lack.largest]
    label = "no value" if lack.largest == MISSING else "rare values" if name == REST else repr(name)
    more = int(lack.levels.sum()) - 1
    return f"{label} or {more} more" if more else label


def _cohorts(created: NDArray[np.int64], usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    edges = np.quantile(created[usable], np.linspace(0, 1, COHORTS + 1)[1:-1], method="nearest")
    return np.searchsorted(np.unique(edges), created, side="right").astype("int64")


def _counts(
    codes: NDArray[np.int64],
    cohort: NDArray[np.int64],
    having: NDArray[np.bool_],
    lacking: NDArray[np.bool_],
    n_levels: int,
) -> tuple[Floats, Floats]:
    """Count records by cohort and level, in each of two states: two tables, shape (COHORTS, n_levels)."""
    have, lack = np.zeros((COHORTS, n_levels)), np.zeros((COHORTS, n_levels))
    np.add.at(have, (cohort[having], codes[having]), 1.0)
    np.add.at(lack, (cohort[lacking], codes[lacking]), 1.0)
    return have, lack


def _lacking(tables: tuple[Floats, Floats], limits: Limits) -> _Lack:
    """Find the levels that the second state lacks at equal age.

    What a level should hold there is its share in each cohort of the first state, times the second's records
    in that cohort; Poisson's law says whether so few are an accident. A level that records have from the
    beginning, and that close soon, is lacking among open ones too; but some open record has it, and it keeps
    its share of all records in young cohorts, where one that is set by closing has hardly any yet.
    """
    have, lack = tables
    n_levels = have.shape[1]
    size, there = have.sum(axis=1, keepdims=True), lack.sum(axis=1, keepdims=True)
    both = (size[:, 0] > 0) & (there[:, 0] > 0)
    none = _Lack(0.0, np.zeros(n_levels, bool), 0)
    if not both.any():
        return none
    expected = (have[both] / size[both] * there[both]).sum(axis=0)
    seen = lack[both].sum(axis=0)
    # P(X <= seen) of Poisson's law, by Chernoff: exp(-(e - s + s log(s / e))).
    log_tail = -(expected - seen + seen * np.log(np.maximum(seen, 1e-9) / np.maximum(expected, 1e-9)))
    absent = (seen <= limits.state_ratio * expected) & (log_tail < np.log(ACCIDENT / n_levels))
    absent &= (seen == 0) | _follows_state(have + lack, size[:, 0], (size + there)[:, 0])
    if not absent.any():
        return none
    share = float(expected[absent].sum() / there[both].sum())
    return _Lack(share, absent, int(np.argmax(expected * absent)))


def _follows_state(all_: Floats, in_state: Floats, records: Floats) -> NDArray[np.bool_]:
    """Say for each level whether its records are spread over cohorts as the state is, shape (n_levels,).

    The other explanation is that they are spread as all records are, as what comes with a record would be.
    """
    with_record = records / records.sum()
    with_state = 0.98 * in_state / in_state.sum() + 0.02 * with_record
    ratio = np.log(np.where(records > 0, with_state, 1.0) / np.where(records > 0, with_record, 1.0))
    follows: NDArray[np.bool_] = (all_ * ratio[:, None]).sum(axis=0) > -FAVOUR
    return follows


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
