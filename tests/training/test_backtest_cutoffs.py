"""Which past moments a backtest goes back to."""

from __future__ import annotations

import pandas as pd
import pytest

from crm.errors import InputError, NotEnoughData
from crm.history import History
from crm.validation import validate_history
from training.backtest import BacktestSettings, check_horizons, plan_cutoffs
from training.backtest.cutoffs import MOST
from training.settings import TrainSettings

SETTINGS = BacktestSettings(train=TrainSettings(min_won=3, min_closed=5), horizons=("1W", "4W"))
#: A Monday.
START = pd.Timestamp("2024-01-01", tz="UTC")
END = pd.Timestamp("2024-06-05T15:00", tz="UTC")


def at(text: str) -> pd.Timestamp:
    """Give a moment in UTC."""
    return pd.Timestamp(text, tz="UTC")


def history(n: int = 10, every: float = 2.0) -> History:
    """Deals closed every two days at noon, won and lost in turn."""
    deals = pd.DataFrame(
        {
            "deal_id": [f"d{number}" for number in range(n)],
            "created_at": [START - pd.Timedelta(days=30)] * n,
            "outcome": ["won", "lost"] * (n // 2),
            "closed_at": [START + pd.Timedelta(days=every * number, hours=12) for number in range(n)],
        }
    )
    return validate_history({"deals": deals})


def test_the_first_is_the_monday_by_which_enough_was_known() -> None:
    """Five closed and three won by 9 January; the Monday after is the 15th, and the last leaves a week."""
    plan = plan_cutoffs(history(), END, SETTINGS)
    assert plan.cutoffs[0] == at("2024-01-15")
    assert plan.cutoffs[-1] == at("2024-05-27") <= END - pd.Timedelta(days=7)
    assert {(b - a).days for a, b in zip(plan.cutoffs, plan.cutoffs[1:], strict=False)} == {7}
    assert str(plan) == "20 cutoffs from 2024-01-15 to 2024-05-27, every 1W"


@pytest.mark.parametrize(
    ("every", "first", "second"),
    [
        ("1M", "2024-02-01", "2024-03-01"),
        ("10D", "2024-01-10", "2024-01-20"),
        ("2W", "2024-01-15", "2024-01-29"),
    ],
)
def test_cutoffs_begin_where_their_unit_does(every: str, first: str, second: str) -> None:
    """Months on the first of one, days at midnight, weeks on Monday."""
    assert plan_cutoffs(history(), END, SETTINGS, every=every).cutoffs[:2] == (at(first), at(second))


def test_bounds_are_kept_as_asked() -> None:
    """Both ends are cutoffs where the steps meet them."""
    plan = plan_cutoffs(history(), END, SETTINGS, every="1W", start=at("2024-02-06"), until=at("2024-02-27"))
    assert [moment.day for moment in plan.cutoffs] == [6, 13, 20, 27]


def test_many_weeks_are_thinned_only_where_none_were_asked_for() -> None:
    """Three years of weeks become an even choice with both ends, and the plan says so."""
    late = END + pd.DateOffset(years=3)
    thin, every = plan_cutoffs(history(), late, SETTINGS), plan_cutoffs(history(), late, SETTINGS, every="1W")
    assert len(thin.cutoffs) == MOST and len(every.cutoffs) == thin.possible > 170
    assert (thin.cutoffs[0], thin.cutoffs[-1]) == (every.cutoffs[0], every.cutoffs[-1])
    gaps = {(b - a).days for a, b in zip(thin.cutoffs, thin.cutoffs[1:], strict=False)}
    assert max(gaps) - min(gaps) <= 7
    assert "evenly chosen from" in str(thin) and "evenly chosen" not in str(every)


def test_a_history_without_outcomes_has_no_cutoff() -> None:
    """The message counts what there is and what is needed."""
    with pytest.raises(NotEnoughData, match=r"2 deals won and 4 closed at a known time.* 3 won and 5 closed"):
        plan_cutoffs(history(4), END, SETTINGS)


def test_a_first_cutoff_after_the_last_is_told() -> None:
    """Whether it was asked for, or outcomes came too late."""
    with pytest.raises(NotEnoughData, match="--from is later than"):
        plan_cutoffs(history(), END, SETTINGS, start=END)
    with pytest.raises(NotEnoughData, match="enough outcomes to train were known only after"):
        plan_cutoffs(history(), at("2024-01-15"), SETTINGS)


def test_lengths_that_cannot_be_read_are_refused() -> None:
    """Steps and horizons alike; horizons are in order, each once."""
    with pytest.raises(InputError):
        plan_cutoffs(history(), END, SETTINGS, every="fortnight")
    with pytest.raises(InputError):
        check_horizons(("1W", "soon"))
    with pytest.raises(InputError, match="--horizons"):
        check_horizons(("",))
    assert check_horizons(("1Q", " 2w", "1W", "2W")) == ("1W", "2W", "1Q")
