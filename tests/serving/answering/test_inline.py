"""Records that come with the request: no hindsight, clear answers, the same score as from the history."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from pydantic import TypeAdapter

from crm.history import History
from features.snapshots import open_at
from serving.answering.inline import score_inline
from serving.answering.reading import read_batch
from serving.answering.schemas import DealAnswer, LeadAnswer
from serving.bundle import ModelBundle
from serving.http.app import answer
from serving.http.problems import Refusal
from serving.scoring import score

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AS_OF = "2024-08-01T00:00:00+00:00"
LEAD: dict[str, Any] = {
    "lead_id": "L",
    "created_at": "2024-06-01T00:00:00Z",
    "owner_id": "ann",
    "source": "web",
    "stage": "talk",
    "attributes": {"employees": 120, "industry": "steel"},
    "activities": [
        {"kind": "email", "channel": "email", "direction": "in", "occurred_at": f"2024-07-{day:02}T09:00:00Z"}
        for day in range(1, 20)
    ],
}


def ask(bundle: ModelBundle, entity: Any, records: list[Any], **options: Any) -> dict[str, Any]:
    """Score records as the service does, and give the answer as its caller reads it."""
    body = json.dumps({f"{entity}s": records, "as_of": AS_OF, **options}).encode()
    found: dict[str, Any] = json.loads(answer(score_inline(bundle, read_batch(body, entity, NOW))).body)
    return found


def test_answers_are_as_documented(bundle: ModelBundle) -> None:
    """Answers validate against the types that the OpenAPI document publishes."""
    TypeAdapter(LeadAnswer).validate_python(ask(bundle, "lead", [LEAD, 7]))
    deal = {"deal_id": "D", "created_at": "2024-06-01T00:00:00Z", "amount": 1000}
    answered = TypeAdapter(DealAnswer).validate_python(ask(bundle, "deal", [deal]))
    assert answered.scores[0].expected_amount == pytest.approx(900)
    assert answered.scores[0].close_p50 is not None


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_inline_scores_are_those_of_the_history(bundle: ModelBundle, history: History, entity: str) -> None:
    """A record sent with its activities gets the score and reasons that it has in the history."""
    moment = datetime.fromisoformat(AS_OF)
    ids = open_at(history, entity, moment)[:20].tolist()
    table = history.frames()[f"{entity}s"].set_index(f"{entity}_id")
    activities = history.activities.groupby(f"{entity}_id")
    records = []
    for record_id in ids:
        row = table.loc[record_id].dropna().to_dict()
        attributes = {name: row.pop(name) for name in ("employees", "industry")}
        for name in ("outcome", "closed_at", "closed_recorded_at"):
            row.pop(name, None)
        mine = activities.get_group(record_id).drop(columns=["lead_id", "deal_id", "account_id"])
        sent = [{k: v for k, v in one.items() if not pd.isna(v)} for one in mine.to_dict("records")]
        records.append({f"{entity}_id": record_id, **row, "attributes": attributes, "activities": sent})
    answered = ask(bundle, entity, json.loads(json.dumps(records, default=lambda moment: moment.isoformat())))
    snapshots = pd.DataFrame({"record_id": ids, "as_of": pd.Timestamp(moment)})
    whole = score(bundle, history, snapshots, entity)
    name = {"lead": "propensity", "deal": "win_probability"}[entity]
    assert answered["errors"] == []
    assert [one[name] for one in answered["scores"]] == whole.probability.tolist()
    assert [
        [(r["feature"], r["value"], r["effect"]) for r in one["reasons"]["raising"]]
        for one in answered["scores"]
    ] == [[(r.feature, r.value, r.effect) for r in reasons] for reasons in whole.raising]


def test_effects_shown_add_up(bundle: ModelBundle) -> None:
    """Base, effects shown and the others sum to the propensity, with any number of reasons."""
    for count in (0, 1, 10):
        one = ask(bundle, "lead", [LEAD], reasons=count)["scores"][0]
        reasons = one["reasons"]
        assert len(reasons["raising"]) <= count
        shown = sum(reason["effect"] for reason in reasons["raising"] + reasons["lowering"])
        total = reasons["base_probability"] + shown + reasons["other_effects"]
        assert total == pytest.approx(one["propensity"], abs=1e-12)


def test_what_was_not_known_at_as_of_is_left_out_and_counted(bundle: ModelBundle) -> None:
    """Later activities and changes, and those recorded later, change no score; the answer counts them."""
    late = [
        {"kind": "call", "occurred_at": "2024-08-02T00:00:00Z"},
        {"kind": "call", "occurred_at": "2024-07-02T00:00:00Z", "recorded_at": "2024-08-05T00:00:00Z"},
        {"kind": "call", "occurred_at": AS_OF},
    ]
    change = {
        "field": "stage",
        "old_value": "talk",
        "new_value": "offer",
        "changed_at": "2024-08-03T00:00:00Z",
    }
    told = LEAD | {"activities": LEAD["activities"] + late, "changes": [change]}
    before, after = ask(bundle, "lead", [LEAD])["scores"][0], ask(bundle, "lead", [told])["scores"][0]
    assert (before.pop("rows_not_known_yet"), after.pop("rows_not_known_yet")) == (0, 4)
    assert before == after


def test_an_unseen_category_is_scored_as_missing(bundle: ModelBundle) -> None:
    """A stage and a kind of activity that training never saw are no error, and count as not known."""
    unseen = ask(bundle, "lead", [LEAD | {"stage": "brand new"}])["scores"][0]
    missing = ask(bundle, "lead", [LEAD | {"stage": None}])["scores"][0]
    assert unseen["propensity"] == missing["propensity"]


def test_a_number_beyond_all_numbers_is_no_amount(bundle: ModelBundle) -> None:
    """A change to 1e400 leaves the deal scored, without an expected amount."""
    change = {"field": "amount", "new_value": "1e400", "changed_at": "2024-07-01T00:00:00Z"}
    deal = {"deal_id": "D", "created_at": "2024-06-01T00:00:00Z", "amount": 5, "changes": [change]}
    (one,) = ask(bundle, "deal", [deal])["scores"]
    assert one["expected_amount"] is None
    assert 0 < one["win_probability"] < 1


def test_a_record_that_was_not_open_has_an_error(bundle: ModelBundle) -> None:
    """Records created after as_of, or closed before it, are named with a remedy; the others are scored."""
    early = LEAD | {"lead_id": "early", "created_at": "2024-08-02T00:00:00Z"}
    closed = LEAD | {"lead_id": "closed", "outcome": "lost", "closed_at": "2024-07-30T00:00:00Z"}
    answered = ask(bundle, "lead", [early, closed, LEAD])
    assert [(e["index"], e["id"], e["code"]) for e in answered["errors"]] == [
        (0, "early", "not_known_yet"),
        (1, "closed", "closed"),
    ]
    assert all(error["faults"][0]["remedy"] for error in answered["errors"])
    assert [one["index"] for one in answered["scores"]] == [2]


def test_errors_of_every_kind_come_in_the_order_of_the_batch(bundle: ModelBundle) -> None:
    """Unreadable, repeated and closed records are listed by their place."""
    closed = LEAD | {"lead_id": "closed", "outcome": "won", "closed_at": "2024-07-30T00:00:00Z"}
    answered = ask(bundle, "lead", [closed, LEAD, 7, LEAD])
    assert [(e["index"], e["code"]) for e in answered["errors"]] == [
        (0, "closed"),
        (2, "invalid_record"),
        (3, "duplicate_id"),
    ]


def test_company_changes_nothing(bundle: ModelBundle) -> None:
    """A lead's answer is equal alone and between others."""
    others = [LEAD | {"lead_id": str(i), "stage": "offer", "activities": []} for i in range(5)]
    alone = ask(bundle, "lead", [LEAD])["scores"][0]
    among = ask(bundle, "lead", [*others, LEAD])["scores"][-1]
    assert {**among, "index": 0} == alone


def test_no_signal_is_said(bundle: ModelBundle) -> None:
    """Where training found no skill, the answer says so, every score is the base rate, no reason is given."""
    blind = dataclasses.replace(bundle.models["lead"], signal=False, base_rate=0.25)
    answered = ask(dataclasses.replace(bundle, models={"lead": blind}), "lead", [LEAD])
    assert answered["signal"] is False
    assert answered["scores"][0]["propensity"] == 0.25
    assert answered["scores"][0]["reasons"]["raising"] == []


def test_too_early_is_an_error_of_each_record(bundle: ModelBundle) -> None:
    """Where the model learned from too few outcomes, no score is given, and the record's error says why."""
    early = dataclasses.replace(bundle.models["lead"], signal=False, too_early=True)
    answered = ask(dataclasses.replace(bundle, models={"lead": early}), "lead", [LEAD])
    assert answered["scores"] == []
    assert [error["code"] for error in answered["errors"]] == ["too_early"]
    assert "too few outcomes" in answered["errors"][0]["faults"][0]["remedy"]


def test_a_bundle_without_the_model_refuses(bundle: ModelBundle) -> None:
    """Asked for deals, a bundle of leads refuses with 404 and says what it lacks."""
    with pytest.raises(Refusal, match="no model of deals") as caught:
        ask(
            dataclasses.replace(bundle, models={"lead": bundle.models["lead"]}),
            "deal",
            [{"deal_id": "D", "created_at": "2024-06-01T00:00:00Z"}],
        )
    assert caught.value.kind.status == 404
