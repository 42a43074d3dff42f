"""Who is a customer when: by running contracts, else by what was bought and how long ago."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from crm.moments import NEVER, column_in_micros, in_micros
from crm.periods import Period
from features.kpis.evidence import Evidence

#: Days of a mean month of the Gregorian calendar.
DAYS_A_MONTH = 365.2425 / 12
_DAY = 86_400_000_000


@dataclass(frozen=True)
class CustomerBase:
    """Every contract, or every purchase, of every account.

    Parameters
    ----------
    basis : {"subscriptions", "orders", "deals"}
        What makes a customer: a running contract; else an order, else a deal won, in the last
        ``inactive_days``.
    rows : DataFrame
        ``account_id, deal_id, user_id, product``, ``start`` and ``end`` (microseconds: a purchase holds for
        ``inactive_days``), ``monthly`` (recurring revenue; of a purchase, spread over the time it holds).
    inactive_days : float
        NaN for contracts.
    n_nameless : int
        Contracts or purchases of nobody, which are left out.
    """

    basis: Literal["subscriptions", "orders", "deals"]
    rows: pd.DataFrame
    inactive_days: float
    n_nameless: int

    def at(self, moment: int) -> pd.Series:
        """Give the monthly revenue of each account that was a customer just before a moment, by account."""
        rows = self.rows
        running = (rows["start"] < moment) & (rows["end"] > moment)
        return rows[running].groupby("account_id")["monthly"].sum()

    def during(self, start: int, end: int) -> pd.Series:
        """Give the revenue between two moments of each account that was ever a customer then, by account."""
        rows = self.rows[(self.rows["start"] < end) & (self.rows["end"] > start)]
        held = np.minimum(rows["end"], end) - np.maximum(rows["start"], start)
        months = held / (_DAY * DAYS_A_MONTH)
        return (rows["monthly"] * months).groupby(rows["account_id"]).sum()

    @property
    def remark(self) -> str:
        """What a customer is, in words."""
        words = {
            "subscriptions": "a customer has a running contract",
            "orders": f"a customer has ordered in the last {self.inactive_days:g} days",
            "deals": f"a customer has bought (a deal won) in the last {self.inactive_days:g} days",
        }[self.basis]
        return f"{words}; {self.n_nameless} without an account left out" if self.n_nameless else words


def customer_base(evidence: Evidence, period: Period) -> CustomerBase:
    """Say who is a customer: by subscriptions where there are any, else by orders, else by deals won.

    Money is in the reporting currency at the rates of the month in which the period begins, so that a change
    of rates is no change of revenue.
    """
    records = evidence.records
    days = evidence.settings.inactive_days
    if len(records.subscriptions):
        rows = records.subscriptions.assign(
            user_id=pd.Series(pd.NA, records.subscriptions.index, dtype="str")
        )
        rows["start"] = column_in_micros(rows["started_at"])
        rows["end"] = column_in_micros(rows["ended_at"], missing=NEVER)
        rows["money"], months, basis = rows["monthly_amount"], 1.0, "subscriptions"
    elif records.orders["account_id"].notna().any():
        rows = records.orders.assign(product=pd.Series(pd.NA, records.orders.index, dtype="str"))
        rows["start"] = column_in_micros(rows["ordered_at"])
        rows["money"], months, basis = rows["amount"], days / DAYS_A_MONTH, "orders"
    else:
        rows = records.deals[(records.deals["outcome"] == "won") & records.deals["closed_at"].notna()]
        rows = rows.assign(user_id=rows["owner_id"])
        if "product" not in rows.columns:
            rows["product"] = pd.Series(pd.NA, rows.index, dtype="str")
        rows["start"] = column_in_micros(rows["closed_at"])
        rows["money"], months, basis = rows["amount"], days / DAYS_A_MONTH, "deals"
    if basis != "subscriptions":
        rows["end"] = rows["start"] + int(days * _DAY)
    begins = pd.Series(period.start, index=rows.index, dtype="datetime64[us, UTC]")
    money = evidence.in_currency(rows["money"], rows["currency"], begins)
    rows["monthly"] = money.fillna(0.0) / months
    named = rows["account_id"].notna()
    columns = ["account_id", "deal_id", "user_id", "product", "start", "end", "monthly"]
    return CustomerBase(
        basis,  # type: ignore[arg-type]
        rows.loc[named, columns].sort_values("start", kind="stable", ignore_index=True),
        np.nan if basis == "subscriptions" else days,
        int((~named).sum()),
    )


def customers_over(evidence: Evidence, period: Period) -> tuple[pd.DataFrame, CustomerBase]:
    """Give each account that was ever a customer, as a record that can be grouped, and what became of it.

    Returns
    -------
    DataFrame, shape (n_accounts, ...)
        ``account_id, deal_id, user_id, product`` (of the account's last contract or purchase before the
        end), ``cohort`` (the quarter of the first), ``was`` and ``is`` (a customer when the period began, and
        at its end or at ``as_of``), ``before`` and ``after`` (monthly revenue then), ``revenue`` (in the
        period) and ``lost`` (a customer in the period and no more at the end). None where the period has not
        begun.
    CustomerBase
    """
    return evidence.once(("customers", period), lambda: _customers_over(evidence, period))


def _customers_over(evidence: Evidence, period: Period) -> tuple[pd.DataFrame, CustomerBase]:
    base = customer_base(evidence, period)
    start, end = in_micros(period.start), min(in_micros(period.end), in_micros(evidence.as_of))
    rows = base.rows[base.rows["start"] < end] if end > start else base.rows.iloc[:0]
    accounts = rows.drop_duplicates("account_id", keep="last").drop(columns=["start", "end", "monthly"])
    accounts = accounts.set_index("account_id", drop=False).rename_axis(None)
    first = pd.to_datetime(rows.groupby("account_id")["start"].min(), unit="us", utc=True)
    local = first.reindex(accounts.index).dt.tz_convert(ZoneInfo(evidence.zone))
    accounts["cohort"] = [f"{day.year}-Q{(day.month + 2) // 3}" for day in local]
    before, after, revenue = base.at(start), base.at(end), base.during(start, max(end, start))
    accounts["was"] = before.index.get_indexer(accounts.index) >= 0
    accounts["is"] = after.index.get_indexer(accounts.index) >= 0
    for name, values in (("before", before), ("after", after), ("revenue", revenue)):
        accounts[name] = values.reindex(accounts.index).fillna(0.0)
    accounts["lost"] = (revenue.index.get_indexer(accounts.index) >= 0) & ~accounts["is"]
    return accounts.reset_index(drop=True), base
