"""The report as text: for a sales manager in plain words first, then the figures that prove them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

#: How many features and fields are listed.
_TOP = 8
_PLAINEST = "base rate"
_OTHERS = {
    "users": "reps",
    "accounts": "accounts",
    "activities": "activities",
    "changes": "changes of fields",
}
_STATUS_STYLE = {"signal": "bold green", "no_signal": "bold yellow", "untested": "bold yellow"}


def render_report(report: Mapping[str, Any], audits: Mapping[str, Any]) -> Group:
    """Give a training's report as text for a terminal.

    Parameters
    ----------
    report : mapping
        As a bundle holds it: ``trained_through``, ``span`` and ``models``, one section a kind of record.
    audits : mapping
        What the leakage audit found, by kind of record.
    """
    parts: list[RenderableType] = [Text(_heading(report))]
    # A saved report has its names in alphabetical order.
    for entity, section in sorted(report["models"].items(), reverse=True):
        parts += [Text(), Rule(Text(_title(section), style="bold"), align="left")]
        parts += _model(section)
        parts += _audit(audits.get(entity))
    parts += _backtest(report.get("backtest"))
    return Group(*parts)


def _backtest(summary: Mapping[str, Any] | None) -> Iterator[RenderableType]:
    """Give what a backtest found, where the bundle carries one."""
    if summary is None:
        return
    cutoffs = summary["plan"]["cutoffs"]
    yield Text()
    yield Rule(Text("Backtest: what would have been said, and what came", style="bold"), align="left")
    yield Text(f"{len(cutoffs)} cutoffs from {_day(cutoffs[0])} to {_day(cutoffs[-1])}.")
    yield from (Text(sentence) for sentence in summary["words"])


def _heading(report: Mapping[str, Any]) -> str:
    span = report["span"]
    sizes = [f"{span[name]:,} {words}" for name, words in _OTHERS.items() if span.get(name)]
    since = f" from {_day(span['from'])}" if span.get("from") else ""
    beside = f" Beside leads and deals: {_listed(sizes)}." if sizes else ""
    return f"Learned from the history{since} until {_day(report['trained_through'])}.{beside}"


def _title(section: Mapping[str, Any]) -> str:
    if section["entity"] == "deal":
        return "Deals: the chance of being won"
    horizon = section["horizon_days"]
    within = "" if horizon is None else f" within {horizon:g} days"
    return f"Leads: the chance of a purchase{within}"


def _model(section: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield Text(_counts(section))
    yield Text(status_sentence(section), style=_STATUS_STYLE.get(section["status"], "bold yellow"))
    window = section.get("window")
    if window is None:
        return
    yield Text(_window(section, window))
    if section["status"] == "signal":
        yield from (Text(line) for line in _in_words(section, window))
    yield _measures(window["measures"], "Vigie" if section["status"] == "signal" else "learned, not served")
    if section["status"] == "signal":
        yield Text()
        yield Text("When Vigie said so much, so many were won:")
        yield _calibration(window["calibration"])
        yield from _importance(section.get("importance", []))


def _counts(section: Mapping[str, Any]) -> str:
    counts, entity = section["counts"], section["entity"]
    states = [f"{counts[name]:,} {name}" for name in ("won", "lost", "open") if counts.get(name)]
    untimed = f"; of {counts['untimed']:,} the time of the outcome is not known" if counts["untimed"] else ""
    listed = _listed(states) if states else "nothing"
    return f"{counts['records']:,} {entity}s: {listed}{untimed}. Won means that {section['outcome']}."


def status_sentence(section: Mapping[str, Any]) -> str:
    """Say in one sentence whether the model has skill, and what is served where it has none.

    Examples
    --------
    >>> status_sentence({"status": "too_early", "counts": {"won": 1, "lost": 0},
    ...                  "needed": {"won": 10, "closed": 20}, "entity": "deal"})
    'Too early: 1 of 10 wins and 1 of 20 outcomes needed. No deal gets a score until then.'
    """
    status, entity = section["status"], section["entity"]
    if status == "too_early":
        counts, needed = section["counts"], section["needed"]
        return (
            f"Too early: {counts['won']} of {needed['won']} wins and {counts['won'] + counts['lost']} of "
            f"{needed['closed']} outcomes needed. No {entity} gets a score until then."
        )
    base = f"every {entity} gets the base rate, {section['base_rate']:.1%}"
    if status == "untested":
        return f"Not tested: too little has closed lately to prove any skill, so {base}."
    skill = section["skill"]
    if status == "no_signal" and not skill["n"]:
        return f"No skill was found: {base}."
    gain = _gain(skill["gain"], skill["low"], skill["high"])
    if status == "no_signal":
        return (
            f"No skill was found: {base}. Asked was: {skill['question']}; the gain in log loss, {gain}, "
            "may be nothing."
        )
    return (
        f"Skill found: the scores beat the base rate in log loss by {gain}, with 90% confidence. Asked was: "
        f"{skill['question']}."
    )


def _window(section: Mapping[str, Any], window: Mapping[str, Any]) -> str:
    opened = window["opened"]
    when = "held out by their order" if opened is None else f"since {_day(opened)}"
    said = (
        f"Judged on {window['n_later']:,} later moments {when}, which the judged model had not seen; "
        f"{window['n_won']:,} of them were {window['question']}."
    )
    if section["skill"]["question"] != window["question"]:
        said += " That is what the table asks, and there knowing how long deals take helps by itself."
    return said


def _in_words(section: Mapping[str, Any], window: Mapping[str, Any]) -> Iterator[str]:
    entity, measures, lift = section["entity"], window["measures"]["vigie"], window["lift"]
    if measures["auc"] is not None:
        yield (
            f"Ranking: of two {entity}s of which one was won, it had the higher score "
            f"{100 * measures['auc']:.0f} times in 100 (by chance: 50)."
        )
    if lift["lift"] is not None:
        yield (
            f"The best-scored tenth was won {lift['lift']:.1f} times as often as all, and holds "
            f"{lift['gain']:.0%} of the wins."
        )
    bins = window["calibration"]
    n = sum(row["n"] for row in bins)
    said, happened = (sum(row[name] * row["n"] for row in bins) / n for name in ("predicted", "happened"))
    yield (
        f"Calibration: on average Vigie said {said:.1%} and {happened:.1%} were won; by level of score it is "
        f"off by {100 * measures['ece']:.1f} points."
    )
    yield from _against(window["measures"])


def _against(measures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    verdicts: dict[str, list[str]] = {"better than": [], "no sure difference from": [], "worse than": []}
    for name in _without_vigie(measures):
        row = measures[name]
        sure = "better than" if row["gain_low"] > 0 else "worse than" if row["gain_high"] < 0 else None
        verdicts[sure or "no sure difference from"].append(name)
    said = [f"{verdict} {_listed(names)}" for verdict, names in verdicts.items() if names]
    if said:
        yield f"Log loss: {'; '.join(said)}."


def _measures(measures: Mapping[str, Mapping[str, Any]], own: str) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for name in ("AUC", "log loss", "calib.", "lift", "Vigie better by (90%)"):
        # One row a method, even where the terminal is narrow.
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("vigie", *_without_vigie(measures)):
        row = measures[name]
        cells = [_figure(row[key]) for key in ("auc", "log_loss", "ece")]
        gain = "" if "gain" not in row else _gain(row["gain"], row["gain_low"], row["gain_high"])
        style = "bold" if name == "vigie" else None
        label = Text(own if name == "vigie" else name)
        table.add_row(label, *cells, _figure(row["lift_10"], 1), gain, style=style)
    return Padding(table, (1, 0, 0, 2), expand=False)


def _calibration(bins: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("said", "won", "moments"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in bins:
        said, won = row["predicted"], row["happened"]
        table.add_row(f"{said:.1%}", f"{won:.1%}", f"{row['n']:,}", _bar(won, 30))
    return Padding(table, (0, 0, 0, 2), expand=False)


def _importance(features: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    if not features:
        return
    yield Text()
    yield Text("What moves the scores most:")
    table = Table(box=None, pad_edge=False, show_header=False)
    largest = features[0]["mean_effect_log_odds"]
    for one in features[:_TOP]:
        table.add_row(Text(str(one["label_en"])), _bar(one["mean_effect_log_odds"] / largest, 20))
    yield Padding(table, (0, 0, 0, 2), expand=False)


def _audit(audit: Mapping[str, Any] | None) -> Iterator[RenderableType]:
    if audit is None:
        return
    findings = audit["findings"]
    left_out = [finding for finding in findings if finding["verdict"].startswith("excluded")]
    overruled = [
        finding for finding in findings if finding["verdict"] == "kept by the user" and finding["rule"]
    ]
    claimed = audit.get("claimed")
    yield Text()
    if not left_out:
        yield Text(f"Leakage audit: {len(findings)} fields looked at, none left out.")
    else:
        yield Text(f"Leakage audit: {len(left_out)} of {len(findings)} fields left out.")
        if claimed is not None:
            yield Text(
                f"With them, a model would have claimed an AUC of {claimed['auc_all']:.2f} on later records; "
                f"without, the fields alone give {claimed['auc_kept']:.2f}."
            )
    for finding in left_out:
        why = finding["reason"] if finding["verdict"] == "excluded" else "left out by the configuration"
        yield Padding(Text.assemble((finding["field"], "bold"), f": {why}"), (0, 0, 0, 2), expand=False)
    for finding in overruled:
        words = f": kept by the configuration, although {finding['reason']}"
        yield Padding(Text.assemble((finding["field"], "bold"), words), (0, 0, 0, 2), expand=False)


def _bar(share: float, width: int) -> Text:
    return Text("█" * round(max(0.0, min(share, 1.0)) * width), style="cyan")


def _without_vigie(names: Collection[str]) -> list[str]:
    """Give the baselines' names, the plainest first."""
    others = [name for name in names if name not in ("vigie", _PLAINEST)]
    return [_PLAINEST, *sorted(others)] if _PLAINEST in names else sorted(others)


def _gain(mean: float, low: float, high: float) -> str:
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def _figure(value: float | None, places: int = 3) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def _day(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
