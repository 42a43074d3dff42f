"""A forecast as a person reads it on the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vigie.moments import show

if TYPE_CHECKING:
    import pandas as pd

    from serving.forecast import Forecast

#: What stands beside a forecast, and how it is called.
_BESIDE = {
    "stage_weighted": "stage-weighted",
    "run_rate": "run rate",
    "series": "series",
    "commit": "the reps' commit",
}


def forecast_text(found: Forecast) -> RenderableType:
    """Give a forecast as a table a period, with a sentence above and what to know of the data below."""
    parts: list[RenderableType] = []
    for period in found.periods:
        mine = (found.rows["period_start"] == period.start) & (found.rows["period_end"] == period.end)
        rows = found.rows[mine].reset_index(drop=True)
        parts += [
            Text(_sentence(found, period.name, rows), style="bold"),
            _table(rows, found),
            Text(_beside(rows)),
            Text(""),
        ]
    parts += [Text(f"Note: {note}", style="yellow") for note in found.notes]
    parts.append(Text(f"Model {found.model_version}, as of {show(found.as_of)}.", style="dim"))
    return Group(*parts)


def _sentence(found: Forecast, name: str, rows: pd.DataFrame) -> str:
    total = rows.iloc[0]
    low, high = _range(rows)
    unit = f" {found.currency}" if found.currency else ""
    return (
        f"{name}: {_money(total['mean'])}{unit}, between {_money(total[low])} and {_money(total[high])} "
        f"in {found.level:.0%} of cases."
    )


def _beside(rows: pd.DataFrame) -> str:
    total = rows.iloc[0]
    said = [
        f"{label} {_money(total[name])}" for name, label in _BESIDE.items() if not math.isnan(total[name])
    ]
    needed = total["coverage_needed"]
    if not math.isnan(needed):
        there = "" if math.isnan(total["coverage"]) else f"{total['coverage']:.1f}, "
        said.append(f"pipeline coverage {there}needed {needed:.1f}")
    return "Beside it: " + ", ".join(said) + "."


def _range(rows: pd.DataFrame) -> tuple[str, str]:
    names = sorted(str(name) for name in rows.columns if str(name)[0] == "p" and str(name)[1:2].isdigit())
    ranked = sorted(names, key=lambda name: float(name[1:]))
    return ranked[0], ranked[-1]


def _table(rows: pd.DataFrame, found: Forecast) -> Table:
    low, high = _range(rows)
    columns = {"closed": "closed", "open_mean": "open", "new_mean": "to come", "mean": "forecast"}
    columns |= {low: "low", high: "high"}
    if rows["quota"].notna().any():
        columns["quota"] = "quota"
    table = Table(box=None, pad_edge=False)
    table.add_column("" if found.by is None else found.by)
    for label in columns.values():
        table.add_column(label, justify="right")
    for _, row in rows.iterrows():
        cells = [Text(_money(row[name])) for name in columns]
        table.add_row(Text(str(row["group"])), *cells, style="bold" if row["group"] == "total" else "")
    return table


def _money(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f}"
