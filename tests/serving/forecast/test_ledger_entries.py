"""From a forecast to what the ledger keeps of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crm.errors import InputError
from crm.history import utc
from crm.periods import parse_period
from crm.store import Store
from serving.forecast.forecast import Forecast
from serving.forecast.ledger_entry import entries_of

AS_OF = utc("2026-09-07T00:00:00Z")
PERIODS = (parse_period("2026-10"), parse_period("2026-Q4"))
FIGURES = {"closed": 10.0, "open_mean": 2.5, "new_mean": 1.01, "mean": 13.51}


@pytest.fixture
def forecast() -> Forecast:
    """Give a forecast of two periods for one rep, with a sale and an open deal behind each."""
    rows, deals = [], []
    for period in PERIODS:
        place = {"period_start": period.start, "period_end": period.end}
        for group in ("total", "ann"):
            beside = {
                "stage_weighted": 3.0,
                "run_rate": np.nan,
                "series": 0.1,
                "quota": 100.0,
                "commit": np.nan,
            }
            spread = {"p10": 11.0, "p50": 13.0, "p90": 15.555, "open_p10": 1.0}
            rows.append({**place, "group": group, **FIGURES, **spread, **beside, "attainment": 0.135})
        plain = {**place, "group": "ann", "stage": "offer", "owner_id": "ann"}
        sale = {"deal_id": "S", "state": "won", "amount": 10.0, "expected_amount": 10.0, "mean_cents": 1000}
        still = {"deal_id": "O", "state": "open", "amount": 20.0, "expected_amount": 10.0, "mean_cents": 250}
        deals.append({**plain, **sale, "win_probability": 1.0, "in_period": 1.0})
        deals.append({**plain, **still, "win_probability": 0.5, "in_period": 0.5})
    spread = np.linspace(0.0, 1.0, 101)
    return Forecast(
        as_of=AS_OF,
        by="owner",
        level=0.8,
        currency="EUR",
        model_version="m1",
        seed=7,
        periods=PERIODS,
        groups=("total", "ann"),
        rows=pd.DataFrame(rows)[::-1],
        deals=pd.DataFrame(deals),
        draws=np.array([[spread * 100, spread * 10], [spread * 1000, spread * 100]]),
    )


def test_each_period_is_an_entry(forecast: Forecast) -> None:
    """An entry has its own period's figures in cents, quantiles and deals, the total first."""
    first, second = entries_of(forecast, AS_OF)
    assert (first.period, second.period) == ("2026-10", "2026-Q4")
    assert first.groups == ["total", "ann"]
    row = first.total.to_dict()
    assert [row[f"{name}_cents"] for name in ("closed", "open", "new", "mean")] == [1000, 250, 101, 1351]
    assert [row[f"{name}_cents"] for name in ("low", "median", "high")] == [1100, 1300, 1556]
    assert row["stage_weighted_cents"] == 300 and row["series_cents"] == 10 and row["quota_cents"] == 10_000
    assert first.rows[["run_rate_cents", "commit_cents"]].isna().all(axis=None)
    assert first.quantiles[:, 49].tolist() == [5000, 500] and second.quantiles[0, 98] == 99_000
    assert first.whole_deals()["deal_id"].tolist() == ["O", "S"]


def test_a_forecast_without_groups_is_kept_as_its_total(forecast: Forecast) -> None:
    """There is one row then, and its deals are the total's."""
    rows = forecast.rows[forecast.rows["group"] == "total"]
    deals = forecast.deals.assign(group="total")
    whole = replace(forecast, by=None, groups=("total",), rows=rows, deals=deals, draws=forecast.draws[:, :1])
    first, _ = entries_of(whole, AS_OF)
    assert first.groups == ["total"] and first.by is None
    assert first.whole_deals()["group"].tolist() == ["total", "total"]


def test_a_range_of_another_level_has_other_names(forecast: Forecast) -> None:
    """At 95% the range is p2.5 to p97.5; without a range there is nothing to keep."""
    renamed = forecast.rows.rename(columns={"p10": "p2.5", "p90": "p97.5"})
    first, _ = entries_of(replace(forecast, rows=renamed, level=0.95), AS_OF)
    assert (first.total["low_cents"], first.total["high_cents"]) == (1100, 1556)
    with pytest.raises(InputError, match=r"needs a low, a median p50 and a high column; it has p10, p50$"):
        entries_of(replace(forecast, rows=forecast.rows.drop(columns="p90")), AS_OF)


@pytest.mark.parametrize("money", [1e15, float("inf"), float("nan")])
def test_money_that_has_no_cents_is_refused(forecast: Forecast, money: float) -> None:
    """More than a double counts in cents, or no number, is an amount to correct and not to round."""
    with pytest.raises(InputError, match=r"forecast's p90 is .*, which cannot be kept to the cent; correct"):
        entries_of(replace(forecast, rows=forecast.rows.assign(p90=money)), AS_OF)


def test_what_is_kept_comes_back(forecast: Forecast, tmp_path: Path) -> None:
    """A forecast's entries go through the store; kept again they add nothing."""
    store = Store.open(str(tmp_path / "h.db"), create=True)
    entries = entries_of(forecast, AS_OF)
    assert [store.keep_forecast(entry) for entry in entries] == [True, True]
    assert [store.keep_forecast(entry) for entry in entries_of(forecast, AS_OF)] == [False, False]
    found = store.forecasts(with_deals=True)
    assert [entry.entry_id for entry in found] == [entry.entry_id for entry in entries]
    pd.testing.assert_frame_equal(found[1].whole_deals(), entries[1].whole_deals())
