"""The signs that one deal is at risk, from its own rows and what won deals were like."""

from __future__ import annotations

from typing import Any, NamedTuple

from features.kpis.risk_limits import RiskLimits, signs_of
from features.kpis.risk_words import FLAGS, evidence
from serving.answering.record_rows import RecordRows


class Risks(NamedTuple):
    """The signs of one deal in words, and as a text that is equal for equal signs."""

    words: list[dict[str, Any]]
    facts: str


class PlainSigns(NamedTuple):
    """The signs of one deal as they are stored: evidence in both languages."""

    plain: tuple[dict[str, Any], ...]
    facts: str


def risks_of(limits: RiskLimits | None, rows: RecordRows, as_of: int, language: str) -> Risks:
    """Find the signs that a deal is at risk, and put them into words.

    Parameters
    ----------
    limits : RiskLimits or None
        What won deals were like, learned with the model; without them only what needs no comparison is said.
    rows : RecordRows
    as_of : int
        In microseconds.
    language : {"en", "fr"}
    """
    found = plain_signs(limits, rows, as_of)
    place = 1 if language == "fr" else 0
    words = [
        {
            "flag": sign["flag"],
            "label": FLAGS[sign["flag"]][place],
            "evidence": sign["evidence_fr" if place else "evidence_en"],
            **{name: sign[name] for name in ("measure", "limit", "n_won")},
        }
        for sign in found.plain
    ]
    return Risks(words, found.facts)


def plain_signs(limits: RiskLimits | None, rows: RecordRows, as_of: int) -> PlainSigns:
    """Find the signs that a deal is at risk, as they are stored.

    Parameters
    ----------
    limits : RiskLimits or None
    rows : RecordRows
    as_of : int
        In microseconds.
    """
    signs = signs_of(limits, rows.record, rows.activities, rows.changes, rows.others, as_of)
    plain = []
    for sign in signs:
        english, french = evidence(sign, 1.0 if limits is None else limits.quantile)
        plain.append(
            {
                "flag": sign["flag"],
                "evidence_en": english,
                "evidence_fr": french,
                "measure": float(sign["measure"]),
                "limit": float(sign["limit"]),
                "n_won": int(sign["n_won"]),
            }
        )
    facts = "\0".join(f"{one['flag']}={one['measure']!r}/{one['limit']!r}" for one in plain)
    return PlainSigns(tuple(plain), facts)
