"""How right past scores were: what was shown, by bands of probability, beside what came of it since."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from crm.history import LEAD_OUTCOME, History
from crm.known import closing_time
from features.kpis.aggregates import wilson_interval

#: The bands of probability in which scores are held against what came.
BANDS: Final = tuple(round(0.1 * place, 1) for place in range(11))


@dataclass(frozen=True, eq=False)
class ScoreRecord:
    """What came of the scores of one kind of record.

    Parameters
    ----------
    bands : DataFrame
        One row a band of :data:`BANDS`: ``low``, ``high``, ``n`` judged, ``n_came``, ``shown`` (the mean
        probability shown), ``came`` (the share that came) with its 95% interval ``came_low``, ``came_high``,
        and ``n_pending``, not known yet.
    n_records : int
        Judged.
    n_pending : int
        Of which it is not known yet: deals that are open, leads younger than the horizon since their score.
    n_after_the_fact : int
        Judged, but scored only when the CRM knew what came: they show the method, and are no record.
    brier : float
        Mean squared error of the probabilities shown; NaN where none is judged.
    brier_of_share : float
        That of showing every record the share that came, which no constant could beat.
    """

    bands: pd.DataFrame
    n_records: int
    n_pending: int
    n_after_the_fact: int
    brier: float
    brier_of_share: float


def score_record(
    log: pd.DataFrame, known: History, entity: str, as_of: pd.Timestamp, horizon_days: float | None
) -> ScoreRecord:
    """Hold scores against what came of their records.

    A record counts once in each band, with the first score that was shown of it there: a score that is made
    each night would else count for a lead as often as there were nights. A deal's probability is that it is
    won at all, and is judged when it is closed; an open deal is no lost one. A lead's is that it is purchased
    within the horizon, and is judged when that is over, or when it is purchased.

    Parameters
    ----------
    log : DataFrame
        Scores kept: ``record_id``, ``as_of``, ``scored_at`` (datetime64[us, UTC]) and ``probability``.
    known : History
        As known at ``as_of`` (:func:`crm.known.known_at`).
    entity : {"lead", "deal"}
    as_of : Timestamp
        Scores made as of it or later do not count.
    horizon_days : float or None
        Of the model; None: ever.
    """
    shown = log[log["as_of"] < as_of]
    ends = _ends(known, entity).reindex(pd.Index(shown["record_id"]))
    shown = shown.assign(
        came_at=ends["came_at"].array, over_at=ends["over_at"].array, known=ends["known"].array
    )
    # A record that is gone or forgotten says nothing any more.
    shown = shown[shown["known"].eq(True)]
    until = shown["as_of"] + pd.Timedelta(days=horizon_days) if horizon_days is not None else None
    came = shown["came_at"].notna()
    over = shown["over_at"].notna()
    if until is not None:
        came &= shown["came_at"] < until
        over = came | (until <= as_of)
    band = np.clip(np.searchsorted(BANDS, shown["probability"], side="right") - 1, 0, len(BANDS) - 2)
    decided_at = shown["came_at"].where(came, shown["over_at"] if until is None else until)
    shown = shown.assign(
        band=band, came=came, judged=over, after=over & (shown["scored_at"] >= decided_at)
    ).sort_values(["as_of", "scored_at", "record_id"], kind="stable")
    first = shown.drop_duplicates(["record_id", "band"])
    judged = first[first["judged"]]
    share = float(judged["came"].mean()) if len(judged) else float("nan")
    error = judged["probability"] - judged["came"]
    return ScoreRecord(
        bands=_bands(first),
        n_records=len(judged),
        n_pending=int((~first["judged"]).sum()),
        n_after_the_fact=int(judged["after"].sum()),
        brier=float((error**2).mean()) if len(judged) else float("nan"),
        brier_of_share=share * (1.0 - share),
    )


def _ends(known: History, entity: str) -> pd.DataFrame:
    """Give of each record when it came (a sale) and when it was over, missing where it was not."""
    records = known.leads if entity == "lead" else known.deals
    closed = closing_time(records)
    won = records["outcome"] == "won"
    frame = pd.DataFrame({"came_at": closed.where(won), "over_at": closed, "known": True})
    frame.index = pd.Index(records[f"{entity}_id"])
    linked = known.deals["lead_id"]
    usual = "deals" if linked.notna().any() else "leads"
    if entity == "lead" and known.facts.get(LEAD_OUTCOME, usual) == "deals":
        sold = known.deals[(known.deals["outcome"] == "won") & linked.notna()]
        bought = closing_time(sold).groupby(sold["lead_id"]).min()
        frame["came_at"] = bought.reindex(frame.index).array
    return frame


def _bands(first: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for place, (low, high) in enumerate(pairwise(BANDS)):
        mine = first[first["band"] == place]
        judged = mine[mine["judged"]]
        rows.append(
            {
                "low": low,
                "high": high,
                "n": len(judged),
                "n_came": int(judged["came"].sum()),
                "shown": judged["probability"].mean(),
                "came": judged["came"].mean() if len(judged) else float("nan"),
                "n_pending": len(mine) - len(judged),
            }
        )
    bands = pd.DataFrame(rows)
    n_came, n = bands["n_came"].to_numpy("float64"), bands["n"].to_numpy("float64")
    came_low, came_high = wilson_interval(n_came, n)
    return bands.assign(came_low=came_low, came_high=came_high)
