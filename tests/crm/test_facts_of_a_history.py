"""What the sources say about a history as a whole: kept, read back, and never mixed up between sources."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from crm.errors import ExportError, StoreError
from crm.history import LEAD_OUTCOME, History, utc
from crm.importing import import_export
from crm.known import known_at
from crm.store import Store
from crm.store.layout import STORED
from crm.store.versions import REVISIONS

LEADS = pd.DataFrame({"lead_id": ["L1"], "recorded_at": [utc("2024-01-01T00:00:00Z")]})
MAPPING = """
[export]
name = "{name}"
timezone = "UTC"
[leads]
file = "leads.csv"
{said}
[leads.columns]
lead_id = "Id"
created_at = "Made"
"""


def load(store: Store, source: str, facts: dict[str, str] | None) -> bool:
    """Load the same lead from a source, with these facts; say whether anything changed."""
    return store.load({"leads": LEADS}, source=source, exported_at=None, facts=facts).is_change


def test_a_fact_comes_back_with_the_history(store_url: str) -> None:
    """What a source says is read with the tables, whichever are asked for, and is known at every moment."""
    store = Store.open(store_url, create=True)
    assert store.read().facts == {}
    load(store, "crm", {LEAD_OUTCOME: "leads"})
    assert store.read(["deals"]).facts == {LEAD_OUTCOME: "leads"}
    history = store.read()
    assert known_at(history, utc("2023-01-01T00:00:00Z")).facts == {LEAD_OUTCOME: "leads"}
    assert History.of(history.frames(), history.facts).facts == history.facts
    assert "facts" not in history.frames()


def test_saying_the_same_again_is_no_change(store_url: str) -> None:
    """The same load with the same fact adds nothing; another fact, or silence, takes its place."""
    store = Store.open(store_url, create=True)
    assert load(store, "crm", {LEAD_OUTCOME: "leads"})
    assert not load(store, "crm", {LEAD_OUTCOME: "leads"})
    assert not load(store, "crm", None)
    assert len(store.loads()) == 1
    assert load(store, "crm", {LEAD_OUTCOME: "deals"})
    assert store.read().facts == {LEAD_OUTCOME: "deals"}
    assert load(store, "crm", {})
    assert store.read().facts == {}


def test_of_two_sources_the_last_word_counts(store_url: str) -> None:
    """A source that repeats itself says nothing new, and one that falls silent leaves the other's word."""
    store = Store.open(store_url, create=True)
    load(store, "one", {LEAD_OUTCOME: "leads"})
    load(store, "two", {LEAD_OUTCOME: "deals"})
    load(store, "one", {LEAD_OUTCOME: "leads"})
    assert store.read().facts == {LEAD_OUTCOME: "deals"}
    load(store, "two", {})
    assert store.read().facts == {LEAD_OUTCOME: "leads"}


def test_an_unknown_fact_is_refused_and_nothing_is_loaded(store_url: str) -> None:
    """A misspelt name or word is an error that says what may be written."""
    store = Store.open(store_url, create=True)
    for facts in ({"lead_outcom": "leads"}, {LEAD_OUTCOME: "orders"}):
        with pytest.raises(ExportError, match="write lead_outcome: deals or leads"):
            load(store, "crm", facts)
    assert len(store.read().leads) == 0


def test_the_mapping_says_it_and_a_later_mapping_may_take_it_back(tmp_path: Path) -> None:
    """outcome_from is kept by the import, also where the rows are those already there."""
    (tmp_path / "leads.csv").write_text("Id,Made\n1,2024-01-01\n")
    store = Store.open(str(tmp_path / "h.db"), create=True)
    moment = utc("2024-03-01T00:00:00Z")

    def run(said: str, name: str = "crm") -> tuple[str, ...]:
        mapping = tmp_path / f"{name}.toml"
        mapping.write_text(MAPPING.format(name=name, said=said))
        return import_export(mapping, tmp_path, store, moment).notices

    run("")
    assert store.read().facts == {}
    run('outcome_from = "leads"')
    assert store.read().facts == {LEAD_OUTCOME: "leads"}
    run('outcome_from = "deals"', "other")
    (notice,) = [text for text in run('outcome_from = "leads"') if "outcome_from" in text]
    assert 'another source of this history said "deals" later' in notice
    run("", "other")
    assert store.read().facts == {LEAD_OUTCOME: "leads"}


def test_a_store_from_before_facts_and_forecasts_is_upgraded(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store of the first schema is refused, upgraded on request with its rows, and says nothing then."""
    with monkeypatch.context() as patch:
        later = shutil.ignore_patterns("__pycache__", "r000[2-9]*")
        patch.setattr(
            "crm.store.versions.REVISIONS", shutil.copytree(REVISIONS, tmp_path / "old", ignore=later)
        )
        address = Store.open(store_url, create=True).address
    row = {"position": 1, "load_id": 1, "lead_id": "L1", "recorded_at": 0, "attributes": "{}"}
    with sa.create_engine(address.for_sqlalchemy, poolclass=sa.NullPool).begin() as connection:
        connection.execute(STORED["leads"].insert().values(row))
    with pytest.raises(StoreError, match="older Vigie: its schema is 0001"):
        Store.open(store_url)
    store = Store.open(store_url, upgrade=True)
    found = store.read()
    assert found.leads["lead_id"].tolist() == ["L1"]
    assert found.facts == {}
    assert load(store, "crm", {LEAD_OUTCOME: "leads"})
    assert store.read().facts == {LEAD_OUTCOME: "leads"}
