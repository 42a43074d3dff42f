"""What is bought at once: the average basket, and products bought together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.groups import TOTAL
from crm.periods import Period
from features.kpis.aggregates import finished, mean_rows, noted
from features.kpis.evidence import Evidence, within
from features.kpis.kpi import Kpi

#: Two-sided 95%: the quantile of the normal distribution.
_Z = 1.959963984540054
#: A set must be in so many baskets, and in this share of them, to be frequent.
FEWEST_BASKETS, LEAST_SHARE = 5, 0.01
#: Sets of so many products at most, and so many of them shown.
MOST_PRODUCTS, MOST_SETS = 3, 10
_PRODUCT = "product"


@dataclass(frozen=True)
class Baskets:
    """Baskets of a period.

    Parameters
    ----------
    records : DataFrame, shape (n_baskets, ...)
        One row a basket, to be grouped by.
    holds : ndarray of bool, shape (n_baskets, n_products)
    products : tuple of str
    basis : str
        What a basket is.
    """

    records: pd.DataFrame
    holds: npt.NDArray[np.bool_]
    products: tuple[str, ...]
    basis: str


def baskets_of(evidence: Evidence, period: Period) -> Baskets:
    """Give the orders of a period with their products; where no order has lines, what each account bought.

    An account's basket is the products of its deals won in the period, where deals have a product.
    """
    records = evidence.records
    if len(records.order_lines):
        orders = records.orders[within(records.orders["ordered_at"], period)]
        lines = records.order_lines[["order_id", _PRODUCT]]
        held = lines[lines["order_id"].isin(orders["order_id"])]
        kept = orders[orders["order_id"].isin(held["order_id"])]
        return _basket(kept, "order_id", held, "an order")
    deals = records.deals
    name = next((str(c) for c in deals.columns if str(c).lower() == _PRODUCT), None)
    won = deals[
        (deals["outcome"] == "won") & within(deals["closed_at"], period) & deals["account_id"].notna()
    ]
    held = won[["account_id"]].assign(product=won[name] if name else pd.Series(pd.NA, won.index, dtype="str"))
    held = held[held[_PRODUCT].notna()]
    first = won[won["account_id"].isin(held["account_id"])].drop_duplicates("account_id")
    return _basket(first, "account_id", held, "what an account bought, by its deals won")


def _basket(records: pd.DataFrame, key: str, held: pd.DataFrame, basis: str) -> Baskets:
    products = sorted(held[_PRODUCT].unique())
    holds = np.zeros((len(records), len(products)), dtype=bool)
    rows = pd.Index(records[key]).get_indexer(pd.Index(held[key]))
    holds[rows, pd.Index(products).get_indexer(pd.Index(held[_PRODUCT]))] = True
    return Baskets(records.reset_index(drop=True), holds, tuple(products), basis)


def lift_range(both: float, first: float, second: float, baskets: float) -> tuple[float, float, float]:
    """Give how many times more often two things are together than by chance, with its 95% range.

    Lift is P(both) / (P(first) P(second)). The range is that of its logarithm by the delta method for
    multinomial counts (Agresti 2013, Categorical Data Analysis, 3rd ed., sec. 16.1), whose variance comes to
    (1 / P(both) - 1 / P(first) - 1 / P(second) + 2 lift - 1) / baskets.

    Parameters
    ----------
    both, first, second, baskets : float
        Numbers of baskets.

    Returns
    -------
    lift, low, high : float
        NaN where one of the two is never bought; no range where both never are together.

    Examples
    --------
    >>> [round(x, 2) for x in lift_range(both=20, first=40, second=25, baskets=100)]
    [2.0, 1.57, 2.54]
    """
    if min(first, second, baskets) <= 0:
        return np.nan, np.nan, np.nan
    lift = both * baskets / (first * second)
    if both == 0:
        return 0.0, np.nan, np.nan
    variance = max(1 / both - 1 / first - 1 / second + (2 * lift - 1) / baskets, 0.0)
    reach = math.exp(_Z * math.sqrt(variance))
    return lift, lift / reach, lift * reach


def frequent_rules(baskets: Baskets) -> list[tuple[tuple[int, ...], int]]:
    """Give the rules of the strongest frequent sets: products, and one more that goes with them.

    The frequent sets are found by FP-growth (Han, Pei and Yin 2000; ``mlxtend``). Each set gives one rule,
    the one with the highest lift; the strongest are those whose lift has the highest low end of its range.

    Returns
    -------
    list of (tuple of int, int)
        Places among the products; at most :data:`MOST_SETS`.
    """
    from mlxtend.frequent_patterns import fpgrowth

    n = len(baskets.holds)
    least = max(FEWEST_BASKETS, math.ceil(LEAST_SHARE * n))
    if n < least or len(baskets.products) < 2:
        return []
    # Half a basket less, for a support of exactly the least is frequent whatever the rounding.
    table = pd.DataFrame(baskets.holds)
    sets = fpgrowth(table, min_support=(least - 0.5) / n, max_len=MOST_PRODUCTS)["itemsets"]
    best: list[tuple[float, tuple[int, ...], int]] = []
    for found in sets:
        members = sorted(int(place) for place in found)
        if len(members) < 2:
            continue
        rules = [(tuple(p for p in members if p != last), last) for last in members]
        lifts = [(_lift(baskets.holds, *rule), rule) for rule in rules]
        (_, low, _), rule = max(lifts, key=lambda pair: (pair[0][0], pair[1]))
        best.append((-low, *rule))
    return [(first, last) for _, first, last in sorted(best)[:MOST_SETS]]


def _counts(
    holds: npt.NDArray[np.bool_], first: tuple[int, ...], last: int
) -> tuple[float, float, float, float]:
    """Give the numbers of baskets with both sides of a rule, with each, and of all."""
    has_first, has_last = holds[:, list(first)].all(axis=1), holds[:, last]
    return (
        float((has_first & has_last).sum()),
        float(has_first.sum()),
        float(has_last.sum()),
        float(len(holds)),
    )


def _lift(holds: npt.NDArray[np.bool_], first: tuple[int, ...], last: int) -> tuple[float, float, float]:
    return lift_range(*_counts(holds, first, last))


def _together(evidence: Evidence, period: Period, what: str) -> pd.DataFrame:
    """Give one figure of each rule, in total and in each group; the rules are those of the total."""
    baskets = evidence.once(("baskets", period), lambda: baskets_of(evidence, period))
    rules = evidence.once(("rules", period), lambda: frequent_rules(baskets))
    groups = evidence.group(baskets.records) if evidence.can_group(baskets.records) else None
    named = [TOTAL] if groups is None else [TOTAL, *sorted({*evidence.groups, *groups})]
    rows = []
    for first, last in rules:
        detail = f"{' + '.join(baskets.products[place] for place in first)} → {baskets.products[last]}"
        for group in named:
            rows_of = slice(None) if group == TOTAL or groups is None else (groups == group).to_numpy()
            both, left, right, n = _counts(baskets.holds[rows_of], first, last)
            if what == "support":
                row = (both, n, *_share(both, n))
            elif what == "confidence":
                row = (both, left, *_share(both, left))
            else:
                expected = left * right / n if n else np.nan
                row = (both, expected, *lift_range(both, left, right, n))
            rows.append((group, detail, *row, n))
    columns = ["group", "detail", "numerator", "denominator", "value", "low", "high", "n"]
    frame = pd.DataFrame(rows, columns=columns)
    if not rows:
        frame = pd.DataFrame({"group": named, "value": np.nan, "n": float(len(baskets.holds))})
    return noted(finished(frame), f"a basket is {baskets.basis}")


def _share(part: float, whole: float) -> tuple[float, float, float]:
    from statsmodels.stats.proportion import proportion_confint

    if whole <= 0:
        return np.nan, np.nan, np.nan
    low, high = proportion_confint(part, whole, alpha=0.05, method="wilson")
    return part / whole, float(low), float(high)


def together_support(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of baskets in which products are together."""
    return _together(evidence, period, "support")


def together_confidence(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Share of the baskets with the first products that hold the last one too."""
    return _together(evidence, period, "confidence")


def together_lift(evidence: Evidence, period: Period) -> pd.DataFrame:
    """How many times more often products are together than by chance."""
    return _together(evidence, period, "lift")


def average_basket(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Mean amount of the orders."""
    orders = evidence.records.orders
    orders = orders[within(orders["ordered_at"], period)]
    amounts = evidence.in_currency(orders["amount"], orders["currency"], orders["ordered_at"])
    missing = int(amounts.isna().sum())
    return noted(mean_rows(evidence, orders, amounts), f"{missing} without an amount" if missing else "")


def products_per_basket(evidence: Evidence, period: Period) -> pd.DataFrame:
    """Mean number of different products in a basket."""
    baskets = baskets_of(evidence, period)
    sizes = pd.Series(baskets.holds.sum(axis=1), index=baskets.records.index, dtype="float64")
    return noted(mean_rows(evidence, baskets.records, sizes), f"a basket is {baskets.basis}")


_COVERS = (
    "Orders of the period; where orders have no lines, the products of the deals that each account won in it."
)
_AGRAWAL = "Agrawal, Imielinski, Swami 1993 (SIGMOD); sets by FP-growth: Han, Pei, Yin 2000 (SIGMOD)"
_TABLES = ("orders", "order_lines")
_DETAIL = "the products, and the one that goes with them"

KPIS = (
    Kpi(
        name="average_basket",
        label_en="Average basket",
        label_fr="Panier moyen",
        formula="amount of orders / number of orders with an amount",
        covers="Orders of the period.",
        unit="currency",
        better="higher",
        source="Farris et al., Marketing Metrics, 3rd ed. 2015, ch. 7",
        tables=("orders",),
        measure=average_basket,
    ),
    Kpi(
        name="products_per_basket",
        label_en="Products per basket",
        label_fr="Produits par panier",
        formula="number of different products in baskets / number of baskets",
        covers=_COVERS,
        unit="count",
        better="higher",
        source="counting",
        tables=_TABLES,
        measure=products_per_basket,
    ),
    Kpi(
        name="together_support",
        label_en="Bought together: support",
        label_fr="Achetés ensemble : support",
        formula="baskets with all of these products / baskets",
        covers=_COVERS,
        unit="ratio",
        better="neither",
        source=_AGRAWAL,
        tables=_TABLES,
        measure=together_support,
        detail=_DETAIL,
    ),
    Kpi(
        name="together_confidence",
        label_en="Bought together: confidence",
        label_fr="Achetés ensemble : confiance",
        formula="baskets with all of these products / baskets with all but the last",
        covers=_COVERS,
        unit="ratio",
        better="neither",
        source=_AGRAWAL,
        tables=_TABLES,
        measure=together_confidence,
        detail=_DETAIL,
    ),
    Kpi(
        name="together_lift",
        label_en="Bought together: lift",
        label_fr="Achetés ensemble : lift",
        formula=(
            "baskets with all of these products / how many there would be by chance: baskets with all but "
            "the last x baskets with the last / baskets"
        ),
        covers=_COVERS,
        unit="times",
        better="neither",
        source=f"Brin et al. 1997 (SIGMOD); range: Agresti 2013, sec. 16.1; {_AGRAWAL}",
        tables=_TABLES,
        measure=together_lift,
        detail=_DETAIL,
    ),
)
