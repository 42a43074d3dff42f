"""The figures as sentences that a sales manager can check: what was said, how often it came true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

T = TypeVar("T")

#: Names of the methods, as a person reads them.
METHODS = {
    "vigie": "Vigie",
    "base_rate": "base rate then",
    "stage_rates": "stage rates",
    "logistic_regression": "logistic regression",
    "plain_lightgbm": "LightGBM on closed ones",
    "stage_weighted": "stage-weighted pipeline",
    "run_rate": "run rate",
    "series": "series forecast",
    "stage_durations": "durations of the stage",
    "random": "at random",
    "newest_first": "newest first",
}
#: Moments in a tenth of the scale below which nothing is said of it in words.
_FEWEST = 10
_UNITS = {"D": "day", "W": "week", "M": "month", "Q": "quarter", "Y": "year"}


def length_in_words(horizon: str) -> str:
    """Give a length of time in words.

    Examples
    --------
    >>> length_in_words("4W"), length_in_words("1Q")
    ('4 weeks', '1 quarter')
    """
    count, unit = horizon[:-1], _UNITS[horizon[-1]]
    return f"{count} {unit}" + ("" if count == "1" else "s")


def day(moment: str) -> str:
    """Give the day of a moment.

    Examples
    --------
    >>> day("2012-01-09T00:00:00+00:00")
    '9 Jan 2012'
    """
    when = datetime.fromisoformat(moment)
    return f"{when.day} {when:%b %Y}"


def percent(value: float | None, digits: int = 0) -> str:
    """Give a share as a person reads it.

    Examples
    --------
    >>> percent(0.744), percent(-0.0312, 1), percent(None)
    ('74%', '−3.1%', 'not known')
    """
    if value is None:
        return "not known"
    return f"{100 * value:.{digits}f}%".replace("-", "−")


def band(row: Mapping[str, Any]) -> str:
    """Give a tenth of the scale.

    Examples
    --------
    >>> band({"from": 0.7, "to": 0.8})
    '70–80%'
    """
    return f"{100 * row['from']:.0f}–{100 * row['to']:.0f}%"


def reliability_sentence(row: Mapping[str, Any], entity: str) -> str:
    """Say what came of those that were shown one tenth of the scale.

    Examples
    --------
    >>> row = {"from": 0.7, "to": 0.8, "happened": 0.74, "won": 40, "n": 54, "records": 31}
    >>> reliability_sentence(row, "deal")
    'Of deals shown at 70–80%, 74% were won (40 of 54 moments, 31 deals).'
    """
    things = f"{entity}s" if row["records"] != 1 else entity
    return (
        f"Of {entity}s shown at {band(row)}, {percent(row['happened'])} were won ({row['won']:,} of "
        f"{row['n']:,} moments, {row['records']:,} {things})."
    )


def telling_band(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Give the fullest tenth of the scale above a half, else of all; None where none holds enough."""
    enough = [row for row in rows if row["n"] >= _FEWEST]
    likely = [row for row in enough if row["from"] >= 0.5]
    return max(likely or enough, key=lambda row: int(row["n"]), default=None)


def in_order(found: Mapping[str, T]) -> dict[str, T]:
    """Give what is told of methods in the order in which they are told, Vigie first.

    Examples
    --------
    >>> list(in_order({"base_rate": 1, "plain_lightgbm": 2, "vigie": 3, "n": 4}))
    ['vigie', 'base_rate', 'plain_lightgbm']
    """
    return {name: found[name] for name in METHODS if name in found}


def headlines(report: Mapping[str, Any]) -> list[str]:
    """Give the findings, most important first."""
    return [
        *_of_records(report["deals"], "deal"),
        *_of_records(report["leads"], "lead"),
        *_of_forecast(report["forecast"]),
    ]


def verdict(measures: Mapping[str, Mapping[str, Any]], gain: str = "log_loss_gain") -> str:
    """Say against which baselines Vigie is surely better or worse; nothing where there is none."""
    sure: dict[str, list[str]] = {"better than": [], "no sure difference from": [], "worse than": []}
    for name, found in in_order(measures).items():
        if name == "vigie" or gain not in found or found[gain]["low"] is None:
            continue
        low, high = found[gain]["low"], found[gain]["high"]
        said = "better than" if low > 0 else "worse than" if high < 0 else "no sure difference from"
        sure[said].append(METHODS[name])
    return "; ".join(f"{said} {listed(names)}" for said, names in sure.items() if names)


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _of_records(section: Mapping[str, Any], entity: str) -> Iterator[str]:
    if section["status"] != "judged":
        return
    shown = telling_band(section["reliability"])
    if shown is not None:
        yield reliability_sentence(shown, entity)
    said = verdict(section["measures"])
    if said:
        yield f"Log loss of {entity}s: {said}."
    timing = section.get("timing")
    if timing:
        held = timing["vigie"]["coverage"]["value"]
        yield (
            f"The range for the close that was to hold {percent(timing['level'])} of deals held "
            f"{percent(held)}; the median missed by {timing['vigie']['mae_days']['value']:.1f} days."
        )
    if section["calls"] and entity == "lead":
        first = section["calls"][0]
        yield (
            f"Calling the {first['k']} best-scored leads a rep at each cutoff reaches "
            f"{percent(first['vigie']['value'])} of the wins; newest first "
            f"{percent(first['newest_first']['value'])}, at random {percent(first['random']['value'])}."
        )


def _of_forecast(section: Mapping[str, Any]) -> Iterator[str]:
    for one in section["horizons"]:
        wape = one["methods"]["vigie"]["wape"]["value"]
        if wape is None:
            continue
        held = next(found for found in one["coverage"] if found["level"] == 0.8)
        said = verdict(one["methods"], "wape_gain")
        yield (
            f"Revenue of the next {length_in_words(one['horizon'])}: missed by {percent(wape, 1)}, the 80% "
            f"range held {held['held']} of {held['n']}" + (f"; {said}." if said else ".")
        )
