"""Tuning: find better settings of the hazard by time-ordered validation, never on the reported period.

Training reports on a later window. Tuning goes back to the moment that window opens, so that nothing in it
can choose a setting, and judges each trial on a window of its own before that moment. The best trial of many
looks better than it is, so it is taken only where it beats the given settings for certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
import pandas as pd

from crm.history import History
from crm.known import known_at
from features import learn_spec
from training.audit import audit
from training.labels import OPEN, outcomes, with_lead_outcome
from training.later import Verdict, Window, judge, open_window
from training.metrics import bootstrap_mean, log_losses
from training.samples import untimed_sample
from training.settings import HazardSettings, TrainSettings

Floats = npt.NDArray[np.float64]
Say = Callable[[str], None]

#: Of the records without times, by order: what training does not report on, and what tuning learns from.
_UNREPORTED, _LEARNED = 0.7, 0.49
_RESAMPLES = 1000


@dataclass(frozen=True)
class Trial:
    """One choice of settings and what it was worth.

    Parameters
    ----------
    hazard : dict
        The settings tried.
    loss : float or None
        Mean log loss as a share of the given settings'; below 1 is better. None where it was stopped early.
    """

    hazard: dict[str, float]
    loss: float | None


@dataclass(frozen=True)
class Tuned:
    """What tuning found.

    Parameters
    ----------
    settings : TrainSettings
        The best, or the given ones.
    improved : bool
        Whether they differ from the given ones.
    gain, low, high : float
        By how much the best trial lowered the loss, as a share, and its 90% interval by record.
    trials : tuple of Trial
        In order; the first is the given settings.
    """

    settings: TrainSettings
    improved: bool
    gain: float
    low: float
    high: float
    trials: tuple[Trial, ...]

    def to_json_dict(self) -> dict[str, Any]:
        """Give everything but the settings, which are logged by themselves, as plain JSON."""
        return {
            "improved": self.improved,
            "gain": self.gain,
            "low": self.low,
            "high": self.high,
            "trials": [{"hazard": trial.hazard, "loss": trial.loss} for trial in self.trials],
        }


@dataclass(frozen=True, eq=False)
class _Task:
    """One kind of record to judge trials on, and the losses of what was judged already, the given first."""

    entity: str
    window: Window
    horizon: float | None
    both_ends: bool
    judged: dict[HazardSettings, Floats]

    @property
    def given(self) -> Floats:
        return next(iter(self.judged.values()))

    def losses(self, settings: TrainSettings) -> Floats:
        if settings.hazard not in self.judged:
            verdict = _judge(self.window, settings, self.horizon, self.both_ends, self.entity)
            self.judged[settings.hazard] = _losses(verdict)
        return self.judged[settings.hazard]


def tune(
    history: History,
    until: pd.Timestamp,
    settings: TrainSettings,
    minutes: float,
    say: Say = lambda _: None,
    *,
    trials: int | None = None,
) -> TrainSettings:
    """Give better settings, or the given ones; see :func:`search`."""
    return search(history, until, settings, minutes, say, trials=trials).settings


def search(
    history: History,
    until: pd.Timestamp,
    settings: TrainSettings,
    minutes: float,
    say: Say = lambda _: None,
    *,
    trials: int | None = None,
) -> Tuned:
    """Look for better hazard settings with Optuna's seeded TPE.

    Parameters
    ----------
    history : History
    until : Timestamp with a time zone
        End of observation of the training that follows; the window it reports on is not looked at.
    settings : TrainSettings
        The given ones: the first trial, and what every other must beat.
    minutes : float
        Time after which no further trial begins.
    say : callable
        Told what is being done.
    trials : int, optional
        At most so many. The same number of trials gives the same settings, however fast the machine.

    Returns
    -------
    Tuned
    """
    tasks = _tasks(history, until, settings, say)
    if not tasks:
        say("too little has closed to tune on: the settings stay as they are")
        return Tuned(settings, False, 0.0, 0.0, 0.0, ())
    with _silence():
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=settings.seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=8),
        )
    study.enqueue_trial(_given(settings.hazard))

    def objective(trial: optuna.Trial) -> float:
        chosen = replace(settings, hazard=_suggest(trial, settings.hazard))
        ratios: list[float] = []
        for step, task in enumerate(tasks):
            ratios.append(float(task.losses(chosen).mean() / task.given.mean()))
            trial.report(float(np.mean(ratios)), step)
            if len(ratios) < len(tasks) and trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(ratios))

    def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        say(f"trial {trial.number + 1}: best so far {1 - study.best_value:+.2%} in log loss")

    with _silence():
        study.optimize(objective, n_trials=trials, timeout=60 * minutes, callbacks=[tell])
    if not study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]):
        say("the time was over before the first trial: the settings stay as they are")
        return Tuned(settings, False, 0.0, 0.0, 0.0, ())
    best = replace(settings, hazard=_with(settings.hazard, study.best_params))
    gain, low, high = _gain(tasks, best, settings)
    tried = tuple(Trial(dict(trial.params), trial.value) for trial in study.trials)
    improved = low > 0
    say(
        f"{len(tried)} trials: the best lowers log loss by {gain:.2%} (90%: {low:.2%} to {high:.2%}), "
        + ("taken" if improved else "not certain, the settings stay as they are")
    )
    return Tuned(best if improved else settings, improved, gain, low, high, tried)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep Optuna from logging every trial: progress is told through ``say``."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _given(hazard: HazardSettings) -> dict[str, float]:
    names = ("leaves", "rows_per_leaf", "features_per_tree", "learning_rate", "intervals")
    return {name: getattr(hazard, name) for name in names}


def _suggest(trial: optuna.Trial, given: HazardSettings) -> HazardSettings:
    """Ask Optuna for settings; the ranges reach at least as far as what was given."""
    floats = {"features_per_tree": (0.1, 0.9), "learning_rate": (0.02, 0.15)}
    whole = {"leaves": (4, 31), "rows_per_leaf": (20, 1000), "intervals": (12, 60)}
    chosen: dict[str, float] = {}
    for name, (least, most) in whole.items():
        count = int(getattr(given, name))
        chosen[name] = trial.suggest_int(name, min(least, count), max(most, count), log=True)
    for name, (low, high) in floats.items():
        now = float(getattr(given, name))
        chosen[name] = trial.suggest_float(name, min(low, now), max(high, now), log=name == "learning_rate")
    return _with(given, chosen)


def _with(given: HazardSettings, chosen: dict[str, Any]) -> HazardSettings:
    return replace(given, **chosen)


def _tasks(history: History, until: pd.Timestamp, settings: TrainSettings, say: Say) -> list[_Task]:
    tasks = []
    known = with_lead_outcome(known_at(history, until), settings.lead_outcome)
    for entity in ("lead", "deal"):
        found = outcomes(known, entity)
        closed = int((found.events != OPEN).sum())
        if closed < settings.min_closed:
            continue
        untimed = bool(found.untimed.sum() * 2 > closed)
        window = (_by_order if untimed else _before_report)(known, entity, until, settings)
        if window is None:
            continue
        say(f"{entity}s: tuning on {len(window.later):,} moments before the reported ones")
        horizon = settings.horizon_days if entity == "lead" and not untimed else None
        both_ends = len(np.unique(window.earlier.labels.events[window.earlier.labels.events != OPEN])) > 1
        given = _losses(_judge(window, settings, horizon, both_ends, entity))
        tasks.append(_Task(entity, window, horizon, both_ends, {settings.hazard: given}))
    return tasks


def _before_report(
    known: History, entity: str, until: pd.Timestamp, settings: TrainSettings
) -> Window | None:
    """Open a window that ends where the one that training reports on begins."""
    excluded = _excluded(known, entity, until, settings)
    reported = open_window(known, outcomes(known, entity), entity, until, settings, excluded)
    if reported is None or reported.opened is None:
        return None
    end = reported.opened
    earlier = known_at(known, end)
    excluded = _excluded(earlier, entity, end, settings)
    return open_window(earlier, outcomes(earlier, entity), entity, end, settings, excluded)


def _by_order(known: History, entity: str, until: pd.Timestamp, settings: TrainSettings) -> Window | None:
    """Divide records without times by their order, and leave out the last, which training reports on."""
    spec = learn_spec(known, entity, exclude=_excluded(known, entity, until, settings))
    sample = untimed_sample(known, outcomes(known, entity), spec, until)
    rows = np.arange(len(sample))
    first, last = int(_LEARNED * len(rows)), int(_UNREPORTED * len(rows))
    if first == 0 or last == first:
        return None
    return Window(None, sample.take(rows[:first]), sample.take(rows[first:last]))


def _excluded(known: History, entity: str, until: pd.Timestamp, settings: TrainSettings) -> tuple[str, ...]:
    return tuple(audit(known, entity, until, keep=settings.audit.keep, drop=settings.audit.drop).excluded)


def _judge(
    window: Window, settings: TrainSettings, horizon: float | None, both_ends: bool, entity: str
) -> Verdict:
    # Half-lives are training's own choice, whatever the trees are; without them a trial costs a third.
    return judge(window, replace(settings, half_lives=()), horizon, both_ends=both_ends, entity=entity)


def _losses(verdict: Verdict) -> Floats:
    weights = verdict.window.later.weights
    losses: Floats = log_losses(verdict.won, verdict.probability) * weights / weights.mean()
    return losses


def _gain(tasks: list[_Task], best: TrainSettings, settings: TrainSettings) -> tuple[float, float, float]:
    """Give by how much settings beat the given ones, each kind of record counting alike."""
    values, records, next_record = [], [], 0
    total = sum(len(task.given) for task in tasks)
    for task in tasks:
        share = total / (len(tasks) * len(task.given))
        values.append((task.given - task.losses(best)) / task.given.mean() * share)
        numbers = task.window.later.records
        records.append(numbers + next_record)
        next_record += int(numbers.max(initial=-1)) + 1
    return bootstrap_mean(np.concatenate(values), np.concatenate(records), _RESAMPLES, settings.seed)
