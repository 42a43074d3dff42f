"""What a caller may see of figures: everything, or the groups of the reps whose records the caller may see.

A total over everybody tells a rep what the others did, less the rep's own. So for a caller with a scope the
total is that of the scope, and groups outside it do not exist.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import pandas as pd

from crm.errors import InputError, shorten
from crm.groups import NOBODY, TOTAL
from crm.history import History
from features.kpis.targets import FLOWS

#: The team that stands for a scope of several reps who are not just one team.
_SCOPE: Final = "\u0000scope"
#: How a caller with a scope may group: other groupings would mix reps.
GROUPINGS: Final = ("owner", "team")


@dataclass(frozen=True)
class Scope:
    """The reps whose records and figures may be seen.

    Parameters
    ----------
    owners : frozenset of str, or None
        Their ids; None for everybody, also for records without an owner.
    """

    owners: frozenset[str] | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is out of sight."""
        return self.owners is None

    def groups(self, history: History, by: str | None) -> frozenset[str] | None:
        """Give the names of the groups that may be seen, as :func:`crm.groups.group_of` names them.

        A team may be seen where all its members may. None for all groups.

        Raises
        ------
        InputError
            Where records are not grouped by rep or team, and so each group may hold those of other reps.
        """
        if self.owners is None:
            return None
        if by is None or by == "owner":
            return frozenset(map(_named, self.owners - {NOBODY}))
        if by == "team":
            return frozenset(map(_named, _whole_teams(history.users, self.owners)))
        raise InputError(
            f"group {shorten(by)!r} would mix records of several reps, of which this key may see its own: "
            f"group by {' or '.join(GROUPINGS)}, or leave it out"
        )


@dataclass(frozen=True)
class Total:
    """How the total of a scope is asked for, so that it is a group like any other.

    Parameters
    ----------
    history : History
    by : str or None
    group : str
    """

    history: History
    by: str | None
    group: str


def total_of(scope: Scope, history: History, as_of: pd.Timestamp) -> Total:
    """Say which group of which grouping is the total of a scope.

    One rep is a group of ``owner``, just one whole team a group of ``team``, with their targets. Any other
    set of reps is made a team; its target is the sum of its members' known at ``as_of``.
    """
    if scope.owners is None:
        return Total(history, None, TOTAL)
    owners = scope.owners - {NOBODY}
    if len(owners) == 1:
        return Total(history, "owner", _named(next(iter(owners))))
    users = history.users
    teams = _whole_teams(users, owners)
    if len(teams) == 1:
        (team,) = teams
        if owners <= set(users["user_id"][users["team"] == team]):
            return Total(history, "team", _named(team))
    return Total(_as_one_team(history, owners, as_of), "team", _SCOPE)


def _whole_teams(users: pd.DataFrame, owners: frozenset[str]) -> set[str]:
    inside = users["user_id"].isin(owners)
    teams = set(users["team"][inside].dropna()) - {NOBODY}
    return teams - set(users["team"][~inside].dropna())


def _as_one_team(history: History, owners: Collection[str], as_of: pd.Timestamp) -> History:
    """Give the history in which these reps are one team and no other team has a name of it."""
    users = history.users
    unknown = sorted(set(owners) - set(users["user_id"]))
    added = pd.DataFrame({"user_id": pd.Series(unknown, dtype="str")}).reindex(columns=users.columns)
    whole = pd.concat([users, added.astype(users.dtypes)], ignore_index=True) if unknown else users
    inside = whole["user_id"].isin(list(owners))
    team = whole["team"].mask(~inside, None).mask(inside, _SCOPE).astype("str")
    return replace(history, users=whole.assign(team=team), targets=_targets(history.targets, owners, as_of))


def _targets(targets: pd.DataFrame, owners: Collection[str], as_of: pd.Timestamp) -> pd.DataFrame:
    """Give the targets of the reps as targets of their team: the sum, where that means something."""
    of_reps = (targets["scope"] == "user") & targets["scope_id"].isin(list(owners))
    mine = targets[of_reps & targets["kpi"].isin(FLOWS) & (targets["recorded_at"] < as_of)]
    ordered = mine.sort_values(["recorded_at", "target_id"])
    period = ["kpi", "period_start", "period_end"]
    last = ordered.drop_duplicates([*period, "scope_id"], keep="last")
    summed = last.groupby(period, as_index=False).agg({"value": "sum", "recorded_at": "max"})
    summed = summed.assign(scope="team", scope_id=_SCOPE)
    summed["target_id"] = [f"{_SCOPE}{place}" for place in range(len(summed))]
    return summed.reindex(columns=targets.columns).astype(targets.dtypes)


def _named(name: str) -> str:
    """Give a group's name as :func:`crm.groups.group_of` gives it."""
    return f'"{TOTAL}"' if name == TOTAL else name
