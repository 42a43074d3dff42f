"""vigie forecast: periods, the file it writes, the ledger it keeps, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROWS = [
    "period_start", "period_end", "as_of", "group", "closed", "open_mean", "new_mean", "mean",
    "p10", "p50", "p90",
    "stage_weighted", "run_rate", "quota", "model_version",
]  # fmt: skip
AS_OF = ("--as-of", "2024-11-15")


def where(company: Any) -> tuple[object, ...]:
    """Give the options that name the history and the bundle."""
    return ("--history", company.history, "--bundle", company.bundle)


def test_the_file_has_a_row_a_period_and_group(vigie: Any, company: Any, tmp_path: Path) -> None:
    """The documented columns come first, the total is always there, and it is the sum of the owners."""
    out = tmp_path / "rows.parquet"
    vigie.say(
        "forecast",
        *where(company),
        *AS_OF,
        "--period",
        "2024-Q4",
        "--next",
        "4W",
        "--by",
        "owner",
        "--out",
        out,
    )
    rows = pd.read_parquet(out)
    assert list(rows.columns[: len(ROWS)]) == ROWS
    for _, part in rows.groupby("period_end"):
        assert part["group"].iloc[0] == "total"
        assert part["mean"].iloc[1:].sum() == pytest.approx(part["mean"].iloc[0], abs=0.004)
    assert sorted((rows["period_end"] - rows["period_start"]).dt.days.unique()) == [28, 92]


def test_a_person_reads_a_sentence_and_what_stands_beside(vigie: Any, company: Any) -> None:
    """Mean and range come first, then the table, then what people use today."""
    said = vigie.say("forecast", *where(company), *AS_OF, "--period", "2024-Q4", "--by", "owner")
    assert said.startswith("2024-Q4: ")
    assert "in 80% of cases" in said
    assert "Beside it: stage-weighted" in said and "run rate" in said
    assert f"Model {company.trained['version']}, as of 2024-11-15" in said


def test_without_a_period_the_running_quarter_and_the_next_are_forecast(vigie: Any, company: Any) -> None:
    """What a manager asks first needs no option."""
    found = vigie.ask("forecast", *where(company), *AS_OF)
    assert [row["period_start"][:10] for row in found["rows"]] == ["2024-10-01", "2025-01-01"]


def test_kept_forecasts_are_in_the_ledger_once(vigie: Any, company: Any, tmp_path: Path) -> None:
    """Keeping the same forecast twice keeps it once, and the ledger lists it."""
    own = tmp_path / "own.sqlite"
    shutil.copy(company.history, own)
    asked = (
        "forecast",
        "--history",
        own,
        "--bundle",
        company.bundle,
        *AS_OF,
        "--period",
        "2024-Q4",
        "--keep",
    )
    assert vigie.ask(*asked)["kept"] == 1
    assert vigie.ask(*asked)["kept"] == 0
    (entry,) = vigie.ask("ledger", "list", "--history", own)
    assert entry["period"] == "2024-Q4"
    total = vigie.ask(*asked)["rows"][0]
    shown = vigie.ask("ledger", "show", entry["entry_id"][:8], "--history", own)
    assert shown["total"]["mean"] == pytest.approx(total["mean"])


@pytest.mark.parametrize(
    ("asked", "message", "code"),
    [
        (("--period", "2024-Q7"), "2024-Q7", 1),
        (("--from", "2024-11-01"), "give both", 2),
        (("--currency", "EUR"), "give both", 2),
        (("--period", "2019"), "before the first deal was known", 1),
        (("--by", "mood"), "group 'mood' is not known", 1),
        (("--level", "1.5"), "level 1.5", 1),
        (("--period", "2024-Q4", "--out", "rows.xlsx"), "must end in", 1),
    ],
)
def test_what_cannot_be_asked_is_refused(
    vigie: Any, company: Any, asked: tuple[str, ...], message: str, code: int
) -> None:
    """One message that names what is wrong, and no trace."""
    assert message in vigie.refusal("forecast", *where(company), *AS_OF, *asked, code=code)
