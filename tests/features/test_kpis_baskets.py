"""Products bought together and average baskets, computed by hand; and whether the range of lift holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crm.history import History, utc
from crm.periods import parse_period
from crm.validation import validate_history
from features.kpis import measure_kpis
from features.kpis.baskets import baskets_of, frequent_rules, lift_range
from features.kpis.evidence import gather

YEAR, AS_OF = parse_period("2025"), utc("2026-01-01T00:00Z")
NAMES = ["together_support", "together_confidence", "together_lift"]


def orders(baskets: list[str], when: str = "2025-05-01T00:00Z") -> History:
    """Give a history of orders, each of the products its letters name, of 10 a product."""
    ids = [str(place) for place in range(len(baskets))]
    lines = [(order, product) for order, basket in zip(ids, baskets, strict=True) for product in basket]
    tables = {
        "orders": pd.DataFrame(
            {
                "order_id": ids,
                "account_id": "A",
                "user_id": ["U1" if place % 2 else "U2" for place in range(len(ids))],
                "ordered_at": when,
                "amount": [10.0 * len(basket) for basket in baskets],
                "currency": "EUR",
            }
        ),
        "order_lines": pd.DataFrame(
            {
                "order_line_id": [str(place) for place in range(len(lines))],
                "order_id": [order for order, _ in lines],
                "product": [product for _, product in lines],
            }
        ),
    }
    return validate_history(tables)


def test_support_confidence_and_lift_of_a_pair() -> None:
    """Of 20 baskets, x is in 8, y in 10, both in 6: 30%, 75% of those with x, 1.5 times chance."""
    known = orders(["xy"] * 6 + ["x"] * 2 + ["y"] * 4 + ["z"] * 8)
    found = measure_kpis(known, [YEAR], AS_OF, names=NAMES).set_index("kpi")
    assert set(found["detail"]) == {"y → x"} or set(found["detail"]) == {"x → y"}
    assert found.loc["together_support", "value"] == pytest.approx(0.3)
    confidence = {"x → y": 6 / 8, "y → x": 6 / 10}[found["detail"].iloc[0]]
    assert found.loc["together_confidence", "value"] == pytest.approx(confidence)
    lift = found.loc["together_lift"]
    assert lift["value"] == pytest.approx(1.5)
    assert (lift["numerator"], lift["denominator"], lift["n"]) == (6, 4, 20)
    spread = np.exp(1.959964 * np.sqrt(1 / 6 - 1 / 8 - 1 / 10 + (2 * 1.5 - 1) / 20))
    assert (lift["low"], lift["high"]) == (pytest.approx(1.5 / spread), pytest.approx(1.5 * spread))
    assert lift["note"] == "a basket is an order"


def test_a_set_of_three_is_found_once_with_its_strongest_rule() -> None:
    """x, y and z together in 6 of 30 baskets: two of them foretell the third."""
    known = orders(["xyz"] * 6 + ["x"] * 8 + ["y"] * 8 + ["z"] * 8)
    baskets = baskets_of(gather(known, AS_OF), YEAR)
    triples = [rule for rule in frequent_rules(baskets) if len(rule[0]) == 2]
    assert len(triples) == 1
    assert sorted((*triples[0][0], triples[0][1])) == [0, 1, 2]


def test_groups_hold_the_rules_of_the_total() -> None:
    """By owner each has its own counts of the same pair, which add up."""
    known = orders(["xy"] * 6 + ["x"] * 2 + ["y"] * 4 + ["z"] * 8)
    found = measure_kpis(known, [YEAR], AS_OF, names=["together_support"], by="owner").set_index("group")
    assert found.loc[["U1", "U2"], "numerator"].sum() == found.loc["total", "numerator"] == 6
    assert found.loc[["U1", "U2"], "denominator"].to_list() == [10, 10]


def test_what_is_rare_or_alone_is_no_set() -> None:
    """A pair in four baskets, one order, no order and orders without lines have no rules, and no error."""
    few = orders(["xy"] * 4 + ["x"] * 4)
    for known in (few, orders(["xy"]), orders(["x"] * 9), History()):
        found = measure_kpis(known, [YEAR], AS_OF, names=NAMES)
        assert found["value"].isna().all()
        assert len(found) == 3


def test_an_order_recorded_later_is_in_no_basket() -> None:
    """What was ordered in May is unknown on 1 May, when it is recorded."""
    known = orders(["xy"] * 6)
    early = measure_kpis(known, [YEAR], utc("2025-05-01T00:00Z"), names=["average_basket"]).iloc[0]
    assert np.isnan(early["value"])
    late = measure_kpis(known, [YEAR], utc("2025-05-01T00:00:01Z"), names=["average_basket"]).iloc[0]
    assert (late["value"], late["n"]) == (20, 6)


def test_average_baskets_are_of_orders_with_an_amount() -> None:
    """20 and 10 and one unsaid: 15 a basket; two, one and one products: 4/3."""
    known = orders(["xy", "x", "z"])
    unsaid = known.orders.assign(amount=[20.0, 10.0, np.nan])
    known = History.of(known.frames() | {"orders": unsaid})
    found = measure_kpis(known, [YEAR], AS_OF, names=["average_basket", "products_per_basket"])
    found = found.set_index("kpi")
    assert found.loc["average_basket", ["value", "note"]].to_list() == [15, "1 without an amount"]
    assert found.loc["products_per_basket", "value"] == pytest.approx(4 / 3)


def test_without_lines_a_basket_is_what_an_account_won() -> None:
    """Two deals of one account are one basket of two products; a deal lost is in none."""
    deals = pd.DataFrame(
        {
            "deal_id": ["1", "2", "3", "4"],
            "created_at": "2025-01-01T00:00Z",
            "account_id": ["A", "A", "B", "B"],
            "product": ["x", "y", "x", "y"],
            "outcome": ["won", "won", "won", "lost"],
            "closed_at": "2025-02-01T00:00Z",
        }
    )
    known = validate_history({"deals": deals})
    found = measure_kpis(known, [YEAR], AS_OF, names=["products_per_basket"]).iloc[0]
    assert (found["value"], found["n"]) == (1.5, 2)
    assert found["note"] == "a basket is what an account bought, by its deals won"


@pytest.mark.parametrize(("both", "first", "second"), [(0.1, 0.2, 0.3), (0.03, 0.1, 0.3), (0.3, 0.5, 0.4)])
def test_the_range_of_lift_holds_its_level(both: float, first: float, second: float) -> None:
    """Of 2,000 samples of 300 baskets, 93 to 97% have the true lift in their 95% range."""
    random = np.random.default_rng(11)
    cells = [both, first - both, second - both, 1 - first - second + both]
    counts = random.multinomial(300, cells, size=2000)
    true, held = both / (first * second), 0
    for n_both, only_first, only_second, _ in counts:
        _, low, high = lift_range(n_both, n_both + only_first, n_both + only_second, 300)
        held += low <= true <= high
    assert 0.93 <= held / 2000 <= 0.97


def test_lift_of_what_is_never_bought_is_unknown() -> None:
    """Nothing bought: no lift; never together: zero without a range; always together: one, exactly."""
    assert np.isnan(lift_range(0, 0, 5, 10)).all()
    assert lift_range(0, 3, 5, 10)[0] == 0
    assert np.isnan(lift_range(0, 3, 5, 10)[1:]).all()
    assert lift_range(10, 10, 10, 10) == (1.0, 1.0, 1.0)
