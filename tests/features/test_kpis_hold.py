"""What must hold of every KPI: no hindsight, groups that add up, no matter of order, a full catalogue."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.errors import InputError
from crm.groups import TOTAL
from crm.history import History, utc
from crm.known import known_at
from crm.periods import between, parse_period, split
from crm.schema import TABLES
from crm.simulator import simulate
from features.kpis import KPIS, KpiSettings, measure_kpis
from features.kpis.measure import COLUMNS

#: KPIs that count or add up records, each of which is in one group.
ADDING = ("leads_created", "deals_created", "deals_won", "revenue", "open_deals", "pipeline_value")
#: Ratios of counts and means, whose parts add up.
PARTS = ("lead_conversion_rate", "qualification_rate", "lead_activation_rate", "win_rate", "deal_value_mean")


@lru_cache(maxsize=1)
def company() -> History:
    """A small company of two years."""
    return simulate(150, seed=3, years=2).history


def measured(history: History, as_of: pd.Timestamp, by: str | None = None) -> pd.DataFrame:
    """Measure every KPI over the first half of 2024."""
    return measure_kpis(history, [between("2024-01-01", "2024-07-01")], as_of, by=by)


@settings(max_examples=3, deadline=None)
@given(st.integers(60, 230), st.sampled_from([None, "team"]))
def test_nothing_recorded_at_or_after_as_of_changes_a_kpi(day: int, by: str | None) -> None:
    """The whole history and the one that was known then give the same rows."""
    as_of = utc("2024-01-01T00:00Z") + pd.Timedelta(days=day)
    whole = company()
    was_known = known_at(whole, as_of)
    assert sum(map(len, was_known.frames().values())) < sum(map(len, whole.frames().values()))
    pd.testing.assert_frame_equal(measured(whole, as_of, by), measured(was_known, as_of, by))


def test_a_record_appended_later_changes_nothing_even_if_it_says_otherwise() -> None:
    """Deals in another currency, of a new owner, won in the period but recorded at as_of, leave no trace."""
    as_of = utc("2024-05-15T00:00Z")
    whole = company()
    late = whole.deals.head(3).assign(
        deal_id=pd.Series(["X1", "X2", "X3"], dtype="str"),
        currency=pd.Series(["USD"] * 3, dtype="str"),
        owner_id=pd.Series(["new"] * 3, dtype="str"),
        recorded_at=as_of,
        closed_at=utc("2024-05-01T00:00Z"),
        closed_recorded_at=as_of,
        outcome=pd.Series(["won"] * 3, dtype="str"),
    )
    more = History.of(
        whole.frames() | {"deals": pd.concat([whole.deals, late], ignore_index=True)}, whole.facts
    )
    pd.testing.assert_frame_equal(measured(more, as_of, "owner"), measured(whole, as_of, "owner"))


def test_the_order_of_rows_changes_nothing() -> None:
    """A history whose tables are shuffled has the same KPIs."""
    as_of = utc("2024-05-15T00:00Z")
    whole = company()
    random = np.random.default_rng(5)
    shuffled = {
        name: frame.iloc[random.permutation(len(frame))].reset_index(drop=True)
        for name, frame in whole.frames().items()
    }
    pd.testing.assert_frame_equal(
        measured(History.of(shuffled, whole.facts), as_of, "team"), measured(whole, as_of, "team")
    )


@pytest.mark.parametrize("by", ["owner", "team", "region", "segment"])
def test_groups_add_up_to_the_total(by: str) -> None:
    """Counts and sums, and what is above and below the line of ratios, are those of all groups together."""
    periods = [parse_period("2024-Q1"), parse_period("2024-Q2")]
    names = [*ADDING, *PARTS]
    found = measure_kpis(company(), periods, utc("2024-07-15T00:00Z"), names=names, by=by)
    keys = ["kpi", "period"]
    total = found[found["group"] == TOTAL].set_index(keys)
    groups = found[found["group"] != TOTAL].groupby(keys)[["value", "numerator", "denominator", "n"]].sum()
    assert found["group"].nunique() > 2
    for name in names:
        columns = ["value", "n"] if name in ADDING else ["numerator", "denominator", "n"]
        pd.testing.assert_frame_equal(groups.loc[[name], columns], total.loc[[name], columns])


def test_months_add_up_to_their_quarter() -> None:
    """What is created, won and earned in three months is that of the quarter."""
    quarter = parse_period("2024-Q2", "Europe/Paris")
    months = split(quarter, "month", "Europe/Paris")
    names = ["leads_created", "deals_created", "deals_won", "revenue"]
    found = measure_kpis(company(), [*months, quarter], utc("2024-07-15T00:00Z"), names=names)
    values = found.pivot_table(index="kpi", columns="period", values="value")
    parts = values[[month.name for month in months]].sum(axis=1)
    pd.testing.assert_series_equal(parts, values[quarter.name], check_names=False)


def test_every_kpi_has_a_total_whatever_the_history_lacks() -> None:
    """With any one table empty, and with all of them, each KPI has a row or more, and none fails."""
    as_of = utc("2024-07-15T00:00Z")
    quarter = [parse_period("2024-Q2")]
    whole = company()
    for name in TABLES:
        needing = [kpi.name for kpi in KPIS.values() if name in kpi.tables] or ["quota_attainment"]
        lacking = History.of(whole.frames() | {name: getattr(whole, name).iloc[:0]}, whole.facts)
        found = measure_kpis(lacking, quarter, as_of, by="team", names=needing)
        assert set(found.loc[found["group"] == TOTAL, "kpi"]) == set(needing), name
    none = measure_kpis(History(), quarter, as_of, by="team")
    assert set(none.loc[none["group"] == TOTAL, "kpi"]) == set(KPIS)
    assert (none["value"].fillna(0) == 0).all()


def test_a_kpi_alone_is_as_among_all_others() -> None:
    """What is asked for beside it changes no KPI."""
    as_of, quarter = utc("2024-05-15T00:00Z"), [parse_period("2024-Q2")]
    every = measure_kpis(company(), quarter, as_of, by="team")
    for name in list(KPIS)[::6]:
        alone = measure_kpis(company(), quarter, as_of, by="team", names=[name])
        pd.testing.assert_frame_equal(alone, every[every["kpi"] == name].reset_index(drop=True))


def test_a_period_to_come_has_a_pipeline_and_no_rates() -> None:
    """Of next year nothing is won yet: its deals are those open now, its rates NaN."""
    as_of = utc("2024-05-15T00:00Z")
    found = measure_kpis(company(), [parse_period("2025-Q1")], as_of).set_index("kpi")["value"]
    assert found["pipeline_value"] > 0
    assert found["revenue"] == 0
    assert np.isnan(found["win_rate"])
    assert np.isnan(found["sales_velocity"])


def test_rows_have_the_columns_that_are_documented() -> None:
    """Also where no period is asked for; low and high hold the value between them."""
    as_of = utc("2024-05-15T00:00Z")
    assert list(measure_kpis(company(), [], as_of).columns) == list(COLUMNS)
    found = measured(company(), as_of)
    assert list(found.columns) == list(COLUMNS)
    ranged = found[found["value"].notna() & found["low"].notna() & found["high"].notna()]
    assert len(ranged) > 20
    assert ((ranged["low"] <= ranged["value"] + 1e-12) & (ranged["value"] <= ranged["high"] + 1e-12)).all()


def test_what_is_not_known_is_refused_with_what_there_is() -> None:
    """A KPI and a group that there are not, a moment without a zone, and hours that are none."""
    quarter, as_of = [parse_period("2024-Q2")], utc("2024-05-15T00:00Z")
    with pytest.raises(InputError, match=r"'win_rates' is not known: give one of .*win_rate"):
        measure_kpis(company(), quarter, as_of, names=["win_rates"])
    with pytest.raises(InputError, match=r"'colour' is not known.*team.*segment"):
        measure_kpis(company(), quarter, as_of, by="colour")
    with pytest.raises(ValueError, match="names no time zone"):
        measure_kpis(company(), quarter, pd.Timestamp("2024-05-15"))
    with pytest.raises(InputError, match="answer_hours = 0"):
        KpiSettings(answer_hours=0)


def test_a_kpi_whose_records_have_no_such_group_has_its_total() -> None:
    """Leads have no product: by product, they have a total, and a deal's KPI each product's."""
    found = measure_kpis(
        company(),
        [between("2022-01-01", "2025-01-01")],
        utc("2025-01-01T00:00Z"),
        names=["leads_created", "deals_won"],
        by="product",
    )
    of_leads = found[found["kpi"] == "leads_created"].set_index("group")["value"]
    assert of_leads[TOTAL] == 150
    of_deals = found[found["kpi"] == "deals_won"].set_index("group")["value"]
    assert of_deals.drop(TOTAL).sum() == of_deals[TOTAL] > 0


@pytest.mark.parametrize("kpi", KPIS.values(), ids=KPIS)
def test_the_catalogue_says_what_each_kpi_is(kpi: object) -> None:
    """Name, both labels, formula, coverage, unit, direction, source and tables are there, and are such."""
    from features.kpis import Kpi

    assert isinstance(kpi, Kpi)
    assert KPIS[kpi.name] is kpi
    assert kpi.name.isidentifier()
    for text in (kpi.label_en, kpi.label_fr, kpi.formula, kpi.covers, kpi.source, kpi.unit):
        assert text.strip() == text != ""
    assert kpi.label("en") == kpi.label_en
    assert kpi.label("fr") == kpi.label_fr != kpi.label_en or kpi.label_en in ("Pipeline",)
    assert kpi.better in ("higher", "lower", "neither")
    assert kpi.tables
    assert set(kpi.tables) <= set(TABLES)
    assert "'" not in kpi.label_fr, "French has typographic apostrophes"


def test_labels_are_told_apart() -> None:
    """No two KPIs are called the same, in either language."""
    for language in ("label_en", "label_fr"):
        labels = [getattr(kpi, language) for kpi in KPIS.values()]
        assert len(set(labels)) == len(labels)


def test_the_documentation_names_every_kpi() -> None:
    """docs/kpis.md has a row for each entry of the catalogue, with its formula."""
    text = (Path(__file__).parents[2] / "docs" / "kpis.md").read_text(encoding="utf-8")
    for kpi in KPIS.values():
        assert f"| `{kpi.name}` | {kpi.formula}." in text
