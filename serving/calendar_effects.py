"""How counts follow the calendar: weekdays, the ends of months and quarters, the months of the year.

Each day's count is held against an expected one, and the ratio is explained by what the day is in the
calendar: a Poisson model with one random effect for each kind of day, whose variances the data themselves
tell (by the Laplace approximation; Breslow and Clayton, "Approximate Inference in Generalized Linear Mixed
Models", 1993). A part of the calendar that explains nothing shrinks towards nothing. What one month of the
history had to itself has an effect of its own, which is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.rhythm import PARTS, Beat, kinds_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Days of a history below which a part of the calendar is not told from what single weeks and months brought:
#: half a year for the weeks of a month, one and a half for what a quarter or a year repeats.
_LONG_ENOUGH = {"month_weeks": 180, "quarter_weeks": 550, "quarter_months": 550, "months": 550}
#: The month of the history, beside the parts of the calendar.
_OF_HISTORY = "of_history"
#: What is believed of each part's standard deviation, in logs, before anything is seen, and how firmly: as
#: that many kinds of day would tell it.
_USUAL = {
    "weekdays": 0.5,
    "month_weeks": 0.1,
    "quarter_weeks": 0.2,
    "quarter_months": 0.2,
    "months": 0.2,
    _OF_HISTORY: 0.15,
}
_FIRMNESS, _LEAST = 0.5, 0.01
_ROUNDS = 20


def fit_beat(seen: Floats, expected: Floats, first: int) -> Beat:
    """Fit the beat of counts by day.

    Parameters
    ----------
    seen, expected : ndarray of shape (days,)
        What was counted on each day, and what an even calendar would have brought.
    first : int
        The first of them, in days since 1970-01-05.
    """
    days = np.arange(first, first + len(seen))
    parts = {part: kind for part, kind in kinds_of(days).items() if len(days) >= _LONG_ENOUGH.get(part, 0)}
    months = (np.datetime64("1970-01-05", "D") + days).astype("datetime64[M]").astype(np.int64)
    effects = _effects(seen, expected, {**parts, _OF_HISTORY: months - months[0]})
    return Beat(**{part: tuple(effects[part].tolist()) for part in parts})


def _effects(seen: Floats, expected: Floats, parts: dict[str, Ints]) -> dict[str, Floats]:
    """Give the factor of each kind of day, by part."""
    sizes = {part: PARTS.get(part, int(kind.max()) + 1) for part, kind in parts.items()}
    offsets = dict(zip(parts, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    columns = np.stack([kind + offsets[part] for part, kind in parts.items()], axis=1)
    cells, cell = np.unique(columns, axis=0, return_inverse=True)
    seen, expected = (np.bincount(cell, value).astype(np.float64) for value in (seen, expected))
    expected = np.maximum(expected, 1e-12)
    design = np.zeros((len(cells), sum(sizes.values())))
    design[np.arange(len(cells))[:, None], cells] = 1.0
    variance = np.concatenate([np.full(size, _USUAL[part] ** 2) for part, size in sizes.items()])
    effect = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        for _ in range(2):
            mean = expected * np.exp(np.clip(design @ effect, -20.0, 20.0))
            information = (design * mean[:, None]).T @ design + np.diag(1.0 / variance)
            step = np.linalg.solve(information, design.T @ (seen - mean) - effect / variance)
            effect = effect + np.clip(step, -2.0, 2.0)
        unsure = np.diag(np.linalg.inv(information))
        for part, size in sizes.items():
            mine = slice(offsets[part], offsets[part] + size)
            told = (effect[mine] ** 2 + unsure[mine]).sum() + _FIRMNESS * _USUAL[part] ** 2
            variance[mine] = max(told / (size + _FIRMNESS), _LEAST**2)
    return {part: np.exp(effect[offsets[part] : offsets[part] + size]) for part, size in sizes.items()}
