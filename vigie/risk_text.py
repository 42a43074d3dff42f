"""Deals at risk as a person reads them on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from vigie.moments import show

if TYPE_CHECKING:
    import pandas as pd

    from features.entry import Language

_WORDS = {
    "en": {
        "none": "No open deal is at risk.",
        "total": "{deals} deals at risk, {stake} at stake.",
        "more": "… and {n} more: --top, --json or --out.",
        "unclaimed": "Not looked for ({flag}): {stages}.",
        "few": "{stage} ({n} won)",
        "as_of": "As of",
    },
    "fr": {
        "none": "Aucune affaire ouverte n’est à risque.",
        "total": "{deals} affaires à risque, {stake} en jeu.",
        "more": "… et {n} autres : --top, --json ou --out.",
        "unclaimed": "Non recherché ({flag}) : {stages}.",
        "few": "{stage} ({n} gagnées)",
        "as_of": "État au",
    },
}


def risk_text(
    rows: pd.DataFrame,
    limits: pd.DataFrame,
    as_of: pd.Timestamp,
    currency: str,
    language: Language,
    top: int,
) -> RenderableType:
    """Give the deals, the most at stake first, each with its evidence, and what could not be looked for."""
    from features.kpis.wording import format_value

    words, unit = _WORDS[language], currency or "currency"
    deals = rows.drop_duplicates("deal_id")
    parts: list[RenderableType] = []
    if deals.empty:
        parts.append(Text(words["none"]))
    else:
        stake = format_value(float(deals["at_stake"].sum()), unit, language)
        parts.append(Text(words["total"].format(deals=len(deals), stake=stake), style="bold"))
    for deal in deals.head(top).to_dict("records"):
        head = f"{deal['deal_id']}  {format_value(float(deal['at_stake']), unit, language)}"
        parts.append(Text(head, style="bold"))
        evidence = rows.loc[rows["deal_id"] == deal["deal_id"], f"evidence_{language}"]
        parts += [Text(f"  {sentence}") for sentence in evidence]
    if len(deals) > top:
        parts.append(Text(words["more"].format(n=len(deals) - top), style="dim"))
    parts += [Text(line, style="dim") for line in _unclaimed(limits, language)]
    parts.append(Text(f"{words['as_of']} {show(as_of)}.", style="dim"))
    return Group(*parts)


def _unclaimed(limits: pd.DataFrame, language: Language) -> list[str]:
    from features.kpis.risk_words import FLAGS

    words = _WORDS[language]
    lines = []
    for flag, some in limits[~limits["is_claimed"].astype(bool)].groupby("flag", sort=False):
        stages = ", ".join(
            words["few"].format(stage=stage, n=n)
            for stage, n in zip(some["stage"], some["n_won"], strict=True)
        )
        label = FLAGS[str(flag)][0 if language == "en" else 1]
        lines.append(words["unclaimed"].format(flag=label, stages=stages))
    return lines
