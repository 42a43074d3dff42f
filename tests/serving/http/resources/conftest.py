"""A company of three teams with quotas, and a bundle fitted to it, in files as the service has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from crm.history import History
from crm.observed import last_recorded
from crm.simulator import simulate
from crm.store import Store
from serving.answering.kept_history import Source
from serving.bundle import ModelBundle
from serving.forecast import forecast
from serving.forecast.ledger_entry import entries_of


@dataclass(frozen=True)
class Company:
    """A history in a store, with forecasts kept in it, and a bundle in a directory."""

    history: History
    url: str
    directory: Path
    bundle: ModelBundle
    as_of: pd.Timestamp

    @property
    def source(self) -> Source:
        """What figures are made from."""
        return Source(self.url, 1, str(self.directory), self.bundle.version)


@pytest.fixture(scope="session")
def company(fitted: Callable[[History], ModelBundle], tmp_path_factory: pytest.TempPathFactory) -> Company:
    """Simulate, fit, and keep three forecasts by rep, team and in total, as of three moments."""
    folder = tmp_path_factory.mktemp("company")
    history = simulate(700, seed=5, years=2).history
    url = f"sqlite:///{folder / 'crm.sqlite'}"
    store = Store.open(url, create=True)
    store.load(history.frames(), source="simulated", exported_at=None, facts=history.facts)
    bundle = fitted(history)
    bundle.save(folder / "bundle")
    as_of = last_recorded(history)
    from crm.periods import parse_period

    for moment in (pd.Timestamp("2024-07-01", tz="UTC"), pd.Timestamp("2024-08-01", tz="UTC"), as_of):
        for by in (None, "owner", "team"):
            quarter = parse_period("2024-Q3" if moment < as_of else "2024-Q4")
            made = forecast(bundle, history, moment, [quarter], by=by, draws=300)
            for entry in entries_of(made, moment + pd.Timedelta(hours=1)):
                store.keep_forecast(entry)
    return Company(history, url, folder / "bundle", bundle, as_of)
