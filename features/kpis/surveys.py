"""What customers say: the net promoter score and the customer effort score, with their ranges."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from crm.periods import Period
from features.kpis.aggregates import mean_rows, noted, ratio_rows
from features.kpis.evidence import Evidence, within
from features.kpis.kpi import Kpi

#: Two-sided 95%: the quantile of the normal distribution.
_Z = 1.959963984540054
_LEAST_PROMOTER, _MOST_DETRACTOR = 9, 6
#: The answers each survey allows.
_SCALES = {"nps": (0.0, 10.0), "ces": (1.0, 7.0)}
_COVERS = "Answers given during the period, by when they were given and not by when the customer was won."


class NetPromoters(NamedTuple):
    """A net promoter score with its 95% range, all in points from -100 to 100."""

    score: float
    low: float
    high: float


def net_promoters(promoters: float, detractors: float, answers: float) -> NetPromoters:
    """Give the share of promoters less that of detractors, in points, with its 95% range.

    The range is the adjusted Wald interval with 3/4, 3/2 and 3/4 answers added to detractors, passives and
    promoters, the simplest of those that held their level for small samples in Rocks (2016, *The American
    Statistician* 70, 365-372); it is stretched to the score where the score lies outside.

    Returns
    -------
    NetPromoters
        NaN where there is no answer.

    Examples
    --------
    >>> [round(x, 1) for x in net_promoters(promoters=5, detractors=2, answers=10)]
    [30.0, -19.1, 65.2]
    """
    if answers <= 0:
        return NetPromoters(np.nan, np.nan, np.nan)
    score = (promoters - detractors) / answers
    size = answers + 3
    up, down = (promoters + 0.75) / size, (detractors + 0.75) / size
    half = _Z * math.sqrt((up + down - (up - down) ** 2) / size)
    low, high = max(up - down - half, -1.0), min(up - down + half, 1.0)
    return NetPromoters(100 * score, 100 * min(low, score), 100 * max(high, score))


def nps(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of answers of 9 and 10, less that of answers of 0 to 6, in points."""
    answers, remark = _answers(evidence, period, "nps")
    promoters = (answers["score"] >= _LEAST_PROMOTER).astype("float64")
    detractors = (answers["score"] <= _MOST_DETRACTOR).astype("float64")
    up = ratio_rows(evidence, answers, promoters, wilson=False)
    down = ratio_rows(evidence, answers, detractors, wilson=False)["numerator"]
    triples = zip(up["numerator"], down, up["denominator"], strict=True)
    found = pd.DataFrame([net_promoters(*triple) for triple in triples], columns=NetPromoters._fields)
    words = [
        f"{p:.0f} promoters, {n - p - d:.0f} passives, {d:.0f} detractors" if n else ""
        for p, d, n in zip(up["numerator"], down, up["denominator"], strict=True)
    ]
    rows = up.assign(
        numerator=up["numerator"] - down,
        value=found["score"],
        low=found["low"],
        high=found["high"],
        note=words,
    )
    return noted(rows, remark)


def ces(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Mean of the answers from 1 to 7, with its 95% range by Student's t."""
    from scipy import stats

    answers, remark = _answers(evidence, period, "ces")
    rows = mean_rows(evidence, answers, answers["score"])
    squares = mean_rows(evidence, answers, answers["score"] ** 2)["value"]
    n = rows["n"].where(rows["n"] > 1)
    variance = ((squares - rows["value"] ** 2) * n / (n - 1)).clip(lower=0.0)
    half = pd.Series(stats.t.ppf(0.975, (n - 1).to_numpy()), index=rows.index) * np.sqrt(variance / n)
    low, high = _SCALES["ces"]
    rows = rows.assign(
        low=(rows["value"] - half).clip(lower=low), high=(rows["value"] + half).clip(upper=high)
    )
    return noted(rows, remark)


def _answers(evidence: Evidence, period: Period, kind: str) -> tuple[pd.DataFrame, str]:
    """Give the answers of the period that lie on the scale, and a remark on those that do not."""
    surveys = evidence.records.surveys
    asked = surveys[(surveys["kind"] == kind) & within(surveys["answered_at"], period)]
    low, high = _SCALES[kind]
    fits = asked["score"].between(low, high)
    n = int((~fits).sum())
    return asked[fits], f"{n} answers outside {low:.0f} to {high:.0f} do not count" if n else ""


KPIS = (
    Kpi(
        name="nps",
        label_en="Net promoter score",
        label_fr="Net promoter score (NPS)",
        formula="100 x (answers of 9 and 10 - answers of 0 to 6) / answers",
        covers=_COVERS,
        unit="points",
        better="higher",
        source="Reichheld, The One Number You Need to Grow, Harvard Business Review 2003; range: Rocks 2016",
        tables=("surveys",),
        measure=nps,
    ),
    Kpi(
        name="ces",
        label_en="Customer effort score",
        label_fr="Score d’effort client (CES)",
        formula="mean of the answers from 1 (very hard) to 7 (very easy)",
        covers=_COVERS,
        unit="points",
        better="higher",
        source="Dixon, Toman, DeLisi, The Effortless Experience, 2013; range: Student 1908",
        tables=("surveys",),
        measure=ces,
    ),
)
