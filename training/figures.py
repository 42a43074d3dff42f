"""A training's settings and figures as flat names and values, as MLflow compares them between runs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol


class Settings(Protocol):
    """A training's settings, or a backtest's."""

    def to_json_dict(self) -> dict[str, Any]:
        """Give every setting as plain JSON."""
        ...


def flat_settings(settings: Settings) -> dict[str, str]:
    """Give every setting as text, nested ones with dotted names.

    Examples
    --------
    >>> from training.settings import TrainSettings
    >>> flat = flat_settings(TrainSettings())
    >>> flat["hazard.leaves"], flat["hazard.half_life_days"], flat["audit.keep"]
    ('7', 'null', '[]')
    """
    return {key: json.dumps(value) for key, value in _flatten(settings.to_json_dict())}


def flat_metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """Give a report's figures by dotted names, the model's beside its baselines'.

    ``lead.vigie.auc`` stands beside ``lead.base_rate.auc``; what is not finite is left out.

    Examples
    --------
    >>> section = {"base_rate": 0.1, "window": {"measures": {"base rate": {"auc": 0.5, "ece": float("nan")}}}}
    >>> flat_metrics({"models": {"lead": section}})
    {'lead.share_won': 0.1, 'lead.base_rate.auc': 0.5}
    """
    found: dict[str, Any] = {}
    for entity, section in report["models"].items():
        found[f"{entity}.share_won"] = section["base_rate"]
        window = section.get("window", {})
        for who, measures in window.get("measures", {}).items():
            slug = who.lower().replace(" ", "_")
            found |= {f"{entity}.{slug}.{measure}": value for measure, value in measures.items()}
        for part in ("counts", "skill", "copy"):
            found |= {f"{entity}.{part}.{key}": value for key, value in section.get(part, {}).items()}
        found |= {f"{entity}.{key}": section.get(key) for key in ("n_snapshots", "n_features")}
    numbers = (int, float)
    return {k: float(v) for k, v in found.items() if isinstance(v, numbers) and math.isfinite(v)}


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
