"""What of a backtest travels with a bundle, and goes to MLflow as figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving.bundle import ModelBundle
from training.backtest.words import headlines

#: What a summary leaves to the report: curves and single cutoffs.
_LEFT = ("by_cutoff", "gains", "gain_shares")


def summarise(report: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a bundle carries of a backtest's report, plain JSON.

    Parameters
    ----------
    report : mapping
        As :func:`training.backtest.backtest` gives it.

    Returns
    -------
    dict
        ``schema_version``, ``plan``, ``interval_level``, ``words`` (the findings as sentences), ``deals`` and
        ``leads`` without single cutoffs and curves, ``forecast`` by horizon, and ``cutoffs`` with the model
        version and what failed.
    """
    return {
        "schema_version": report["schema_version"],
        "plan": report["plan"],
        "interval_level": report["interval_level"],
        "words": headlines(report),
        "cutoffs": [
            {name: one[name] for name in ("cutoff", "model_version", "failure") if name in one}
            for one in report["cutoffs"]
        ],
        **{
            part: {name: value for name, value in report[part].items() if name not in _LEFT}
            for part in ("deals", "leads")
        },
        "forecast": {name: report["forecast"][name] for name in ("currency", "horizons")},
    }


def add_to_bundle(directory: Path, report: Mapping[str, Any]) -> ModelBundle:
    """Write a backtest's summary into a bundle's report; what it holds more makes it another version.

    Parameters
    ----------
    directory : Path
        Of a bundle; there whole at any moment.
    report : mapping

    Returns
    -------
    ModelBundle
        As written.

    Raises
    ------
    BundleError
        If there is no whole bundle, or it cannot be written.
    """
    bundle = ModelBundle.load(directory)
    told = replace(bundle, report={**bundle.report, "backtest": summarise(report)})
    told.save(directory)
    return told


def flat_figures(report: Mapping[str, Any]) -> dict[str, float]:
    """Give the figures over all cutoffs by dotted names, as MLflow compares them between runs.

    Examples
    --------
    >>> section = {"measures": {"vigie": {"auc": {"value": 0.7, "low": 0.6, "high": None}}}}
    >>> flat_figures({"deals": section, "leads": {}, "forecast": {"horizons": []}})
    {'deal.vigie.auc': 0.7, 'deal.vigie.auc.low': 0.6}
    """
    found: dict[str, Any] = {}
    for entity in ("deal", "lead"):
        section = report[f"{entity}s"]
        found |= dict(_flatten(section.get("measures", {}), entity))
        timing = {k: v for k, v in section.get("timing", {}).items() if isinstance(v, Mapping)}
        found |= dict(_flatten(timing, f"{entity}.close"))
        for row in section.get("calls", []):
            shares = {k: v for k, v in row.items() if isinstance(v, Mapping)}
            found |= dict(_flatten(shares, f"{entity}.top_{row['k']}"))
    for one in report["forecast"]["horizons"]:
        found |= dict(_flatten(one["methods"], f"forecast.{one['horizon']}"))
        for held in one["coverage"]:
            name = f"forecast.{one['horizon']}.coverage_{round(100 * held['level'])}"
            found[name] = held["value"]
    return {name: float(value) for name, value in found.items() if value is not None}


def _flatten(nested: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}.{key}")
        else:
            yield (prefix if key == "value" else f"{prefix}.{key}"), value
