"""What a forecast needs beside the models of deals: how past forecasts of the same kind came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crm.errors import BundleError

Floats = NDArray[np.float64]

#: Spread of the common shock where a history could not show one, in log revenue.
USUAL_SHOCK = 0.2


@dataclass(frozen=True)
class TypicalAmount:
    """What a sale brings of which the CRM does not say the amount.

    Parameters
    ----------
    mean : float
        Of the amounts of sales, in the history's own currency.
    attribute : str
        The deals' column that tells most of the amount; empty where none does.
    by_level : mapping of str to float
        Mean amount of its levels, each drawn towards the overall mean.
    """

    mean: float
    attribute: str = ""
    by_level: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ForecastModel:
    """What replayed forecasts taught; made by training.

    Parameters
    ----------
    horizons_days : tuple of float
        Rising.
    levels : tuple of float
        What deals then open brought within each horizon, against what was expected of them.
    shocks : tuple of float
        Standard deviation of the log of revenue against what was expected, at each horizon, beyond the
        chances of single deals.
    typical : TypicalAmount, optional
        None where no sale had an amount.
    amount_spread : float
        Standard deviation of the log of a sale's amount against what was believed before.
    replays : tuple of mapping
        The replayed forecasts behind all this: ``horizon_days``, ``n``, ``ratio`` and so on, plain JSON.

    Raises
    ------
    BundleError
        Where the parts do not fit together.
    """

    horizons_days: tuple[float, ...] = (28.0,)
    levels: tuple[float, ...] = (1.0,)
    shocks: tuple[float, ...] = (USUAL_SHOCK,)
    typical: TypicalAmount | None = None
    amount_spread: float = 0.0
    replays: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        sizes = {len(self.horizons_days), len(self.levels), len(self.shocks)}
        numbers = np.array([*self.horizons_days, *self.levels, *self.shocks, self.amount_spread])
        if len(sizes) != 1 or 0 in sizes or not np.isfinite(numbers).all() or (numbers < 0).any():
            raise BundleError(
                "forecast model: horizons, levels and shocks must be as many finite numbers; train again"
            )
        if (np.diff(self.horizons_days) <= 0).any() or min(self.levels) <= 0:
            raise BundleError("forecast model: horizons must rise, and levels be above 0; train again")

    def level(self, days: Floats) -> Floats:
        """Give the level at these horizons, any shape; between two of them, by the log of the days."""
        return self._at(days, self.levels)

    def shock(self, days: Floats) -> Floats:
        """Give the common shock's spread at these horizons, any shape."""
        return self._at(days, self.shocks)

    def _at(self, days: Floats, values: tuple[float, ...]) -> Floats:
        known = np.log(self.horizons_days)
        found: Floats = np.interp(np.log(np.maximum(days, 1e-6)), known, values)
        return found

    def to_json_dict(self) -> dict[str, Any]:
        """Give the model as plain JSON."""
        typical = self.typical
        return {
            "horizons_days": list(self.horizons_days),
            "levels": list(self.levels),
            "shocks": list(self.shocks),
            "typical": None
            if typical is None
            else {
                "mean": typical.mean,
                "attribute": typical.attribute,
                "by_level": dict(typical.by_level),
            },
            "amount_spread": self.amount_spread,
            "replays": [dict(one) for one in self.replays],
        }

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> ForecastModel:
        """Read what :meth:`to_json_dict` gave."""
        typical = data["typical"]
        return cls(
            tuple(float(days) for days in data["horizons_days"]),
            tuple(float(level) for level in data["levels"]),
            tuple(float(shock) for shock in data["shocks"]),
            None
            if typical is None
            else TypicalAmount(
                float(typical["mean"]),
                str(typical["attribute"]),
                {str(level): float(mean) for level, mean in typical["by_level"].items()},
            ),
            float(data["amount_spread"]),
            tuple(data["replays"]),
        )
