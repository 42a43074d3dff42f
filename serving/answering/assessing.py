"""The numbers of an answer: a record now, when it was last scored, and after what a rep could do.

All three are rows of one call of the feature kernel, so that the probability, what changed it and what would
help are made of the same features by the same model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crm.moments import MISSING
from features import Prepared, Snapshots
from features.actions import Action, actions_of, with_actions
from features.matrix import build_rows
from serving.expected import (
    Floats,
    Ints,
    Missing,
    Moments,
    expected_amount,
    stage_names,
    why_missing,
    with_read,
)
from serving.outcome_model import OutcomeModel
from serving.reasons import Groups, explain
from serving.scoring import expected_closes, groups_of


@dataclass(frozen=True)
class Assessed:
    """What is known of n records, of which m have a score.

    Parameters
    ----------
    missing : list of str or None
        Why a record has no score, as :data:`serving.expected.Missing`; None where it has.
    rows : ndarray of shape (m,)
        The places of those that have, ascending. All that follows is of these only.
    x : ndarray of shape (m, features)
    probability : ndarray of shape (m,)
    base : float
    values : ndarray of shape (m, features)
        Every feature's effect, in probability.
    effects : ndarray of shape (m, groups)
        The effects of features that are one reason.
    groups : Groups
    closes : tuple of three ndarray of datetime64[us], shape (m,)
        Start of the shortest time that holds 80% of the chances to close, median, and its end.
    amount, expected_amount : ndarray of shape (m,)
    stage : list of str or None
    before : Before
    actions : tuple of Action
    gains : ndarray of shape (m, actions)
        By how much the probability would differ, had the action been done just now.
    """

    missing: list[Missing | None]
    rows: Ints
    x: Floats
    probability: Floats
    base: float
    values: Floats
    effects: Floats
    groups: Groups
    closes: tuple[Moments, Moments, Moments]
    amount: Floats
    expected_amount: Floats
    stage: list[str | None]
    before: Before
    actions: tuple[Action, ...]
    gains: Floats


@dataclass(frozen=True)
class Before:
    """The same records at the moment of their last score, by today's model and today's knowledge of then.

    Parameters
    ----------
    rows : ndarray of shape (k,)
        Places among the m scored records, ascending.
    probability : ndarray of shape (k,)
    values : ndarray of shape (k, features)
    """

    rows: Ints
    probability: Floats
    values: Floats


def assess(
    model: OutcomeModel,
    prepared: Prepared,
    ids: Sequence[str],
    as_of: Ints,
    *,
    before: Ints | None = None,
    helps: bool = True,
    closes: bool = True,
) -> Assessed:
    """Give the numbers of records.

    Parameters
    ----------
    model : OutcomeModel
    prepared : Prepared
        For ``model.spec``.
    ids : sequence of str, length n
        As ``prepared`` knows them.
    as_of : array of int, shape (n,)
        In microseconds since 1970.
    before : array of int, shape (n,), optional
        When each was last scored; MISSING where it never was.
    helps : bool
        Whether to say what a rep could do.
    closes : bool
        Whether to say when they close.
    """
    missing = why_missing(prepared, Snapshots(ids, as_of.view("datetime64[us]")))
    if model.too_early:
        missing = ["too_early" if why is None else why for why in missing]
    rows = np.array([place for place, why in enumerate(missing) if why is None], np.int64)
    rank_of = prepared.records.rank_of
    rank = np.array([rank_of[ids[row]] for row in rows.tolist()], np.int64)
    now = as_of[rows]
    spec = with_read(model.spec)
    earlier = np.flatnonzero(before[rows] != MISSING) if before is not None else rows[:0]
    then = before[rows[earlier]] if before is not None else now[:0]
    actions = actions_of(model.spec) if helps and model.signal else ()
    parts_rank, parts_as_of = [rank, rank[earlier]], [now, then]
    if actions and len(rank):
        prepared, places = with_actions(prepared, rank, now, actions)
        parts_rank.append(places.ravel())
        parts_as_of.append(np.repeat(now, len(actions)))
    built = build_rows(prepared, np.concatenate(parts_rank), np.concatenate(parts_as_of), spec)
    width = len(model.spec.names)
    x = np.ascontiguousarray(built.values[:, :width])
    m, both = len(rank), len(rank) + len(earlier)
    was_known = built.known[m:both]
    found = explain(model, x, both)
    groups = groups_of(model.spec)
    amount = _read(built.values[:m], spec.names, "amount", model.entity)
    gains = np.zeros((m, len(actions)))
    if actions and m:
        gains = found.further.reshape(m, len(actions)) - found.probability[:m, None]
    moments = now.view("datetime64[us]")
    nothing = np.full(m, np.datetime64("NaT", "us"))
    return Assessed(
        missing,
        rows,
        x[:m],
        found.probability[:m],
        found.base,
        found.values[:m],
        groups.effects(found.values[:m]),
        groups,
        expected_closes(model, x[:m], moments) if closes else (nothing, nothing, nothing),
        amount,
        expected_amount(model, amount),
        stage_names(model.spec, _read(built.values[:m], spec.names, "stage", model.entity)),
        Before(earlier[was_known], found.probability[m:][was_known], found.values[m:][was_known]),
        actions,
        gains,
    )


def _read(values: Floats, names: tuple[str, ...], name: str, entity: str) -> Floats:
    """Give what is read of every deal whether or not the model uses it; NaN for a lead."""
    if entity != "deal" or name not in names:
        return np.full(len(values), np.nan)
    return values[:, names.index(name)]
