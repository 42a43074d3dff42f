"""KPIs as a person reads them on the terminal: a table of values, or the definitions."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vigie.moments import show

if TYPE_CHECKING:
    import pandas as pd

    from features.entry import Language
    from features.kpis import Kpi

_HEADS = {
    "en": ("KPI", "value", "95% range", "of", "still open", "target", "reached"),
    "fr": ("KPI", "valeur", "intervalle à 95 %", "sur", "en cours", "objectif", "atteint"),
}
_WORDS = {
    "en": {
        "as_of": "As of",
        "detail": "Stages and channels of each group are in --json and --out.",
        "none": "Without any record: ",
    },
    "fr": {
        "as_of": "État au",
        "detail": "Le détail par étape et canal de chaque groupe : --json ou --out.",
        "none": "Sans aucun enregistrement : ",
    },
}


def kpi_text(rows: pd.DataFrame, language: Language) -> RenderableType:
    """Give rows of KPIs as a table: what each value stands on for one period, side by side for several.

    KPIs that found no record in any period are named below it, in one line, where others found some.
    """
    from features.kpis import KPIS

    periods = list(dict.fromkeys(rows["period"]))
    words = _WORDS[language]
    # By group, what a KPI is apart by would fill screens: there, only the total has it.
    hidden = (rows["group"] != "total") & (rows["detail"] != "")
    found = rows.groupby("kpi")["n"].sum() > 0
    is_found = rows["kpi"].map(found if found.any() else ~found)
    shown = rows[~hidden & is_found]
    table = _one_period(shown, language) if len(periods) == 1 else _side_by_side(shown, periods, language)
    title = periods[0] if len(periods) == 1 else f"{periods[0]} … {periods[-1]}"
    parts: list[RenderableType] = [Text(title, style="bold"), table]
    parts += [Text(f"{note}", style="yellow") for note in _notes(shown, language)]
    if missing := [KPIS[name].label(language) for name in dict.fromkeys(rows.loc[~is_found, "kpi"])]:
        parts.append(Text(words["none"] + ", ".join(missing) + ".", style="dim"))
    if hidden.any():
        parts.append(Text(words["detail"], style="dim"))
    parts.append(Text(f"{words['as_of']} {show(rows['as_of'].iloc[0])}.", style="dim"))
    return Group(*parts)


def definitions_text(kpis: list[Kpi], language: Language) -> RenderableType:
    """Give the catalogue: what each KPI is, covers and comes from."""
    parts: list[RenderableType] = []
    for kpi in kpis:
        parts += [
            Text.assemble((kpi.label(language), "bold"), f"  {kpi.name}, {kpi.unit}"),
            Text(f"  {kpi.formula}"),
            Text(f"  {kpi.covers}"),
            Text(f"  Better: {kpi.better}. Source: {kpi.source}.", style="dim"),
        ]
    return Group(*parts)


def _one_period(rows: pd.DataFrame, language: Language) -> Table:
    from features.kpis.wording import format_value

    has_target = bool(rows["target"].notna().any())
    heads = _HEADS[language][: 7 if has_target else 5]
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, justify="left" if head == heads[0] else "right")
    for row in rows.itertuples(index=False):
        value = {name: getattr(row, name) for name in rows.columns}
        unit = str(value["unit"])
        has_range = not (math.isnan(value["low"]) and math.isnan(value["high"]))
        low, high = (format_value(value[end], unit, language) for end in ("low", "high"))
        # The unit is said once, at the end.
        span = f"{low.partition(' ')[0]} … {high}"
        below = value["n"] if math.isnan(value["denominator"]) or unit != "ratio" else value["denominator"]
        cells = [
            format_value(value["value"], unit, language),
            span if has_range else "",
            _count(below, language),
            _count(value["censored"], language),
        ]
        if has_target:
            cells += [
                "" if math.isnan(value["target"]) else format_value(value["target"], unit, language),
                ""
                if math.isnan(value["attainment"])
                else format_value(value["attainment"], "ratio", language),
            ]
        bold = "bold" if value["group"] == "total" and value["detail"] == "" else ""
        table.add_row(Text(_name(value, language)), *(Text(cell) for cell in cells), style=bold)
    return table


def _side_by_side(rows: pd.DataFrame, periods: list[str], language: Language) -> Table:
    from features.kpis.wording import format_value

    table = Table(box=None, pad_edge=False)
    table.add_column("KPI")
    for period in periods:
        table.add_column(period, justify="right")
    keys = ["kpi", "detail", "group"]
    units = dict(zip(rows["kpi"], rows["unit"], strict=True))
    values = {
        key: dict(zip(part["period"], part["value"], strict=True))
        for key, part in rows.groupby(keys, sort=False)
    }
    for key, by_period in values.items():
        kpi, detail, group = _three(key)
        cells = [
            Text(format_value(by_period.get(period, math.nan), units[kpi], language)) for period in periods
        ]
        bold = "bold" if group == "total" and detail == "" else ""
        table.add_row(
            Text(_name({"kpi": kpi, "detail": detail, "group": group}, language)), *cells, style=bold
        )
    return table


def _three(key: Hashable) -> tuple[str, str, str]:
    assert isinstance(key, tuple)
    kpi, detail, group = key
    return str(kpi), str(detail), str(group)


def _name(row: dict[str, object], language: Language) -> str:
    from features.kpis import KPIS

    detail, group = str(row["detail"]), str(row["group"])
    label = KPIS[str(row["kpi"])].label(language)
    if detail:
        label = f"{label}: {detail}" if language == "en" else f"{label} : {detail}"
    return label if group == "total" else f"    {group}"


def _notes(rows: pd.DataFrame, language: Language) -> list[str]:
    """Give each remark on a total once, with the KPIs that it is about."""
    from features.kpis import KPIS

    about: dict[str, list[str]] = {}
    totals = rows[(rows["group"] == "total") & (rows["note"] != "")]
    for name, note in zip(totals["kpi"], totals["note"], strict=True):
        labels = about.setdefault(str(note), [])
        if (label := KPIS[str(name)].label(language)) not in labels:
            labels.append(label)
    return [f"{', '.join(labels)}: {note}." for note, labels in about.items()]


def _count(value: float, language: Language) -> str:
    from features.kpis.wording import format_value

    return "" if math.isnan(value) else format_value(value, "count", language)
