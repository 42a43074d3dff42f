"""How right the ledger's forecasts were, held against hand-computed figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from crm.errors import InputError, NotEnoughData
from crm.history import History, utc
from crm.ledger import LedgerEntry
from crm.money import Rates
from crm.validation import validate_history
from serving.forecast.accuracy import Accuracy, forecast_accuracy

MONDAY = utc("2026-09-07T00:00:00Z")
WEEK = pd.Timedelta(days=7)
NOW = utc("2026-12-01T00:00:00Z")


def entry(as_of: pd.Timestamp = MONDAY, weeks: int = 1, mean: float = 100.0, **changes: Any) -> LedgerEntry:
    """Give a forecast of the next weeks: so much for ann, nothing for bob; 50 either way; no deals behind."""
    cents = round(100 * mean)
    rows = {
        "group": ["total", "ann", "bob"],
        **{f"{name}_cents": [0, 0, 0] for name in ("closed", "open")},
        **{f"{name}_cents": [cents, cents, 0] for name in ("new", "mean", "median")},
        "low_cents": [cents - 5000, cents - 5000, 0],
        "high_cents": [cents + 5000, cents + 5000, 0],
        "stage_weighted_cents": [3000, 3000, 0],
        "run_rate_cents": [None, None, None],
        "series_cents": [None, None, None],
        "quota_cents": [0, 0, 0],
        "commit_cents": [changes.pop("commit", None), None, None],
    }
    grid = cents - 5000 + np.arange(99) * 100
    plain: dict[str, Any] = {
        "made_at": as_of,
        "as_of": as_of,
        "period_start": as_of,
        "period_end": as_of + weeks * WEEK,
        "period": f"next {weeks}W",
        "by": "owner",
        "level": 0.8,
        "currency": "EUR",
        "model_version": "m1",
        "seed": 7,
        "rows": pd.DataFrame(rows),
        "quantiles": np.stack([grid, grid, np.zeros(99)]),
        "deals": pd.DataFrame(columns=NO_DEALS),
    }
    return LedgerEntry.of(**(plain | changes))


NO_DEALS = [
    *("deal_id", "group", "owner_id", "state", "stage"),
    *("amount", "expected_amount", "win_probability", "in_period", "mean_cents"),
]


def history(*sales: tuple[str, float, str], currency: str = "EUR", late: str | None = None) -> History:
    """Give deals won for (day, amount, rep), one lost, one open; ``late``: when the last sale was known."""
    won = [
        {"closed_at": utc(f"{day}Z"), "amount": amount, "owner_id": rep, "outcome": "won"}
        for day, amount, rep in sales
    ]
    others = [{"outcome": "lost", "closed_at": MONDAY, "amount": 999.0, "owner_id": "ann"}, {"amount": 5.0}]
    deals = pd.DataFrame([*others, *won])
    deals["deal_id"] = [f"D{number}" for number in range(len(deals))]
    deals["created_at"] = deals["recorded_at"] = utc("2026-06-01T00:00:00Z")
    deals["currency"] = currency
    deals["closed_recorded_at"] = deals.get("closed_at")
    if late is not None:
        deals.loc[len(deals) - 1, "closed_recorded_at"] = utc(f"{late}Z")
    return validate_history({"deals": deals})


def row_of(found: Accuracy, horizon: str = "all") -> dict[str, Any]:
    """Give the pooled row of a horizon."""
    return dict(found.by_horizon.set_index("horizon").loc[horizon])


def test_a_forecast_is_held_against_what_was_sold() -> None:
    """Deals won within the period count, its first moment and not its end; lost and open ones do not."""
    sales = [
        ("2026-09-07T00:00", 70.0, "ann"),
        ("2026-09-13T23:59", 10.0, "bob"),
        ("2026-09-14T00:00", 500.0, "ann"),
    ]
    found = forecast_accuracy([entry()], history(*sales), NOW)
    table = found.forecasts.set_index("group")
    assert table["actual"].to_dict() == {"total": 80.0, "ann": 70.0, "bob": 10.0}
    assert table["error"].to_dict() == {"total": 20.0, "ann": 30.0, "bob": -10.0}
    assert table["held"].to_dict() == {"total": True, "ann": True, "bob": False}
    pooled = row_of(found, "1 week")
    assert (pooled["wape"], pooled["bias"], pooled["coverage"], pooled["level"]) == (0.25, 0.25, 1.0, 0.8)
    groups = found.by_group.set_index("group")
    assert groups.loc["bob", "coverage"] == 0.0 and groups.loc["ann", "wape"] == 30 / 70


def test_pinball_and_crps_come_from_the_kept_quantiles() -> None:
    """The losses over the grid are those of a loop over its levels."""
    (found,) = forecast_accuracy(
        [entry(by=None, rows=entry().rows.iloc[:1], quantiles=entry().quantiles[:1])],
        history(("2026-09-08T00:00", 80.0, "ann")),
        NOW,
    ).forecasts.to_dict("records")
    losses = []
    for number in range(99):
        level, quantile = (number + 1) / 100, 50.0 + number
        losses.append(level * (80 - quantile) if quantile < 80 else (1 - level) * (quantile - 80))
    assert found["pinball"] == pytest.approx(sum(losses) / 99)
    assert found["crps"] == pytest.approx(2 * sum(losses) / 99)
    # 80 is the 31st of the quantiles 50, 51, …: 30 lie below it.
    assert found["position"] == pytest.approx(30.5 / 99)


def test_forecasts_are_pooled_by_how_far_they_look() -> None:
    """A week and a month ahead are apart, all together in the last row; rivals on the forecasts they have."""
    sales = [("2026-09-08T00:00", 80.0, "ann"), ("2026-09-15T00:00", 200.0, "ann")]
    entries = [entry(), entry(MONDAY + WEEK, commit=15_000), entry(weeks=4)]
    found = forecast_accuracy(entries, history(*sales), NOW)
    assert found.by_horizon["horizon"].tolist() == ["1 week", "1 month", "all"]
    week, everything = row_of(found, "1 week"), row_of(found)
    assert (week["n_forecasts"], week["n_periods"]) == (2, 2)
    assert week["wape"] == (20 + 100) / 280 and week["bias"] == (20 - 100) / 280 and week["coverage"] == 0.5
    assert week["wape_stage_weighted"] == (50 + 170) / 280
    assert (week["n_commit"], week["wape_commit"], week["wape_beside_commit"]) == (1, 50 / 200, 100 / 200)
    assert week["n_run_rate"] == 0 and np.isnan(week["wape_run_rate"])
    assert (everything["n_forecasts"], everything["n_periods"]) == (3, 3)


def test_past_errors_are_those_of_the_counted_totals_in_time() -> None:
    """The ranges of the next forecast learn from where each truth fell, the earliest period first."""
    sales = [("2026-09-08T00:00", 500.0, "ann"), ("2026-09-15T00:00", 1.0, "ann")]
    again = entry(MONDAY, made_at=NOW, model_version="m2")
    past = forecast_accuracy([entry(MONDAY + WEEK), again, entry()], history(*sales), NOW).past_errors()
    assert past.horizon_days == (7.0, 7.0)
    assert past.position == (1.0, 0.0)


def test_the_same_question_counts_once_and_the_first_answer_counts() -> None:
    """A forecast made again, by team or by another model, or after the fact, does not weigh twice."""
    again = entry(mean=80.0, made_at=MONDAY + pd.Timedelta(days=1), model_version="m2")
    by_team = entry(mean=80.0, made_at=MONDAY + pd.Timedelta(days=2), by="region")
    found = forecast_accuracy([again, by_team, entry()], history(("2026-09-08T00:00", 80.0, "ann")), NOW)
    assert row_of(found)["n_forecasts"] == 1 and row_of(found)["wape"] == 0.25
    counted = found.forecasts[found.forecasts["is_counted"]]
    assert set(counted["entry_id"][counted["group"] == "total"]) == {entry().entry_id}
    assert found.by_group["by"].tolist() == ["owner", "owner", "region", "region"]
    assert found.n_replayed == 0
    replayed = forecast_accuracy([entry(made_at=NOW)], history(("2026-09-08T00:00", 80.0, "ann")), NOW)
    assert replayed.n_replayed == 1


def test_what_was_recorded_later_does_not_count() -> None:
    """The truth is what was known as of the moment asked for, and a period that runs on is left out."""
    told = history(
        ("2026-09-08T00:00", 80.0, "ann"), ("2026-09-09T00:00", 30.0, "ann"), late="2026-10-20T00:00"
    )
    running = entry(MONDAY, weeks=30)
    then = forecast_accuracy([entry(), running], told, utc("2026-10-20T00:00:00Z"))
    assert then.forecasts["actual"].iloc[0] == 80.0
    assert then.n_pending == 1
    assert forecast_accuracy([entry()], told, NOW).forecasts["actual"].iloc[0] == 110.0


def test_a_period_without_any_sale_has_no_share() -> None:
    """Nothing sold leaves WAPE and bias open, never infinite; coverage and CRPS are still there."""
    pooled = row_of(forecast_accuracy([entry()], history(), NOW))
    assert np.isnan(pooled["wape"]) and np.isnan(pooled["bias"])
    assert pooled["coverage"] == 0.0 and pooled["crps"] > 0


def test_amounts_are_compared_in_the_currency_of_the_forecast() -> None:
    """Rates bring sales into it; without them another currency is refused, as is a mixture of forecasts."""
    dollars = history(("2026-09-08T00:00", 100.0, "ann"), currency="USD")
    rates = Rates("EUR", {("2026-09", "USD"): 0.8})
    assert forecast_accuracy([entry()], dollars, NOW, rates).forecasts["actual"].iloc[0] == 80.0
    with pytest.raises(InputError, match=r"are in EUR and the history's amounts in USD; give --rates"):
        forecast_accuracy([entry()], dollars, NOW)
    with pytest.raises(
        InputError, match="are in EUR and USD, which cannot be pooled; choose one with --curr"
    ):
        forecast_accuracy([entry(), entry(currency="USD")], dollars, NOW)


def test_without_an_ended_period_there_is_nothing_to_say() -> None:
    """An empty ledger and one whose periods still run are told apart, with what comes next."""
    with pytest.raises(
        NotEnoughData, match="holds no such forecast yet; keep one with vigie forecast --keep"
    ):
        forecast_accuracy([], history(), NOW)
    with pytest.raises(
        NotEnoughData, match=r"none of the 2 forecasts .* the first ends at 2026-09-14 00:00 UTC"
    ):
        forecast_accuracy([entry(weeks=4), entry()], history(), MONDAY)
