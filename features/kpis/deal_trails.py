"""What each deal went through until a moment: its stages, its signs of life, its pushes, who took part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crm.groups import NOBODY
from crm.history import History
from crm.known import closing_time, known_time
from crm.schema import TABLES
from crm.values import as_moments


@dataclass(frozen=True)
class Trails:
    """Every deal known at a moment, and what is known of its way there.

    Parameters
    ----------
    deals : DataFrame, shape (n_deals, ...)
        Indexed by ``deal_id``: the columns of the deal, ``born``, ``end`` (when it was closed or gone, else
        the moment), ``state`` (``won``, ``lost``, ``gone``, ``open``) and ``stage`` (``(none)`` for none).
    visits : DataFrame
        ``deal_id, stage, entered, left``: one row for each stay in a stage before the deal ended, in order.
    acts : DataFrame
        ``deal_id, at, direction, user_id, lead_id``: activities done, in order of time.
    steps : DataFrame
        ``deal_id, at``: every change of the deal, in order of time.
    pushes : DataFrame
        ``deal_id, at, days``: each time that the expected close date was put off.
    stage_order : tuple of str
        Stages by the mean place at which deals first reach them.
    """

    deals: pd.DataFrame
    visits: pd.DataFrame
    acts: pd.DataFrame
    steps: pd.DataFrame
    pushes: pd.DataFrame
    stage_order: tuple[str, ...]

    def of_state(self, state: str) -> pd.Index:
        """Give the ids of the deals in that state."""
        return self.deals.index[self.deals["state"] == state]


def deal_trails(known: History, as_of: pd.Timestamp) -> Trails:
    """Follow every deal of a history until a moment.

    Parameters
    ----------
    known : History
        As it was known then: ``known_at(history, as_of)``.
    as_of : Timestamp
        With a time zone.

    Returns
    -------
    Trails
    """
    deals = _deals(known, as_of)
    changes = known.changes[
        (known.changes["entity"] == "deal") & known.changes["record_id"].isin(deals.index)
    ]
    changes = changes.assign(at=known_time(TABLES["changes"], changes), deal_id=changes["record_id"])
    changes = changes.sort_values(["at", "changed_at"], kind="stable", ignore_index=True)
    visits = _visits(deals, changes[changes["field"] == "stage"])
    # What is written once a deal is closed says nothing of the way there.
    changes = changes[changes["at"] < pd.DatetimeIndex(deals["end"].reindex(changes["deal_id"]))]
    return Trails(
        deals,
        visits,
        _acts(known, deals),
        changes[["deal_id", "at"]].reset_index(drop=True),
        _pushes(changes[changes["field"] == "expected_close_at"]),
        stage_order(visits),
    )


def stage_order(visits: pd.DataFrame) -> tuple[str, ...]:
    """Order stages by the mean place at which deals first reach them.

    Parameters
    ----------
    visits : DataFrame
        ``deal_id, stage``, each deal's in the order of time.
    """
    first = visits.drop_duplicates(["deal_id", "stage"])
    place = first.groupby("deal_id").cumcount()
    mean = place.groupby(first["stage"]).mean()
    return tuple(sorted(mean.index, key=lambda stage: (mean[stage], stage)))


def in_days(lengths: pd.Series) -> pd.Series:
    """Give lengths of time in days of 24 hours."""
    days: pd.Series = lengths.dt.total_seconds() / 86_400
    return days


def _deals(known: History, as_of: pd.Timestamp) -> pd.DataFrame:
    deals = known.deals
    closed = closing_time(deals)
    is_gone = deals["gone_at"].notna() & deals["outcome"].isna()
    state = deals["outcome"].where(deals["outcome"].notna(), np.where(is_gone, "gone", "open"))
    # An outcome without a time tells when nothing happened any more, not when it ended: no trail.
    end = closed.where(deals["outcome"].notna(), deals["gone_at"])
    timeless = deals["outcome"].notna() & closed.isna()
    born = deals["created_at"].fillna(deals["recorded_at"])
    deals = deals.assign(
        born=born,
        end=end.fillna(as_of).where(~timeless, born),
        state=state.mask(timeless, state + " without a time"),
        stage=deals["stage"].fillna(NOBODY),
    )
    return deals.set_index("deal_id")


def _visits(deals: pd.DataFrame, changes: pd.DataFrame) -> pd.DataFrame:
    """Give each deal's stays in its stages, before it ended."""
    # The change with which a deal is closed leads to no stage, but tells the one before.
    moved = changes.assign(stage=changes["new_value"].fillna(NOBODY), entered=changes["at"])
    moved = moved[moved["at"] < pd.DatetimeIndex(deals["end"].reindex(moved["deal_id"]))]
    opening = changes.drop_duplicates("deal_id")["old_value"].fillna(NOBODY)
    opening.index = pd.Index(changes.drop_duplicates("deal_id")["deal_id"])
    first = opening.reindex(deals.index)
    # Of a closed deal whose stage never changed, the present stage may be only its outcome's name; and where
    # no stage ever changed, stages cannot be compared at all.
    untracked = deals["stage"].where((deals["state"] == "open") & bool(len(changes)), NOBODY)
    starts = pd.DataFrame(
        {
            "deal_id": deals.index.astype("str"),
            "stage": first.where(first.notna(), untracked).astype("str").to_numpy(),
            "entered": deals["born"].to_numpy(),
        }
    )
    starts["entered"] = pd.DatetimeIndex(deals["born"])
    visits = pd.concat([starts, moved[["deal_id", "stage", "entered"]]], ignore_index=True)
    visits["order"] = visits.groupby("deal_id").cumcount()
    # A change dated before the deal was opened is the stage in which it began.
    visits["entered"] = visits["entered"].clip(
        lower=pd.DatetimeIndex(deals["born"].reindex(visits["deal_id"]))
    )
    visits = visits.sort_values(["deal_id", "order"], kind="stable", ignore_index=True)
    following = visits.groupby("deal_id")["entered"].shift(-1)
    end = pd.Series(pd.DatetimeIndex(deals["end"].reindex(visits["deal_id"])), index=visits.index)
    visits["left"] = following.fillna(end)
    stays = (visits["left"] > visits["entered"]) | following.isna()
    return visits.loc[stays, ["deal_id", "stage", "entered", "left"]].reset_index(drop=True)


def _acts(known: History, deals: pd.DataFrame) -> pd.DataFrame:
    """Give what was done with each deal: activities that name it, or its lead and no deal."""
    done = known.activities[known.activities["status"].fillna("done") == "done"]
    done = done.assign(at=known_time(TABLES["activities"], done))
    names = ["deal_id", "at", "direction", "user_id", "lead_id"]
    own = done.loc[done["deal_id"].isin(deals.index), names]
    by_lead = deals["lead_id"].dropna().rename_axis("its_deal").reset_index()
    through = done[done["deal_id"].isna()].merge(by_lead, on="lead_id")
    through = through.assign(deal_id=through["its_deal"])[names]
    acts = pd.concat([own, through], ignore_index=True)
    acts = acts[acts["at"] < pd.DatetimeIndex(deals["end"].reindex(acts["deal_id"]))]
    return acts.sort_values(["at", "deal_id"], kind="stable", ignore_index=True)


def _pushes(changes: pd.DataFrame) -> pd.DataFrame:
    moved = as_moments(changes["new_value"])[0] - as_moments(changes["old_value"])[0]
    pushes = pd.DataFrame({"deal_id": changes["deal_id"], "at": changes["at"], "days": in_days(moved)})
    return pushes[pushes["days"] > 0].reset_index(drop=True)


def longest_silences(
    visits: pd.DataFrame, signs: pd.DataFrame, born: pd.Series, end: pd.Series
) -> pd.DataFrame:
    """Give how long each deal was silent at most while it was in each stage.

    A silence begins with the last sign of life, or with the deal, and may have begun in an earlier stage.

    Parameters
    ----------
    visits : DataFrame
        ``deal_id, stage, entered, left``.
    signs : DataFrame
        ``deal_id, at``.
    born, end : Series
        By deal.

    Returns
    -------
    DataFrame
        ``deal_id, stage, silence``: days; one row for each deal and stage.
    """
    first = pd.DataFrame({"deal_id": born.index.astype("str"), "at": pd.DatetimeIndex(born)})
    signs = pd.concat([first, signs[["deal_id", "at"]]], ignore_index=True)
    signs["at"] = signs["at"].clip(lower=pd.DatetimeIndex(born.reindex(signs["deal_id"])))
    signs = signs[signs["at"] < pd.DatetimeIndex(end.reindex(signs["deal_id"]))].drop_duplicates()
    signs = signs.sort_values(["at", "deal_id"], ignore_index=True)
    signs["since"] = signs.groupby("deal_id")["at"].shift(1)
    broken = _within(signs[signs["since"].notna()], visits).assign(until=lambda frame: frame["at"])
    kept = _last_before(visits, signs).assign(until=lambda frame: frame["left"])
    names = ["deal_id", "stage", "since", "until"]
    both = pd.concat([broken[names], kept[names]], ignore_index=True)
    both["silence"] = in_days(both["until"] - both["since"])
    return both.groupby(["deal_id", "stage"])["silence"].max().reset_index()


def _within(signs: pd.DataFrame, visits: pd.DataFrame) -> pd.DataFrame:
    """Give the stage in which each sign came; one that comes with a move belongs to the stage left."""
    visits = visits.sort_values("entered", kind="stable")
    found = pd.merge_asof(
        signs, visits, left_on="at", right_on="entered", by="deal_id", allow_exact_matches=False
    )
    return found[found["stage"].notna()]


def _last_before(visits: pd.DataFrame, signs: pd.DataFrame) -> pd.DataFrame:
    """Give the last sign before each stay ended."""
    visits = visits.sort_values("left", kind="stable")
    found = pd.merge_asof(
        visits,
        signs[["deal_id", "at"]].rename(columns={"at": "since"}),
        left_on="left",
        right_on="since",
        by="deal_id",
        allow_exact_matches=False,
    )
    return found[found["since"].notna()]


def count_until(events: pd.DataFrame, asked: pd.DataFrame, value: str = "") -> pd.Series:
    """Count the events, or their distinct values, that each deal had before a moment.

    Parameters
    ----------
    events : DataFrame
        ``deal_id, at`` and, where named, the column ``value``; missing values do not count.
    asked : DataFrame
        ``deal_id, until``.

    Returns
    -------
    Series of int64
        With the index of ``asked``.
    """
    if value:
        events = events[events[value].notna()].sort_values("at", kind="stable")
        events = events.drop_duplicates(["deal_id", value])
    rows = asked[["deal_id", "until"]].reset_index(names="row")
    pairs = rows.merge(events[["deal_id", "at"]], on="deal_id")
    counts = pairs[pairs["at"] < pairs["until"]].groupby("row").size()
    return counts.reindex(asked.index, fill_value=0).astype("int64")
