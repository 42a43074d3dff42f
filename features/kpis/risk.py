"""Deals at risk, each with the evidence in numbers and the revenue at stake.

What is a risk is read from the deals that were won: a deal is called silent when it has been silent longer
than any won deal ever was in that stage, and so on. Were an open deal like the n won ones, it would go beyond
all of them with probability 1 / (n + 1); so with fewer than 20 won deals nothing is claimed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from crm.errors import InputError
from crm.history import History, utc
from crm.known import known_at
from crm.money import Rates, in_currency
from features.kpis.deal_trails import Trails, deal_trails, in_days
from features.kpis.risk_comparisons import compare
from features.kpis.risk_rules import RiskRules
from features.kpis.risk_words import FLAGS, evidence

COLUMNS: Final = (
    "deal_id",
    "flag",
    "evidence_en",
    "evidence_fr",
    "measure",
    "limit",
    "amount",
    "at_stake",
    "stage",
    "n_won",
)


def deals_at_risk(
    history: History,
    as_of: pd.Timestamp,
    chances: pd.Series | None = None,
    rates: Rates | None = None,
    rules: RiskRules | None = None,
) -> pd.DataFrame:
    """Find the open deals at risk as of a moment, and say why.

    Parameters
    ----------
    history : History
    as_of : Timestamp
        With a time zone; nothing recorded then or later counts.
    chances : Series of float64, optional
        Probability that each deal is won, by ``deal_id``.
    rates : Rates, optional
        Needed where amounts are in several currencies.
    rules : RiskRules, optional

    Returns
    -------
    DataFrame
        One row a deal and flag, the most at stake first: ``deal_id, flag, evidence_en, evidence_fr, measure,
        limit, amount, at_stake, stage, n_won``. ``flag`` is one of ``silent`` (days), ``past_date`` (days),
        ``pushed`` (times), ``backwards`` (stages), ``single_contact`` (people) and ``one_sided`` (acts of the
        prospect); ``limit`` is what ``measure`` was held against, with ``n_won`` won deals behind it.
        ``at_stake`` is the amount times the chance where one is given, else the amount; never below zero,
        missing where the amount is. A deal with several flags has its stake in each of its rows.

    Raises
    ------
    InputError
        Where amounts are in several currencies and there are no rates, or a chance is no probability.
    """
    moment = utc(as_of)
    rules = rules or RiskRules()
    trails = deal_trails(known_at(history, moment), moment)
    compared = [part[part["is_flagged"]] for part in compare(trails, moment, rules)]
    found = pd.concat([*compared, _past_date(trails, moment), _backwards(trails)], ignore_index=True)
    found = found.merge(_stakes(trails, moment, chances, rates or Rates.none()), on="deal_id", how="left")
    found["order"] = found["flag"].map({flag: place for place, flag in enumerate(FLAGS)})
    found = found.sort_values(
        ["at_stake", "deal_id", "order"], ascending=[False, True, True], na_position="last", ignore_index=True
    )
    words = [evidence(record, rules.quantile) for record in found.to_dict("records")]
    for place, language in enumerate(("en", "fr")):
        found[f"evidence_{language}"] = pd.Series([pair[place] for pair in words], dtype="str")
    return found[list(COLUMNS)].astype({"n_won": "int64"})


def risk_limits(history: History, as_of: pd.Timestamp, rules: RiskRules | None = None) -> pd.DataFrame:
    """Say what the flags compare with in each stage that has open deals, and which are claimed there.

    Parameters
    ----------
    history : History
    as_of : Timestamp
        With a time zone.
    rules : RiskRules, optional

    Returns
    -------
    DataFrame
        ``flag, stage, n_open, n_won, limit, basis, is_claimed``. ``basis`` is what was read: for ``silent``
        see :func:`~features.kpis.risk_comparisons.sign_of_life`; for ``single_contact`` ``lead_id`` (the
        prospect's people) or ``user_id`` (ours). A flag that is not claimed has too few won deals, or what
        it looks for is missing in too many of them.
    """
    moment = utc(as_of)
    trails = deal_trails(known_at(history, moment), moment)
    found = pd.concat(compare(trails, moment, rules or RiskRules()), ignore_index=True)
    keys = ["flag", "stage", "n_won", "limit", "basis", "is_claimed"]
    limits = found.groupby(keys, dropna=False, as_index=False, sort=False).agg(n_open=("deal_id", "size"))
    order = {flag: place for place, flag in enumerate(FLAGS)}
    limits = limits.sort_values(["flag", "stage"], key=lambda c: c.map(order) if c.name == "flag" else c)
    columns = ["flag", "stage", "n_open", "n_won", "limit", "basis", "is_claimed"]
    return limits[columns].reset_index(drop=True)


def _past_date(trails: Trails, moment: pd.Timestamp) -> pd.DataFrame:
    """Flag the deals whose expected close date is over: a deal expected on a day has all of it."""
    deals = trails.deals[trails.deals["state"] == "open"]
    late = in_days(moment - deals["expected_close_at"])
    pushes = trails.pushes.groupby("deal_id").size()
    frame = pd.DataFrame(
        {
            "deal_id": deals.index.astype("str"),
            "flag": "past_date",
            "stage": deals["stage"].to_numpy(),
            "measure": np.floor(late.to_numpy(dtype="float64")),
            "limit": 0.0,
            "extra": pushes.reindex(deals.index, fill_value=0).to_numpy(dtype="float64"),
            "n_won": 0,
            "moment": pd.DatetimeIndex(deals["expected_close_at"]),
        }
    )
    return frame[frame["measure"] >= 1]


def _backwards(trails: Trails) -> pd.DataFrame:
    """Flag the deals that stand in an earlier stage than the furthest they had reached."""
    place = {stage: float(order) for order, stage in enumerate(trails.stage_order)}
    visits = trails.visits.assign(place=trails.visits["stage"].map(place))
    reached = visits.groupby("deal_id")["place"]
    last = visits.drop_duplicates("deal_id", keep="last").set_index("deal_id")
    last["furthest"] = reached.max()
    before = visits["place"] < visits.groupby("deal_id")["place"].cummax()
    won = trails.of_state("won")
    went_back = visits.loc[before & visits["deal_id"].isin(won), "deal_id"].nunique()
    back = last[(last["place"] < last["furthest"]) & last.index.isin(trails.of_state("open"))]
    names = np.array([*trails.stage_order, ""], dtype=object)
    return pd.DataFrame(
        {
            "deal_id": back.index.astype("str"),
            "flag": "backwards",
            "stage": back["stage"].to_numpy(),
            "measure": (back["furthest"] - back["place"]).to_numpy(dtype="float64"),
            "limit": 0.0,
            "extra": float(went_back),
            "n_won": len(won),
            "moment": pd.DatetimeIndex(back["entered"]),
            "furthest": names[back["furthest"].to_numpy(dtype="int64")],
        }
    )


def _stakes(trails: Trails, moment: pd.Timestamp, chances: pd.Series | None, rates: Rates) -> pd.DataFrame:
    """Give each open deal's amount, in the reporting currency at today's rate, and what is at stake."""
    deals = trails.deals[trails.deals["state"] == "open"]
    now = pd.Series(moment, index=deals.index, dtype="datetime64[us, UTC]")
    amount = in_currency(deals["amount"], deals["currency"], now, rates)
    stake = amount.clip(lower=0.0)
    if chances is not None:
        wrong = chances[~chances.isna() & ~chances.between(0, 1)]
        if len(wrong):
            raise InputError(
                f"chances: deal_id {wrong.index[0]}: {wrong.iloc[0]} is no probability; give one from 0 to 1"
            )
        stake = stake * chances.reindex(deals.index).fillna(1.0)
    return pd.DataFrame(
        {"deal_id": deals.index.astype("str"), "amount": amount.to_numpy(), "at_stake": stake.to_numpy()}
    )
