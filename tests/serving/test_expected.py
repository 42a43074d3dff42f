"""Chances of deals without reasons: the numbers that scores and forecasts share."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from crm.history import History
from features.matrix import Snapshots
from features.prepared import prepare
from features.snapshots import open_at
from serving.bundle import ModelBundle
from serving.expected import deal_chances
from serving.scoring import score

AS_OF = datetime(2024, 8, 1, tzinfo=UTC)


def at(ids: list[str]) -> Snapshots:
    """Ask for records at one moment."""
    return Snapshots(ids, np.full(len(ids), np.datetime64(AS_OF.replace(tzinfo=None), "us")))


def asked(history: History) -> list[str]:
    """Give open deals with closed, unknown and later ones among them."""
    closed = history.deals.loc[history.deals["closed_at"] < AS_OF, "deal_id"].tolist()[:2]
    later = history.deals.loc[history.deals["created_at"] > AS_OF, "deal_id"].tolist()[:1]
    return [closed[0], *open_at(history, "deal", AS_OF).tolist(), "nobody", later[0], closed[1]]


def test_chances_are_the_scores(bundle: ModelBundle, history: History) -> None:
    """Probabilities, amounts and why there is none are bit for bit those of the scores with reasons."""
    ids, model = asked(history), bundle.models["deal"]
    chances = deal_chances(model, prepare(history, model.spec), at(ids))
    scores = score(bundle, history, at(ids), "deal")
    assert len(chances) == len(ids) and len(chances.rows) == len(ids) - 4
    assert chances.missing == scores.reason_missing
    assert chances.missing[0] == "closed" and chances.missing[-3:] == ["unknown", "not_known_yet", "closed"]
    np.testing.assert_array_equal(chances.win_probability, scores.probability)
    np.testing.assert_array_equal(chances.expected_amount, scores.expected_amount)
    assert chances.timing is not None
    median = chances.timing.quantile(np.full((len(chances.rows), 1), 0.5))[:, 0]
    days = (scores.close_p50 - scores.as_of)[chances.rows] / np.timedelta64(1, "D")
    np.testing.assert_allclose(median, days, rtol=0, atol=1e-9)


def test_amount_and_stage_are_those_of_the_deal(bundle: ModelBundle, history: History) -> None:
    """Amount and stage are read from the history; the expected amount is 0.9 of it in this bundle."""
    ids, model = asked(history), bundle.models["deal"]
    chances = deal_chances(model, prepare(history, model.spec), at(ids))
    deals = history.deals.set_index("deal_id").reindex(ids)
    known = np.array([why is None for why in chances.missing])
    np.testing.assert_array_equal(chances.amount, deals["amount"].where(known))
    np.testing.assert_allclose(chances.expected_amount, 0.9 * chances.amount)
    stages = [None if pd.isna(stage) else stage for stage in deals["stage"].where(known)]
    assert chances.stage == stages


def test_what_the_model_does_not_use_is_read_all_the_same(bundle: ModelBundle, history: History) -> None:
    """A model without amount and stage among its features still tells both, and the amount is taken as is."""
    ids, model = asked(history), bundle.models["deal"]
    names = [name for name in model.spec.names if name not in ("amount", "stage")]
    blind = dataclasses.replace(model, spec=model.spec.keep(names), signal=False, hazard=None, amount=None)
    chances = deal_chances(blind, prepare(history, blind.spec), at(ids))
    whole = deal_chances(model, prepare(history, model.spec), at(ids))
    np.testing.assert_array_equal(chances.amount, whole.amount)
    np.testing.assert_array_equal(chances.expected_amount, whole.amount)
    assert chances.stage == whole.stage
    assert chances.timing is None
    assert set(chances.win_probability[chances.rows]) == {0.4}


@pytest.mark.parametrize("field", ["too_early", "none open"])
def test_nothing_to_score_is_no_error(bundle: ModelBundle, history: History, field: str) -> None:
    """Where no deal may be scored every number is missing, and the timing is of no deal."""
    model = bundle.models["deal"]
    ids = asked(history)
    if field == "too_early":
        model = dataclasses.replace(model, too_early=True)
    else:
        ids = ["nobody", ids[0]]
    chances = deal_chances(model, prepare(history, model.spec), at(ids))
    assert len(chances.rows) == 0 and None not in chances.missing
    assert np.isnan(chances.win_probability).all() and np.isnan(chances.amount).all()
    assert chances.timing is not None and chances.timing.won.shape == (0, 7)
