"""Loading into and reading from the history store, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from crm.errors import ExportError
from crm.history import History, utc
from crm.schema import TABLES
from crm.store import RowCounts, Store
from crm.validation import validate, validate_history

EXPORTED = utc("2024-03-01T00:00:00Z")


def leads(**columns: object) -> pd.DataFrame:
    """Give two valid leads, with these columns besides."""
    given = {"lead_id": ["L2", "L1"], "created_at": [utc("2024-01-02T03:04:05.678901Z")] * 2}
    return validate(TABLES["leads"], pd.DataFrame(given | columns), "test")


def history() -> History:
    """Give a small history with a row in every table."""
    at = utc("2024-01-05T10:00:00Z")
    return validate_history(
        {
            "users": pd.DataFrame({"user_id": ["U1"], "name": ["Ann O'Neil, 100 %"], "team": ["North"]}),
            "accounts": pd.DataFrame({"account_id": ["A1"], "created_at": [at], "employees": [12]}),
            "leads": leads(account_id=["A1", None], score=[1.5, None], city=["Zürich", 'a "b" \\ c\n']),
            "deals": pd.DataFrame(
                {
                    "deal_id": ["D1"],
                    "created_at": [at],
                    "amount": [0.1],
                    "outcome": ["won"],
                    "closed_at": [at],
                }
            ),
            "activities": pd.DataFrame(
                {"activity_id": ["X1"], "lead_id": ["L1"], "kind": ["call"], "occurred_at": [at]}
            ),
            "changes": pd.DataFrame(
                {
                    "change_id": ["C1"],
                    "entity": ["lead"],
                    "record_id": ["L1"],
                    "field": ["stage"],
                    "new_value": ["met"],
                    "changed_at": [at],
                }
            ),
            "targets": pd.DataFrame(
                {
                    "target_id": ["T1"],
                    "kpi": ["revenue"],
                    "scope": ["company"],
                    "period_start": [at],
                    "period_end": [EXPORTED],
                    "value": [1e6],
                }
            ),
            "surveys": pd.DataFrame(
                {"survey_id": ["S1"], "kind": ["nps"], "score": [9], "answered_at": [at]}
            ),
            "subscriptions": pd.DataFrame(
                {"subscription_id": ["B1"], "account_id": ["A1"], "started_at": [at]}
            ),
            "orders": pd.DataFrame({"order_id": ["O1"], "ordered_at": [at], "amount": [3.0]}),
            "order_lines": pd.DataFrame(
                {"order_line_id": ["P1"], "order_id": ["O1"], "product": ["pump"], "quantity": [2]}
            ),
        }
    )


def assert_same(found: History, expected: History) -> None:
    """Compare two histories, values, order, columns and dtypes."""
    for name, frame in expected.frames().items():
        assert_frame_equal(found.frames()[name], frame, obj=name)


def test_every_table_comes_back_as_it_was(store_url: str) -> None:
    """Values, dtypes, row order and column order of every table survive the store exactly."""
    store = Store.open(store_url, create=True)
    report = store.load(history().frames(), source="crm", exported_at=EXPORTED)
    assert all(counts.new == counts.total > 0 for counts in report.tables.values())
    assert set(report.tables) == set(TABLES)
    assert_same(Store.open(store_url).read(), history())


def test_only_the_tables_asked_for_are_read(store_url: str) -> None:
    """A table that was not asked for is empty, with its columns."""
    store = Store.open(store_url, create=True)
    store.load(history().frames(), source="crm", exported_at=EXPORTED)
    found = store.read(["leads"])
    assert len(found.leads) == 2
    assert_frame_equal(found.activities, History().activities)


def test_an_empty_store_reads_as_an_empty_history(store_url: str) -> None:
    """A store without a load gives every table with its dtypes and no row."""
    assert_same(Store.open(store_url, create=True).read(), History())


def test_loading_twice_changes_nothing(store_url: str) -> None:
    """The same load again leaves rows and the list of loads as they were, and says so."""
    store = Store.open(store_url, create=True)
    first = store.load(history().frames(), source="crm", exported_at=EXPORTED)
    before = store.loads()
    again = store.load(history().frames(), source="crm", exported_at=EXPORTED)
    assert not again.is_change
    assert again.load_id == first.load_id
    assert again.tables["leads"] == RowCounts(new=0, changed=0, unchanged=2)
    assert store.loads() == before
    assert_same(store.read(), history())


def test_a_load_merges_by_key(store_url: str) -> None:
    """A changed row is written over in its place, a new one follows, an absent one stays."""
    store = Store.open(store_url, create=True)
    store.load({"leads": leads(stage=["new", "new"])}, source="crm", exported_at=EXPORTED)
    later = leads(lead_id=["L1", "L3"], stage=["met", "new"])
    report = store.load({"leads": later}, source="crm", exported_at=EXPORTED + pd.Timedelta(days=7))
    assert report.tables["leads"] == RowCounts(new=1, changed=1, unchanged=0)
    found = store.read().leads
    assert found["lead_id"].tolist() == ["L2", "L1", "L3"]
    assert found["stage"].tolist() == ["new", "met", "new"]


def test_a_value_left_empty_becomes_empty(store_url: str) -> None:
    """A frame's row is the whole row: a column it has and leaves empty is emptied in the store."""
    store = Store.open(store_url, create=True)
    store.load({"leads": leads(stage=["new", "new"], size=[1, 2])}, source="crm", exported_at=None)
    emptied = leads(stage=["new", None], size=[None, 2])
    assert store.load({"leads": emptied}, source="crm", exported_at=None).tables["leads"].changed == 2
    assert_frame_equal(store.read().leads, emptied)


def test_a_column_that_is_not_given_keeps_its_values(store_url: str) -> None:
    """A column or attribute that the frame does not have is as it was; a new row has it empty."""
    store = Store.open(store_url, create=True)
    first = leads(stage=["new", "met"], size=[1, 2], city=["Rome", "Oslo"])
    store.load({"leads": first}, source="crm", exported_at=None)
    part = pd.DataFrame(
        {"lead_id": ["L3", "L1"], "created_at": first["created_at"], "city": ["Bern", "Lima"]}
    )
    store.load({"leads": part}, source="crm", exported_at=None)
    found = store.read().leads.set_index("lead_id")
    assert found["city"].to_dict() == {"L2": "Rome", "L1": "Lima", "L3": "Bern"}
    assert found["stage"].fillna("-").to_dict() == {"L2": "new", "L1": "met", "L3": "-"}
    assert found["size"].fillna(-1).to_dict() == {"L2": 1, "L1": 2, "L3": -1}
    assert found["recorded_at"].notna().all()


def test_a_number_that_turns_out_to_be_text_is_text(store_url: str) -> None:
    """An attribute that was a number in one load and text in the next is text in all rows, and stays so."""
    store = Store.open(store_url, create=True)
    store.load({"leads": leads(size=[1, 2.5])}, source="crm", exported_at=None)
    store.load({"leads": leads(size=["10+", None]).iloc[:1]}, source="crm", exported_at=None)
    assert store.read().leads["size"].tolist() == ["10+", "2.5"]
    store.load({"leads": leads(size=[7, 2.5])}, source="crm", exported_at=None)
    assert store.read().leads["size"].tolist() == ["7", "2.5"]


def test_attributes_in_another_order_are_no_change(store_url: str) -> None:
    """An export with its columns in another order is the same export."""
    store = Store.open(store_url, create=True)
    store.load({"leads": leads(a=["x", None], b=[1, 2])}, source="crm", exported_at=None)
    swapped = leads(b=[1, 2], a=["x", None])
    assert not store.load({"leads": swapped}, source="crm", exported_at=None).is_change
    assert store.read().attributes("leads") == ["a", "b"]


def test_a_column_first_filled_late_is_read(store_url: str) -> None:
    """A column that is empty in the first thousands of rows keeps its type: text, number and moment."""
    n = 3000
    at = utc("2024-01-05T10:00:00Z")
    frame = pd.DataFrame({"deal_id": [f"D{i}" for i in range(n)], "recorded_at": at})
    late = {"stage": "met", "amount": 0.5, "expected_close_at": at}
    for name, value in late.items():
        frame[name] = pd.Series([None] * (n - 1) + [value], dtype="object")
    frame = validate(TABLES["deals"], frame, "test")
    store = Store.open(store_url, create=True)
    store.load({"deals": frame}, source="crm", exported_at=None)
    assert_frame_equal(store.read().deals, frame)


def test_the_list_of_loads_tells_what_each_did(store_url: str) -> None:
    """Source, export time, mapping and counts of each load are kept, in order."""
    store = Store.open(store_url, create=True)
    at = utc("2024-03-02T00:00:00Z")
    store.load({"leads": leads()}, source="week 1", exported_at=EXPORTED, mapping_digest="d1", loaded_at=at)
    store.load({"leads": leads()}, source="week 2", exported_at=None)
    first, second = store.loads()
    assert (first.load_id, first.source, first.mapping_digest) == (1, "week 1", "d1")
    assert (first.exported_at, first.loaded_at) == (EXPORTED, at)
    assert first.tables == {"leads": RowCounts(new=2)}
    assert (second.load_id, second.source, second.exported_at) == (2, "week 2", None)
    assert second.tables == {"leads": RowCounts(unchanged=2)}


def test_one_bad_table_keeps_all_others_out(store_url: str) -> None:
    """A fault in the last table leaves the store without the rows of the first."""
    store = Store.open(store_url, create=True)
    bad = pd.DataFrame({"order_line_id": ["P1"], "order_id": ["O1"], "product": [None]})
    with pytest.raises(ExportError, match=r"crm: order_lines, row 1 \(order_line_id P1\): product"):
        store.load({"leads": leads(), "order_lines": bad}, source="crm", exported_at=None)
    assert_same(store.read(), History())
    assert store.loads() == []


def test_a_table_of_another_name_is_refused(store_url: str) -> None:
    """A misspelt table is an error, not silently ignored."""
    store = Store.open(store_url, create=True)
    with pytest.raises(ValueError, match="no table is called 'lead'"):
        store.load({"lead": leads()}, source="crm", exported_at=None)


def test_reading_in_pieces_gives_the_whole(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table longer than one piece is read whole and in order, also where its length is a multiple."""
    monkeypatch.setattr("crm.store.bulk.PIECE", 2)
    store = Store.open(store_url, create=True)
    at = utc("2024-01-05T10:00:00Z")
    for n in (4, 5):
        frame = pd.DataFrame({"lead_id": [f"L{i}" for i in range(n)], "recorded_at": at, "size": range(n)})
        store.load({"leads": frame}, source="crm", exported_at=None)
        assert store.read().leads["lead_id"].tolist() == frame["lead_id"].tolist()
        assert store.read().leads["size"].tolist() == list(range(n))
