"""The call list: the formula by hand, its order, and what the model says of silence."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crm.known import known_at
from serving.answering.call_effects import (
    SILENCE,
    CallEffects,
    SilenceEffects,
    call_effects,
    contacts_of,
    silence_effects,
)
from serving.answering.call_list import Candidate, rank_calls

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
PLACES = len(SILENCE) + 2
FLAT = SilenceEffects((0.5,) * PLACES, (-0.25,) * PLACES, (20,) * PLACES, "call", "call")


def effects(typical: float | None = 1000.0, **by_entity: SilenceEffects) -> CallEffects:
    """Give effects that are known by hand."""
    return CallEffects("v1", NOW, by_entity or {"lead": FLAT, "deal": FLAT}, typical)


def deal(record_id: str, probability: float, amount: float | None, silent: float | None = 2.0) -> Candidate:
    """Give a deal that was last contacted so many days ago."""
    last = None if silent is None else NOW - timedelta(days=silent)
    return Candidate("deal", record_id, probability, amount, last)


def chance(probability: float, change: float) -> float:
    """Move a probability by a change of its log-odds."""
    odds = math.log(probability / (1 - probability)) + change
    return 1 / (1 + math.exp(-odds))


def test_the_gain_is_the_documented_formula() -> None:
    """Value times the chance with a contact now less the chance after a week of silence."""
    (found,) = rank_calls([deal("D1", 0.4, 2000.0)], effects(), NOW)
    assert found.if_contacted == pytest.approx(chance(0.4, 0.5))
    assert found.if_left == pytest.approx(chance(0.4, -0.25))
    assert found.gain == pytest.approx(2000 * (chance(0.4, 0.5) - chance(0.4, -0.25)))
    assert found.silent_days == pytest.approx(2.0)


def test_each_stretch_of_silence_has_its_own_effect() -> None:
    """The days since the last contact choose the effect; never contacted is the last."""
    steps = tuple(0.1 * place for place in range(PLACES))
    known = SilenceEffects(steps, (0.0,) * PLACES, (20,) * PLACES, None, None)
    asked = [deal("a", 0.5, 1.0, 0.5), deal("b", 0.5, 1.0, 10.0), deal("c", 0.5, 1.0, None)]
    found = {one.candidate.record_id: one.if_contacted for one in rank_calls(asked, effects(deal=known), NOW)}
    assert found == pytest.approx(
        {"a": chance(0.5, 0.0), "b": chance(0.5, 0.3), "c": chance(0.5, 0.1 * (PLACES - 1))}
    )


def test_money_and_the_open_middle_come_first() -> None:
    """A sure deal gains little from a call, a large one in the balance much."""
    asked = [deal("sure", 0.99, 5000.0), deal("open", 0.5, 5000.0), deal("small", 0.5, 50.0)]
    assert [one.candidate.record_id for one in rank_calls(asked, effects(), NOW)] == ["open", "sure", "small"]


def test_without_an_amount_a_typical_sale_stands_in() -> None:
    """A record without an amount is worth a typical sale; without any sale the gain is in probability."""
    (found,) = rank_calls([deal("D1", 0.4, None)], effects(300.0), NOW)
    assert found.value == 300.0
    (bare,) = rank_calls([deal("D1", 0.4, None)], effects(None), NOW)
    assert bare.value is None and bare.gain == pytest.approx(found.gain / 300.0)


def test_ties_have_one_order_whatever_comes_first() -> None:
    """Equal gains are ordered by expected value, kind and id, in every order of the candidates."""
    none = SilenceEffects((0.0,) * PLACES, (0.0,) * PLACES, (0,) * PLACES, None, None)
    asked = [
        deal("b", 0.5, 10.0),
        deal("a", 0.5, 10.0),
        deal("c", 0.5, 20.0),
        Candidate("lead", "a", 0.5, 10.0, None),
    ]
    orders = {
        tuple(
            (one.candidate.entity, one.candidate.record_id)
            for one in rank_calls(some, effects(deal=none, lead=none), NOW)
        )
        for some in permutations(asked)
    }
    assert orders == {(("deal", "c"), ("deal", "a"), ("deal", "b"), ("lead", "a"))}


def test_a_harmful_call_has_a_gain_below_zero() -> None:
    """Where the model associates nothing good with a call, the list says so and puts it last."""
    bad = SilenceEffects((-0.5,) * PLACES, (0.0,) * PLACES, (20,) * PLACES, "call", "call")
    found = rank_calls(
        [deal("D", 0.5, 10.0), Candidate("lead", "L", 0.5, 10.0, None)], effects(deal=bad, lead=FLAT), NOW
    )
    assert [one.candidate.record_id for one in found] == ["L", "D"]
    assert found[1].gain < 0


def test_what_happens_later_changes_no_effect(company: Any) -> None:
    """Effects as of a moment are made from what was known then, and are the same each time."""
    moment = datetime(2024, 6, 1, tzinfo=UTC)
    found = call_effects(company.source, moment, NOW)
    known = known_at(company.history, pd.Timestamp(moment))
    for entity in ("lead", "deal"):
        again = silence_effects(company.bundle, known, pd.Timestamp(moment), entity)
        assert again == found.by_entity[entity]
        assert np.isfinite(again.contact).all() and sum(again.n) > 20
        assert any(again.contact) and any(again.wait)
    assert found.typical_sale is not None and found.typical_sale > 0


def test_a_contact_is_what_we_did() -> None:
    """Out, or by a rep without a direction, and done: no visit of theirs and no plan of ours."""
    rows = pd.DataFrame(
        {
            "lead_id": ["L"] * 5,
            "direction": ["out", "in", None, None, "out"],
            "user_id": [None, "ann", "ann", None, "ann"],
            "status": ["done", "done", "done", "done", "scheduled"],
            "kind": list("abcde"),
        }
    ).astype("str")
    assert contacts_of(rows, "lead")["kind"].tolist() == ["a", "c"]
