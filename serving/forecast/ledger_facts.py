"""The ledger of forecasts as plain JSON; money in units of its currency."""

from __future__ import annotations

from typing import Any

import pandas as pd

from crm.ledger import BESIDE, FIGURES, LedgerEntry
from serving.forecast.accuracy import Accuracy
from serving.forecast.moves import PARTS, Moves


def heading(entry: LedgerEntry) -> dict[str, Any]:
    """Give what an entry is about and its total, as plain JSON."""
    return {
        "entry_id": entry.entry_id,
        "made_at": entry.made_at,
        "as_of": entry.as_of,
        "period": entry.period,
        "period_start": entry.period_start,
        "period_end": entry.period_end,
        "by": entry.by,
        "level": entry.level,
        "currency": entry.currency,
        "model_version": entry.model_version,
        "seed": entry.seed,
        "n_deals": entry.n_deals,
        "total": _figures(entry.total),
    }


def entry_facts(entry: LedgerEntry, n_deals: int) -> dict[str, Any]:
    """Give an entry whole, with its largest deals, as plain JSON."""
    groups = {str(row["group"]): _figures(row) for _, row in entry.rows.iterrows()}
    return heading(entry) | {"groups": groups, "deals": _records(largest_deals(entry, n_deals))}


def moves_facts(moves: Moves, n_deals: int) -> dict[str, Any]:
    """Give why a forecast moved, as plain JSON."""
    parts = moves.parts.set_index("group")
    groups = {
        str(group): {
            name.removesuffix("_cents"): int(row[name]) / 100
            for name in ("before_cents", *PARTS, "after_cents")
        }
        for group, row in parts.iterrows()
    }
    return {
        "before": heading(moves.before),
        "after": heading(moves.after),
        "difference": moves.difference_cents / 100,
        "model_separable": moves.model_separable,
        "parts": groups,
        "deals": _records(moves.deals.head(n_deals)),
    }


def accuracy_facts(found: Accuracy) -> dict[str, Any]:
    """Give how right forecasts were, as plain JSON."""
    return {
        "as_of": found.as_of,
        "currency": found.currency,
        "n_pending": found.n_pending,
        "n_replayed": found.n_replayed,
        "by_horizon": _records(found.by_horizon),
        "by_group": _records(found.by_group),
        "forecasts": _records(found.forecasts),
    }


def largest_deals(entry: LedgerEntry, n_deals: int) -> pd.DataFrame:
    """Give the deals behind an entry that add most to it, or take most from it."""
    deals = entry.deals if entry.deals is not None else pd.DataFrame()
    order = deals["mean_cents"].abs().sort_values(ascending=False, kind="stable").index
    return deals.loc[order].head(n_deals)


def _figures(row: pd.Series) -> dict[str, float | None]:
    cents = {name: row[f"{name}_cents"] for name in (*FIGURES, *BESIDE)}
    return {name: None if pd.isna(value) else int(value) / 100 for name, value in cents.items()}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Give rows as plain JSON: cents as units, what is missing as null."""
    renamed = {name: name.removesuffix("_cents") for name in frame.columns if name.endswith("_cents")}
    renamed |= {"cents": "moved"} if "cents" in frame.columns else {}
    units = frame.assign(**{name: frame[name].astype("Float64") / 100 for name in renamed})
    rows = units.rename(columns=renamed).astype(object)
    return [
        {str(name): value for name, value in row.items()}
        for row in rows.where(rows.notna(), None).to_dict("records")
    ]
