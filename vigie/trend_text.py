"""Trends as a person reads them on the terminal: what left its range, and the segment behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from features.entry import Language

_WORDS = {
    "en": {
        "calm": "Nothing left its normal range.",
        "range": "normally {low} … {high} (from {n} periods before)",
        "segment": "  {by} {segment}: {share} of the change from {was} to {now}",
        "mix": " ({rate} by its own rate, {mix} by its weight)",
        "spread": "  from {was} to {now}, spread over the segments: none stands out",
        "watched": "{n} series judged in {periods}; by chance alone {chance:.1f} would leave their range.",
        "short": "{n} series are too short to have a range.",
    },
    "fr": {
        "calm": "Rien n’est sorti de sa plage normale.",
        "range": "normalement {low} … {high} (d’après {n} périodes)",
        "segment": "  {by} {segment} : {share} du passage de {was} à {now}",
        "mix": " ({rate} par son propre taux, {mix} par son poids)",
        "spread": "  de {was} à {now}, réparti sur les segments : aucun ne se détache",
        "watched": "{n} séries jugées sur {periods} ; le hasard seul en ferait sortir {chance:.1f}.",
        "short": "{n} séries sont trop courtes pour avoir une plage.",
    },
}
#: A segment stands out that goes beyond its own size by this share of the change.
_BEYOND = 0.1
_STYLES = {"better": "green", "worse": "red", "": "yellow"}


def trend_text(
    rows: pd.DataFrame, segments: pd.DataFrame, level: float, language: Language
) -> RenderableType:
    """Give what left its normal range, with the foremost segment, and how much was looked at."""
    words = _WORDS[language]
    parts: list[RenderableType] = []
    flagged = rows[rows["is_flagged"]]
    if flagged.empty:
        parts.append(Text(words["calm"], style="bold"))
    for row in flagged.to_dict("records"):
        parts += _flag(row, segments, language)
    judged = rows[rows["low"].notna() & rows["value"].notna()]
    periods = list(dict.fromkeys(rows.sort_values("period_start")["period"]))
    span = periods[0] if len(periods) == 1 else f"{periods[0]} … {periods[-1]}"
    chance = len(judged) * (1 - level)
    parts.append(Text(words["watched"].format(n=len(judged), periods=span, chance=chance), style="dim"))
    if n := int((rows["method"] == "too short").sum()):
        parts.append(Text(words["short"].format(n=n), style="dim"))
    return Group(*parts)


def _flag(row: Mapping[Any, Any], segments: pd.DataFrame, language: Language) -> list[RenderableType]:
    from features.kpis import KPIS
    from features.kpis.wording import format_value

    words, unit = _WORDS[language], str(row["unit"])
    name = KPIS[row["kpi"]].label(language)
    name += "".join(f", {row[part]}" for part in ("detail", "group") if row[part] not in ("", "total"))
    span = {end: format_value(row[end], unit, language) for end in ("low", "high")}
    head = Text.assemble(
        (f"{row['period']}  {name}: {format_value(row['value'], unit, language)}", _STYLES[row["verdict"]]),
        f", {words['range'].format(**span, n=row['n_past'])}",
    )
    same = (segments["kpi"] == row["kpi"]) & (segments["detail"] == row["detail"])
    same &= (segments["period"] == row["period"]) & (row["group"] == "total")
    if not same.any():
        return [head]
    first = segments[same].iloc[0]
    change = {
        "was": format_value(first["was"], unit, language),
        "now": format_value(first["is"], unit, language),
    }
    if (first["effect"] - first["expected"]) / first["change"] < _BEYOND:
        return [head, Text(words["spread"].format(**change), style="dim")]
    share = format_value(first["share"], "ratio", language)
    line = words["segment"].format(by=first["by"], segment=first["segment"], share=share, **change)
    if first["rate_effect"] == first["rate_effect"]:
        effects = {
            name: format_value(first[f"{name}_effect"] / first["change"], "ratio", language)
            for name in ("rate", "mix")
        }
        line += words["mix"].format(**effects)
    return [head, Text(line, style="dim")]
