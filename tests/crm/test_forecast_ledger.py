"""The ledger of forecasts in the store, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from pandas.testing import assert_frame_equal

from crm.errors import InputError, StoreError
from crm.history import utc
from crm.ledger import FORMAT, QUANTILE_LEVELS, LedgerEntry
from crm.store import Store
from crm.store.address import StoreAddress
from crm.store.forecasts import READERS

AS_OF = utc("2026-09-07T00:00:00Z")
START, END = utc("2026-10-01T00:00:00Z"), utc("2027-01-01T00:00:00Z")


def deals(**columns: object) -> pd.DataFrame:
    """Give three deals of two reps, with these columns in the place of theirs."""
    given: dict[str, Any] = {
        "deal_id": ["D3", "D1", "Ünï 'q' %"],
        "group": ["ann", "bob", "ann"],
        "owner_id": ["ann", "bob", None],
        "state": ["won", "open", "open"],
        "stage": [None, "offer", "met"],
        "amount": [1234.56, None, 0.1],
        "expected_amount": [np.nan, 100.0, 1e12],
        "win_probability": [1.0, 0.5, 0.0],
        "in_period": [1.0, 0.25, 0.3],
        "mean_cents": [123_456, 1250, 0],
    }
    return pd.DataFrame(given | columns)


def rows(**columns: object) -> pd.DataFrame:
    """Give the rows that go with the deals: the total and two reps."""
    given: dict[str, Any] = {
        "group": ["total", "ann", "bob"],
        "closed_cents": [123_456, 123_456, 0],
        "open_cents": [1250, 0, 1250],
        "new_cents": [100, 60, 40],
        "mean_cents": [124_806, 123_516, 1290],
        "median_cents": [124_000, 123_500, 1000],
        "low_cents": [123_456, 123_456, 0],
        "high_cents": [140_000, 125_000, 9_007_199_254_740_991],
        "stage_weighted_cents": [1, 2, 3],
        "run_rate_cents": [None, None, None],
        "series_cents": [None, 5, None],
        "quota_cents": [10_000_000, None, 9_007_199_254_740_991],
        "commit_cents": [None, None, 0],
    }
    return pd.DataFrame(given | columns)


def entry(**changes: Any) -> LedgerEntry:
    """Give an entry, with these changes."""
    given: dict[str, Any] = {
        "made_at": utc("2026-09-07T08:00:00Z"),
        "as_of": AS_OF,
        "period_start": START,
        "period_end": END,
        "period": "2026-Q4",
        "by": "owner",
        "level": 0.8,
        "currency": "EUR",
        "model_version": "m1",
        "seed": 7,
        "rows": rows(),
        "quantiles": np.arange(3 * 99).reshape(3, 99) * 1000,
        "deals": deals(),
    }
    return LedgerEntry.of(**(given | changes))


def run_sql(url: str, *statements: str) -> None:
    """Do to the store's tables what no API does."""
    engine = sa.create_engine(StoreAddress.parse(url).for_sqlalchemy, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_an_entry_comes_back_to_the_cent(store_url: str) -> None:
    """Figures, missing ones too, quantiles and deals are read as they were kept; rows keep their order."""
    store = Store.open(store_url, create=True)
    kept = entry()
    assert store.keep_forecast(kept)
    (found,) = Store.open(store_url).forecasts(with_deals=True)
    assert_frame_equal(found.rows, kept.rows)
    assert found.rows["quota_cents"].fillna(-1).tolist() == [10_000_000, -1, 9_007_199_254_740_991]
    assert np.array_equal(found.quantiles, kept.quantiles)
    assert_frame_equal(found.whole_deals(), kept.whole_deals())
    assert found.whole_deals()["deal_id"].tolist() == ["D1", "D3", "Ünï 'q' %"]
    plain = ("made_at", "as_of", "period_start", "period_end", "period", "by", "level", "currency")
    for name in (*plain, "model_version", "seed", "n_deals", "entry_id", "format"):
        assert getattr(found, name) == getattr(kept, name), name


def test_keeping_twice_adds_nothing(store_url: str) -> None:
    """The same forecast made again, later and in another order of rows of deals, is the entry there."""
    store = Store.open(store_url, create=True)
    first = entry()
    assert store.keep_forecast(first)
    again = entry(made_at=utc("2026-09-08T00:00:00Z"), deals=deals()[::-1])
    assert again.entry_id == first.entry_id
    assert not store.keep_forecast(again)
    (found,) = store.forecasts(with_deals=True)
    assert found.made_at == first.made_at
    assert len(found.whole_deals()) == 3


def test_two_that_keep_the_same_at_once_make_one_entry(store_url: str) -> None:
    """A second writer waits for the first, and then finds the entry there; other entries lose nothing."""
    Store.open(store_url, create=True)
    wanted = [entry(), entry(seed=8), entry(), entry(seed=8), entry()]
    with ThreadPoolExecutor(len(wanted)) as pool:
        kept = list(pool.map(lambda one: Store.open(store_url).keep_forecast(one), wanted))
    assert sum(kept) == 2
    found = Store.open(store_url).forecasts(with_deals=True)
    assert {one.entry_id for one in found} == {one.entry_id for one in wanted}
    assert all(len(one.whole_deals()) == 3 for one in found)


@pytest.mark.parametrize(
    "change",
    [
        {"as_of": AS_OF + pd.Timedelta(days=7)},
        {"period_end": END + pd.Timedelta(days=1)},
        {"by": "team"},
        {"level": 0.9},
        {"currency": "USD"},
        {"model_version": "m2"},
        {"seed": 8},
        {"rows": rows(median_cents=[124_001, 123_500, 1000])},
        {"rows": rows(run_rate_cents=[0, None, None])},
        {"quantiles": np.zeros((3, 99))},
        {"deals": deals(stage=["", "offer", "met"])},
        {"deals": deals(amount=[1234.56, 0.0, 0.1])},
    ],
)
def test_whatever_differs_is_another_entry(change: dict[str, Any]) -> None:
    """Nothing that an entry says but when it was made is left out of its name, an empty cell included."""
    assert entry(**change).entry_id != entry().entry_id


def test_the_ledger_is_asked_by_period_grouping_and_time(store_url: str) -> None:
    """Each condition keeps what meets it; entries come by period, then as of; deals only where asked for."""
    store = Store.open(store_url, create=True)
    later = entry(as_of=AS_OF + pd.Timedelta(days=7))
    whole = entry(by=None, rows=rows().iloc[:1], quantiles=np.zeros((1, 99)), deals=deals(group="total"))
    month = entry(period_end=utc("2026-11-01T00:00:00Z"), period="2026-10")
    for one in (later, entry(), whole, month):
        assert store.keep_forecast(one)

    def ids(**conditions: Any) -> list[str]:
        return [found.entry_id for found in store.forecasts(**conditions)]

    assert ids() == [month.entry_id, entry().entry_id, whole.entry_id, later.entry_id]
    assert ids(period_start=START, period_end=END, by="owner") == [entry().entry_id, later.entry_id]
    assert ids(by="") == [whole.entry_id]
    assert ids(as_of_before=later.as_of, period_end=END) == [entry().entry_id, whole.entry_id]
    assert ids(entry_ids=[later.entry_id, "none"]) == [later.entry_id]
    assert ids(period_start=END) == []
    (found,) = store.forecasts(by="")
    assert found.deals is None and found.n_deals == 3
    with pytest.raises(StoreError, match="was read without its deals"):
        found.whole_deals()
    with pytest.raises(StoreError, match="was read without its deals"):
        store.keep_forecast(found)


def test_deals_that_were_removed_are_noticed(store_url: str) -> None:
    """An entry whose deals are no longer all there is read, and says so where they are needed."""
    store = Store.open(store_url, create=True)
    store.keep_forecast(entry())
    run_sql(store_url, "DELETE FROM forecast_deals WHERE deal_id = 'D1'")
    (found,) = store.forecasts(with_deals=True)
    assert found.total["mean_cents"] == 124_806
    with pytest.raises(StoreError, match=r"2026-Q4 by owner as of 2026-09-07.*3 deals.*holds 2 of them"):
        found.whole_deals()


def test_an_entry_without_its_figures_is_damage(store_url: str) -> None:
    """A heading without rows is not read as a forecast of nothing."""
    store = Store.open(store_url, create=True)
    store.keep_forecast(entry())
    run_sql(store_url, "DELETE FROM forecast_rows")
    with pytest.raises(StoreError, match="has no figures in the ledger: the store is damaged"):
        store.forecasts()


def test_an_entry_of_a_newer_format_is_refused(store_url: str) -> None:
    """It is not left out in silence, unless it is not asked for."""
    store = Store.open(store_url, create=True)
    store.keep_forecast(entry())
    store.keep_forecast(entry(by="team"))
    run_sql(store_url, f"UPDATE forecast_entries SET format = {FORMAT + 1} WHERE grouped_by = 'team'")
    with pytest.raises(StoreError, match=f"by a newer Vigie, in format {FORMAT + 1}.*reads up to {FORMAT}"):
        store.forecasts()
    assert [found.by for found in store.forecasts(by="owner")] == ["owner"]


#: An entry of format 1 as it lies in the tables. It must be read like this for ever.
FIRST_FORMAT = (
    "INSERT INTO forecast_entries VALUES (1, 'abc', 1, 1788768000000000, 1788739200000000, 1790812800000000, "
    "1798761600000000, '2026-Q4', NULL, 0.8, 'EUR', 'm0', 7, 1)",
    "INSERT INTO forecast_rows VALUES (1, 0, 'total', 100, 50, 25, 175, 170, 110, 300, NULL, 90, NULL, NULL, "
    f"NULL, '[{', '.join(str(k) for k in range(1, 100))}]')",
    "INSERT INTO forecast_deals VALUES (1, 0, 'D1', 'total', 'ann', 'open', 'offer', 2.0, 2.0, 0.5, 0.5, 50)",
)


def test_an_entry_of_each_older_format_is_read(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later Vigie, whose own format is another, reads one of format 1 as it was written."""
    assert sorted(READERS) == list(range(1, FORMAT + 1))
    store = Store.open(store_url, create=True)
    run_sql(store_url, *FIRST_FORMAT)
    monkeypatch.setattr("crm.store.forecasts.FORMAT", FORMAT + 1)
    (found,) = store.forecasts(with_deals=True)
    assert (found.entry_id, found.format, found.by, found.n_deals) == ("abc", 1, None, 1)
    assert found.as_of == utc("2026-09-07T00:00:00Z") and found.period_end == END
    assert found.total["mean_cents"] == 175 and found.total["run_rate_cents"] == 90
    assert found.rows["quota_cents"].isna().all()
    assert found.quantiles[0, 49] == 50 and QUANTILE_LEVELS[49] == 0.5
    assert found.whole_deals()["mean_cents"].tolist() == [50]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rows": rows(mean_cents=[124_806, 123_517, 1290])}, "mean of 'ann' is not what is closed"),
        ({"rows": rows(new_cents=[100, 60, 41], mean_cents=[124_806, 123_516, 1291])}, "groups' new do not"),
        ({"rows": rows(group=["all", "ann", "bob"])}, "first row must be the group 'total'"),
        ({"rows": rows(group=["total", "ann", "ann"])}, "group 'ann' comes twice"),
        ({"deals": deals(deal_id=["D1", "D1", "D2"])}, "deal 'D1' comes twice"),
        ({"deals": deals(group=["ann", "eve", "ann"])}, "a deal is in the group 'eve', which has no row"),
        ({"deals": deals(state=["won", "lost", "open"])}, "state is 'lost', not one of won, open"),
        ({"deals": deals(mean_cents=[123_456, 1251, 0])}, "'bob' that are open add up to 1251 cents, not to"),
        ({"period_end": START}, "its period ends before it starts"),
        ({"level": 80}, "its level 80.0 is no share between 0 and 1"),
        ({"quantiles": np.zeros((3, 9))}, "99 quantiles a group"),
        ({"deals": deals().drop(columns="state")}, "has no column 'state'"),
    ],
)
def test_a_forecast_that_does_not_add_up_is_not_kept(change: dict[str, Any], says: str) -> None:
    """The message names the group or deal and what is wrong with it."""
    with pytest.raises(InputError, match=says):
        entry(**change)


def test_a_forecast_without_deals_is_kept(store_url: str) -> None:
    """No open deal and nothing won is an entry like another."""
    store = Store.open(store_url, create=True)
    nothing = rows(**{f"{name}_cents": [0, 0, 0] for name in ("closed", "open", "new", "mean")})
    store.keep_forecast(entry(rows=nothing, deals=deals().iloc[:0]))
    (found,) = store.forecasts(with_deals=True)
    assert_frame_equal(found.whole_deals(), entry(rows=nothing, deals=deals().iloc[:0]).whole_deals())


def test_a_large_forecast_is_kept_in_seconds(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 deals are kept and read back whole, also in several pieces, well within what a person waits."""
    n = 100_000
    many = pd.DataFrame(
        {
            "deal_id": [f"D{number:06d}" for number in range(n)],
            "group": "total",
            "owner_id": [f"U{number % 50}" for number in range(n)],
            "state": "open",
            "stage": "offer",
            "amount": np.arange(n) / 100,
            "expected_amount": np.arange(n) / 100,
            "win_probability": 1.0,
            "in_period": 1.0,
            "mean_cents": np.arange(n),
        }
    )
    figures = rows().iloc[:1].assign(closed_cents=0, new_cents=0)
    figures = figures.assign(open_cents=n * (n - 1) // 2, mean_cents=n * (n - 1) // 2)
    store = Store.open(store_url, create=True)
    began = time.process_time()
    large = entry(by=None, rows=figures, quantiles=np.zeros((1, 99)), deals=many)
    assert store.keep_forecast(large)
    # Several times what it takes, for a machine that is busy; a slip back to row by row is far beyond.
    assert time.process_time() - began < 6
    assert not store.keep_forecast(replace(large, made_at=AS_OF))
    monkeypatch.setattr("crm.store.bulk.PIECE", 40_000)
    (found,) = store.forecasts(with_deals=True)
    assert_frame_equal(found.whole_deals(), large.whole_deals())
