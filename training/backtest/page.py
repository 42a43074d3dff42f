"""The report as one page that opens without a network: charts inline, every number also in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import count
from typing import Any

from training.backtest import figures
from training.backtest.charts import Chart
from training.backtest.tables import (
    by_cutoff_table,
    calls_table,
    coverage_table,
    fan_table,
    forecast_table,
    gains_table,
    measures_table,
    reliability_table,
    table,
    timing_table,
)
from training.backtest.words import (
    day,
    headlines,
    in_order,
    length_in_words,
    percent,
    reliability_sentence,
    verdict,
)

_STATUS = {
    "signal": "signal",
    "no_signal": "no signal: base rate",
    "untested": "not tested: base rate",
    "too_early": "too early",
    "none": "none",
}


def make_page(report: Mapping[str, Any]) -> str:
    """Give the page of a report.

    Parameters
    ----------
    report : mapping
        As :func:`training.backtest.report.make_report` gives it.

    Returns
    -------
    str
        HTML, complete in itself: no script, no font, no image from elsewhere.
    """
    page = _Page()
    parts = [
        _head(report),
        *_banners(report),
        *page.records(report["deals"], "deal"),
        *page.records(report["leads"], "lead"),
        *page.forecast(report["forecast"]),
        _cutoffs(report),
        _method(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Backtest · Vigie</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _style() -> str:
    return files("training.backtest").joinpath("page.css").read_text(encoding="utf-8")


class _Page:
    """Numbers the charts, so that each is named by its own title."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def records(self, section: Mapping[str, Any], entity: str) -> Iterator[str]:
        """Give what is told of deals, or of leads."""
        if section["status"] == "judged":
            yield '<section class="grid">'
            yield from self._chances(section, entity)
            yield from self._beside(section, f"{entity}s")
            yield from self._in_use(section, f"{entity}s")
            yield "</section>"
        elif section["n_said"]:
            yield _card(
                f"{entity.capitalize()}s: nothing to judge yet",
                f"{section['n_said']:,} were scored; the answer of none is known yet.",
            )

    def _chances(self, section: Mapping[str, Any], entity: str) -> Iterator[str]:
        """Give what was shown and what came true, drawn and in words."""
        rows, name, horizon = section["reliability"], f"{entity}s", section.get("horizon_days")
        within = "" if horizon is None else f" within {horizon:g} days"
        yield self._card(
            f"{name.capitalize()}: chance shown and share won",
            "A dot on the dashed line is a chance that came true as often as it said; bigger dots count "
            "more, the bars are 90% ranges.",
            figures.reliability_chart(rows, entity),
            reliability_table(rows, name),
            f"{section['n_judged']:,} moments of {section['records']:,} {name}, {section['n_won']:,} of "
            f"which was won{within}.",
            "c7",
        )
        said = "".join(
            f"<li><b>{percent(row['happened'])}</b><p>{escape(reliability_sentence(row, entity))}</p></li>"
            for row in [row for row in rows if row["n"] >= 10] or rows
        )
        how = "What came of those once shown at a chance."
        yield _card("In words", how, f'<ul class="moves">{said}</ul>', "c5")

    def _beside(self, section: Mapping[str, Any], name: str) -> Iterator[str]:
        """Give the measures beside the baselines', over all cutoffs and at each."""
        measures, by_cutoff = section["measures"], section["by_cutoff"]
        methods, best = list(in_order(measures)), measures["vigie"]["gain_10"]["value"]
        sure = verdict(measures)
        yield _card(
            f"{name.capitalize()}: Vigie beside its baselines",
            "Over all cutoffs, with 90% ranges." + (f" Log loss: {sure}." if sure else ""),
            measures_table(measures, section["n_judged"]),
        )
        yield self._card(
            f"{name.capitalize()}: the best-scored tenth holds {percent(best)} of the wins",
            "The share of all wins among the best-scored, over all cutoffs.",
            figures.gains_chart(section),
            gains_table(section),
            "",
            "c6",
            methods,
        )
        yield self._card(
            f"{name.capitalize()}: log loss at each cutoff",
            "Lower is better. Everything was trained anew at each cutoff, on what was known by then.",
            figures.over_time_chart(by_cutoff, "log_loss", methods, "log loss"),
            by_cutoff_table(by_cutoff, methods),
            "",
            "c6",
            methods,
        )

    def _in_use(self, section: Mapping[str, Any], name: str) -> Iterator[str]:
        """Give what calling the best-scored reaches, and how well the close was told."""
        if section["calls"]:
            yield _card(
                f"{name.capitalize()}: wins reached by calling the best-scored",
                f"Each rep calls so many of the {name} open at each cutoff; ties are drawn by lot. The share "
                "of the wins among those called, with 90% ranges.",
                calls_table(section["calls"]),
                "c6",
            )
        if section.get("timing"):
            timing = section["timing"]
            yield _card(
                f"The range for the close held {percent(timing['vigie']['coverage']['value'])} of the time",
                f"Promised: {percent(timing['level'])}. Error of the median, and the interval score of the "
                "range, in days: lower is better.",
                timing_table(timing),
                "c6",
            )

    def forecast(self, section: Mapping[str, Any]) -> Iterator[str]:
        """Give how good the forecasts were, and each of them with what came."""
        horizons = section["horizons"]
        if not horizons:
            return
        methods = list(in_order({name: None for one in horizons for name in one["methods"]}))
        first = horizons[0]["methods"]["vigie"]["wape"]["value"]
        yield '<section class="grid">'
        yield self._card(
            f"Revenue: the next {length_in_words(horizons[0]['horizon'])} missed by {percent(first, 1)}",
            "Sum of misses as a share of the revenue that came (WAPE), by horizon; the bars are 90% ranges, "
            "drawn by blocks of cutoffs whose periods overlap.",
            figures.error_chart(horizons),
            forecast_table(horizons),
            "",
            "c12",
            methods,
        )
        for one in horizons:
            rows = [row for row in section["rows"] if row["horizon"] == one["horizon"]]
            name = length_in_words(one["horizon"])
            held = next(found for found in one["coverage"] if found["level"] == 0.8)
            yield self._card(
                f"Next {name}: the 80% range held {held['held']} of {held['n']}",
                f"Line: mean forecast. Bands: 50% and 80% ranges. Dots: what came{_in(section['currency'])}.",
                figures.fan_chart(rows, one["horizon"]),
                fan_table(rows),
                "",
                "c7",
            )
            yield self._card(
                f"Next {name}: how often the ranges held",
                "The tick is what was promised. Corrected: widened or narrowed at each cutoff by how the "
                "forecasts before it had come out, as it is served once forecasts are kept.",
                figures.coverage_chart(one["coverage"], one["corrected"]),
                coverage_table(one["coverage"], one["corrected"]),
                f"{one['n']} periods; blocks of {one['block']}.",
                "c5",
            )
        yield "</section>"

    def _card(
        self,
        title: str,
        how: str,
        chart: Chart,
        table: str,
        note: str,
        span: str,
        methods: Sequence[str] = (),
    ) -> str:
        key = figures.key(methods) if methods else ""
        body = (
            f'<div class="chart">{key}{chart.svg(next(self._numbers))}</div>'
            + (f'<p class="note">{escape(note)}</p>' if note else "")
            + f"<details><summary>Show the numbers</summary>{table}</details>"
        )
        return _card(title, how, body, span)


def _head(report: Mapping[str, Any]) -> str:
    plan, found = report["plan"], headlines(report)
    cutoffs = plan["cutoffs"]
    lede = " ".join(found[:3]) or "Nothing could be judged yet."
    rest = "".join(f"<li>{escape(one)}</li>" for one in found[3:])
    thinned = "" if plan["possible"] == len(cutoffs) else f"<span>chosen from {plan['possible']}</span>"
    return (
        f'<div class="head"><h1>Backtest</h1><p class="lede">{escape(lede)}</p>'
        f'<p class="asof"><span>{len(cutoffs)} cutoffs, {day(cutoffs[0])} to {day(cutoffs[-1])}</span>'
        f"{thinned}"
        f"<span>judged by what was recorded by {day(plan['end'])}</span>"
        "<span>every number as it would have been shown at the time</span></p></div>"
        + (_card("What else was found", "", f'<ul class="said">{rest}</ul>') if rest else "")
    )


def _banners(report: Mapping[str, Any]) -> Iterator[str]:
    failed = [one for one in report["cutoffs"] if one["failure"]]
    if failed:
        yield (
            f'<p class="banner">At {len(failed)} of {len(report["cutoffs"])} cutoffs nothing could be said: '
            f"{escape(failed[0]['failure'])}</p>"
        )
    refused = {
        one["forecast"]["reason"] for one in report["cutoffs"] if one.get("forecast", {}).get("reason")
    }
    for reason in sorted(refused):
        yield f'<p class="banner">No forecast: {escape(reason)}</p>'


def _card(title: str, how: str, body: str = "", span: str = "c12") -> str:
    told = f"<p>{escape(how)}</p>" if how else ""
    return f'<section class="card {span}"><header><h2>{escape(title)}</h2>{told}</header>{body}</section>'


def _cutoffs(report: Mapping[str, Any]) -> str:
    body = []
    for one in report["cutoffs"]:
        models = one.get("models", {})
        cells = [
            f"{_STATUS[models[entity]['status']]}, {models[entity]['n_open']:,} open"
            if entity in models
            else ""
            for entity in ("deal", "lead")
        ]
        version = f"<code>{escape(one['model_version'])}</code>" if "model_version" in one else ""
        body.append([day(one["cutoff"]), *cells, version, escape(one["failure"])])
    return _card(
        "The cutoffs",
        "At each, everything was rebuilt from what had been recorded by then.",
        table(["Cutoff", "Deals", "Leads", "Model", "What was missing"], body),
    )


def _method(report: Mapping[str, Any]) -> str:
    leads = report["leads"]
    within = f" of {leads['horizon_days']:g} days" if leads.get("horizon_days") else ""
    text = (
        "Deals are judged where they closed by the end of observation; deals still open then have no answer "
        "yet, and quick ones are therefore more than their share. Leads are judged where their whole horizon"
        f"{within} after the cutoff was observed, whatever became of them. Ranges hold 90% of the resamples: "
        "whole records are drawn for scores, because one record stands at several cutoffs, and blocks of "
        "consecutive cutoffs for forecasts. The baselines learned at the same cutoffs from records whose end "
        "was known by then. A pooled AUC also compares records of different cutoffs, so that a base rate "
        "that changes with time may have one that is not 0.5."
    )
    return _card("How this was measured", "", f'<p class="note">{escape(text)}</p>')


def _in(currency: str) -> str:
    return f", in {currency}" if currency else ""
