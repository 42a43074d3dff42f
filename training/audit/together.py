"""What fields show beside each other: filled where a caught one is, rewritten, or written in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.audit import alone, closing
from training.audit.bounds import near_odds_ratio, wilson
from training.audit.evidence import Evidence, Suspicion
from training.audit.levels import REST
from training.audit.limits import Limits
from training.audit.skill import gain_beyond, skill

#: Stretches of records in which batches are looked for, and records that each must have.
STRETCHES, MIN_STRETCH = 20, 25
#: Levels that two fields must share to be of one vocabulary; yes and no are everybody's.
MIN_SHARED = 4
#: A caught field that nearly every record has says nothing about those that have it.
MOSTLY_FILLED = 0.9
#: A field is inside another when it is filled on at most this share of its records; else they are one block.
STRICTLY = 0.95
_BY_FILL = (closing.FILLED, alone.FILLED)


def suspect_batches(fields: Sequence[Evidence], limits: Limits) -> dict[str, Suspicion]:
    """Find blocks of fields that one process wrote for some stretches of records and not for others.

    Several fields filled on exactly the same records; nearly all records of a stretch have them, then nearly
    none, then nearly all again. A question that is asked when a record comes in does not look like this; a
    tool that ran later over what was there does.
    """
    blocks: dict[bytes, list[Evidence]] = defaultdict(list)
    for found in fields:
        if found.usable.all():
            blocks[np.packbits(found.levels.filled).tobytes()].append(found)
    suspicions = {}
    for block in blocks.values():
        rates = _stretches(block[0].levels.filled)
        if len(block) < 2 or not _on_off_on(rates, limits):
            continue
        figures = {"emptiest_stretch": min(rates), "fullest_stretch": max(rates), "block": float(len(block))}
        for found in block:
            found.figures.update(figures)
            suspicions[found.name] = Suspicion(
                "written in batches",
                f"{len(block)} fields are filled on exactly the same records, and in stretches: nearly all "
                f"have them, then nearly none ({min(rates):.0%}), then nearly all again. One process wrote "
                "them some time after the records came in, and the export does not say when",
            )
    return suspicions


def _stretches(filled: NDArray[np.bool_]) -> list[float]:
    if len(filled) < STRETCHES * MIN_STRETCH:
        return [float(filled.mean())] if len(filled) else [0.0]
    return [float(part.mean()) for part in np.array_split(filled, STRETCHES)]


def _on_off_on(rates: Sequence[float], limits: Limits) -> bool:
    full = [place for place, rate in enumerate(rates) if rate >= limits.batch_full]
    empty = [place for place, rate in enumerate(rates) if rate <= limits.batch_empty]
    return bool(full) and any(full[0] < place < full[-1] for place in empty)


def suspect_twins(
    fields: Sequence[Evidence], caught: Mapping[str, Suspicion], limits: Limits
) -> dict[str, Suspicion]:
    """Find pairs of fields that hold the same, but one of them rewritten on some records.

    Two fields with one vocabulary that agree on most records were once the same; where they differ, one was
    written again. When the difference tells of the outcome, neither can be trusted, for which of them is the
    newer one is not in the export. A difference from a field that is caught already says nothing new.
    """
    texts = [one for one in fields if one.levels.is_text and one.name not in caught]
    suspicions: dict[str, Suspicion] = {}
    for place, one in enumerate(texts):
        for other in texts[place + 1 :]:
            stronger, weaker = (one, other) if one.skill.gain >= other.skill.gain else (other, one)
            found = _twins(stronger, weaker, limits)
            if found:
                equal, gain = found
                for mine, twin in ((one, other), (other, one)):
                    mine.figures.update({"equal_to_twin": equal, "gain_of_difference": gain})
                    suspicions.setdefault(mine.name, _rewritten(twin.name, equal, gain))
    return suspicions


def _rewritten(twin: str, equal: float, gain: float) -> Suspicion:
    return Suspicion(
        "rewritten",
        f"has the values of {twin!r} on {equal:.0%} of the records and other ones on the rest, and where "
        f"they differ takes away {gain:.1%} of the uncertainty of the outcome: one of the two was written "
        "again after the record came in, and the export does not say which",
    )


def _twins(one: Evidence, other: Evidence, limits: Limits) -> tuple[float, float] | None:
    """Give how often two fields agree and what their difference tells; None where they are no twins."""
    common = (set(one.levels.names[1:]) & set(other.levels.names[1:])) - {REST}
    if len(common) < MIN_SHARED:
        return None
    place = {name: code for code, name in enumerate(other.levels.names) if name in common}
    translated = np.array([place.get(name, -1) for name in one.levels.names])
    order = one.order[other.usable[one.order]]
    a, b = one.levels.codes[order], other.levels.codes[order]
    both = (a > 0) & (b > 0)
    if both.sum() < limits.least:
        return None
    mine, theirs = translated[a[both]], b[both]
    shared = min(float((mine >= 0).mean()), float(np.isin(theirs, list(place.values())).mean()))
    equal = float((mine == theirs).mean())
    chance = _chance_agreement(mine, theirs)
    if shared < limits.twin_shared or not limits.twin_equal <= equal <= 1 - limits.twin_differ:
        return None
    if equal < chance + (1 - chance) / 4:
        return None
    won = one.won[order]
    joint = np.unique(a * len(other.levels.names) + b, return_inverse=True)[1].astype("int64")
    # A careless copy also lacks what the other field tells; only a rewriting goes with the outcome.
    alike = np.where(both, 1 + (translated[a] == b), 0).astype("int64")
    together, _ = gain_beyond(b, joint, won, limits.z)
    difference = skill(alike, won, limits.z)
    if min(together, difference.gain) < limits.twin_gain or difference.bound <= 0:
        return None
    return equal, difference.gain


def _chance_agreement(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    size = int(max(a.max(), b.max())) + 1
    return float(
        (np.bincount(a[a >= 0], minlength=size) / len(a) * (np.bincount(b, minlength=size) / len(b))).sum()
    )


def suspect_nested(
    fields: Sequence[Evidence], caught: Mapping[str, Suspicion], limits: Limits
) -> dict[str, Suspicion]:
    """Find fields that are filled only where a caught one is.

    What is only there when a field is there that was written at the outcome was written with it or later.
    Where the caught field gave itself away by its values, its filling may still be innocent; then both must
    be filled more with the same outcome, and the field must tell of it too.
    """
    found = dict[str, Suspicion]()
    rule = {name: suspicion.rule for name, suspicion in caught.items()}
    by_name = {one.name: one for one in fields}
    grown = True
    while grown:
        grown = False
        parents = [by_name[name] for name in (*caught, *found)]
        for child in fields:
            if child.name in caught or child.name in found:
                continue
            inside = [parent for parent in parents if _is_nested(child, parent, limits)]
            parent = next(
                (one for one in inside if rule.get(one.name) in _BY_FILL or _lean_alike(child, one, limits)),
                None,
            )
            if parent is not None:
                grown = True
                found[child.name] = _nested(child, parent)
    return found


def _is_nested(child: Evidence, parent: Evidence, limits: Limits) -> bool:
    rows = child.usable & parent.usable
    own, theirs = child.levels.filled & rows, parent.levels.filled & rows
    n_own, n_theirs, n_both = int(own.sum()), int(theirs.sum()), int((own & theirs).sum())
    if n_own < limits.least or n_theirs > MOSTLY_FILLED * rows.sum() or n_own > STRICTLY * n_theirs:
        return False
    bound = wilson(n_both, n_own, limits.z)[0]
    return n_both >= limits.nested_share * n_own and bound > (1 + n_theirs / rows.sum()) / 2


def _lean_alike(child: Evidence, parent: Evidence, limits: Limits) -> bool:
    tells = child.skill.gain >= limits.nested_gain and child.skill.bound > 0
    return tells and _leans(child, limits) * _leans(parent, limits) > 0


def _leans(found: Evidence, limits: Limits) -> int:
    """Give whose records are filled more: 1 for the won, -1 for the lost, 0 where chance explains it."""
    (won, n_won), (lost, n_lost) = found.fill(found.won), found.fill(found.lost)
    if near_odds_ratio(won, n_won, lost, n_lost, limits.z) <= 1.0:
        return 0
    return 1 if won * n_lost > lost * n_won else -1


def _nested(child: Evidence, parent: Evidence) -> Suspicion:
    own = child.levels.filled & child.usable
    within, overall = parent.levels.filled[own].mean(), parent.levels.filled[child.usable].mean()
    child.figures["filled_within_caught"] = float(within)
    return Suspicion(
        "filled with a caught field",
        f"{within:.0%} of the records that have it also have {parent.name!r}, which is left out too, against "
        f"{overall:.0%} of all: it was written with it or later",
    )
