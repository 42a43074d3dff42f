"""What the notebooks are about: a history, and how to learn from it, as environment variables say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from crm.errors import InputError, NotEnoughData
from crm.history import utc
from crm.known import known_at
from crm.money import Rates
from crm.observed import last_recorded
from vigie.backtest_commands import cores
from vigie.histories import read_history
from vigie.moments import clock

if TYPE_CHECKING:
    from crm.history import History
    from crm.simulator import Truth
    from serving.bundle import ModelBundle
    from training.backtest import BacktestSettings, Done, Plan
    from training.settings import TrainSettings

#: Every variable, and what it says.
VARIABLES: Mapping[str, str] = {
    "VIGIE_HISTORY": "path or URL of a history store; without it a CRM is simulated",
    "VIGIE_BUNDLE": "directory of a trained bundle; without it one is trained",
    "VIGIE_CONFIG": "settings of the training, as for vigie train --config",
    "VIGIE_RATES": "a CSV month,currency,rate; with VIGIE_CURRENCY",
    "VIGIE_CURRENCY": "the currency to report in, where amounts are in several; with VIGIE_RATES",
    "VIGIE_LEADS": "how many leads to simulate",
    "VIGIE_CUTOFFS": "how many past months to go back to, at most",
    "VIGIE_JOBS": "how many of them at a time; one a core otherwise",
    "VIGIE_WORK": "the folder where finished cutoffs of the backtest are kept, to be taken up again",
}
LEADS, CUTOFFS, WORK = 3_000, 9, ".demo"
_SEED = 1
#: Lengths of the periods that the backtest forecasts, and the distance of its cutoffs.
_HORIZONS, _EVERY = ("1M", "1Q"), "1M"


@dataclass(frozen=True)
class NotebookInputs:
    """A history and how to learn from it.

    Parameters
    ----------
    history : History
        As known at ``until``.
    until : Timestamp
        Just after the last thing that the history records.
    truth : Truth or None
        The true probabilities, where the history is simulated.
    settings : TrainSettings
    rates : Rates
        None where amounts are in one currency.
    cutoffs : int
        How many past months the backtest goes back to, at most.
    jobs : int
        How many of them at a time, at most.
    work : Path
        Of the backtest.
    given_bundle : Path or None
    """

    history: History
    until: pd.Timestamp
    truth: Truth | None
    settings: TrainSettings
    rates: Rates
    cutoffs: int
    jobs: int
    work: Path
    given_bundle: Path | None

    def bundle(self) -> ModelBundle:
        """Give the bundle that was named, or train one from the whole history."""
        from serving.bundle import ModelBundle
        from training.train import train

        if self.given_bundle is not None:
            return ModelBundle.load(self.given_bundle)
        return train(self.history, self.until, self.settings).bundle

    def backtest_settings(self) -> BacktestSettings:
        """Give the backtest's settings: forecasts of the next month and the next quarter."""
        from training.backtest import BacktestSettings

        asked = BacktestSettings(train=self.settings, horizons=_HORIZONS)
        return asked.with_rates(self.rates) if self.rates.currency else asked

    def plan(self) -> Plan:
        """Give the last monthly cutoffs that leave a quarter to judge; earlier ones have less to learn from.

        Raises
        ------
        NotEnoughData
            If there is no month at which training was possible.
        """
        from training.backtest import plan_cutoffs

        asked = self.backtest_settings()
        try:
            last = utc(self.until - pd.offsets.DateOffset(months=3))
            plan = plan_cutoffs(self.history, self.until, asked, every=_EVERY, until=last)
        except NotEnoughData:
            # A history of a few months can still be judged on the next one.
            plan = plan_cutoffs(self.history, self.until, asked, every=_EVERY)
        latest = plan.cutoffs[-self.cutoffs :]
        return replace(plan, cutoffs=latest, possible=len(latest))


def notebook_inputs(environ: Mapping[str, str]) -> NotebookInputs:
    """Read what the environment asks for; without anything, a simulated CRM and the settings of a demo.

    Parameters
    ----------
    environ : mapping of str to str
        As ``os.environ``; :data:`VARIABLES` says what each name means.

    Raises
    ------
    InputError
        If a variable's value cannot be used.
    StoreError
        If the history store is not there, or cannot be read.
    """
    from crm.simulator import simulate
    from training.settings import quick_settings, read_settings

    url, config, bundle = (environ.get(f"VIGIE_{name}") for name in ("HISTORY", "CONFIG", "BUNDLE"))
    truth = None
    if url:
        history = read_history(url)
    else:
        simulation = simulate(_count(environ, "VIGIE_LEADS", LEADS), seed=_SEED)
        history, truth = simulation.history, simulation.truth
    until = last_recorded(history, clock())
    return NotebookInputs(
        history=known_at(history, until),
        until=until,
        truth=truth,
        settings=read_settings(Path(config)) if config else quick_settings(),
        rates=_rates(environ.get("VIGIE_RATES"), environ.get("VIGIE_CURRENCY")),
        cutoffs=_count(environ, "VIGIE_CUTOFFS", CUTOFFS),
        jobs=_count(environ, "VIGIE_JOBS", cores()),
        work=Path(environ.get("VIGIE_WORK") or WORK),
        given_bundle=Path(bundle) if bundle else None,
    )


def tell_cutoff(done: Done) -> None:
    """Print that a cutoff is done, while the others are still to come."""
    how = done.failure or ("taken up" if done.taken_up else f"{done.seconds:.0f} s")
    print(f"{done.cutoff:%d %B %Y}: {how}", flush=True)


def _count(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise InputError(f"{name} = {text!r}: must be a whole number above zero")
    return int(text)


def _rates(path: str | None, currency: str | None) -> Rates:
    if not path and not currency:
        return Rates.none()
    if not path or not currency:
        missing = "VIGIE_CURRENCY" if path else "VIGIE_RATES"
        raise InputError(f"{missing} is not set: rates and the currency to report in are given together")
    return Rates.read(path, currency)
