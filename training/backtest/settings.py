"""What a backtest asks: horizons, baselines' bounds, resamples, and how to train at each cutoff."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from crm.money import Rates
from training.settings import TrainSettings

HORIZONS = ("1W", "2W", "4W", "1Q")


@dataclass(frozen=True)
class BacktestSettings:
    """Everything that decides what a backtest gives, beside the history and its cutoffs.

    Parameters
    ----------
    train : TrainSettings
        At each cutoff.
    horizons : tuple of str
        Lengths of the periods that revenue is forecast for, each beginning at the cutoff: ``4W``, ``1Q``.
    calls : tuple of int
        How many records a rep calls at each cutoff.
    resamples : int
        Of the bootstraps over all cutoffs; a single cutoff's take fewer.
    baseline_rows : int
        Past moments that the baselines learn from, at most.
    draws : int
        Simulated totals of a forecast.
    currency : str
        In which revenue is reported; empty for the history's own.
    rates : tuple of (month, currency, rate)
        As :class:`crm.money.Rates` holds them.
    seed : int
    """

    train: TrainSettings = field(default_factory=TrainSettings)
    horizons: tuple[str, ...] = HORIZONS
    calls: tuple[int, ...] = (5, 10, 20)
    resamples: int = 500
    baseline_rows: int = 20_000
    draws: int = 2000
    currency: str = ""
    rates: tuple[tuple[str, str, float], ...] = ()
    seed: int = 7

    def with_rates(self, rates: Rates) -> BacktestSettings:
        """Give the same with amounts in the reporting currency of these rates."""
        rows = tuple((month, code, rate) for (month, code), rate in sorted(rates.by_month.items()))
        return replace(self, currency=rates.currency, rates=rows)

    @property
    def given_rates(self) -> Rates:
        """The rates, none where none were given."""
        by_month = {(month, code): rate for month, code, rate in self.rates}
        return Rates(self.currency, by_month, "--rates") if self.currency else Rates.none()

    def to_json_dict(self) -> dict[str, Any]:
        """Give every setting as plain JSON."""
        return asdict(self)
