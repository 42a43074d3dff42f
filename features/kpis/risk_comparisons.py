"""Open deals held against the deals won before: silence, pushes, contacts and answers, stage by stage.

Each comparison gives a frame with one row an open deal: ``deal_id, stage, flag, measure, limit, extra, basis,
n_won, is_claimed, is_flagged``. ``extra`` is a second number for the evidence.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.kpis.deal_trails import Trails, count_until, in_days, longest_silences
from features.kpis.risk_rules import RiskRules

#: A push once is usual; from the second on it is repeated.
FEWEST_PUSHES = 2
#: People of whom one alone is a risk, and answers of which none is.
TWO, ONE = 2, 1


def compare(trails: Trails, moment: pd.Timestamp, rules: RiskRules) -> list[pd.DataFrame]:
    """Hold every open deal against the won deals of its stage, in every respect that needs them.

    Parameters
    ----------
    trails : Trails
        As of ``moment``.
    moment : Timestamp
    rules : RiskRules

    Returns
    -------
    list of DataFrame
        One for each flag.
    """
    won = _stays(trails, "won").rename(columns={"left": "until"})
    now = _stays(trails, "open").drop_duplicates("deal_id", keep="last")
    now = now.rename(columns={"left": "until"}).assign(until=moment, extra=np.nan).reset_index(drop=True)
    return [
        _silence(trails, won, now, rules),
        _pushes(trails, won, now, rules),
        _contacts(trails, won, now, rules),
        _answers(trails, won, now, rules),
    ]


def _stays(trails: Trails, state: str) -> pd.DataFrame:
    """Give each deal's stages, when it last left each, and how many days it spent there in all."""
    visits = trails.visits[trails.visits["deal_id"].isin(trails.of_state(state))]
    visits = visits.assign(days=in_days(visits["left"] - visits["entered"]))
    stays = visits.groupby(["deal_id", "stage"], as_index=False, sort=False).agg(
        entered=("entered", "max"), left=("left", "max"), days=("days", "sum")
    )
    return stays.sort_values(["deal_id", "entered", "left"], kind="stable", ignore_index=True)


def _above(won: pd.DataFrame, now: pd.DataFrame, rules: RiskRules, least: float) -> pd.DataFrame:
    """Flag the deals above the quantile of won deals in their stage, and above ``least``."""
    found = _beside(now, _highest(won, rules))
    found["n_won"] = found["n_won"].fillna(0).astype("int64")
    found["is_claimed"] = found["n_won"] >= rules.fewest_won
    found["limit"] = found["limit"].clip(lower=least).astype("float64")
    return found.assign(is_flagged=found["is_claimed"] & (found["measure"] > found["limit"]))


def _highest(won: pd.DataFrame, rules: RiskRules) -> pd.DataFrame:
    """Give the quantile of won deals in each stage, and how many they are."""
    by_stage = won.groupby("stage")["measure"]
    return pd.DataFrame(
        {"n_won": by_stage.size(), "limit": by_stage.quantile(rules.quantile, interpolation="higher")}
    )


def _beside(now: pd.DataFrame, limits: pd.DataFrame) -> pd.DataFrame:
    """Set what is known of each deal's stage beside it."""
    of_stage = limits.reindex(pd.Index(now["stage"]))
    return now.assign(**{str(name): of_stage[name].to_numpy() for name in limits.columns})


def _below(won: pd.DataFrame, now: pd.DataFrame, rules: RiskRules, needed: float) -> pd.DataFrame:
    """Flag the deals that lack what nearly all won deals had by the time they left the stage.

    A deal is only held against them once it has been in the stage as long as half of them were.
    """
    found = _beside(now, _usual(won, needed))
    found["n_won"] = found["n_won"].fillna(0).astype("int64")
    found["is_claimed"] = (found["n_won"] >= rules.fewest_won) & (found["share"] >= rules.usual)
    lacks = (found["measure"] < needed) & (found["days"] >= found["ripe"])
    return found.assign(limit=float(needed), is_flagged=found["is_claimed"] & lacks)


def _usual(won: pd.DataFrame, needed: float) -> pd.DataFrame:
    """Give the share of won deals in each stage that had what is needed, and how long half of them stayed."""
    by_stage = won.assign(had=won["measure"] >= needed).groupby("stage")
    return pd.DataFrame(
        {"n_won": by_stage.size(), "share": by_stage["had"].mean(), "ripe": by_stage["days"].median()}
    )


def won_limits(trails: Trails, rules: RiskRules) -> dict[tuple[str, str], pd.DataFrame]:
    """Give what :func:`compare` holds open deals against, by flag and basis.

    Returns
    -------
    dict of (str, str) to DataFrame
        Indexed by stage: ``n_won, limit`` for ``silent`` and ``pushed``, ``n_won, share, ripe`` for
        ``single_contact`` (of both bases) and ``one_sided``.
    """
    won = _stays(trails, "won").rename(columns={"left": "until"})
    basis = sign_of_life(trails)
    ever = {
        "lead_id": count_until(_theirs(trails), won, "lead_id"),
        "user_id": count_until(trails.acts, won, "user_id"),
    }
    heard = trails.acts[trails.acts["direction"] == "in"]
    return {
        ("silent", basis): _highest(_silences(trails, won, _signs(trails, basis)), rules),
        ("pushed", ""): _highest(won.assign(measure=count_until(trails.pushes, won)), rules),
        **{("single_contact", name): _usual(won.assign(measure=count), TWO) for name, count in ever.items()},
        ("one_sided", "direction"): _usual(won.assign(measure=count_until(heard, won)), ONE),
    }


def sign_of_life(trails: Trails) -> str:
    """Say what a silence ends with: the best that half of the won deals have.

    Returns
    -------
    str
        ``in``: an act of the prospect; ``any``: any act or change of the deal; ``change``: a change of the
        deal, where the history keeps no acts.
    """
    won = trails.of_state("won")
    acts = trails.acts[trails.acts["deal_id"].isin(won)]
    for basis, some in (("in", acts[acts["direction"] == "in"]), ("any", acts)):
        if len(won) and some["deal_id"].nunique() >= len(won) / 2:
            return basis
    return "change"


def _signs(trails: Trails, basis: str) -> pd.DataFrame:
    """Give every sign of life."""
    if basis == "in":
        return trails.acts.loc[trails.acts["direction"] == "in", ["deal_id", "at"]]
    if basis == "any":
        return pd.concat([trails.acts[["deal_id", "at"]], trails.steps], ignore_index=True)
    return trails.steps


def _silences(trails: Trails, won: pd.DataFrame, signs: pd.DataFrame) -> pd.DataFrame:
    """Give how long each won deal was silent at most in each of its stages."""
    visits = trails.visits[trails.visits["deal_id"].isin(won["deal_id"])]
    ever = longest_silences(visits, signs, trails.deals["born"], trails.deals["end"])
    return ever.rename(columns={"silence": "measure"})


def _theirs(trails: Trails) -> pd.DataFrame:
    """Give the people of the prospect: a deal's own lead from its birth, and those who took part."""
    own = trails.deals[["lead_id", "born"]].rename_axis("deal_id").reset_index()
    return pd.concat([own.rename(columns={"born": "at"}), trails.acts], ignore_index=True)


def _silence(trails: Trails, won: pd.DataFrame, now: pd.DataFrame, rules: RiskRules) -> pd.DataFrame:
    basis = sign_of_life(trails)
    signs = _signs(trails, basis)
    born = trails.deals["born"]
    ever = _silences(trails, won, signs)
    last = signs.groupby("deal_id")["at"].max()
    # A lead's acts before its deal was opened end no silence of the deal.
    last = last.reindex(born.index)
    since = born.where(~(last > born), last)
    silent = in_days(now["until"] - pd.DatetimeIndex(since.reindex(now["deal_id"])))
    return _above(ever, now.assign(flag="silent", basis=basis, measure=silent), rules, 0.0)


def _pushes(trails: Trails, won: pd.DataFrame, now: pd.DataFrame, rules: RiskRules) -> pd.DataFrame:
    ever = won.assign(measure=count_until(trails.pushes, won).astype("float64"))
    days = trails.pushes.groupby("deal_id")["days"].sum()
    pushed = now.assign(
        flag="pushed",
        basis="",
        measure=count_until(trails.pushes, now).astype("float64"),
        extra=days.reindex(now["deal_id"]).to_numpy(),
    )
    found = _above(ever, pushed, rules, FEWEST_PUSHES - 1)
    # A history in which no date was ever put off may keep no dates, and tells nothing.
    return found.assign(is_claimed=found["is_claimed"] & bool(len(trails.pushes)))


def _contacts(trails: Trails, won: pd.DataFrame, now: pd.DataFrame, rules: RiskRules) -> pd.DataFrame:
    """Compare how many people took part: theirs where won deals tell that it matters, else ours."""
    theirs = _theirs(trails)
    found = now.iloc[:0]
    for basis, people in (("lead_id", theirs), ("user_id", trails.acts)):
        ever = won.assign(measure=count_until(people, won, basis).astype("float64"))
        there = count_until(people, now, basis).astype("float64")
        found = _below(ever, now.assign(flag="single_contact", basis=basis, measure=there), rules, TWO)
        # Where nobody is named, nobody can be missed.
        found["is_flagged"] &= found["measure"] > 0
        if found["is_claimed"].any():
            break
    return found


def _answers(trails: Trails, won: pd.DataFrame, now: pd.DataFrame, rules: RiskRules) -> pd.DataFrame:
    """Compare whether the prospect ever acted; where we did nothing, there was nothing to answer."""
    heard, said = (trails.acts[trails.acts["direction"] == direction] for direction in ("in", "out"))
    ever = won.assign(measure=count_until(heard, won).astype("float64"))
    answers = now.assign(
        flag="one_sided",
        basis="direction",
        measure=count_until(heard, now).astype("float64"),
        extra=count_until(said, now).astype("float64"),
    )
    found = _below(ever, answers, rules, ONE)
    return found.assign(is_flagged=found["is_flagged"] & (found["extra"] > 0))
