"""Normal ranges, trends and the segments behind a change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.errors import InputError, NotEnoughData
from crm.history import History, utc
from crm.known import known_at
from crm.periods import Period, parse_period, split
from crm.simulator import simulate
from crm.validation import validate_history
from features.kpis.anomalies import explain_flags, segments_there_are
from features.kpis.contributions import ratio_contributions, sum_contributions
from features.kpis.ranges import normal_range
from features.kpis.trends import find_trends, measure_series, past_periods

SUMS = ["numerator", "denominator"]


@pytest.mark.parametrize(("n_past", "method"), [(8, "median"), (14, "local level")])
def test_of_200_stationary_series_no_more_than_stated_are_flagged(n_past: int, method: str) -> None:
    """At a level of 95%, the next value of white noise leaves its range in at most 5% and some luck."""
    random, flagged = np.random.default_rng(n_past), 0
    for _ in range(200):
        series = 100 + 10 * random.standard_normal(n_past + 1)
        found = normal_range(series[:-1], level=0.95)
        assert found.method == method
        flagged += found.is_left_by(series[-1])
    # Of 200 with a chance of 5%, more than 18 come once in a hundred times.
    assert flagged <= 18


def test_counts_and_amounts_that_are_skewed_are_not_flagged_more() -> None:
    """Log-normal amounts and Poisson counts, 60 each, at 99%: 4 flags at most, where 1.2 are expected."""
    random, flagged = np.random.default_rng(4), 0
    for _ in range(60):
        amounts = np.exp(0.8 * random.standard_normal(14))
        counts = random.poisson(3, 14).astype(float)
        flagged += normal_range(amounts[:-1], is_positive=True).is_left_by(amounts[-1])
        flagged += normal_range(counts[:-1]).is_left_by(counts[-1])
    assert flagged <= 4


def test_a_season_seen_three_times_is_normal() -> None:
    """A December four times the other months is flagged by nobody who saw three; a December like June is."""
    random = np.random.default_rng(1)
    months = np.tile([100.0] * 11 + [400.0], 4) + 5 * random.standard_normal(48)
    found = normal_range(months[:47], season=12)
    assert "season" in found.method
    assert not found.is_left_by(400)
    assert found.is_left_by(100)
    assert normal_range(months[:47]).method != found.method


def test_a_slope_goes_on() -> None:
    """After thirty periods of two more each, the next is expected two above, within the noise."""
    random = np.random.default_rng(3)
    series = 50 + 2 * np.arange(31) + 0.5 * random.standard_normal(31)
    found = normal_range(series[:-1])
    assert found.expected == pytest.approx(110, abs=1.5)
    assert not found.is_left_by(110)
    assert found.is_left_by(100)


def test_the_median_shrugs_off_one_outlier() -> None:
    """One wild value among eight leaves the range narrow; of five values there is no range."""
    past = np.array([10.0, 11, 9, 10, 1000, 11, 9, 10])
    found = normal_range(past)
    assert (found.method, found.expected) == ("median", 10)
    assert found.high < 30
    short = normal_range(past[:5])
    assert (short.method, short.n_past) == ("too short", 5)
    assert not short.is_left_by(1e9)


def test_what_never_varied_has_a_range_of_one_value_and_gaps_are_no_values() -> None:
    """Seven equal values; NaN among six others leaves six."""
    assert normal_range(np.full(7, 3.0)).method == "constant"
    assert normal_range(np.full(7, 3.0)).is_left_by(3.1)
    gappy = normal_range(np.array([1.0, np.nan, 2, 3, np.nan, 1, 2, 3]))
    assert (gappy.method, gappy.n_past) == ("median", 6)
    assert normal_range(np.array([])).method == "too short"
    with pytest.raises(ValueError, match="level 1 is not between"):
        normal_range(np.arange(9.0), level=1)


def series_of(
    values: list[float], kpi: str = "revenue", unit: str = "EUR", **columns: object
) -> pd.DataFrame:
    """Give the rows of one KPI over months from 2023 on."""
    days = pd.date_range("2023-01-01", periods=len(values) + 1, freq="MS", tz="UTC")
    frame = {"kpi": kpi, "group": "total", "detail": "", "unit": unit, "n": np.nan, "value": values}
    frame |= {"period": days[:-1].strftime("%Y-%m"), "period_start": days[:-1], "period_end": days[1:]}
    return pd.DataFrame(frame | {"numerator": np.nan, "denominator": np.nan} | columns)


def test_a_jump_is_flagged_and_judged_by_the_direction_of_its_kpi() -> None:
    """Revenue that doubles is better, a cycle that doubles is worse, more activities are neither."""
    random = np.random.default_rng(6)
    values = [*(100 + 4 * random.standard_normal(16)), 200.0]
    for kpi, verdict in (("revenue", "better"), ("cycle_won_mean", "worse"), ("open_deals", "")):
        last = find_trends(series_of(values, kpi)).iloc[-1]
        assert (last["is_flagged"], last["side"], last["verdict"]) == (True, "above", verdict)
    assert not find_trends(series_of(values[:-1]))["is_flagged"].any()
    assert len(find_trends(series_of(values), shown=3)) == 3


def test_few_records_are_not_unusual_for_what_chance_brings() -> None:
    """A win rate of half of 40 deals, then none of 2; a first deal won after 12 months without."""
    shares = [0.5, 0.52, 0.48, 0.5, 0.51, 0.49, 0.5, 0.5, 0.0]
    sizes = [40.0] * 8 + [2.0]
    small = series_of(shares, "win_rate", "ratio", n=sizes, denominator=sizes)
    assert not find_trends(small)["is_flagged"].any()
    large = series_of(shares, "win_rate", "ratio", n=40.0, denominator=40.0)
    assert find_trends(large)["is_flagged"].tolist() == [False] * 8 + [True]
    rare = find_trends(series_of([0.0] * 12 + [1.0], "deals_won", "count"))
    assert not rare["is_flagged"].any()
    assert rare["low"].iloc[-1] == 0
    many = find_trends(series_of([0.0] * 12 + [6.0], "deals_won", "count"))
    assert many["is_flagged"].iloc[-1]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(7, 12), st.floats(-1e6, 1e6))
def test_a_range_is_made_of_the_past_alone(seed: int, place: int, other: float) -> None:
    """Whatever comes after a period, or in it, its range stays as it was."""
    values = 100 + 10 * np.random.default_rng(seed).standard_normal(13)
    whole = find_trends(series_of(list(values)))
    changed = values.copy()
    changed[place:] = other
    found = find_trends(series_of(list(changed)))
    columns = ["low", "expected", "high", "method", "n_past"]
    pd.testing.assert_frame_equal(found.loc[:place, columns], whole.loc[:place, columns])


def test_a_series_has_no_hindsight() -> None:
    """Each month is what was known at its end: what was recorded since changes nothing of it."""
    whole = simulate(120, seed=5, years=1).history
    until = utc("2024-09-01T00:00Z")
    periods = past_periods(whole, until, "month")
    names = ["leads_created", "lead_conversion_rate", "revenue"]
    later = measure_series(whole, periods, utc("2024-12-01T00:00Z"), names=names)
    then = measure_series(known_at(whole, until), periods, until, names=names)
    pd.testing.assert_frame_equal(later, then)


def test_periods_begin_with_the_first_whole_one_and_end_with_the_last() -> None:
    """From 12 January to 5 June: February to May; without one there is a message."""
    leads = {"lead_id": ["1"], "created_at": ["2025-01-12T00:00Z"]}
    known = validate_history({"leads": pd.DataFrame(leads)})
    as_of = utc("2025-06-05T00:00Z")
    names = [period.name for period in past_periods(known, as_of, "month")]
    assert names == ["2025-02", "2025-03", "2025-04", "2025-05"]
    assert [p.name for p in past_periods(known, as_of, "month", most=2)] == ["2025-04", "2025-05"]
    with pytest.raises(NotEnoughData, match="no whole year"):
        past_periods(known, as_of, "year")
    with pytest.raises(NotEnoughData, match="no whole month"):
        past_periods(History(), as_of, "month")
    with pytest.raises(InputError, match="none of the periods is over"):
        measure_series(known, [parse_period("2025-06")], as_of)


_AMOUNTS = st.integers(0, 100_000)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_AMOUNTS, _AMOUNTS, _AMOUNTS, _AMOUNTS), min_size=1, max_size=6))
def test_parts_of_a_change_sum_to_it(cells: list[tuple[int, int, int, int]]) -> None:
    """Of sums and of ratios, also where a segment came, went, or has nothing below the line."""
    names = [f"s{n}" for n in range(len(cells))]
    whole = pd.DataFrame(cells, index=names, columns=[*SUMS, "n", "d"], dtype="float64")
    before = whole[SUMS].iloc[1:]
    after = whole[["n", "d"]].set_axis(SUMS, axis=1)
    sums = sum_contributions(before["numerator"], after["numerator"])
    change = after["numerator"].sum() - before["numerator"].sum()
    assert sums["effect"].sum() == pytest.approx(change, abs=1e-6)
    assert sums["expected"].sum() == pytest.approx(change, abs=1e-6) or not before["numerator"].sum()
    found = ratio_contributions(before, after)
    if min(before["denominator"].sum(), after["denominator"].sum()) <= 0:
        assert found.empty
        return
    wholes = [frame["numerator"].sum() / frame["denominator"].sum() for frame in (before, after)]
    assert found["effect"].sum() == pytest.approx(wholes[1] - wholes[0], rel=1e-9, abs=1e-9 * max(wholes))
    parts = found["rate_effect"] + found["mix_effect"]
    assert parts.to_list() == pytest.approx(found["effect"].to_list(), abs=1e-9 * max(*wholes, 1))


def test_mix_and_rate_are_told_apart() -> None:
    """Both rates stay, at 50% and 10%; the weaker half grows from 1/2 to 3/4: all of the fall is mix."""
    before = pd.DataFrame([[50.0, 100.0], [10.0, 100.0]], index=["strong", "weak"], columns=SUMS)
    after = pd.DataFrame([[25.0, 50.0], [15.0, 150.0]], index=["strong", "weak"], columns=SUMS)
    found = ratio_contributions(before, after).set_index("segment")
    assert found["rate_effect"].to_list() == pytest.approx([0, 0])
    assert found["mix_effect"].sum() == pytest.approx(0.2 - 0.3)
    # (3/4 - 1/2) (10% - (30% + 20%) / 2), and (1/4 - 1/2) (50% - 25%).
    assert found.loc["weak", "mix_effect"] == pytest.approx(-0.0375)
    assert found.loc["strong", "mix_effect"] == pytest.approx(-0.0625)


def company(months: list[Period], *, crash: bool) -> History:
    """Two reps, three products; half of 100 deals a month are won; in the last month U1 wins nothing."""
    rows = []
    for place, month in enumerate(months):
        for n in range(100):
            owner = f"U{1 + n % 2}"
            fails = crash and place == len(months) - 1 and owner == "U1"
            won = (n // 2 + place) % 2 == 0 and not fails
            day = month.start + pd.Timedelta(hours=24 + 6 * n)
            rows.append(
                {
                    "deal_id": f"{month.name}-{n}",
                    "created_at": day - pd.Timedelta(days=9),
                    "owner_id": owner,
                    "amount": 100.0 + (n + place) % 3,
                    "outcome": "won" if won else "lost",
                    "closed_at": day,
                    "product": f"P{(n + place) % 3}",
                    "closing_note": f"why {won}",
                }
            )
    users = pd.DataFrame({"user_id": ["U1", "U2"], "team": ["North", "South"]})
    return validate_history({"deals": pd.DataFrame(rows), "users": users})


MONTHS = split(Period(utc("2024-01-01T00:00Z"), utc("2025-01-01T00:00Z"), "2024"), "month")


@pytest.mark.parametrize("kpi", ["revenue", "win_rate", "deals_won"])
def test_the_segment_behind_a_jump_is_named(kpi: str) -> None:
    """The rep who wins nothing explains all of the fall, whatever the other groupings hold."""
    known = company(MONTHS, crash=True)
    found = find_trends(measure_series(known, MONTHS, MONTHS[-1].end, names=[kpi]))
    flagged = found[found["is_flagged"]]
    assert flagged["period"].to_list() == ["2024-12"]
    assert flagged["verdict"].to_list() == ["worse"]
    segments = explain_flags(known, flagged, MONTHS)
    first = segments.iloc[0]
    assert (first["by"], first["segment"]) in (("owner", "U1"), ("team", "North"))
    assert first["share"] == pytest.approx(1, abs=0.15)
    assert {"owner", "team", "product"} <= set(segments["by"])
    assert segments["change"].to_list() == pytest.approx([first["change"]] * len(segments))
    assert first["is"] == pytest.approx(flagged["value"].iloc[0])


def test_a_calm_company_is_not_flagged() -> None:
    """The same company without the crash has nothing to explain."""
    known = company(MONTHS, crash=False)
    found = find_trends(measure_series(known, MONTHS, MONTHS[-1].end, names=["revenue", "win_rate"]))
    assert not found["is_flagged"].any()
    assert explain_flags(known, found[found["is_flagged"]], MONTHS).empty


def test_the_outcome_by_another_name_is_no_segment() -> None:
    """A note that tells the outcome would explain every win rate; reps and products may."""
    found = segments_there_are(company(MONTHS, crash=False), MONTHS[-1].end)
    assert "closing_note" not in found
    assert {"owner", "team", "product"} <= set(found)


def test_a_median_is_not_split() -> None:
    """The groups of a median do not add up to it, so no segment is claimed."""
    known = company(MONTHS, crash=False)
    rows = find_trends(measure_series(known, MONTHS, MONTHS[-1].end, names=["deal_value_median"]))
    assert explain_flags(known, rows.tail(1), MONTHS).empty
