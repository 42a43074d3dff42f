"""Retention, churn, revenue retention and lifetime value, computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from crm.errors import InputError
from crm.history import History, utc
from crm.periods import parse_period
from crm.validation import validate_history
from features.kpis import KpiSettings, measure_kpis

QUARTER = parse_period("2025-Q1")
LATER = "2026-01-01T00:00Z"
MONTHS = 90 / (365.2425 / 12)  # of the quarter


def history(**tables: dict[str, object]) -> History:
    """Give a history of these tables."""
    return validate_history({name: pd.DataFrame(columns) for name, columns in tables.items()})


def rows(known: History, name: str, as_of: str = LATER, **options: Any) -> pd.DataFrame:
    """Measure one KPI over the first quarter of 2025."""
    return measure_kpis(known, [QUARTER], utc(as_of), names=[name], **options)


def total(known: History, name: str, as_of: str = LATER, **options: Any) -> dict[str, Any]:
    """Give its only total."""
    found = rows(known, name, as_of, **options)
    found = found[found["group"] == "total"]
    assert len(found) == 1
    return dict(found.iloc[0])


#: A stays and grows by a second contract; B leaves in February; C shrinks; D comes in February and leaves in
#: March; E left before the quarter. A and B came in 2024-Q1, C in 2024-Q3, E in 2023-Q4, D in the quarter.
CONTRACTS = {
    "subscription_id": ["A1", "A2", "B1", "C1", "C2", "D1", "E1"],
    "account_id": ["A", "A", "B", "C", "C", "D", "E"],
    "started_at": [
        "2024-01-10T00:00Z",
        "2025-02-01T00:00Z",
        "2024-03-01T00:00Z",
        "2024-07-01T00:00Z",
        "2025-02-10T00:00Z",
        "2025-02-01T00:00Z",
        "2023-10-01T00:00Z",
    ],
    "ended_at": [
        None,
        None,
        "2025-02-20T00:00Z",
        "2025-02-10T00:00Z",
        None,
        "2025-03-10T00:00Z",
        "2025-01-01T00:00Z",
    ],
    "monthly_amount": [100.0, 50.0, 200.0, 300.0, 120.0, 80.0, 500.0],
    "currency": ["EUR"] * 7,
}


def test_retention_is_of_those_who_were_customers_when_the_period_began() -> None:
    """Of A, B and C, B leaves; D came later, and E was gone in the first moment of the quarter."""
    known = history(subscriptions=CONTRACTS)
    kept, left = total(known, "customer_retention"), total(known, "customer_churn")
    assert (kept["numerator"], kept["denominator"], kept["value"]) == (2, 3, 2 / 3)
    assert (left["numerator"], left["denominator"], left["value"]) == (1, 3, 1 / 3)
    assert kept["censored"] == 0
    assert kept["note"] == "a customer has a running contract"


def test_cohorts_are_the_quarters_in_which_accounts_became_customers() -> None:
    """2024-Q1 has A, who stays, and B; a cohort's churn is of those there at the beginning."""
    known = history(subscriptions=CONTRACTS)
    kept = rows(known, "cohort_retention").set_index("detail")[["numerator", "denominator"]]
    assert kept.T.to_dict("list") == {
        "2023-Q4": [0, 1],
        "2024-Q1": [1, 2],
        "2024-Q3": [1, 1],
        "2025-Q1": [0, 1],
    }
    left = rows(known, "cohort_churn").set_index("detail")[["numerator", "denominator"]]
    assert left.T.to_dict("list") == {"2024-Q1": [1, 2], "2024-Q3": [0, 1]}


def test_gross_retention_counts_no_growth_and_net_retention_does() -> None:
    """600 a month at the beginning; A 100 (150 with growth), C 120 of 300 at the end, B none."""
    known = history(subscriptions=CONTRACTS)
    gross, net = total(known, "gross_revenue_retention"), total(known, "net_revenue_retention")
    assert (gross["numerator"], gross["denominator"]) == (220, 600)
    assert (net["numerator"], net["denominator"]) == (270, 600)
    assert np.isnan(gross["low"])


def test_lifetime_value_is_revenue_over_customers_lost() -> None:
    """B and D are lost; each contract brings its share of days of the quarter."""
    found = total(history(subscriptions=CONTRACTS), "customer_lifetime_value")
    days = 100 * 90 + 50 * 59 + 200 * 50 + 300 * 40 + 120 * 50 + 80 * 37
    assert found["denominator"] == 2
    assert found["numerator"] == pytest.approx(days / 90 * MONTHS)
    assert found["value"] == pytest.approx(days / 90 * MONTHS / 2)
    # Two of a Poisson law: 0.2422 to 7.2247 (Garwood 1936).
    assert found["low"] == pytest.approx(found["numerator"] / 7.2247, rel=1e-4)
    assert found["high"] == pytest.approx(found["numerator"] / 0.24221, rel=1e-4)
    assert (found["n"], found["censored"], found["unit"]) == (4, 2, "EUR")


def test_an_end_that_is_not_known_yet_has_not_come() -> None:
    """In March B's end is recorded late: B still is a customer then, and the period is not over."""
    late = CONTRACTS | {"ended_recorded_at": [None, None, "2025-04-05T00:00Z", None, None, None, None]}
    known = history(subscriptions=late)
    found = total(known, "customer_retention", as_of="2025-03-15T00:00Z")
    assert (found["value"], found["censored"]) == (1, 3)
    assert found["note"].endswith("; the period is not over")
    assert total(known, "customer_retention")["value"] == 2 / 3


def test_nobody_lost_leaves_lifetime_value_unknown_above_a_bound() -> None:
    """One customer who stays: no value, and at least the revenue over the most that could have been lost."""
    one = {name: values[:1] for name, values in CONTRACTS.items()}
    found = total(history(subscriptions=one), "customer_lifetime_value")
    assert np.isnan(found["value"])
    assert np.isnan(found["high"])
    assert found["low"] == pytest.approx(100 * MONTHS / 3.68888, rel=1e-5)
    assert total(history(subscriptions=one), "customer_retention")["value"] == 1


def test_without_customers_there_is_nothing_to_divide_by() -> None:
    """An empty history, and a period before the first contract, have no rates, and no error."""
    for known in (History(), history(subscriptions={n: v[1:2] for n, v in CONTRACTS.items()})):
        for name in ("customer_retention", "customer_churn", "net_revenue_retention"):
            found = total(known, name)
            assert np.isnan(found["value"])
            assert found["denominator"] == 0
    clv = total(History(), "customer_lifetime_value")
    assert np.isnan([clv["value"], clv["low"], clv["high"]]).all()


#: A buys each half year, B bought once, 13 months before the quarter ends.
ORDERS = {
    "order_id": ["1", "2", "3", "4", "5"],
    "account_id": ["A", "A", "A", "B", None],
    "ordered_at": [
        "2024-01-10T00:00Z",
        "2024-07-01T00:00Z",
        "2025-01-10T00:00Z",
        "2024-03-01T00:00Z",
        "2025-01-01T00:00Z",
    ],
    "amount": [100.0, 100.0, 300.0, 50.0, 9.0],
    "currency": ["EUR"] * 5,
}


def test_without_subscriptions_a_customer_is_who_bought_in_the_last_year() -> None:
    """At the beginning A and B, at the end A alone; A's year of purchases grows from 200 to 400."""
    known = history(orders=ORDERS)
    found = total(known, "customer_retention")
    assert (found["numerator"], found["denominator"]) == (1, 2)
    assert found["note"] == ("a customer has ordered in the last 365 days; 1 without an account left out")
    net = total(known, "net_revenue_retention")
    assert net["value"] == pytest.approx(400 / 250)
    assert total(known, "gross_revenue_retention")["value"] == pytest.approx(200 / 250)


def test_the_inactivity_rule_is_the_users() -> None:
    """With 500 days, B still is a customer at the end; a rule of no days is refused."""
    found = total(history(orders=ORDERS), "customer_churn", settings=KpiSettings(inactive_days=500))
    assert found["value"] == 0
    with pytest.raises(InputError, match="inactive_days = 0"):
        KpiSettings(inactive_days=0)


def test_without_orders_deals_won_make_customers_and_groups_follow_the_deal() -> None:
    """Each account is of the owner of its last deal won; the groups add up to the total."""
    deals = {
        "deal_id": ["D1", "D2", "D3"],
        "created_at": ["2024-01-01T00:00Z"] * 3,
        "account_id": ["A", "B", "B"],
        "owner_id": ["U1", "U1", "U2"],
        "amount": [10.0, 20.0, 30.0],
        "outcome": ["won"] * 3,
        "closed_at": ["2024-02-01T00:00Z", "2024-06-01T00:00Z", "2024-09-01T00:00Z"],
    }
    found = rows(history(deals=deals), "customer_retention", by="owner").set_index("group")
    assert found.loc["total", ["numerator", "denominator"]].to_list() == [1, 2]
    assert found.loc["U1", ["numerator", "denominator"]].to_list() == [0, 1]
    assert found.loc["U2", ["numerator", "denominator"]].to_list() == [1, 1]
