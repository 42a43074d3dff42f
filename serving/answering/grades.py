"""A probability as one letter, by cut-offs that never move with the batch or the day."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Grade = Literal["A", "B", "C", "D"]

#: From which probability on each grade is given; below the last it is D.
CUTOFFS: Final[tuple[tuple[Grade, float], ...]] = (("A", 0.60), ("B", 0.30), ("C", 0.10))
LAST: Final[Grade] = "D"

_NAMES = np.array([LAST, *(name for name, _ in reversed(CUTOFFS))])
_BOUNDS = np.array([bound for _, bound in reversed(CUTOFFS)])


def grade(probability: float) -> Grade:
    """Give the grade of one probability.

    Examples
    --------
    >>> [grade(p) for p in (0.6, 0.59, 0.3, 0.1, 0.0999)]
    ['A', 'B', 'B', 'C', 'D']
    """
    for name, bound in CUTOFFS:
        if probability >= bound:
            return name
    return LAST


def grades(probability: NDArray[np.float64]) -> list[str]:
    """Give the grades of many probabilities, as :func:`grade` would.

    Examples
    --------
    >>> grades(np.array([0.7, 0.1, 0.0]))
    ['A', 'C', 'D']
    """
    found: list[str] = _NAMES[np.searchsorted(_BOUNDS, probability, side="right")].tolist()
    return found
