"""What a KPI is: its definition, written once, and the function that measures it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd

from crm.periods import Period
from features.entry import Language

if TYPE_CHECKING:
    from features.kpis.evidence import Evidence

#: How a value reads. ``ratio`` is a share from 0 to 1; ``times`` how many times one thing is another.
Unit = Literal[
    "ratio", "count", "currency", "currency per day", "hours", "days", "times", "per deal", "points", "months"
]
Better = Literal["higher", "lower", "neither"]

#: Measures one KPI over one period: rows of :mod:`features.kpis.aggregates`.
Measure = Callable[["Evidence", Period], pd.DataFrame]


@dataclass(frozen=True)
class Kpi:
    """One entry of the catalogue of KPIs.

    Parameters
    ----------
    name : str
        As in ``targets.kpi``, on the command line and in every row.
    label_en, label_fr : str
        What a manager reads.
    formula : str
        In words, exactly.
    covers : str
        Which records a period's value covers, and why these.
    unit : str
    better : {"higher", "lower", "neither"}
        Which direction is the better one.
    source : str
        Where the definition comes from.
    tables : tuple of str
        The tables of the history without which it has nothing to say.
    measure : callable
        From the evidence and a period to its rows.
    detail : str
        What its rows are apart by, such as the stage; empty where they are not.
    """

    name: str
    label_en: str
    label_fr: str
    formula: str
    covers: str
    unit: Unit
    better: Better
    source: str
    tables: tuple[str, ...]
    measure: Measure
    detail: str = ""

    def label(self, language: Language = "en") -> str:
        """Give what a manager reads."""
        return self.label_fr if language == "fr" else self.label_en
