"""Rows that look entered twice, and deals that lack what a forecast needs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from training.doctor.finding import Finding, number_of

_SHOWN = 3
Bools = npt.NDArray[np.bool_]


def find_doubles(history: History) -> list[Finding]:
    """Find activities of one kind with one record at one instant, and changes to one value at one instant.

    Where the moments are days without times, doubles are to be expected and are not told of.
    """
    found = []
    for table, key, moment, alike in (
        (
            "activities",
            "activity_id",
            "occurred_at",
            ["kind", "lead_id", "deal_id", "account_id", "status", "occurred_at"],
        ),
        ("changes", "change_id", "changed_at", ["entity", "record_id", "field", "new_value", "changed_at"]),
    ):
        frame = getattr(history, table)
        if frame.empty or _all_at_midnight(frame[moment]):
            continue
        # Most rows have an instant of their own; only the others are compared whole.
        shared = np.flatnonzero(frame[moment].duplicated(keep=False).to_numpy(bool))
        again = frame.iloc[shared].duplicated(alike)
        n = int(again.sum())
        if n:
            what = "kind, record and status" if table == "activities" else "record, field and value"
            text = (
                f"{number_of(n, len(frame), table)} with the {what} of another at the same instant, under "
                "another id, and counted again. Was an export joined twice, or does an integration write "
                "twice?"
            )
            ids = frame[key].iloc[shared[again.to_numpy(bool)][:_SHOWN]]
            found.append(Finding("double", table, moment, n, len(frame), text, tuple(map(str, ids))))
    return found


def _all_at_midnight(moments: pd.Series) -> bool:
    micros = pd.DatetimeIndex(moments.dropna()).as_unit("us").asi8
    return len(micros) > 0 and len(np.unique(micros % 86_400_000_000)) == 1


def find_incomplete_deals(history: History) -> list[Finding]:
    """Find open and won deals without an amount or with one below zero, and open records without an owner."""
    deals = history.deals
    found: list[Finding] = []
    if len(deals):
        is_open = (deals["outcome"].isna() & deals["gone_at"].isna()).to_numpy(bool)
        won = (deals["outcome"] == "won").to_numpy(bool)
        lacks = deals["amount"].isna().to_numpy(bool)
        for rows, name, remedy in (
            (is_open, "open", "they count nothing in a forecast of revenue"),
            (won, "won", "what such deals bring cannot be learned"),
        ):
            text = f"{{}} {name} deals without an amount: {remedy}"
            found += _some("no_amount", deals, rows, lacks, "amount", text)
        everything, below = np.ones(len(deals), bool), deals["amount"].lt(0).to_numpy(bool)
        text = "{} deals with an amount below zero"
        found += _some("below_zero", deals, everything, below, "amount", text)
        ownerless = deals["owner_id"].isna().to_numpy(bool)
        text = "{} open deals without an owner: they are on no rep's list, and add to no team's forecast"
        found += _some("no_owner", deals, is_open, ownerless, "owner_id", text)
        found += _currencies(deals)
    return found


def _some(
    code: str, deals: pd.DataFrame, among: Bools, lacks: Bools, column: str, text: str
) -> list[Finding]:
    rows = among & lacks
    n, of = int(rows.sum()), int(among.sum())
    if n == 0:
        return []
    ids = tuple(map(str, deals["deal_id"][rows].head(_SHOWN)))
    return [
        Finding(
            code,
            "deals",
            column,
            n,
            of,
            text.format(f"all {n:,}" if n == of else f"{n:,} of {of:,}"),
            ids,
        )
    ]


def _currencies(deals: pd.DataFrame) -> list[Finding]:
    priced = deals["amount"].notna()
    named = deals["currency"][priced].dropna().unique()
    if len(named) < 2:
        return []
    main = deals["currency"][priced].value_counts().index[0]
    other = priced & deals["currency"].notna() & (deals["currency"] != main)
    names = ", ".join(sorted(map(str, named))[:5])
    text = (
        f"amounts are in {len(named)} currencies ({names}): they are compared and added as plain numbers; "
        "export them in one"
    )
    n = int(other.sum())
    ids = tuple(map(str, deals["deal_id"][other].head(_SHOWN)))
    return [Finding("currencies", "deals", "currency", n, int(priced.sum()), text, ids)]
