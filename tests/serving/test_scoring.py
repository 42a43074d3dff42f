"""Scores of a history: probability, close dates, amounts, reasons, and why a record has none."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.errors import BundleError
from crm.history import History
from features.matrix import Snapshots, build_features
from features.prepared import prepare, prepare_rows
from features.snapshots import open_at
from serving.bundle import ModelBundle
from serving.scoring import Scores, score

AS_OF = datetime(2024, 8, 1, tzinfo=UTC)
MADE: list[tuple[ModelBundle, History]] = []


@pytest.fixture(scope="module", autouse=True)
def made(bundle: ModelBundle, history: History) -> None:
    """Keep bundle and history for the property test."""
    MADE.append((bundle, history))


def at(ids: list[str], moment: datetime = AS_OF) -> Snapshots:
    """Ask for records at one moment."""
    return Snapshots(ids, np.full(len(ids), np.datetime64(moment.replace(tzinfo=None), "us")))


def score_open(bundle: ModelBundle, history: History, entity: str, **options: object) -> Scores:
    """Score all records open at AS_OF."""
    ids = open_at(history, entity, AS_OF).tolist()
    return score(bundle, history, at(ids), entity, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_every_open_record_has_a_score_that_adds_up(
    bundle: ModelBundle, history: History, entity: str
) -> None:
    """Base, effects shown and the rest sum to the probability, for every open record."""
    scores = score_open(bundle, history, entity)
    assert len(scores) > 10
    assert scores.reason_missing == [None] * len(scores)
    for row in range(len(scores)):
        shown = [reason.effect for reason in (*scores.raising[row], *scores.lowering[row])]
        total = scores.base_probability + sum(shown) + scores.other_effects[row]
        assert total == pytest.approx(scores.probability[row], abs=1e-12)
    model = bundle.models[entity]
    x = build_features(history, at(list(scores.record_id)), model.spec).values  # noqa: PD011
    np.testing.assert_array_equal(scores.probability, model.probability(model.margin(x)))


def test_reasons_are_ordered_signed_and_readable(bundle: ModelBundle, history: History) -> None:
    """At most ``top`` reasons of each sign, strongest first, with a label and a value."""
    scores = score_open(bundle, history, "lead", top=2)
    assert any(scores.raising) and any(scores.lowering)
    for raising, lowering in zip(scores.raising, scores.lowering, strict=True):
        assert len(raising) <= 2 and len(lowering) <= 2
        assert [r.effect for r in raising] == sorted((r.effect for r in raising), reverse=True)
        assert [r.effect for r in lowering] == sorted(r.effect for r in lowering)
        assert all(r.effect > 0 for r in raising) and all(r.effect < 0 for r in lowering)
        assert all(r.label and r.value for r in (*raising, *lowering))


def test_language_changes_words_only(bundle: ModelBundle, history: History) -> None:
    """French reasons have the features and effects of the English ones under French labels."""
    english, french = (score_open(bundle, history, "deal", language=language) for language in ("en", "fr"))
    pairs = [p for e, f in zip(english.raising, french.raising, strict=True) for p in zip(e, f, strict=True)]
    assert all((e.feature, e.effect) == (f.feature, f.effect) for e, f in pairs)
    assert any(e.label != f.label for e, f in pairs)


def test_expected_close_is_ordered_and_after_as_of(bundle: ModelBundle, history: History) -> None:
    """Close dates of deals lie after as_of in the order p10, p50, p90; leads have none."""
    deals = score_open(bundle, history, "deal")
    assert (deals.as_of <= deals.close_p10).all()
    assert (deals.close_p10 <= deals.close_p50).all()
    assert (deals.close_p50 <= deals.close_p90).all()
    assert np.isnat(score_open(bundle, history, "lead").close_p50).all()


def test_expected_amount_is_the_amount_as_of_times_the_factor(bundle: ModelBundle, history: History) -> None:
    """The expected amount is 0.9 of the deal's amount, the factor of this bundle."""
    deals = score_open(bundle, history, "deal")
    amounts = history.deals.set_index("deal_id")["amount"].loc[list(deals.record_id)].to_numpy()
    np.testing.assert_allclose(deals.expected_amount, 0.9 * amounts)


def test_a_record_without_a_score_says_why(bundle: ModelBundle, history: History) -> None:
    """Unknown, not yet known, closed and gone records are empty rows in the order asked for."""
    deals = history.deals.copy()
    closed = deals.loc[deals["closed_at"] < AS_OF, "deal_id"].iloc[0]
    later = deals.loc[deals["created_at"] > AS_OF, "deal_id"].iloc[0]
    gone, still = open_at(history, "deal", AS_OF)[:2].tolist()
    deals.loc[deals["deal_id"] == gone, "gone_at"] = pd.Timestamp("2024-07-01", tz="UTC")
    past = dataclasses.replace(history, deals=deals)
    scores = score(bundle, past, at([closed, "nobody", still, later, gone]), "deal")
    assert scores.reason_missing == ["closed", "unknown", None, "not_known_yet", "gone"]
    empty = [0, 1, 3, 4]
    assert np.isnan(scores.probability[empty]).all() and np.isfinite(scores.probability[2])
    assert np.isnat(scores.close_p50[empty]).all() and not np.isnat(scores.close_p50[2])
    assert [scores.raising[row] for row in empty] == [()] * 4


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["lead", "deal"]))
def test_company_and_order_change_nothing(random: object, entity: str) -> None:
    """A record's whole score is equal bit for bit alone, in a batch, and in another order."""
    bundle, history = MADE[0]
    prepared = prepare(history, bundle.models[entity].spec)
    ids = open_at(history, entity, AS_OF).tolist()
    chosen = random.sample(ids, random.randint(1, len(ids)))  # type: ignore[attr-defined]
    many = score(bundle, prepared, at(chosen), entity)
    one = score(bundle, prepared, at(chosen[-1:]), entity)
    assert one.probability[0] == many.probability[-1]
    assert one.other_effects[0] == many.other_effects[-1]
    assert (one.raising[0], one.lowering[0]) == (many.raising[-1], many.lowering[-1])
    np.testing.assert_array_equal(one.close_p10, many.close_p10[-1:])
    np.testing.assert_array_equal(one.close_p90, many.close_p90[-1:])


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_inline_rows_score_as_the_history_does(bundle: ModelBundle, history: History, entity: str) -> None:
    """A record given alone, with the bundle's cross-record statistics, scores as in the whole history."""
    model = bundle.models[entity]
    ids = open_at(history, entity, AS_OF)[:15].tolist()
    frames = history.frames()
    tables = {}
    for name in (f"{entity}s", "activities"):
        frame = frames[name]
        rows = frame[frame[f"{entity}_id"].isin(ids)].astype(object)
        tables[name] = [{k: v for k, v in row.items() if not pd.isna(v)} for row in rows.to_dict("records")]
    inline = prepare_rows(tables, model.spec, series=bundle.series[entity])
    alone, whole = score(bundle, inline, at(ids), entity), score(bundle, history, at(ids), entity)
    np.testing.assert_array_equal(alone.probability, whole.probability)
    assert alone.raising == whole.raising


def test_snapshots_may_be_a_frame(bundle: ModelBundle, history: History) -> None:
    """A DataFrame of snapshots gives what the plain arrays give."""
    ids = open_at(history, "lead", AS_OF)[:5].tolist()
    frame = pd.DataFrame({"record_id": ids, "as_of": pd.Timestamp(AS_OF)})
    np.testing.assert_array_equal(
        score(bundle, history, frame, "lead").probability, score(bundle, history, at(ids), "lead").probability
    )


def test_a_bundle_without_that_model_says_so(bundle: ModelBundle, history: History) -> None:
    """Scoring deals with a bundle of leads names the bundle and the remedy."""
    leads_only = dataclasses.replace(bundle, models={"lead": bundle.models["lead"]})
    with pytest.raises(BundleError, match="has no model of deals"):
        score(leads_only, history, at(["D1"]), "deal")
