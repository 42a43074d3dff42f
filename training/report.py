"""What is said about a training, as plain JSON: sizes, verdicts, measures beside baselines, what matters."""

from __future__ import annotations

from typing import Any

import numpy as np

from features import describe
from serving.outcome_model import OutcomeModel
from training.baselines import baselines
from training.distill import Distilled
from training.later import Verdict
from training.metrics import bootstrap_mean, calibration_bins, lift, log_losses, measures
from training.samples import Sample
from training.settings import TrainSettings

#: Rows over which the mean absolute effect of each feature is taken.
_IMPORTANCE_ROWS = 2_000
_TOP = 15


def describe_model(
    model: OutcomeModel,
    facts: dict[str, Any],
    definition: str,
    settings: TrainSettings,
    *,
    sample: Sample | None = None,
    verdict: Verdict | None = None,
    copy: Distilled | None = None,
) -> dict[str, Any]:
    """Give the report's section about one kind of record.

    Parameters
    ----------
    model : OutcomeModel
    facts : dict
        Counts of records by outcome.
    definition : str
        What counts as won.
    settings : TrainSettings
    sample : Sample, optional
        What the model learned from; None where it is too early to learn.
    verdict : Verdict, optional
        What the later window decided; None where too little closed to have one.
    copy : Distilled, optional

    Returns
    -------
    dict
        Plain JSON. ``status`` is ``signal``, ``no_signal``, ``untested`` or ``too_early``.
    """
    section: dict[str, Any] = {
        "entity": model.entity,
        "outcome": definition,
        "horizon_days": model.horizon_days,
        "counts": facts,
        "status": _status(model, verdict),
        "base_rate": model.base_rate,
        "needed": {"won": settings.min_won, "closed": settings.min_closed},
        "n_features": len(model.spec.names),
    }
    if sample is not None:
        section["n_snapshots"] = len(sample)
    if verdict is not None:
        section["choices"] = {
            "half_life_days": verdict.settings.half_life_days,
            "rounds": verdict.settings.rounds,
            "linear_weight": verdict.linear_weight,
            "calibration": verdict.calibrator.to_json_dict(),
        }
        section["skill"] = {
            "proven": verdict.skill.proven,
            "gain": verdict.skill.gain,
            "low": verdict.skill.low,
            "high": verdict.skill.high,
            "n": verdict.skill.n,
            "question": verdict.skill.question,
        }
        section["window"] = _window(verdict, settings)
    if copy is not None:
        section["copy"] = {"rounds": copy.rounds, "gap_log_odds": copy.gap}
    if sample is not None and model.signal:
        section["importance"] = _importance(model, sample, settings.seed)
    return section


def _status(model: OutcomeModel, verdict: Verdict | None) -> str:
    if model.too_early:
        return "too_early"
    if model.signal:
        return "signal"
    return "untested" if verdict is None else "no_signal"


def _window(verdict: Verdict, settings: TrainSettings) -> dict[str, Any]:
    """Measure the model and its baselines on the same later snapshots and the same question."""
    window = verdict.window
    table = {"vigie": verdict.probability, "base rate": verdict.base, **baselines(window, settings)}
    vigie = log_losses(verdict.won, verdict.probability)
    weights = window.later.weights
    rows: dict[str, Any] = {}
    for name, probability in table.items():
        rows[name] = measures(verdict.won, probability, weights)
        if name != "vigie":
            gain = log_losses(verdict.won, probability) - vigie
            mean, low, high = bootstrap_mean(
                gain, window.later.records, settings.resamples, settings.seed, weights=weights
            )
            rows[name] |= {"gain": mean, "gain_low": low, "gain_high": high}
    return {
        "opened": None if window.opened is None else window.opened.isoformat(),
        "question": "won before observation ended",
        "n_earlier": len(window.earlier),
        "n_later": len(window.later),
        "n_won": int(verdict.won.sum()),
        "measures": rows,
        "calibration": calibration_bins(verdict.won, verdict.probability, weights),
        "lift": lift(verdict.won, verdict.probability, weights),
    }


def _importance(model: OutcomeModel, sample: Sample, seed: int) -> list[dict[str, Any]]:
    rows = np.arange(len(sample))
    if len(rows) > _IMPORTANCE_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _IMPORTANCE_ROWS, replace=False))
    effects = np.abs(model.contributions(sample.x[rows])).mean(axis=0)
    order = np.argsort(-effects, kind="stable")[:_TOP]
    names = model.spec.names
    return [
        {
            "feature": names[column],
            "label_en": describe(model.spec, names[column], "en"),
            "label_fr": describe(model.spec, names[column], "fr"),
            "mean_effect_log_odds": float(effects[column]),
        }
        for column in order
        if effects[column] > 0
    ]
