"""Engagement: what is done with prospects, through which channel, and whether they answer."""

from __future__ import annotations

import numpy as np
import pandas as pd

from crm.groups import NOBODY, linked_id
from crm.periods import Period
from features.kpis.aggregates import noted, ratio_rows, sum_rows
from features.kpis.deals import won_in
from features.kpis.evidence import Evidence, within
from features.kpis.kpi import Kpi


def activities(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Number of activities done, by channel and direction."""
    every = evidence.every_activity
    done = evidence.activities_where((every["status"] == "done") & within(every["occurred_at"], period))
    detail = done["channel"].fillna(NOBODY) + ", " + done["direction"].fillna(NOBODY)
    return sum_rows(evidence, done, detail=detail.astype("str"))


def activities_per_won_deal(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Average number of activities that it took to win a deal."""
    deals = won_in(evidence, period)
    every, of_deal, of_lead = evidence.every_activity, evidence.deal_of_activity, evidence.lead_of_activity
    is_done = ((every["status"] == "done") & evidence.is_known).to_numpy(dtype=bool)
    when = every["occurred_at"].array
    own = is_done & np.isin(of_deal, deals.index)
    # Before there is a deal, its lead's activities name no deal.
    lead = pd.Index(evidence.leads["lead_id"]).get_indexer(pd.Index(deals["lead_id"]))
    before = is_done & (of_deal < 0) & np.isin(of_lead, lead[lead >= 0])
    through = pd.DataFrame({"lead": of_lead[before], "at": when[before]}).merge(
        pd.DataFrame({"lead": lead, "deal": deals.index}), on="lead"
    )
    both = pd.concat(
        [pd.DataFrame({"deal": of_deal[own], "at": when[own]}), through[["deal", "at"]]], ignore_index=True
    )
    both = both[both["at"] <= deals["closed_at"].reindex(both["deal"]).set_axis(both.index)]
    counts = both["deal"].value_counts().reindex(deals.index).fillna(0.0)
    return ratio_rows(evidence, deals, counts, wilson=False)


def engagement(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of prospects who acted soon after we first reached out to them, by channel."""
    days = evidence.settings.reply_days
    wait = pd.Timedelta(days=days)
    every = evidence.every_activity
    near = (every["occurred_at"] >= period.start) & (every["occurred_at"] < period.end + wait)
    columns = [name for name in every.columns if name not in ("activity_id", "status", "recorded_at")]
    done = evidence.activities_where(near & (every["status"] == "done"), columns)
    done = done.assign(prospect=_prospect(evidence, done), channel=done["channel"].fillna(NOBODY))
    touches = done[(done["direction"] == "out") & within(done["occurred_at"], period)]
    touches = touches[touches["prospect"] >= 0].sort_values("occurred_at", kind="stable")
    touches = touches.drop_duplicates(["prospect", "channel"])
    replied = _next_reply(done[done["direction"] == "in"], touches) <= wait
    is_old = touches["occurred_at"] + wait <= evidence.as_of
    rows = ratio_rows(
        evidence, touches, is_old & replied, is_old, censored=~is_old, detail=touches["channel"].astype("str")
    )
    return noted(rows, f"within {days:g} days")


def _prospect(evidence: Evidence, done: pd.DataFrame) -> pd.Series:
    """Number the prospect of each activity: its lead, else its deal, else its account; -1 for nobody."""
    known = evidence.records
    number = pd.Series(-1, index=done.index, dtype="int64")
    base = 0
    for table in ("leads", "deals", "accounts"):
        frame: pd.DataFrame = getattr(known, table)
        rows = pd.Index(frame.iloc[:, 0]).get_indexer(pd.Index(linked_id(known, done, table)))
        number = number.where((number >= 0) | (rows < 0), base + rows)
        base += len(frame)
    return number


def _next_reply(replies: pd.DataFrame, touches: pd.DataFrame) -> pd.Series:
    """Give the time from each touch to what the same prospect did next; missing where it did nothing."""
    follows = pd.merge_asof(
        touches[["prospect", "occurred_at"]],
        replies[["prospect", "occurred_at"]]
        .assign(reply=replies["occurred_at"])
        .sort_values("occurred_at", kind="stable"),
        on="occurred_at",
        by="prospect",
        direction="forward",
        allow_exact_matches=False,
    )
    waited = follows["reply"] - follows["occurred_at"]
    return pd.Series(np.asarray(waited), index=touches.index)


KPIS = (
    Kpi(
        name="activities",
        label_en="Activities by channel",
        label_fr="Activités par canal",
        formula="number of activities done, by channel and direction (in: the prospect acted; out: we did)",
        covers="Activities done in the period by reps and prospects, not those planned or cancelled.",
        unit="count",
        better="neither",
        source="counting",
        tables=("activities",),
        measure=activities,
        detail="channel, direction",
    ),
    Kpi(
        name="activities_per_won_deal",
        label_en="Activities per won deal",
        label_fr="Activités par affaire gagnée",
        formula="activities done with a deal, or with its lead before, until it was won / deals won",
        covers="Deals won in the period, with all that was done for each since its lead came in.",
        unit="per deal",
        better="lower",
        source="counting",
        tables=("deals", "leads", "activities"),
        measure=activities_per_won_deal,
    ),
    Kpi(
        name="engagement",
        label_en="Engagement by channel",
        label_fr="Engagement par canal",
        formula=(
            "prospects who did something within 7 days (or the days set) of our first outreach through the "
            "channel / prospects reached through it"
        ),
        covers=(
            "Prospects to whom we reached out through the channel in the period, the first time in it; their "
            "action may come through any channel, and after the period. Outreach too recent to know is not "
            "counted and is shown as censored."
        ),
        unit="ratio",
        better="higher",
        source="response rate, as in direct marketing",
        tables=("activities", "leads", "deals", "accounts"),
        measure=engagement,
        detail="channel",
    ),
)
