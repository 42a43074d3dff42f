"""The report's charts: each says in its description what it shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from training.backtest.charts import Chart, round_steps, short_amount
from training.backtest.words import METHODS, band, day, in_order, length_in_words, percent, telling_band

#: How lines are told apart without colour.
_DASHES = {
    "base_rate": "dots",
    "stage_rates": "dash",
    "logistic_regression": "dashdot",
    "plain_lightgbm": "",
    "stage_weighted": "dash",
    "run_rate": "",
    "series": "dots",
}
#: Ticks across, at most.
_TICKS = 8


def line_kind(method: str) -> str:
    """Give the classes of a method's line."""
    return "x-model" if method == "vigie" else f"x-base thin {_DASHES.get(method, '')}".strip()


def key(methods: Sequence[str], points: bool = False) -> str:
    """Give the key to the lines, or to dots."""
    rows = []
    for method in methods:
        mark = f'<line class="ln {line_kind(method)}" y1="6" y2="6" x2="20"/>'
        if points:
            kind = "f-model" if method == "vigie" else "f-base"
            mark = f'<circle class="{kind}" cx="10" cy="6" r="4.5"/>'
        rows.append(
            f'<li><svg viewBox="0 0 20 12" aria-hidden="true">{mark}</svg>{escape(METHODS[method])}</li>'
        )
    return f'<ul class="key">{"".join(rows)}</ul>'


def reliability_chart(rows: Sequence[Mapping[str, Any]], entity: str) -> Chart:
    """Draw the share won against the chance shown, with ranges; a bigger dot counts more moments."""
    top = max(max(max(row["shown"], row["happened"], row["high"] or 0.0) for row in rows), 0.05)
    steps = round_steps(min(top, 1.0))
    high = min(steps[-1], 1.0)
    said = "; ".join(f"shown {band(row)}: {percent(row['happened'])} of {row['n']:,} won" for row in rows)
    chart = Chart("Chance shown against share won", f"{said}.", (0, 0), (high, high), 340)
    ticks = [step for step in steps if step <= high + 1e-9]
    chart.grid(ticks, percent)
    chart.ticks(ticks, [percent(step) for step in ticks])
    chart.axis_titles("chance shown", "share won")
    chart.curve([(0, 0), (high, high)], "x-base thin dash")
    most = max(row["n"] for row in rows)
    for row in rows:
        if row["low"] is not None:
            chart.range(row["shown"], min(row["low"], high), min(row["high"], high), "x-model")
        chart.dot(row["shown"], row["happened"], "f-model on", 4 + 6 * math.sqrt(row["n"] / most))
    told = telling_band(rows)
    if told is not None:
        words = f"shown {band(told)}: {told['won']:,} of {told['n']:,} won"
        chart.text(told["shown"], told["happened"], words, "k end halo", dx=-14, dy=-8)
    return chart


def gains_chart(section: Mapping[str, Any]) -> Chart:
    """Draw what share of all wins the best-scored records hold, by method."""
    shares = section["gain_shares"]
    gains = in_order(section["gains"])
    at = {name: curve[2] for name, curve in gains.items()}
    said = "; ".join(f"{METHODS[name]} {percent(value)}" for name, value in at.items())
    title = "Share of wins held by the best-scored"
    chart = Chart(title, f"In the best-scored tenth: {said}.", (0, 0), (1, 1), 300)
    steps = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    chart.grid(steps, percent)
    chart.ticks(steps, [percent(step) for step in steps])
    chart.axis_titles("share of moments, best first", "share of wins")
    for name in reversed(list(gains)):
        chart.curve(list(zip(shares, gains[name], strict=True)), line_kind(name))
    return chart


def over_time_chart(
    rows: Sequence[Mapping[str, Any]], measure: str, methods: Sequence[str], title: str
) -> Chart:
    """Draw a measure at each cutoff, by method."""
    at = [_days(row["cutoff"]) for row in rows]
    lines = {
        name: [
            (x, float(row["measures"][name][measure]["value"]))
            for x, row in zip(at, rows, strict=True)
            if row["measures"][name][measure]["value"] is not None
        ]
        for name in methods
    }
    steps = round_steps(max((y for line in lines.values() for _, y in line), default=1.0))
    said = "; ".join(
        f"{METHODS[name]} {min(y for _, y in line):.3f} to {max(y for _, y in line):.3f}"
        for name, line in lines.items()
        if line
    )
    chart = Chart(title, f"{said}.", (min(at), 0.0), (max(at), steps[-1]), 260)
    chart.grid(steps, lambda value: f"{value:g}")
    _date_ticks(chart, at, [row["cutoff"] for row in rows])
    chart.axis_titles("cutoff", title)
    for name in reversed(list(lines)):
        chart.curve(lines[name], line_kind(name))
        for x, y in lines[name] if len(lines[name]) == 1 or name == "vigie" else []:
            chart.dot(x, y, "f-model on" if name == "vigie" else "f-base on", 3.5)
    return chart


def fan_chart(rows: Sequence[Mapping[str, Any]], horizon: str) -> Chart:
    """Draw each forecast's ranges and mean, with what came."""
    at = [_days(row["cutoff"]) for row in rows]
    ends = [row[name] for row in rows for name in ("q900", "actual", "mean") if row[name] is not None]
    lows = [row[name] for row in rows for name in ("q100", "actual") if row[name] is not None]
    steps = round_steps(max(max(ends), 0.0))
    said = "; ".join(
        f"{day(row['cutoff'])}: {short_amount(row['mean'])} forecast, {short_amount(row['actual'])} came"
        for row in rows
        if row["actual"] is not None
    )
    title = f"Revenue of the next {length_in_words(horizon)}, by cutoff"
    chart = Chart(title, f"{said}.", (min(at), min(min(lows), 0.0)), (max(at), steps[-1]), 240)
    chart.grid(steps, short_amount)
    _date_ticks(chart, at, [row["cutoff"] for row in rows])
    chart.axis_titles("cutoff", "revenue")
    if len(rows) > 1:
        for low, high, kind in (("q100", "q900", "b80"), ("q250", "q750", "b50")):
            chart.area([(x, row[low], row[high]) for x, row in zip(at, rows, strict=True)], kind)
    chart.curve([(x, row["mean"]) for x, row in zip(at, rows, strict=True)], "x-model")
    for x, row in zip(at, rows, strict=True):
        if len(rows) == 1:
            chart.range(x, row["q100"], row["q900"], "x-model")
            chart.dot(x, row["mean"], "f-model on")
        if row["actual"] is not None:
            chart.dot(x, row["actual"], "f-actual on")
    return chart


def error_chart(horizons: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw the WAPE of each method by horizon, with Vigie's interval."""
    names = list(in_order({name: None for one in horizons for name in one["methods"]}))
    found = {
        name: [
            (float(place), one["methods"][name]["wape"])
            for place, one in enumerate(horizons)
            if name in one["methods"] and one["methods"][name]["wape"]["value"] is not None
        ]
        for name in names
    }
    values = [w["value"] for line in found.values() for _, w in line]
    values += [w["high"] for _, w in found.get("vigie", []) if w["high"] is not None]
    steps = round_steps(max(values, default=1.0))
    said = "; ".join(
        f"{METHODS[name]} {', '.join(percent(w['value'], 1) for _, w in line)}"
        for name, line in found.items()
    )
    last = max(len(horizons) - 1, 1)
    chart = Chart("Miss by horizon", f"{said}.", (-0.3, 0), (last + 0.3, steps[-1]), 260)
    chart.grid(steps, percent)
    chart.ticks(range(len(horizons)), [length_in_words(one["horizon"]) for one in horizons])
    chart.axis_titles("horizon", "mean miss, share of revenue")
    for name in reversed(names):
        chart.curve([(x, w["value"]) for x, w in found[name]], line_kind(name))
    for x, wape in found.get("vigie", []):
        if wape["low"] is not None:
            chart.range(x, wape["low"], min(wape["high"], steps[-1]), "x-model")
        chart.dot(x, wape["value"], "f-model on")
    return chart


def coverage_chart(coverage: Sequence[Mapping[str, Any]], corrected: Mapping[str, Any]) -> Chart:
    """Draw how often each range held, and the corrected one, with a tick at what it promised."""
    rows = [(f"{percent(one['level'])} ranges", one) for one in coverage]
    rows.append((f"{percent(corrected['level'])} ranges, corrected", corrected))
    said = "; ".join(f"{name} held {one['held']} of {one['n']}" for name, one in rows)
    chart = Chart("How often the ranges held", f"{said}.", (0, 0), (1, len(rows)), 44 * len(rows), "ax-b")
    for place, (name, one) in enumerate(rows):
        y = len(rows) - place - 0.7
        chart.bar(y, 0, 1, "g")
        chart.bar(y, 0, one["value"], "x-model")
        chart.range(one["level"], y - 0.2, y + 0.2, "x-actual")
        chart.text(0, y, name, "t2", dy=-12)
        chart.text(1, y, f"held {one['held']} of {one['n']}", "k end", dy=-12)
    return chart


def _days(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() / 86_400


def _date_ticks(chart: Chart, at: Sequence[float], cutoffs: Sequence[str]) -> None:
    every = max(1, -(-len(at) // _TICKS))
    chart.ticks(at[::every], [day(moment)[:-5] for moment in cutoffs[::every]])
