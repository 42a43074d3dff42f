"""Learn the model of one kind of record: hazard, linear part, distilled booster, calibration, or none."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from crm.history import History
from features import learn_spec
from serving.outcome_model import OutcomeModel
from training.amounts import fit_amount
from training.distill import Distilled, distill
from training.hazard import choose_edges, fit_hazard
from training.labels import LOST, OPEN, WON, Outcomes, outcomes
from training.later import Verdict, Window, base_of, fit_completed, judge, open_window
from training.marginal import Marginal, won_within
from training.rehearsed_hazards import HazardOfThen, hazards_of_then
from training.report import describe_model
from training.samples import Sample, choose_rows, draw_snapshots, hold_out, make_sample, untimed_sample
from training.settings import HazardSettings, TrainSettings
from training.skill import level_slope
from training.timing import fit_timing

Say = Callable[[str], None]

#: Rows that the booster learns the hazard from; their labels have no noise, so more add little.
_DISTILL_ROWS = 20_000
_HELD_OUT = 0.15


@dataclass(frozen=True)
class Learned:
    """A model and what is to be said about it.

    Parameters
    ----------
    model : OutcomeModel
    section : dict
        Plain JSON, the report's part about this kind of record.
    hazards : tuple of HazardOfThen
        Of deals, as they would have been fitted in the past.
    """

    model: OutcomeModel
    section: dict[str, Any]
    hazards: tuple[HazardOfThen, ...] = ()


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
        snapshots = draw_snapshots(history, entity, until, settings)
        sample = make_sample(history, found, snapshots, spec, until, settings)
        window = open_window(history, found, entity, until, settings, excluded)
    sample = sample.with_features(sample.varying())
    verdict = None
    if window is not None:
        say(f"{entity}s: learning before a later window of {len(window.later):,} moments, and judging on it")
        both = facts["won"] > 0 and facts["lost"] > 0
        verdict = judge(window, settings, horizon, both_ends=both, entity=entity)
    say(f"{entity}s: learning from all {len(sample):,} moments")
    end = np.datetime64(until.tz_localize(None), "us")
    model, copy = _fit(sample, found, end, horizon, verdict, settings, history.deals, facts)
    section = describe_model(
        model, facts, found.definition, settings, sample=sample, verdict=verdict, copy=copy
    )
    hazards: tuple[HazardOfThen, ...] = ()
    if entity == "deal" and not untimed:
        say("deals: learning as of past moments")
        hazards = hazards_of_then(sample, found, end, settings.timing)
    return Learned(model, section, hazards)


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


def _by_order(sample: Sample) -> Window | None:
    cut = int(0.7 * len(sample))
    if cut == 0 or cut == len(sample):
        return None
    rows = np.arange(len(sample))
    return Window(None, sample.take(rows[:cut]), sample.take(rows[cut:]))


def _fit(
    sample: Sample,
    found: Outcomes,
    until: np.datetime64,
    horizon: float | None,
    verdict: Verdict | None,
    settings: TrainSettings,
    deals: pd.DataFrame,
    facts: dict[str, Any],
) -> tuple[OutcomeModel, Distilled | None]:
    spec = sample.matrix.spec
    choice: HazardSettings = settings.hazard if verdict is None else verdict.settings
    edges = choose_edges(sample.labels, choice)
    marginal = base_of(sample, edges, choice.half_life_days)
    hazard = fit_hazard(
        sample.x, sample.labels, edges, choice, categorical=sample.categorical, weights=sample.weights
    ).model
    clock = replace(
        settings.timing,
        half_life_days=choice.half_life_days,
        rounds=min(settings.timing.rounds, choice.rounds),
    )
    timing = fit_timing(sample, found, until, clock)
    amount = fit_amount(sample, deals) if spec.entity == "deal" else None
    signal = verdict is not None and verdict.skill.proven
    if verdict is None or not signal:
        model = OutcomeModel(
            spec.entity,
            spec,
            horizon,
            hazard=timing,
            signal=False,
            base_rate=_base_rate(sample.matrix.spec.entity, facts, marginal, horizon),
            amount=amount,
        )
        return model, None
    rows = choose_rows(len(sample), _DISTILL_ROWS, settings.seed)
    learn_from = sample.take(rows)
    incidence = hazard.predict(learn_from.x, threads=choice.threads)
    soft = won_within(incidence, horizon, marginal.settled)
    unseen = hold_out(learn_from.records, _HELD_OUT, settings.seed)
    copy = distill(learn_from.x, soft, unseen, settings.distill, categorical=sample.categorical)
    weight, linear = verdict.linear_weight, None
    if weight > 0:
        few = sample.take(choose_rows(len(sample), settings.linear_rows, settings.seed))
        linear = fit_completed(few, hazard, marginal, settings, horizon, choice.half_life_days)
    model = OutcomeModel(
        spec.entity,
        spec,
        horizon,
        booster=copy.booster,
        linear=linear,
        weights=(weight, 1.0 - weight) if linear is not None else (0.0, 1.0),
        hazard=timing,
        base_rate=marginal.probability(horizon),
        amount=amount,
    )
    if verdict.calibrator.kind == "identity":
        return model, copy
    slope = level_slope(verdict.calibrator.slope, model.margin(learn_from.x), learn_from.weights)
    return replace(model, calibrator=slope), copy


def _base_rate(entity: str, facts: dict[str, Any], marginal: Marginal, horizon: float | None) -> float:
    """Give what everybody gets where no skill was found: for deals, the share won of those that closed."""
    if entity == "deal" and facts["lost"] > 0:
        return float(facts["won"] / (facts["won"] + facts["lost"]))
    return marginal.probability(horizon)
