"""Records of the store: by id, with something on top, and only those that the caller may see."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter
from pydantic_core import to_json

from crm.history import History
from crm.store import Store
from features import Snapshots, open_at, prepare
from serving.answering.asking import look_up
from serving.answering.questions import answer_questions, check
from serving.answering.reading import read_batch
from serving.answering.schemas import DealAnswer, LeadAnswer
from serving.bundle import ModelBundle
from serving.scoring import score

AS_OF = datetime(2024, 9, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = {"lead": "propensity", "deal": "win_probability"}


@dataclass(frozen=True)
class Known:
    """A last score, as the store has it."""

    as_of: datetime
    probability: float
    model_version: str
    owner_id: str | None


class Kept:
    """A store with the company's history, and last scores as a test sets them."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)
        self.scores: dict[str, Known] = {}

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection."""
        with self._engine.connect() as connection:
            yield connection

    def scores_of(self, _connection: sa.Connection, _entity: str, ids: Sequence[str]) -> dict[str, Known]:
        """Give last scores."""
        return {name: self.scores[name] for name in ids if name in self.scores}

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


@pytest.fixture(scope="module")
def file(company: History, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the URL of a store that holds the company's history."""
    path: Path = tmp_path_factory.mktemp("store") / "history.db"
    Store.open(str(path), create=True).load(company.frames(), source="test", exported_at=None)
    return f"sqlite:///{path}"


@pytest.fixture
def kept(file: str) -> Iterator[Kept]:
    """Give the store without last scores."""
    found = Kept(file)
    yield found
    found.close()


def ask(
    bundle: ModelBundle,
    kept: Kept,
    entity: Any,
    records: list[Any],
    *,
    owners: frozenset[str] | None = None,
    ordered: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """Score records as the service does, and give the answer as its caller reads it."""
    body = json.dumps({f"{entity}s": records, "as_of": AS_OF.isoformat(), **options}).encode()
    received = read_batch(body, entity, NOW, has_store=True)
    spec = check(bundle, received).spec
    question = look_up(received, spec, kept, kept.scores_of, lambda _: owners, ordered)
    found: dict[str, Any] = json.loads(to_json(answer_questions(bundle, [question])[0]))
    TypeAdapter({"lead": LeadAnswer, "deal": DealAnswer}[entity]).validate_python(found)
    return found


def open_ids(company: History, entity: str, count: int) -> list[str]:
    """Give some records open at the moment."""
    ids: list[str] = open_at(company, entity, AS_OF)[:count].tolist()
    return ids


def plain(row: pd.Series) -> dict[str, Any]:
    """Give a row's values as JSON has them, without those that are missing."""
    found: dict[str, Any] = json.loads(
        json.dumps(row.dropna().to_dict(), default=lambda value: value.isoformat())
    )
    return found


def sent(company: History, entity: str, name: str) -> dict[str, Any]:
    """Give a record as a CRM would send it: all that the history has of it alone."""
    columns = {
        "lead": ["lead_id", "created_at", "recorded_at", "account_id", "owner_id", "source", "stage"],
        "deal": [
            *["deal_id", "created_at", "recorded_at", "account_id", "owner_id", "source", "stage"],
            *["amount", "currency", "expected_close_at"],
        ],
    }[entity]
    table = company.frames()[f"{entity}s"].set_index(f"{entity}_id", drop=False)
    row = table.loc[name]
    skipped = {*columns, "outcome", "closed_at", "closed_recorded_at", "sequence", "gone_at", "lead_id"}
    activities = company.activities[company.activities[f"{entity}_id"] == name]
    changes = company.changes[
        (company.changes["entity"] == entity)
        & (company.changes["record_id"] == name)
        & ~company.changes["field"].isin(["outcome", "closed_at", "closed_recorded_at", "gone_at"])
    ]
    account = company.accounts.set_index("account_id", drop=False).loc[row["account_id"]]
    known = ["account_id", "created_at", "recorded_at", "name", "parent_id"]
    return {
        **plain(row[columns]),
        "attributes": plain(row.drop([c for c in row.index if c in skipped])),
        "activities": [
            plain(one.drop(["lead_id", "deal_id", "account_id"])) for _, one in activities.iterrows()
        ],
        "changes": [plain(one.drop(["entity", "record_id"])) for _, one in changes.iterrows()],
        "account": {
            **plain(account[known]),
            "attributes": plain(account.drop([*known, "gone_at"])),
        },
    }


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_a_record_by_its_id_scores_as_from_the_history(
    company: History, company_bundle: ModelBundle, kept: Kept, entity: str
) -> None:
    """By id, every open record has the probability and reasons that the whole history gives it."""
    ids = open_ids(company, entity, 60)
    model = company_bundle.models[entity]
    prepared = prepare(company, model.spec, series=company_bundle.series[entity])
    moments = np.full(len(ids), np.datetime64(AS_OF.replace(tzinfo=None), "us"))
    whole = score(company_bundle, prepared, Snapshots(ids, moments), entity)
    found = ask(company_bundle, kept, entity, [{f"{entity}_id": name} for name in ids])
    assert found["errors"] == []
    assert [one[NAMES[entity]] for one in found["scores"]] == whole.probability.tolist()
    assert [[r["value"] for r in one["reasons"]["raising"]] for one in found["scores"]] == [
        [reason.value for reason in reasons] for reasons in whole.raising
    ]


def test_a_lead_sent_whole_scores_as_by_its_id(
    company: History, company_bundle: ModelBundle, kept: Kept
) -> None:
    """A lead without deals, sent with its account, has the score and the input hash that it has by id."""
    linked = set(company.deals["lead_id"].dropna())
    ids = [name for name in open_ids(company, "lead", 60) if name not in linked][:10]
    by_id = ask(company_bundle, kept, "lead", [{"lead_id": name} for name in ids])["scores"]
    whole = ask(company_bundle, kept, "lead", [sent(company, "lead", name) for name in ids])["scores"]
    assert [one["propensity"] for one in whole] == [one["propensity"] for one in by_id]
    assert [one["receipt"] for one in whole] == [one["receipt"] for one in by_id]
    without = [{k: v for k, v in sent(company, "lead", name).items() if k != "account"} for name in ids]
    assert [one["propensity"] for one in ask(company_bundle, kept, "lead", without)["scores"]] != [
        one["propensity"] for one in by_id
    ]


def test_what_is_sent_is_laid_on_what_is_stored(
    company: History, company_bundle: ModelBundle, kept: Kept
) -> None:
    """An activity on top counts with the stored ones; one with a stored id takes its place."""
    name = open_ids(company, "lead", 1)[0]
    fresh = {
        "kind": "email received",
        "channel": "email",
        "direction": "in",
        "occurred_at": "2024-08-31T10:00:00Z",
    }
    stored = ask(company_bundle, kept, "lead", [{"lead_id": name}])["scores"][0]
    more = ask(company_bundle, kept, "lead", [{"lead_id": name, "activities": [fresh]}])["scores"][0]
    whole = sent(company, "lead", name)
    told = whole | {"activities": [*whole["activities"], fresh]}
    linked = name in set(company.deals["lead_id"].dropna())
    assert not linked
    assert more["propensity"] == ask(company_bundle, kept, "lead", [told])["scores"][0]["propensity"]
    assert more["receipt"]["input_hash"] != stored["receipt"]["input_hash"]
    again = {"lead_id": name, "activities": whole["activities"]}
    assert ask(company_bundle, kept, "lead", [again])["scores"][0] == stored


def test_a_stage_on_top_counts_although_stages_are_followed(
    company: History, company_bundle: ModelBundle, kept: Kept
) -> None:
    """A new stage without a change is a change just before as_of; the same stage again changes nothing."""
    moved = company.changes[(company.changes["entity"] == "deal") & (company.changes["field"] == "stage")]
    name = next(n for n in open_ids(company, "deal", 60) if n in set(moved["record_id"]))
    change = {
        "field": "stage",
        "old_value": "demo",
        "new_value": "negotiation",
        "changed_at": (AS_OF - timedelta(microseconds=1)).isoformat(),
    }
    stage = company.deals.set_index("deal_id").loc[name, "stage"]
    told = {"deal_id": name, "stage": "negotiation"}
    by_change = {**told, "changes": [change | {"old_value": stage}]}
    one, other = ask(company_bundle, kept, "deal", [told]), ask(company_bundle, kept, "deal", [by_change])
    assert one["scores"] == other["scores"]
    plainly = ask(company_bundle, kept, "deal", [{"deal_id": name}])["scores"]
    assert one["scores"] != plainly
    assert ask(company_bundle, kept, "deal", [{"deal_id": name, "stage": stage}])["scores"] == plainly


def test_an_unknown_id_is_an_error_of_its_record(
    company: History, company_bundle: ModelBundle, kept: Kept
) -> None:
    """An id that the store lacks has an error that says so; the others are scored."""
    name = open_ids(company, "lead", 1)[0]
    found = ask(company_bundle, kept, "lead", [{"lead_id": "nobody"}, {"lead_id": name}])
    assert [(e["index"], e["id"], e["code"]) for e in found["errors"]] == [(0, "nobody", "unknown")]
    assert "check the id" in found["errors"][0]["faults"][0]["remedy"]
    assert [one["index"] for one in found["scores"]] == [1]


def test_a_record_new_to_the_store_is_scored_as_it_was_sent(company_bundle: ModelBundle, kept: Kept) -> None:
    """With use_store, a record that the store does not have yet needs created_at only."""
    new = {"lead_id": "brand new", "created_at": "2024-08-30T00:00:00Z", "source": "referral"}
    on_top = ask(company_bundle, kept, "lead", [new], use_store=True)["scores"]
    assert on_top == ask(company_bundle, kept, "lead", [new])["scores"]


def test_records_of_others_are_as_unknown_as_any(
    company: History, company_bundle: ModelBundle, kept: Kept
) -> None:
    """A key that sees one rep's records gets the same answer for another's as for an id that is not there."""
    ids = open_ids(company, "lead", 60)
    owner = company.leads.set_index("lead_id").loc[ids, "owner_id"]
    mine = owner.iloc[0]
    own, foreign = ids[0], next(name for name in ids if owner[name] != mine)
    records: list[dict[str, Any]] = [{"lead_id": own}, {"lead_id": foreign}, {"lead_id": "nobody"}]
    found = ask(company_bundle, kept, "lead", records, owners=frozenset({mine}))
    assert [one["lead_id"] for one in found["scores"]] == [own]
    theirs, nobodys = found["errors"]
    assert {**theirs, "id": "", "index": 0} == {**nobodys, "id": "", "index": 0}
    laid = ask(
        company_bundle,
        kept,
        "lead",
        [{"lead_id": foreign, "stage": "contacted"}],
        owners=frozenset({mine}),
    )
    assert [error["code"] for error in laid["errors"]] == ["unknown"]


def test_a_reps_key_learns_nothing_of_other_reps_by_naming_them(
    company: History, company_bundle: ModelBundle, kept: Kept
) -> None:
    """A record that is said to be another rep's is refused: its reasons would tell how that rep does."""
    owners = company.leads["owner_id"].dropna().unique()
    record = {"lead_id": "x", "created_at": "2024-08-30T00:00:00Z", "owner_id": owners[1]}
    change = {"field": "owner_id", "new_value": owners[1], "changed_at": "2024-08-31T00:00:00Z"}
    moved = {"lead_id": "y", "created_at": "2024-08-30T00:00:00Z", "changes": [change]}
    mine = {"lead_id": "z", "created_at": "2024-08-30T00:00:00Z", "owner_id": owners[0]}
    found = ask(company_bundle, kept, "lead", [record, moved, mine], owners=frozenset({owners[0]}))
    assert [(e["index"], e["faults"][0]["code"]) for e in found["errors"]] == [
        (0, "not_yours"),
        (1, "not_yours"),
    ]
    assert [one["index"] for one in found["scores"]] == [2]


def test_what_changed_since_the_last_score_adds_up(
    company: History, company_bundle: ModelBundle, kept: Kept
) -> None:
    """Previous probability, effects shown and the others sum to the probability; same model, same past."""
    name = open_ids(company, "lead", 30)[7]
    earlier = AS_OF - timedelta(days=9)
    then = ask(company_bundle, kept, "lead", [{"lead_id": name}], as_of=earlier.isoformat())["scores"][0]
    kept.scores[name] = Known(earlier, then["propensity"], company_bundle.version, None)
    now = ask(company_bundle, kept, "lead", [{"lead_id": name}], reasons=10)["scores"][0]
    since = now["since"]
    assert since["previous_probability"] == then["propensity"]
    assert since["difference"] == pytest.approx(now["propensity"] - then["propensity"])
    shown = sum(reason["effect"] for reason in since["raising"] + since["lowering"])
    assert since["previous_probability"] + shown + since["other_effects"] == pytest.approx(now["propensity"])
    assert since["raising"] or since["lowering"]
    effects = {r["feature"]: r["effect"] for one in (now, then) for r in one["reasons"]["raising"]}
    assert effects


def test_another_models_score_is_explained_as_far_as_it_goes(
    company: History, company_bundle: ModelBundle, kept: Kept
) -> None:
    """What another model said differently then is among the other effects, and that model is named."""
    name = open_ids(company, "lead", 30)[7]
    kept.scores[name] = Known(AS_OF - timedelta(days=9), 0.99, "older", None)
    since = ask(company_bundle, kept, "lead", [{"lead_id": name}])["scores"][0]["since"]
    assert since["previous_version"] == "older"
    shown = sum(reason["effect"] for reason in since["raising"] + since["lowering"])
    assert shown + since["other_effects"] == pytest.approx(since["difference"])


def test_a_last_score_of_later_is_no_earlier_one(
    company: History, company_bundle: ModelBundle, kept: Kept
) -> None:
    """Asked for the past, an answer does not compare with what was scored after it."""
    name = open_ids(company, "lead", 1)[0]
    kept.scores[name] = Known(AS_OF + timedelta(days=1), 0.5, company_bundle.version, None)
    assert ask(company_bundle, kept, "lead", [{"lead_id": name}])["scores"][0]["since"] is None


def test_a_rank_is_among_the_stores_open_records(
    company: History, company_bundle: ModelBundle, kept: Kept
) -> None:
    """Rank and percentile come from the last scores of the store, whatever else is in the batch."""
    ids = open_ids(company, "lead", 3)
    ordered = np.array([0.0, 0.0, 0.0, 1.0])
    found = ask(company_bundle, kept, "lead", [{"lead_id": name} for name in ids], ordered=ordered)
    assert {(one["rank"], one["ranked_among"], one["percentile"]) for one in found["scores"]} == {
        (2, 5, 80.0)
    }
    alone = ask(company_bundle, kept, "lead", [{"lead_id": ids[0]}])["scores"][0]
    assert (alone["rank"], alone["ranked_among"], alone["percentile"]) == (None, None, None)
    kept.scores[ids[0]] = Known(AS_OF - timedelta(days=1), 1.0, company_bundle.version, None)
    own = ask(company_bundle, kept, "lead", [{"lead_id": ids[0]}], ordered=ordered)["scores"][0]
    assert (own["rank"], own["ranked_among"]) == (1, 4)


def test_a_receipt_is_enough_to_ask_again(company: History, company_bundle: ModelBundle, kept: Kept) -> None:
    """With the receipt's as_of and version, asked later and with other scores stored, nothing differs."""
    name = open_ids(company, "deal", 1)[0]
    first = ask(company_bundle, kept, "deal", [{"deal_id": name}])["scores"][0]
    kept.scores[name] = Known(AS_OF - timedelta(days=3), 0.5, "older", None)
    receipt = first["receipt"]
    later = ask(
        company_bundle,
        kept,
        "deal",
        [{"deal_id": name}],
        as_of=receipt["as_of"],
        model_version=receipt["version"],
        ordered=np.array([0.2, 0.9]),
    )["scores"][0]
    of_the_moment = ("since", "rank", "ranked_among", "percentile")
    assert later["since"] is not None
    assert {k: v for k, v in later.items() if k not in of_the_moment} == {
        k: v for k, v in first.items() if k not in of_the_moment
    }


def test_deals_at_risk_say_so_with_evidence(
    company: History, company_bundle: ModelBundle, kept: Kept
) -> None:
    """Flags come with their evidence in the language asked for, the same by id as sent whole."""
    ids = open_ids(company, "deal", 60)
    records = [{"deal_id": name} for name in ids]
    english = ask(company_bundle, kept, "deal", records)["scores"]
    french = ask(company_bundle, kept, "deal", records, language="fr")["scores"]
    flagged = [place for place, one in enumerate(english) if one["risks"]]
    assert flagged
    assert [[r["flag"] for r in one["risks"]] for one in english] == [
        [r["flag"] for r in one["risks"]] for one in french
    ]
    one, autre = (found[flagged[0]]["risks"][0]["evidence"] for found in (english, french))
    assert one != autre
    assert english[flagged[0]]["receipt"]["input_hash"] == french[flagged[0]]["receipt"]["input_hash"]
