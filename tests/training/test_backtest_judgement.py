"""Calls, timing, revenue and outcomes on small tables worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from crm.errors import InputError
from crm.history import History
from crm.validation import validate_history
from training.backtest.calls import reach, share_in_top
from training.backtest.peers import BASELINES
from training.backtest.prediction import QUANTILES, quantile_name
from training.backtest.revenue import follow_forecasts, judge_forecasts
from training.backtest.timing import judge_timing
from training.backtest.truth import follow

CUTOFF = pd.Timestamp("2024-03-01", tz="UTC")
END = pd.Timestamp("2024-06-01", tz="UTC")


def day(count: float) -> pd.Timestamp:
    """Give the moment so many days after the cutoff."""
    return CUTOFF + pd.Timedelta(days=count)


def calls_table() -> pd.DataFrame:
    """Two reps at one cutoff: rep a has four leads, of which two are won, rep b one that is won."""
    return pd.DataFrame(
        {
            "cutoff": [CUTOFF] * 5,
            "lead_id": ["l0", "l1", "l2", "l3", "l4"],
            "owner_id": ["a", "a", "a", "a", "b"],
            "created_at": [day(-1), day(-2), day(-3), day(-4), day(-9)],
            "vigie": [0.1, 0.9, 0.5, 0.2, 0.01],
            "is_won": [False, True, False, True, True],
        }
    )


def test_the_called_of_each_rep_are_counted() -> None:
    """With two calls a rep, the best-scored reach two of three wins, the newest too, chance two of three."""
    row = reach(calls_table(), "lead", (2,), 20, 0)[0]
    assert row["k"] == 2 and row["called"] == pytest.approx(3 / 5)
    assert row["vigie"]["value"] == pytest.approx(2 / 3)
    assert row["newest_first"]["value"] == pytest.approx(2 / 3)
    assert row["random"]["value"] == pytest.approx((0.5 + 0.5 + 1) / 3)


def test_enough_calls_reach_every_win() -> None:
    """With more calls than leads all are called; without a win there is nothing to reach."""
    row = reach(calls_table(), "lead", (20,), 20, 0)[0]
    assert row["vigie"]["value"] == row["random"]["value"] == row["called"] == 1.0
    assert reach(calls_table().assign(is_won=False), "lead", (5,), 20, 0) == []


def test_lists_are_of_one_rep_at_one_cutoff() -> None:
    """The same rep has a new list at the next cutoff, and records without an owner share one."""
    table = pd.DataFrame(
        {
            "cutoff": [CUTOFF, CUTOFF, END, END],
            "owner_id": pd.Series(["a", "a", None, None], dtype="str"),
        }
    )
    assert share_in_top(table, np.array([0.2, 0.1, 0.3, np.nan]), 1).tolist() == [1.0, 0.0, 1.0, 0.0]


def test_timing_by_hand() -> None:
    """Error of the median, interval score, coverage and width, beside the stage's durations."""
    table = pd.DataFrame(
        {
            "deal_id": ["d1", "d2"],
            "days": [10.0, 30.0],
            "close_p10_days": [5.0, 5.0],
            "close_p50_days": [8.0, 20.0],
            "close_p90_days": [15.0, 25.0],
            "stage_p10_days": [1.0, 1.0],
            "stage_p50_days": [9.0, 9.0],
            "stage_p90_days": [40.0, 40.0],
        }
    )
    found = judge_timing(table, 20, 0)
    vigie, stage = found["vigie"], found["stage_durations"]
    assert vigie["mae_days"]["value"] == pytest.approx(6.0)
    # 10 wide, and 20 wide with 5 days outside: 20 + 10 * 5.
    assert vigie["interval_score"]["value"] == pytest.approx((10 + 70) / 2)
    assert vigie["coverage"]["value"] == 0.5 and vigie["width_days"]["value"] == 15.0
    assert stage["mae_gain"]["value"] == pytest.approx((1 + 21) / 2 - 6)
    assert stage["interval_gain"]["value"] == pytest.approx(39 - 40)


def test_deals_without_a_range_are_not_judged_on_it() -> None:
    """Nothing is said where no row has a range."""
    names = [f"{kind}_{end}_days" for kind in ("close", "stage") for end in ("p10", "p50", "p90")]
    table = pd.DataFrame({"deal_id": ["d"], "days": [1.0], **{name: [np.nan] for name in names}})
    assert judge_timing(table, 20, 0) == {}


def forecasts(starts: list[pd.Timestamp], days: float, **columns: Any) -> pd.DataFrame:
    """Give forecasts of one horizon whose every quantile is their mean, unless told otherwise."""
    table = pd.DataFrame(
        {
            "horizon": "1W",
            "cutoff": starts,
            "period_start": starts,
            "period_end": [start + pd.Timedelta(days=days) for start in starts],
            "mean": columns["mean"],
            "stage_weighted": columns.get("stage_weighted", np.nan),
            "run_rate": np.nan,
            "series": np.nan,
        }
    )
    for level in QUANTILES:
        table[quantile_name(level)] = columns.get(quantile_name(level), table["mean"])
    return table


def sales() -> History:
    """Deals won for 100, 50 and an unknown amount, one lost, one won at the very end of the first week."""
    return validate_history(
        {
            "deals": pd.DataFrame(
                {
                    "deal_id": ["d1", "d2", "d3", "d4", "d5"],
                    "created_at": [day(-30)] * 5,
                    "amount": [100.0, 50.0, np.nan, 999.0, 30.0],
                    "outcome": ["won", "won", "won", "lost", "won"],
                    "closed_at": [day(0), day(3), day(4), day(3), day(7)],
                }
            )
        }
    )


def test_revenue_is_of_deals_won_in_the_period() -> None:
    """From its first moment to just before its end; a lost deal and an unknown amount bring nothing."""
    table = forecasts([day(0), day(7)], 7, mean=[120.0, 60.0])
    followed = follow_forecasts(sales(), table, [np.full(3, 120.0), np.full(3, 60.0)], END)
    assert followed["actual"].tolist() == [150.0, 30.0] and followed["n_won"].tolist() == [3, 1]
    assert followed["crps"].tolist() == [30.0, 30.0] and followed["is_judged"].all()


def test_a_period_that_is_not_over_is_not_judged() -> None:
    """Its row stays without a result."""
    table = forecasts([day(0), day(90)], 7, mean=[120.0, 60.0])
    followed = follow_forecasts(sales(), table, [np.full(3, 120.0), np.full(3, 60.0)], END)
    assert followed["is_judged"].tolist() == [True, False]
    assert np.isnan(followed["actual"].iloc[1])
    assert judge_forecasts(followed, 20, 0)[0]["n"] == 1


def test_errors_of_forecasts_by_hand() -> None:
    """WAPE, bias, CRPS and gains are shares of the revenue that came; a baseline's CRPS is its miss."""
    table = forecasts(
        [day(0), day(7)], 7, mean=[120.0, 60.0], stage_weighted=[210.0, 30.0],
        q100=[100.0, 50.0], q900=[160.0, 80.0], q025=[0.0, 0.0], q975=[500.0, 500.0],
    )  # fmt: skip
    followed = follow_forecasts(sales(), table, [np.array([120.0]), np.array([60.0])], END)
    found = judge_forecasts(followed, 50, 0)[0]
    vigie, stage = found["methods"]["vigie"], found["methods"]["stage_weighted"]
    assert set(found["methods"]) == {"vigie", "stage_weighted"}
    assert found["actual"] == 180.0 and found["block"] == 1
    assert vigie["wape"]["value"] == pytest.approx((30 + 30) / 180)
    assert vigie["bias"]["value"] == pytest.approx(0.0)
    assert stage["wape"]["value"] == stage["crps"]["value"] == pytest.approx(60 / 180)
    assert stage["wape_gain"]["value"] == pytest.approx(0.0)
    held = {row["level"]: (row["held"], row["n"]) for row in found["coverage"]}
    assert held == {0.5: (0, 2), 0.8: (1, 2), 0.95: (2, 2)}


def test_a_baseline_that_came_later_is_compared_where_it_is() -> None:
    """Both are judged on the periods for which it has a forecast."""
    table = forecasts([day(0), day(7)], 7, mean=[0.0, 60.0], stage_weighted=[np.nan, 30.0])
    followed = follow_forecasts(sales(), table, [np.array([0.0]), np.array([60.0])], END)
    methods = judge_forecasts(followed, 20, 0)[0]["methods"]
    assert methods["vigie"]["n"] == 2 and methods["stage_weighted"]["n"] == 1
    assert methods["stage_weighted"]["wape"]["value"] == 0.0
    assert methods["stage_weighted"]["wape_gain"]["value"] == pytest.approx(-1.0)


def test_overlapping_periods_are_drawn_together() -> None:
    """Weekly forecasts of four weeks come in blocks of four."""
    starts = [day(-70 + 7 * week) for week in range(8)]
    table = forecasts(starts, 28, mean=[10.0] * 8)
    followed = follow_forecasts(sales(), table, [np.full(2, 10.0)] * 8, END)
    assert judge_forecasts(followed, 20, 0)[0]["block"] == 4


def test_ranges_are_corrected_by_the_forecasts_before_them() -> None:
    """Nine weeks whose revenue lay above every draw widen the range of the tenth, and of none before."""
    weeks = 10
    history = validate_history(
        {
            "deals": pd.DataFrame(
                {
                    "deal_id": [f"d{week}" for week in range(weeks)],
                    "created_at": [day(-90)] * weeks,
                    "amount": [1000.0] * weeks,
                    "outcome": ["won"] * weeks,
                    "closed_at": [day(7 * week + 3) for week in range(weeks)],
                }
            )
        }
    )
    table = forecasts([day(7 * week) for week in range(weeks)], 7, mean=[50.0] * weeks)
    draws = [np.arange(-50.0, 51.0)] * weeks
    found = follow_forecasts(history, table, draws, day(90))
    widths = (found["corrected_high"] - found["corrected_low"]).tolist()
    # With eight forecasts over, at the ninth cutoff, the correction begins.
    assert widths[:8] == pytest.approx([80.0] * 8) and min(widths[8:]) > 95
    assert judge_forecasts(found, 20, 0)[0]["corrected"]["held"] == 0
    # Had it been recorded only after the cutoffs, nothing would have been known to come, as was forecast.
    late = History.of({"deals": history.deals.assign(closed_recorded_at=day(80))})
    unknown = follow_forecasts(late, table, draws, day(90))
    assert unknown["actual"].tolist() == found["actual"].tolist()
    assert (unknown["corrected_high"] - unknown["corrected_low"]).iloc[9] < 80


def test_two_currencies_need_rates() -> None:
    """Amounts that cannot be added are refused, not added."""
    history = sales()
    mixed = history.deals.assign(currency=pd.Series(["EUR", "USD", "EUR", "EUR", "EUR"], dtype="str"))
    table = forecasts([day(0)], 7, mean=[1.0])
    with pytest.raises(InputError):
        follow_forecasts(History.of({"deals": mixed}), table, [np.ones(1)], END)


def said(entity: str, ids: list[str], **columns: Any) -> pd.DataFrame:
    """Give what was said of records at the cutoff."""
    answers = dict.fromkeys(("vigie", *BASELINES), 0.5)
    table = pd.DataFrame({"cutoff": [CUTOFF] * len(ids), f"{entity}_id": ids, **answers, **columns})
    return table.astype({f"{entity}_id": "str"})


def test_a_deal_is_judged_once_it_closed() -> None:
    """Won, lost and open ones, with the days until then; one without a score is never judged."""
    history = validate_history(
        {
            "deals": pd.DataFrame(
                {
                    "deal_id": ["won", "lost", "open", "unscored"],
                    "created_at": [day(-9)] * 4,
                    "outcome": ["won", "lost", None, "won"],
                    "closed_at": [day(5), day(6), None, day(7)],
                }
            )
        }
    )
    asked = said("deal", ["won", "lost", "open", "unscored"], vigie=[0.5, 0.5, 0.5, np.nan])
    found = follow(history, "deal", asked, END).table
    assert found["outcome"].tolist() == ["won", "lost", "open", "won"]
    assert found["is_judged"].tolist() == [True, True, False, False]
    assert found["is_won"].tolist() == [True, False, False, True]
    assert found["days"].tolist()[:2] == [5.0, 6.0]


def test_a_lead_is_judged_once_its_whole_horizon_passed() -> None:
    """One that was won counts only within it; where it has not passed, not even a win is judged."""
    history = validate_history(
        {
            "leads": pd.DataFrame(
                {
                    "lead_id": ["soon", "late", "open", "gone"],
                    "created_at": [day(-9)] * 4,
                    "outcome": ["won", "won", None, None],
                    "closed_at": [day(5), day(50), None, None],
                    "gone_at": [None, None, None, day(10)],
                }
            )
        }
    )
    ids = ["soon", "late", "open", "gone"]
    found = follow(history, "lead", said("lead", ids, horizon_days=30.0), END).table
    assert found["is_judged"].tolist() == [True, True, True, False]
    assert found["is_won"].tolist() == [True, False, False, False]
    longer = follow(history, "lead", said("lead", ids, horizon_days=93.0), END).table
    assert not longer["is_judged"].any()


def test_nothing_said_is_followed_by_nothing() -> None:
    """An empty table gets its columns all the same."""
    found = follow(sales(), "deal", said("deal", []), END)
    assert len(found.judged) == 0 and "outcome" in found.table
