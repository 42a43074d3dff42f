"""The report's tables as HTML: every number that a chart shows, with its range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from training.backtest.words import METHODS, band, day, in_order, length_in_words, percent

#: Columns of the table of measures: name in the report, heading, how it is written.
_MEASURES = (
    ("auc", "AUC", ".3f"), ("average_precision", "average precision", ".3f"), ("log_loss", "log loss", ".4f"),
    ("brier", "Brier", ".4f"), ("brier_skill", "Brier skill", ".3f"), ("ece", "calibration error", ".3f"),
    ("lift_10", "lift at 10%", ".2f"), ("gain_10", "wins in the best 10%", ".3f"),
)  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[str]], strong: int = -1) -> str:
    """Give a table; cells are HTML, the first of a row names it."""
    heads = "".join(
        f'<th scope="col"{" class=n" if place else ""}>{escape(name)}</th>' for place, name in enumerate(head)
    )
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(f'<td class="n">{cell}</td>' for cell in row[1:])
        mark = ' class="me"' if number == strong else ""
        lines.append(f'<tr{mark}><th scope="row">{row[0]}</th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(head[0])}"><table><thead>'
        f"<tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _number(found: Mapping[str, Any] | None, form: str, sign: bool = False) -> str:
    """Give a figure with its range below it."""
    if found is None or found["value"] is None:
        return "not known"
    form = f"+{form}" if sign else form
    value = f"{found['value']:{form}}".replace("-", "−")
    if found["low"] is None:
        return value
    low, high = (f"{found[end]:{form}}".replace("-", "−") for end in ("low", "high"))
    return f'{value}<span class="sub">{low} to {high}</span>'


def _share(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return percent(found["value"], 1)
    low, high = (percent(found[end], 1) for end in ("low", "high"))
    return f'{percent(found["value"], 1)}<span class="sub">{low} to {high}</span>'


def measures_table(measures: Mapping[str, Any], n: int) -> str:
    """Give every measure of every method, with ranges."""
    rows = [
        [
            escape(METHODS[name]),
            *(_number(found[key], form) for key, _, form in _MEASURES),
            _number(found.get("log_loss_gain"), ".4f", True) if name != "vigie" else "",
        ]
        for name, found in in_order(measures).items()
    ]
    head = [f"{n:,} moments", *(title for _, title, _ in _MEASURES), "Vigie better by (log loss)"]
    return table(head, rows, strong=0)


def reliability_table(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Give what was shown and what came true, by tenth of the scale."""
    body = [
        [
            band(row), f"{row['n']:,}", f"{row['records']:,}", percent(row["shown"], 1), f"{row['won']:,}",
            _share({"value": row["happened"], "low": row["low"], "high": row["high"]}),
        ]
        for row in rows
    ]  # fmt: skip
    return table(["Shown", "Moments", name.capitalize(), "Mean shown", "Won", "Share won"], body)


def gains_table(section: Mapping[str, Any]) -> str:
    """Give the share of wins among the best-scored, by method."""
    names = list(in_order(section["gains"]))
    places = [place for place in range(len(section["gain_shares"])) if place % 2 == 0]
    rows = [
        [percent(section["gain_shares"][p]), *(percent(section["gains"][n][p], 1) for n in names)]
        for p in places
    ]
    return table(["Best-scored", *(METHODS[name] for name in names)], rows)


def by_cutoff_table(rows: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> str:
    """Give the log loss of every method at each cutoff."""
    body = [
        [
            day(row["cutoff"]), f"{row['n']:,}", f"{row['n_won']:,}",
            _number(row["measures"]["vigie"]["auc"], ".3f"),
            *(_number(row["measures"][name]["log_loss"], ".4f") for name in methods),
        ]
        for row in rows
    ]  # fmt: skip
    head = ["Cutoff", "n", "Won", "AUC of Vigie", *(f"Log loss: {METHODS[name]}" for name in methods)]
    return table(head, body)


def calls_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Give the share of wins reached by so many calls."""
    names = list(in_order(rows[0]))
    body = [
        [f"{row['k']} a rep", percent(row["called"]), *(_share(row[name]) for name in names)] for row in rows
    ]
    return table(["Called", "Of all open", *(METHODS[name] for name in names)], body)


def timing_table(timing: Mapping[str, Any]) -> str:
    """Give the errors of the expected close."""
    body = [
        [
            escape(METHODS[name]), _number(timing[name]["mae_days"], ".1f"),
            _number(timing[name]["interval_score"], ".1f"), _share(timing[name]["coverage"]),
            _number(timing[name]["width_days"], ".1f"),
        ]
        for name in in_order(timing)
    ]  # fmt: skip
    head = [
        f"{timing['n']:,} moments",
        "Median misses by, days",
        "Interval score",
        "Range held",
        "Width, days",
    ]
    return table(head, body, strong=0)


def forecast_table(horizons: Sequence[Mapping[str, Any]]) -> str:
    """Give the errors of the forecasts, by horizon and method."""
    body = []
    for one in horizons:
        for name, found in in_order(one["methods"]).items():
            gains = [_share(found[key]) if key in found else "" for key in ("wape_gain", "crps_gain")]
            body.append(
                [
                    f"{length_in_words(one['horizon'])}: {escape(METHODS[name])}", str(found["n"]),
                    _share(found["wape"]), _share(found["bias"]), _share(found["crps"]), *gains,
                ]
            )  # fmt: skip
    head = ["Horizon", "n", "WAPE", "Bias", "CRPS", "Vigie better by (WAPE)", "Vigie better by (CRPS)"]
    return table(head, body)


def fan_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Give each forecast of a horizon, with what came."""
    names = ("actual", "mean", "q100", "q900", "stage_weighted", "run_rate", "series")
    head = ["Cutoff", "Came", "Mean", "80% from", "to", *(METHODS[name] for name in names[4:])]
    body = [
        [
            day(row["cutoff"]),
            *("not known" if row[name] is None else f"{row[name]:,.0f}".replace("-", "−") for name in names),
        ]
        for row in rows
    ]
    return table(head, body)


def coverage_table(coverage: Sequence[Mapping[str, Any]], corrected: Mapping[str, Any]) -> str:
    """Give how often the ranges held."""
    body = [[percent(one["level"]), f"{one['held']} of {one['n']}", _share(one)] for one in coverage]
    name = f"{percent(corrected['level'])}, corrected"
    body.append([name, f"{corrected['held']} of {corrected['n']}", _share(corrected)])
    return table(["Promised", "Held", "Share"], body)
