"""Learn the model of one kind of record: hazard, linear part, distilled booster, calibration, or none."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from features import FeatureSpec, learn_spec
from serving.outcome_model import OutcomeModel
from training.amounts import fit_amount
from training.distill import Distilled, distill
from training.hazard import choose_edges, fit_hazard
from training.labels import LOST, OPEN, WON, Outcomes, outcomes
from training.later import Verdict, Window, base_of, judge, open_window
from training.linear import complete_labels, fit_linear
from training.marginal import won_within
from training.report import describe_model
from training.samples import Sample, draw_snapshots, hold_out, make_sample, untimed_sample
from training.settings import HazardSettings, TrainSettings

Floats = npt.NDArray[np.float64]
Say = Callable[[str], None]

#: Rows that the booster learns the hazard from; their labels have no noise, so more add little.
_DISTILL_ROWS = 30_000
_HELD_OUT = 0.15


@dataclass(frozen=True)
class Learned:
    """A model and what is to be said about it.

    Parameters
    ----------
    model : OutcomeModel
    section : dict
        Plain JSON, the report's part about this kind of record.
    """

    model: OutcomeModel
    section: dict[str, Any]


def learn(
    history: History,
    entity: str,
    until: pd.Timestamp,
    settings: TrainSettings,
    excluded: Collection[str],
    say: Say,
) -> Learned | None:
    """Learn from what was known by ``until``.

    Parameters
    ----------
    history : History
        As known at ``until``.
    entity : {"lead", "deal"}
    until : Timestamp
    settings : TrainSettings
    excluded : collection of str
        Fields that the audit left out.
    say : callable
        Told what is being done.

    Returns
    -------
    Learned or None
        None where the history holds no such record.
    """
    found = outcomes(history, entity)
    if len(found.record_ids) == 0:
        return None
    horizon = settings.horizon_days if entity == "lead" else None
    spec = learn_spec(history, entity, exclude=excluded)
    facts = _facts(found)
    if facts["won"] < settings.min_won or facts["won"] + facts["lost"] < settings.min_closed:
        model = OutcomeModel(entity, spec, horizon, signal=False, too_early=True, base_rate=_shrunk(facts))
        return Learned(model, describe_model(model, facts, found.definition, settings))
    untimed = facts["untimed"] * 2 > facts["won"] + facts["lost"]
    if untimed:
        horizon = None
        sample = untimed_sample(history, found, spec, until)
        window = _by_order(sample)
    else:
        say(f"{entity}s: looking at past moments")
        sample = make_sample(history, found, _snapshots(history, entity, until, settings), spec, until)
        window = open_window(history, found, entity, until, settings, excluded)
    verdict = None
    if window is not None:
        say(f"{entity}s: learning before a later window of {len(window.later):,} moments, and judging on it")
        both = facts["won"] > 0 and facts["lost"] > 0
        verdict = judge(window, settings, horizon, both_ends=both, entity=entity)
    say(f"{entity}s: learning from all {len(sample):,} moments")
    model, copy = _fit(sample, spec, horizon, verdict, settings, history.deals)
    section = describe_model(
        model, facts, found.definition, settings, sample=sample, verdict=verdict, copy=copy
    )
    return Learned(model, section)


def _facts(found: Outcomes) -> dict[str, Any]:
    return {
        "records": len(found.record_ids),
        "won": int((found.events == WON).sum()),
        "lost": int((found.events == LOST).sum()),
        "open": int((found.events == OPEN).sum()),
        "untimed": int(found.untimed.sum()),
    }


def _shrunk(facts: dict[str, Any]) -> float:
    """Give the share won of all records, as if one win and three others had been seen before."""
    return float((facts["won"] + 1.0) / (facts["records"] + 4.0))


def _snapshots(history: History, entity: str, until: pd.Timestamp, settings: TrainSettings) -> pd.DataFrame:
    return draw_snapshots(
        history,
        entity,
        until,
        every_days=settings.every_days,
        at_most=settings.snapshots,
        seed=settings.seed,
    )


def _by_order(sample: Sample) -> Window | None:
    cut = int(0.7 * len(sample))
    if cut == 0 or cut == len(sample):
        return None
    rows = np.arange(len(sample))
    return Window(None, sample.take(rows[:cut]), sample.take(rows[cut:]))


def _fit(
    sample: Sample,
    spec: FeatureSpec,
    horizon: float | None,
    verdict: Verdict | None,
    settings: TrainSettings,
    deals: pd.DataFrame,
) -> tuple[OutcomeModel, Distilled | None]:
    choice: HazardSettings = settings.hazard if verdict is None else verdict.settings
    edges = choose_edges(sample.labels, choice)
    marginal = base_of(sample.labels, edges, choice.half_life_days)
    hazard = fit_hazard(sample.x, sample.labels, edges, choice, categorical=sample.categorical).model
    amount = fit_amount(sample, deals) if spec.entity == "deal" else None
    signal = verdict is not None and verdict.skill.proven
    if verdict is None or not signal:
        model = OutcomeModel(
            spec.entity,
            spec,
            horizon,
            hazard=hazard,
            signal=False,
            base_rate=marginal.probability(horizon),
            amount=amount,
        )
        return model, None
    rows = _some(len(sample), settings.seed)
    learn_from = sample.take(rows)
    timing = hazard.predict(learn_from.x, threads=choice.threads)
    soft = won_within(timing, horizon, marginal.settled)
    unseen = hold_out(learn_from.records, _HELD_OUT, settings.seed)
    copy = distill(learn_from.x, soft, unseen, settings.distill, categorical=sample.categorical)
    weight = verdict.linear_weight
    linear = None
    if weight > 0:
        target = complete_labels(learn_from.labels, timing, soft, horizon)
        linear = fit_linear(learn_from.x, target, spec, settings.linear_strength)
    model = OutcomeModel(
        spec.entity,
        spec,
        horizon,
        booster=copy.booster,
        linear=linear,
        weights=(weight, 1.0 - weight) if linear is not None else (0.0, 1.0),
        calibrator=verdict.calibrator,
        hazard=hazard,
        base_rate=marginal.probability(horizon),
        amount=amount,
    )
    return model, copy


def _some(n: int, seed: int) -> npt.NDArray[np.intp]:
    if n <= _DISTILL_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, _DISTILL_ROWS, replace=False))
