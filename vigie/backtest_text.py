"""A backtest's figures as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from training.backtest.words import METHODS, in_order, length_in_words

_COLUMNS = (("auc", "AUC", ".3f"), ("log_loss", "log loss", ".4f"), ("brier_skill", "Brier skill", ".3f"),
            ("ece", "calib.", ".3f"), ("lift_10", "lift", ".1f"))  # fmt: skip


def measures_table(section: Mapping[str, Any], entity: str) -> Table:
    """Give the measures of each method over all cutoffs."""
    table = _table(f"{section['n_judged']:,} moments of {section['records']:,} {entity}s")
    for _, title, _ in _COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Vigie better by (90%)", justify="right", no_wrap=True)
    for name, found in in_order(section["measures"]).items():
        cells = [_cell(found[key]["value"], form) for key, _, form in _COLUMNS]
        table.add_row(METHODS[name], *cells, _gain(found.get("log_loss_gain"), ".4f"), style=_style(name))
    return table


def forecasts_table(horizons: list[dict[str, Any]]) -> Table:
    """Give the errors of each method's forecasts, by horizon."""
    table = _table("revenue")
    for title in ("WAPE", "bias", "CRPS", "80% held", "Vigie better by (90%)"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in horizons:
        held = next(found for found in one["coverage"] if found["level"] == 0.8)
        for name, found in in_order(one["methods"]).items():
            cells = [_cell(found[key]["value"], ".1%") for key in ("wape", "bias", "crps")]
            kept = f"{held['held']} of {held['n']}" if name == "vigie" else ""
            label = f"{length_in_words(one['horizon'])}: {METHODS[name]}"
            gain = _gain(found.get("wape_gain"), ".1%")
            table.add_row(label, *cells, kept, gain, style=_style(name))
    return table


def _table(first: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first)
    return table


def _style(name: str) -> str | None:
    return "bold" if name == "vigie" else None


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _gain(found: Mapping[str, Any] | None, form: str) -> str:
    if found is None or found["low"] is None:
        return ""
    return f"{found['value']:+{form}} ({found['low']:+{form}} to {found['high']:+{form}})"
