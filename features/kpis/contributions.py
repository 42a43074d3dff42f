"""Which part of a change each segment brought, so that the parts add up to the change.

A sum changes by the sum of its segments' changes. A ratio of sums changes by what happened within segments
(their rates) and by how the weights moved between them (the mix), halved symmetrically after Kitagawa (1955,
*Journal of the American Statistical Association* 50, 1168-1194): with weights w and rates r before and after,

    rate effect = (r1 - r0) (w0 + w1) / 2        mix effect = (w1 - w0) ((r0 + r1) / 2 - (R0 + R1) / 2)

where R is the whole ratio: weights sum to one, so subtracting it changes no total, and a segment whose weight
grows is credited for being better than the whole, not for being there.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

COLUMNS: Final = ("segment", "before", "after", "effect", "rate_effect", "mix_effect", "expected", "share")


def sum_contributions(before: pd.Series, after: pd.Series) -> pd.DataFrame:
    """Split the change of a sum by segment.

    Parameters
    ----------
    before, after : Series of float64
        The sum of each segment, by its name; a segment that is missing has none.

    Returns
    -------
    DataFrame, shape (n_segments, 8)
        ``segment, before, after, effect`` (which add up to the change), ``rate_effect`` and ``mix_effect``
        (NaN), ``expected``: the segment's part of the change if all had changed alike; ``share``: the effect
        over the change. The segment that goes furthest beyond its expected part, in the direction of the
        change, first.

    Examples
    --------
    >>> found = sum_contributions(pd.Series({"a": 60.0, "b": 40.0}), pd.Series({"a": 60.0, "b": 20.0}))
    >>> found[["segment", "effect", "expected", "share"]].to_dict("records")[0]
    {'segment': 'b', 'effect': -20.0, 'expected': -8.0, 'share': 1.0}
    """
    names = before.index.union(after.index)
    first, last = (values.reindex(names).fillna(0.0).astype("float64") for values in (before, after))
    effect = last - first
    size = (first.abs() + last.abs()) / 2 if first.sum() <= 0 else first.abs()
    frame = pd.DataFrame({"before": first, "after": last, "effect": effect})
    frame["rate_effect"], frame["mix_effect"] = np.nan, np.nan
    return _ordered(frame, size)


def ratio_contributions(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Split the change of a ratio of sums by segment, into rate and mix effects.

    Parameters
    ----------
    before, after : DataFrame
        ``numerator, denominator`` of each segment, by its name; a segment that is missing has none of both.

    Returns
    -------
    DataFrame, shape (n_segments, 8)
        As :func:`sum_contributions`, with ``effect = rate_effect + mix_effect``; ``before`` and ``after`` are
        the segments' rates. Empty where there is nothing to divide by before or after.

    Examples
    --------
    >>> sums = ["numerator", "denominator"]
    >>> before = pd.DataFrame([[30.0, 60.0], [10.0, 40.0]], index=["a", "b"], columns=sums)
    >>> after = pd.DataFrame([[30.0, 60.0], [2.0, 40.0]], index=["a", "b"], columns=sums)
    >>> ratio_contributions(before, after)[["segment", "effect"]].round(3).to_dict("records")
    [{'segment': 'b', 'effect': -0.08}, {'segment': 'a', 'effect': 0.0}]
    """
    names = before.index.union(after.index)
    sums = [frame.reindex(names).fillna(0.0).astype("float64") for frame in (before, after)]
    wholes = [frame["denominator"].sum() for frame in sums]
    if min(wholes) <= 0:
        return pd.DataFrame(columns=list(COLUMNS))
    weights = [frame["denominator"] / whole for frame, whole in zip(sums, wholes, strict=True)]
    rates = [frame["numerator"] / frame["denominator"].where(frame["denominator"] != 0) for frame in sums]
    whole = sum(frame["numerator"].sum() / size for frame, size in zip(sums, wholes, strict=True)) / 2
    # A segment that was not there had no rate to change: all of its effect is that it came, or went.
    first, last = rates[0].fillna(rates[1]), rates[1].fillna(rates[0])
    rate = ((last - first) * (weights[0] + weights[1]) / 2).fillna(0.0)
    # What stands above the line with nothing below it has no rate; it counts as what happened within.
    stray = [
        (frame["numerator"] / size).where(frame["denominator"] == 0, 0.0)
        for frame, size in zip(sums, wholes, strict=True)
    ]
    rate = rate + stray[1] - stray[0]
    mix = ((weights[1] - weights[0]) * ((first + last) / 2 - whole)).fillna(0.0)
    frame = pd.DataFrame({"before": rates[0], "after": rates[1], "effect": rate + mix})
    frame["rate_effect"], frame["mix_effect"] = rate, mix
    return _ordered(frame, (weights[0] + weights[1]) / 2)


def _ordered(frame: pd.DataFrame, size: pd.Series) -> pd.DataFrame:
    change = float(frame["effect"].sum())
    whole = float(size.sum())
    frame["expected"] = change * size / whole if whole > 0 else 0.0
    frame["share"] = frame["effect"] / change if change else np.nan
    beyond = (frame["effect"] - frame["expected"]) * (np.sign(change) or 1.0)
    frame = frame.rename_axis("segment").reset_index().assign(beyond=beyond.to_numpy())
    frame = frame.sort_values(["beyond", "segment"], ascending=[False, True], ignore_index=True)
    return frame[list(COLUMNS)]
