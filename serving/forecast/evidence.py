"""What a forecast is made from: deals as they were known, their amounts in one currency, their groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import InputError, NotEnoughData
from crm.groups import TOTAL, group_of
from crm.history import History
from crm.known import closing_time, known_at
from crm.moments import NEVER, column_in_micros
from crm.money import Rates, in_currency, reporting_currency
from crm.periods import Period

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")

#: An amount so many times the largest ever sold is a slip of the pen, where so many sales can tell.
ABSURD, FEWEST_SALES = 100.0, 10


@dataclass(frozen=True)
class Evidence:
    """Deals known at a moment, n of them, in the order of their ids.

    Parameters
    ----------
    history : History
        As known at ``as_of``, without the activities.
    as_of : Timestamp
    deals : DataFrame, n rows
        The canonical table, rolled back.
    recorded, closed, sold : ndarray of int64, shape (n,)
        Microseconds since 1970: when the CRM knew the deal, when it knew its end, and the closing's own
        time; NEVER while it is open.
    is_won, is_open : ndarray of bool, shape (n,)
    amount : ndarray of shape (n,)
        In the reporting currency; NaN where there is none, or one that cannot be.
    currency : str
    groups : ndarray of str, shape (n,)
        The group of each deal; all ``total`` without a grouping.
    notes : tuple of str
        What a reader of the forecast should know of the data.
    made : dict
        What was made of it already; see :meth:`once`.
    """

    history: History
    as_of: pd.Timestamp
    deals: pd.DataFrame
    recorded: Ints
    closed: Ints
    sold: Ints
    is_won: NDArray[np.bool_]
    is_open: NDArray[np.bool_]
    amount: Floats
    currency: str
    groups: NDArray[np.object_]
    notes: tuple[str, ...]
    made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Give what is made of this evidence, the same for every period; made at the first asking."""
        if name not in self.made:
            self.made[name] = make()
        found: T = self.made[name]
        return found

    @property
    def history_of_deals(self) -> History:
        """The history as known, with the deals in the order of this evidence."""
        return replace(self.history, deals=self.deals)

    @property
    def now(self) -> int:
        """``as_of`` in microseconds since 1970."""
        return _micros(self.as_of)


def gather(history: History, as_of: pd.Timestamp, by: str | None, rates: Rates, zone: str) -> Evidence:
    """Gather what was known of deals at a moment.

    Raises
    ------
    NotEnoughData
        Where no deal was known, or no deal has an amount.
    InputError
        Where there is no such group, or a rate is missing.
    """
    # Nothing here is read of what was done, which is most of a history.
    known = known_at(replace(history, activities=history.activities.iloc[:0]), as_of)
    deals = known.deals.sort_values("deal_id", kind="stable", ignore_index=True)
    if deals.empty:
        raise NotEnoughData(
            f"no deal was known before {as_of.isoformat()}: nothing to forecast; ask for a later as-of"
        )
    ended = deals["outcome"].notna()
    is_open = (~ended & deals["gone_at"].isna()).to_numpy()
    is_won = deals["outcome"].eq("won").to_numpy()
    closing = closing_time(deals)
    sold = deals["closed_at"].fillna(closing)
    rate_at = sold.where(ended, as_of).fillna(as_of)
    amount = in_currency(deals["amount"], deals["currency"], rate_at, rates, zone).to_numpy(
        "float64", copy=True
    )
    if np.isnan(amount).all():
        raise NotEnoughData(
            "no deal has an amount, so there is no revenue to forecast; map the column that holds it to "
            "amount, see docs/import.md"
        )
    notes = _set_aside(deals, amount, is_open, is_won)
    groups = np.full(len(deals), TOTAL, object)
    if by is not None:
        named = group_of(known, deals, by).to_numpy(object)
        # A group that is itself called so must not be taken for the sum of all.
        groups = np.where(named == TOTAL, f'"{TOTAL}"', named)
    return Evidence(
        history=known,
        as_of=as_of,
        deals=deals,
        recorded=column_in_micros(deals["recorded_at"]),
        closed=column_in_micros(closing, NEVER),
        sold=column_in_micros(sold, NEVER),
        is_won=is_won,
        is_open=is_open,
        amount=amount,
        currency=reporting_currency(known, rates),
        groups=groups,
        notes=notes,
    )


def check_reach(evidence: Evidence, period: Period) -> None:
    """Refuse a period that ends before anything was known; InputError says when that begins."""
    first = pd.Timestamp(int(evidence.recorded.min()), unit="us", tz="UTC")
    if period.end <= first.floor("D"):
        raise InputError(
            f"period {period.name} ends on {period.end.isoformat()}, before the first deal was known, on "
            f"{first.isoformat()}; ask for a later one"
        )


def _set_aside(
    deals: pd.DataFrame, amount: Floats, is_open: NDArray[np.bool_], is_won: NDArray[np.bool_]
) -> tuple[str, ...]:
    """Take amounts of open deals that cannot be for missing, in place, and name them."""
    sales = amount[is_won & ~np.isnan(amount)]
    most = ABSURD * sales.max() if len(sales) >= FEWEST_SALES and sales.max() > 0 else np.inf
    notes = []
    for why, wrong in (
        ("is negative", is_open & (amount < 0)),
        (f"is more than {ABSURD:.0f} times the largest sale ever", is_open & (amount > most)),
    ):
        rows = np.flatnonzero(wrong)
        if len(rows):
            first = rows[0]
            others = f", and {len(rows) - 1} more" if len(rows) > 1 else ""
            notes.append(
                f"deal {deals['deal_id'].iloc[first]}: amount = {amount[first]:.15g} {why}{others}: taken as "
                "not known; correct it in the CRM"
            )
            amount[rows] = np.nan
    missing = int((is_open & np.isnan(amount)).sum())
    if missing:
        notes.append(f"{missing} of {int(is_open.sum())} open deals have no amount: typical sales stand in")
    return tuple(notes)


def _micros(moment: pd.Timestamp) -> int:
    return int((moment - pd.Timestamp(0, tz="UTC")) // timedelta(microseconds=1))
