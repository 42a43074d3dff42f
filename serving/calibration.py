"""The monotone map from a model's margin to the probability that is shown.

A monotone map keeps the ranking and the signs of the reasons, whatever the calibration found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from crm.errors import BundleError

Floats = NDArray[np.float64]
Kind = Literal["identity", "platt", "isotonic"]


@dataclass(frozen=True)
class Calibrator:
    """A monotone map from margins, in log-odds, to probabilities.

    Parameters
    ----------
    kind : {"identity", "platt", "isotonic"}
        ``identity``: the logistic of the margin. ``platt``: the logistic of ``slope * margin + offset``
        (Platt, "Probabilistic outputs for support vector machines", 1999). ``isotonic``: straight lines
        between knots, flat beyond the outer ones.
    slope, offset : float
        Of Platt's map; the slope is above 0.
    knots : tuple of (float, float)
        Margin and probability of each knot; margins rise, probabilities never fall.

    Raises
    ------
    BundleError
        Where the map is not monotone or leaves [0, 1].

    Examples
    --------
    >>> Calibrator("platt", slope=2.0, offset=0.0).probability(np.array([0.0])).tolist()
    [0.5]
    >>> Calibrator("isotonic", knots=((-1.0, 0.1), (1.0, 0.3))).probability(np.array([0.0])).tolist()
    [0.2]
    """

    kind: Kind = "identity"
    slope: float = 1.0
    offset: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("identity", "platt", "isotonic"):
            raise BundleError(f"calibrator: kind = {self.kind!r} is not known; update Vigie")
        if not (np.isfinite(self.slope) and np.isfinite(self.offset) and self.slope > 0):
            raise BundleError(
                f"calibrator: slope = {self.slope}, offset = {self.offset}: the slope must be above 0 "
                "and both finite, else the ranking would turn round; train again"
            )
        if self.kind == "isotonic":
            self._check_knots()

    def _check_knots(self) -> None:
        points = np.array(self.knots, np.float64).reshape(-1, 2)
        margins, probabilities = points[:, 0], points[:, 1]
        if (
            len(points) == 0
            or not np.isfinite(points).all()
            or (np.diff(margins) <= 0).any()
            or (np.diff(probabilities) < 0).any()
            or probabilities[0] < 0
            or probabilities[-1] > 1
        ):
            raise BundleError(
                "calibrator: knots must have rising margins and probabilities that never fall, "
                "within 0 and 1; train again"
            )

    def probability(self, margin: Floats) -> Floats:
        """Give the probabilities of these margins, same shape."""
        if self.kind == "isotonic":
            points = np.array(self.knots, np.float64)
            mapped: Floats = np.interp(margin, points[:, 0], points[:, 1])
            return mapped
        scaled = margin if self.kind == "identity" else self.slope * margin + self.offset
        logistic: Floats = expit(scaled)
        return logistic

    def to_json_dict(self) -> dict[str, Any]:
        """Give the map as plain JSON."""
        return {
            "kind": self.kind,
            "slope": self.slope,
            "offset": self.offset,
            "knots": [list(knot) for knot in self.knots],
        }

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> Calibrator:
        """Read what :meth:`to_json_dict` gave."""
        knots = tuple((float(margin), float(p)) for margin, p in data["knots"])
        return cls(data["kind"], float(data["slope"]), float(data["offset"]), knots)
