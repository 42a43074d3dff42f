"""Where each group of events stands among the columns of the running counts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from features.events import DETAILS
from features.spec import FeatureSpec


@dataclass(frozen=True)
class Layout:
    """Which column of the running counts belongs to which group of events.

    Parameters
    ----------
    broad : slice
        Every event, activities done, those of each direction, those of each channel.
    kind, work, newcomer, detail : slice
    width : int
    """

    broad: slice
    direction: slice
    channel: slice
    kind: slice
    work: slice
    newcomer: slice
    detail: slice
    width: int

    @classmethod
    def of(cls, spec: FeatureSpec) -> Layout:
        """Lay the groups of a spec out."""
        sizes = (
            2,
            len(spec.directions),
            len(spec.channels),
            len(spec.kinds),
            len(spec.work),
            1,
            len(DETAILS),
        )
        edges = [0, *np.cumsum(sizes).tolist()]
        direction, channel, kind, work, newcomer, detail = (
            slice(low, high) for low, high in pairwise(edges[1:])
        )
        return cls(slice(0, edges[3]), direction, channel, kind, work, newcomer, detail, edges[-1])
