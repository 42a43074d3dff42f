"""One cutoff: taken up where it was done before, else trained, asked and kept."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd
from threadpoolctl import threadpool_limits

from crm.errors import NotEnoughData
from crm.history import History
from crm.known import known_at
from training.backtest.prediction import Forecaster, predict
from training.backtest.settings import BacktestSettings
from training.backtest.work import Work, keys
from training.labels import with_lead_outcome
from training.settings import TrainSettings
from training.train import train

Say = Callable[[str], None]


@dataclass(frozen=True)
class Done:
    """A cutoff that was gone through.

    Parameters
    ----------
    cutoff : Timestamp
    trained_key, said_key : str
        Of the files that hold its bundle and what was said with it.
    failure : str
        Why nothing could be said; empty where something was.
    taken_up : bool
        Whether it was done before.
    seconds, core_seconds : float
        Until it was done, and of a core's work.
    peak_bytes : int
        The most memory that its process held so far.
    """

    cutoff: pd.Timestamp
    trained_key: str
    said_key: str
    failure: str
    taken_up: bool
    seconds: float
    core_seconds: float
    peak_bytes: int


def go_back(
    history: History,
    cutoff: pd.Timestamp,
    settings: BacktestSettings,
    work: Work,
    forecaster: Forecaster | None,
) -> Done:
    """Say what would have been said at a cutoff, and keep it; nothing recorded later is looked at.

    One thread computes: sums come out the same however many cutoffs are gone through at a time.

    Parameters
    ----------
    history : History
    cutoff : Timestamp
    settings : BacktestSettings
    work : Work
    forecaster : callable, optional
    """
    began, worked = time.perf_counter(), time.process_time()
    known = with_lead_outcome(known_at(history, cutoff), settings.train.lead_outcome)
    asked = settings.to_json_dict() | {"forecaster": _name(forecaster)}
    trained_key, said_key = keys(known, cutoff, asked, work.code)
    failure, taken_up = "", work.has_predictions(cutoff, said_key)
    if not taken_up:
        try:
            with threadpool_limits(1):
                bundle = work.bundle(cutoff, trained_key)
                if bundle is None:
                    bundle = train(known, cutoff, settings.train).bundle
                    work.keep_bundle(cutoff, trained_key, bundle)
                work.keep_predictions(said_key, predict(known, bundle, cutoff, settings, forecaster))
        except NotEnoughData as error:
            failure = str(error)
    return Done(
        cutoff=cutoff,
        trained_key=trained_key,
        said_key=said_key,
        failure=failure,
        taken_up=taken_up,
        seconds=time.perf_counter() - began,
        core_seconds=time.process_time() - worked,
        peak_bytes=peak_memory(),
    )


def _name(forecaster: Forecaster | None) -> str | None:
    return None if forecaster is None else f"{forecaster.__module__}.{forecaster.__qualname__}"


def peak_memory() -> int:
    """Give the most memory that this process has held, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def one_thread(settings: BacktestSettings) -> BacktestSettings:
    """Give the settings with one thread a training: cutoffs, not trees, share the cores."""
    own = settings.train
    single: TrainSettings = replace(
        own,
        hazard=replace(own.hazard, threads=1),
        timing=replace(own.timing, threads=1),
        distill=replace(own.distill, threads=1),
    )
    return replace(settings, train=single)
