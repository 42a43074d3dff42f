"""Forecasts of revenue: their parts, their sums, their ranges, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm.errors import InputError, NotEnoughData
from crm.history import History
from crm.money import Rates
from crm.periods import between, next_period, parse_period
from crm.validation import validate_history
from serving.bundle import ModelBundle
from serving.forecast import Forecast, ForecastModel, PastErrors, TypicalAmount, forecast

AS_OF = pd.Timestamp("2024-08-12", tz="UTC")
MONTH, QUARTER = parse_period("2024-08"), parse_period("2024-Q3")
SUMMED = ["closed", "open_mean", "new_mean", "mean", "stage_weighted", "run_rate"]
slow = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _cents(values: pd.Series) -> np.ndarray:
    return np.rint(100 * values.to_numpy()).astype(np.int64)


def _of(found: Forecast, place: int = 0) -> pd.DataFrame:
    size = len(found.groups)
    return found.rows.iloc[place * size : (place + 1) * size].set_index("group")


def _with_deals(history: History, **columns: object) -> History:
    return replace(history, deals=history.deals.assign(**columns))


@slow
@given(
    day=st.integers(40, 240), by=st.sampled_from(["owner", "source", "industry"]), level=st.floats(0.3, 0.97)
)
def test_roll_ups_are_equal_to_the_cent(
    history: History, bundle: ModelBundle, day: int, by: str, level: float
) -> None:
    """Groups sum to the total, and parts to the mean, in whole cents, whenever and however asked."""
    as_of = pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(days=day, hours=5)
    found = forecast(
        bundle, history, as_of, [next_period("2W", as_of), QUARTER], by=by, level=level, draws=100
    )
    for place in range(2):
        rows = _of(found, place)
        for name in SUMMED:
            assert _cents(rows[name])[1:].sum() == _cents(rows[name])[0]
        assert (
            _cents(rows["closed"]) + _cents(rows["open_mean"]) + _cents(rows["new_mean"])
            == _cents(rows["mean"])
        ).all()
        behind = found.deals[found.deals["period_end"] == found.periods[place].end]
        by_group = behind.groupby("group")["mean_cents"].sum()
        assert by_group.to_dict() == {
            group: cents
            for group, cents in zip(
                rows.index, _cents(rows["closed"]) + _cents(rows["open_mean"]), strict=True
            )
            if group in by_group.index
        }
    np.testing.assert_allclose(found.draws[:, 1:].sum(axis=1), found.draws[:, 0])


def test_the_total_does_not_depend_on_the_grouping(history: History, bundle: ModelBundle) -> None:
    """Mean and range of the total are the same to the bit, grouped by anything or by nothing."""
    alone = forecast(bundle, history, AS_OF, [MONTH, QUARTER])
    for by in ("owner", "industry"):
        grouped = forecast(bundle, history, AS_OF, [MONTH, QUARTER], by=by)
        totals = grouped.rows[grouped.rows["group"] == "total"].reset_index(drop=True)
        pd.testing.assert_frame_equal(totals, alone.rows, rtol=1e-9)


def test_the_same_question_has_the_same_answer(history: History, bundle: ModelBundle) -> None:
    """Asked twice, with the rows of the history in another order, nothing changes."""
    shuffled = replace(
        history,
        deals=history.deals.sample(frac=1, random_state=1, ignore_index=True),
        activities=history.activities.sample(frac=1, random_state=1, ignore_index=True),
    )
    first, second = (forecast(bundle, one, AS_OF, [QUARTER], by="owner") for one in (history, shuffled))
    pd.testing.assert_frame_equal(first.rows, second.rows)
    pd.testing.assert_frame_equal(first.deals, second.deals)


@slow
@given(data=st.data())
def test_nothing_recorded_later_changes_a_forecast(
    history: History, bundle: ModelBundle, data: st.DataObject
) -> None:
    """Deals and closings recorded at the moment or after it leave every figure as it is."""
    as_of = pd.Timestamp("2024-06-10", tz="UTC") + pd.Timedelta(days=data.draw(st.integers(0, 40)))
    before = forecast(bundle, history, as_of, [next_period("4W", as_of)], by="owner", draws=200)
    deals = history.deals
    late = as_of + pd.Timedelta(hours=data.draw(st.integers(0, 500)))
    new = deals.iloc[:5].assign(
        deal_id=[f"late-{i}" for i in range(5)], created_at=late, recorded_at=late, amount=1e9
    )
    for name in ("outcome", "closed_at", "closed_recorded_at"):
        new[name] = new[name].mask(new["deal_id"].notna())
    still_open = deals["closed_at"].isna() & (deals["recorded_at"] < as_of)
    closed = deals.assign(
        outcome=deals["outcome"].mask(still_open, "won"),
        closed_at=deals["closed_at"].mask(still_open, late),
        closed_recorded_at=deals["closed_recorded_at"].mask(still_open, late),
    )
    after = replace(history, deals=pd.concat([closed, new], ignore_index=True))
    again = forecast(bundle, after, as_of, [next_period("4W", as_of)], by="owner", draws=200)
    pd.testing.assert_frame_equal(before.rows, again.rows)
    np.testing.assert_array_equal(before.draws, again.draws)


def test_a_past_period_is_what_was_closed_in_it(history: History, bundle: ModelBundle) -> None:
    """A period that is over has no open and no new part, and its range is one number."""
    found = _of(forecast(bundle, history, AS_OF, [parse_period("2024-05")])).loc["total"]
    won = history.deals[history.deals["outcome"].eq("won")]
    period = parse_period("2024-05")
    inside = (won["closed_at"] >= period.start) & (won["closed_at"] < period.end)
    assert found["mean"] == found["closed"] == pytest.approx(won["amount"][inside].sum(), abs=0.005)
    assert found["p10"] == found["p50"] == found["p90"] == pytest.approx(found["mean"])


def test_consecutive_periods_never_promise_a_deal_twice(history: History, bundle: ModelBundle) -> None:
    """The chances of a deal over consecutive periods add up to those of the whole time, and never above 1."""
    weeks = [between(AS_OF + pd.Timedelta(weeks=i), AS_OF + pd.Timedelta(weeks=i + 1)) for i in range(6)]
    parts = forecast(bundle, history, AS_OF, weeks, draws=100).deals
    whole = forecast(bundle, history, AS_OF, [next_period("6W", AS_OF)], draws=100).deals
    open_parts = parts[parts["state"] == "open"].groupby("deal_id")["in_period"].sum()
    expected = whole[whole["state"] == "open"].set_index("deal_id")["in_period"]
    np.testing.assert_allclose(open_parts, expected.reindex(open_parts.index), atol=1e-12)
    assert (open_parts <= 1).all()


def test_the_forecast_and_the_score_say_the_same_of_a_deal(history: History, bundle: ModelBundle) -> None:
    """A deal's win probability and expected amount behind a forecast are those of its score."""
    from serving import score

    deals = forecast(bundle, history, AS_OF, [QUARTER], draws=100).deals
    mine = deals[deals["state"] == "open"].reset_index(drop=True)
    asked = pd.DataFrame(
        {"record_id": mine["deal_id"], "as_of": pd.Series([AS_OF] * len(mine), dtype="datetime64[us, UTC]")}
    )
    scored = score(bundle, history, asked, "deal")
    np.testing.assert_array_equal(mine["win_probability"], scored.probability)
    np.testing.assert_allclose(mine["expected_amount"], scored.expected_amount)


def test_a_wider_level_gives_a_wider_range(history: History, bundle: ModelBundle) -> None:
    """The columns are named after the level, and 95% holds more than 50%."""
    half = forecast(bundle, history, AS_OF, [QUARTER], level=0.5).rows.iloc[0]
    most = forecast(bundle, history, AS_OF, [QUARTER], level=0.95).rows.iloc[0]
    assert most["p2.5"] < half["p25"] < half["p50"] < half["p75"] < most["p97.5"]


def test_a_common_shock_widens_the_range(history: History, bundle: ModelBundle) -> None:
    """What all deals share is not averaged away by their number."""
    calm, rough = (
        forecast(
            replace(bundle, forecast=ForecastModel(shocks=(shock,))), history, AS_OF, [QUARTER]
        ).rows.iloc[0]
        for shock in (0.0, 0.5)
    )
    assert rough["mean"] == calm["mean"]
    assert rough["p90"] - rough["p10"] > 1.3 * (calm["p90"] - calm["p10"])


def test_past_errors_widen_the_range(history: History, bundle: ModelBundle) -> None:
    """Where the truth kept falling outside, the next range reaches further; the mean stays."""
    days = (QUARTER.end - AS_OF) / pd.Timedelta(days=1)
    missed = PastErrors((days,) * 30, (0.995,) * 30)
    plain = forecast(bundle, history, AS_OF, [QUARTER]).rows.iloc[0]
    wide = forecast(bundle, history, AS_OF, [QUARTER], past_errors=missed).rows.iloc[0]
    assert wide["p10"] < plain["p10"] and wide["p90"] > plain["p90"]
    assert wide["mean"] == plain["mean"] and wide["p50"] == plain["p50"]


def test_without_open_deals_only_new_ones_are_expected(history: History, bundle: ModelBundle) -> None:
    """A history whose deals are all closed still has a forecast: what deals to come will bring."""
    ended = history.deals[history.deals["outcome"].notna()].reset_index(drop=True)
    found = forecast(
        bundle, replace(history, deals=ended), pd.Timestamp("2024-09-01", tz="UTC"), [parse_period("2024-Q4")]
    )
    total = found.rows.iloc[0]
    assert total["open_mean"] == 0.0
    assert total["new_mean"] > 0.0
    assert found.deals.empty


def test_without_amounts_there_is_no_revenue_to_forecast(history: History, bundle: ModelBundle) -> None:
    """A history without a single amount is refused, with what to do."""
    with pytest.raises(NotEnoughData, match=r"no deal has an amount.*map the column"):
        forecast(bundle, _with_deals(history, amount=np.nan), AS_OF, [QUARTER])


@pytest.mark.parametrize(("amount", "why"), [(-50.0, "is negative"), (1e12, "100 times the largest sale")])
def test_amounts_that_cannot_be_are_set_aside(
    history: History, bundle: ModelBundle, amount: float, why: str
) -> None:
    """An open deal's negative or absurd amount counts as a typical sale, and the forecast says so."""
    first = history.deals.index[history.deals["outcome"].isna() & (history.deals["recorded_at"] < AS_OF)][0]
    amounts = history.deals["amount"].where(history.deals.index != first, amount)
    found = forecast(bundle, _with_deals(history, amount=amounts), AS_OF, [QUARTER])
    name = history.deals["deal_id"][first]
    assert any(f"deal {name}: amount = " in note and why in note for note in found.notes)
    behind = found.deals.set_index("deal_id").loc[name]
    sales = history.deals["amount"][history.deals["outcome"].eq("won") & (history.deals["closed_at"] < AS_OF)]
    assert behind["expected_amount"] == pytest.approx(sales.mean())


def test_a_typical_sale_stands_in_by_attribute(history: History, bundle: ModelBundle) -> None:
    """Where the amount of open deals is missing, what their industry's sales bring is expected."""
    still_open = history.deals["outcome"].isna()
    bare = _with_deals(history, amount=history.deals["amount"].mask(still_open))
    typical = TypicalAmount(100.0, "industry", {"steel": 300.0, "food": 200.0})
    found = forecast(
        replace(bundle, forecast=ForecastModel(typical=typical)),
        bare,
        pd.Timestamp("2024-09-01", tz="UTC"),
        [QUARTER],
    )
    mine = found.deals[found.deals["state"] == "open"]
    industries = history.deals.set_index("deal_id")["industry"].reindex(mine["deal_id"])
    expected = industries.map({"steel": 300.0, "food": 200.0, "law": 100.0}).to_numpy()
    np.testing.assert_array_equal(mine["expected_amount"], expected)


def test_a_period_before_the_history_is_refused(history: History, bundle: ModelBundle) -> None:
    """Nothing is known of 2020: the error names the period and when the history begins."""
    with pytest.raises(
        InputError, match=r"period 2020 ends on .*before the first deal was known, on 2024-01"
    ):
        forecast(bundle, history, AS_OF, [parse_period("2020")])


def test_before_the_first_deal_there_is_nothing_to_forecast(history: History, bundle: ModelBundle) -> None:
    """An as-of before the history says that nothing was known."""
    with pytest.raises(NotEnoughData, match="no deal was known before 2023"):
        forecast(bundle, history, pd.Timestamp("2023-01-01", tz="UTC"), [QUARTER])


def test_deals_without_an_owner_have_a_group_of_their_own(history: History, bundle: ModelBundle) -> None:
    """Their revenue is shown under (none), not lost."""
    owners = history.deals["owner_id"].mask(history.deals["owner_id"] == "cid")
    rows = _of(forecast(bundle, _with_deals(history, owner_id=owners), AS_OF, [QUARTER], by="owner"))
    assert sorted(rows.index) == ["(none)", "ann", "bob", "total"]
    assert rows.loc["(none)", "mean"] > 0


def test_a_rep_who_left_gets_no_new_deals(history: History, bundle: ModelBundle) -> None:
    """A rep without a new deal for half a year keeps the open ones; nothing new is expected of them."""
    as_of = pd.Timestamp("2024-08-20", tz="UTC")
    recent = history.deals["recorded_at"] > as_of - pd.Timedelta(days=183)
    owners = history.deals["owner_id"].where(~(recent & (history.deals["owner_id"] == "cid")), "ann")
    rows = _of(
        forecast(bundle, _with_deals(history, owner_id=owners), as_of, [parse_period("2024-Q4")], by="owner")
    )
    assert rows.loc["cid", "new_mean"] == 0.0
    assert rows.loc["ann", "new_mean"] > rows.loc["bob", "new_mean"] > 0.0


def test_several_currencies_need_rates(history: History, bundle: ModelBundle) -> None:
    """Without rates the error says to give them; with one missing it names the currency and the month."""
    codes = np.where(np.arange(len(history.deals)) % 2, "USD", "EUR")
    mixed = _with_deals(history, currency=pd.Series(codes, dtype="str"))
    with pytest.raises(InputError, match="several currencies"):
        forecast(bundle, mixed, AS_OF, [QUARTER])
    months = [f"2024-{month:02d}" for month in range(1, 8)]
    known = {(month, "USD"): 0.5 for month in months}
    with pytest.raises(InputError, match="no rate for USD in 2024-08"):
        forecast(bundle, mixed, AS_OF, [QUARTER], rates=Rates("EUR", known))
    found = forecast(bundle, mixed, AS_OF, [QUARTER], rates=Rates("EUR", known | {("2024-08", "USD"): 0.5}))
    whole = forecast(bundle, history, AS_OF, [QUARTER])
    assert found.currency == "EUR"
    assert 0.5 < found.rows["mean"].iloc[0] / whole.rows["mean"].iloc[0] < 1.0


def test_quotas_stand_beside_the_groups_they_are_for(history: History, bundle: ModelBundle) -> None:
    """A rep's quota by month counts for the quarter it makes up; a target for nobody known changes no row."""
    months = [pd.Timestamp(f"2024-{month:02d}-01", tz="UTC") for month in (7, 8, 9, 10)]
    targets = pd.DataFrame(
        {
            "target_id": [f"t{i}" for i in range(4)],
            "kpi": "revenue",
            "scope": "user",
            "scope_id": ["ann", "ann", "ann", "zoe"],
            "period_start": months[:3] + months[:1],
            "period_end": months[1:] + months[3:],
            "value": [100.0, 200.0, 300.0, 5000.0],
            "recorded_at": pd.Timestamp("2024-01-02", tz="UTC"),
        }
    )
    users = pd.DataFrame({"user_id": ["ann", "bob", "cid"], "name": ["Ann", "Bob", "Cid"]})
    known = validate_history({**history.frames(), "targets": targets, "users": users})
    rows = _of(forecast(bundle, known, AS_OF, [QUARTER], by="owner"))
    assert rows.loc["ann", "quota"] == pytest.approx(600.0)
    assert rows.loc["ann", "attainment"] == pytest.approx(rows.loc["ann", "mean"] / 600.0)
    assert np.isnan(rows.loc["bob", "quota"]) and np.isnan(rows.loc["bob", "attainment"])


def test_a_rep_s_own_commit_stands_beside_it(history: History, bundle: ModelBundle) -> None:
    """Where the CRM has forecast categories: what is committed and open, plus what is closed."""
    still_open = history.deals["outcome"].isna()
    said = pd.Series(np.where(still_open, "Commit", "Pipeline"), dtype="str")
    due = history.deals["expected_close_at"].where(~still_open, pd.Timestamp("2024-09-10", tz="UTC"))
    as_of = pd.Timestamp("2024-09-01", tz="UTC")
    found = forecast(
        bundle, _with_deals(history, forecast_category=said, expected_close_at=due), as_of, [QUARTER]
    )
    row = found.rows.iloc[0]
    promised = history.deals["amount"][still_open & (history.deals["recorded_at"] < as_of)].sum()
    assert row["commit"] == pytest.approx(promised + row["closed"], abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 1.0}, "level 1.0"),
        ({"draws": 5}, "draws 5"),
        ({"by": "mood"}, "group 'mood' is not known"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    history: History, bundle: ModelBundle, options: dict[str, object], message: str
) -> None:
    """A level of 1, too few draws and an unknown group are named, with what is allowed."""
    with pytest.raises(InputError, match=message):
        forecast(bundle, history, AS_OF, [QUARTER], **options)  # type: ignore[arg-type]


def test_no_period_is_refused(history: History, bundle: ModelBundle) -> None:
    """An empty list of periods is a mistake, not an empty forecast."""
    with pytest.raises(InputError, match="no period"):
        forecast(bundle, history, AS_OF, [])


def test_the_draws_score_and_hold_what_they_say(history: History, bundle: ModelBundle) -> None:
    """CRPS is the mean distance less half the distance among draws; draws mean what is forecast."""
    found = forecast(bundle, history, AS_OF, [QUARTER], draws=400)
    draws = found.draws[0, 0]
    actual = np.array([draws.mean() * 1.2])
    by_hand = np.abs(draws - actual).mean() - 0.5 * np.abs(draws[:, None] - draws[None, :]).mean()
    assert found.crps(actual)[0] == pytest.approx(by_hand)
    assert draws.mean() == pytest.approx(found.rows["mean"].iloc[0], rel=1e-6)
    assert found.quantile(0.5)[0, 0] == pytest.approx(found.rows["p50"].iloc[0], abs=0.01)
