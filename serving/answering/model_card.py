"""The card of a model bundle: what it was trained on, what was left out, how good it is."""

from __future__ import annotations

from typing import Any

from serving.answering.plain_rows import plain
from serving.bundle import ModelBundle
from serving.outcome_model import OutcomeModel


def model_card(bundle: ModelBundle) -> dict[str, Any]:
    """Give the card of a bundle, made of nothing but the bundle.

    Parameters
    ----------
    bundle : ModelBundle
        One without a report, such as a test makes, has a card with less on it.
    """
    report = bundle.report
    models = report.get("models") or {}
    about = {entity: models.get(entity) or {} for entity in sorted(bundle.models)}
    card = {
        "name": bundle.name,
        "version": bundle.version,
        "trained_through": bundle.trained_through,
        "created_at": bundle.created_at,
        "entities": [_entity(bundle.models[entity], about[entity]) for entity in about],
        "data": {
            "span": report.get("span"),
            "records": {entity: facts.get("counts") for entity, facts in about.items()},
            "snapshots": {entity: facts.get("n_snapshots") for entity, facts in about.items()},
        },
        "audit": bundle.audit,
        "backtest": report.get("backtest"),
        "forecast": bundle.forecast.to_json_dict() if bundle.forecast is not None else None,
        "config": bundle.config,
    }
    found: dict[str, Any] = plain(card)
    return found


def _entity(model: OutcomeModel, report: dict[str, Any]) -> dict[str, Any]:
    calibrator = model.calibrator
    return {
        "entity": model.entity,
        "horizon_days": model.horizon_days,
        "signal": model.signal,
        "base_rate": model.base_rate,
        "n_features": len(model.spec.names),
        "features": list(model.spec.names),
        "calibration": {
            "kind": calibrator.kind,
            "slope": calibrator.slope,
            "offset": calibrator.offset,
            "knots": [list(knot) for knot in calibrator.knots],
        },
        "report": report,
    }
