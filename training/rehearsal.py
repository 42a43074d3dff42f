"""A rehearsal: what two settings would have learned at an earlier moment, judged on what came after it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from crm.errors import NotEnoughData
from crm.history import History
from serving.bundle import ModelBundle
from training.comparison import FEWEST_CLOSED, Comparison, able, compare, measure, settings_of
from training.labels import OPEN, Outcomes, outcomes
from training.samples import untimed_sample
from training.train import train

Say = Callable[[str], None]

#: Share of the closings that a rehearsal is judged on.
_SHARE = 0.25


def rehearse(
    known: History,
    champion: ModelBundle,
    challenger: ModelBundle,
    entities: list[str],
    until: pd.Timestamp,
    say: Say,
) -> list[Comparison]:
    """Compare what each one's settings learn from an earlier moment's history.

    Parameters
    ----------
    known : History
        As known at ``until``.
    champion, challenger : ModelBundle
    entities : list of {"lead", "deal"}
        That both can score.
    until : Timestamp
    say : callable
        Told what is being done.

    Returns
    -------
    list of Comparison
        Without the kinds that cannot be compared even so, or whose settings say the same.
    """
    comparisons = []
    found = {entity: outcomes(known, entity) for entity in entities}
    timed = [entity for entity in entities if not _mostly_untimed(found[entity])]
    since = _opening([found[entity] for entity in timed], until)
    if since is not None and not _learn_the_same(champion, challenger, since):
        say(f"too little closed since both were trained: rehearsing from {since:%Y-%m-%d}")
        old, new = (_then(known, bundle, since) for bundle in (champion, challenger))
        if old is not None and new is not None:
            both = [entity for entity in timed if able(old, entity) and able(new, entity)]
            comparisons += compare(known, old, new, both, since, until, "rehearsed")
    for entity in entities:
        if entity not in timed and settings_of(champion) != settings_of(challenger):
            say(f"{entity}s have no times: rehearsing on the last of them by order")
            comparisons += _by_order(known, champion, challenger, entity, found[entity], until)
    return comparisons


def _learn_the_same(champion: ModelBundle, challenger: ModelBundle, since: pd.Timestamp) -> bool:
    """Say whether both would be trained again, and with the same settings."""
    oldest = min(champion.trained_through, challenger.trained_through)
    return oldest > since.to_pydatetime() and settings_of(champion) == settings_of(challenger)


def _then(known: History, bundle: ModelBundle, since: pd.Timestamp) -> ModelBundle | None:
    """Give the bundle itself where it had seen nothing after a moment, else what its settings learn then."""
    if bundle.trained_through <= since.to_pydatetime():
        return bundle
    try:
        return train(known, since, settings_of(bundle)).bundle
    except NotEnoughData:
        return None


def _opening(found: list[Outcomes], until: pd.Timestamp) -> pd.Timestamp | None:
    """Choose the moment after which the last share of each kind's closings lies; None without closings."""
    openings = []
    for one in found:
        ended = one.ended[(one.events != OPEN) & ~one.untimed]
        if len(ended) >= 2 * FEWEST_CLOSED:
            share = max(_SHARE, min(0.5, 2 * FEWEST_CLOSED / len(ended)))
            openings.append(pd.Timestamp(int(np.quantile(ended, 1.0 - share)), unit="us", tz="UTC"))
    return min(openings).floor("D") if openings else None


def _mostly_untimed(found: Outcomes) -> bool:
    return bool(found.untimed.sum() * 2 > (found.events != OPEN).sum())


def _by_order(
    known: History,
    champion: ModelBundle,
    challenger: ModelBundle,
    entity: str,
    found: Outcomes,
    until: pd.Timestamp,
) -> list[Comparison]:
    records = known.leads if entity == "lead" else known.deals
    rows = np.flatnonzero(found.untimed)
    rows = rows[np.argsort(records["sequence"].to_numpy()[rows], kind="stable")]
    later = rows[int((1.0 - _SHARE) * len(rows)) :]
    kept = np.ones(len(records), bool)
    kept[later] = False
    remaining = {**known.frames(), f"{entity}s": records[kept].reset_index(drop=True)}
    earlier = History.of(remaining, known.facts)
    bundles = []
    for bundle in (champion, challenger):
        try:
            bundles.append(train(earlier, until, settings_of(bundle)).bundle)
        except NotEnoughData:
            return []
    old, new = bundles
    if not (able(old, entity) and able(new, entity)):
        return []
    one, other = old.models[entity], new.models[entity]
    last = np.arange(len(rows) - len(later), len(rows))
    asked = [untimed_sample(known, found, model.spec, until).take(last) for model in (one, other)]
    window = (f"record {last[0]:,} by order", f"record {len(rows):,} by order")
    comparison = measure(one, other, asked[0], asked[1], "rehearsed_by_order", window)
    return [] if comparison is None else [comparison]
