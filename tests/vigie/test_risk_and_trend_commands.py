"""vigie risks and vigie trends, as a person and a program use them."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def history(vigie: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a small simulated company."""
    path = tmp_path_factory.mktemp("risks") / "crm.sqlite"
    vigie.ask("simulate", "--leads", 300, "--years", 2, "--seed", 5, "--history", path)
    return Path(path)


def test_risks_are_told_with_their_evidence_and_written(vigie: Any, history: Path, tmp_path: Path) -> None:
    """The terminal, the JSON and the file hold the same deals; a deal's stake counts once."""
    out = tmp_path / "risks.csv"
    asked = ("risks", "--history", history, "--as-of", "2024-05-01", "--quantile", 0.5, "--fewest-won", 5)
    answer = vigie.ask(*asked, "--out", out)
    rows = pd.DataFrame(answer["rows"])
    assert len(rows) >= 2
    assert answer["deals"] == rows["deal_id"].nunique()
    assert answer["at_stake"] == pytest.approx(rows.drop_duplicates("deal_id")["at_stake"].sum())
    assert answer["currency"] == "EUR"
    assert {"silent", "pushed"} <= {limit["flag"] for limit in answer["limits"]}
    assert pd.read_csv(out)["deal_id"].to_list() == rows["deal_id"].to_list()
    text = vigie.say(*asked, "--top", 1, "--language", "fr")
    assert rows["evidence_fr"].iloc[0].replace("\u00a0", " ") in text.replace("\u00a0", " ")
    assert "affaires à risque" in text


def test_with_a_bundle_what_is_at_stake_is_weighed(vigie: Any, company: Any) -> None:
    """The chances are those of the scores: less is at stake than the amounts."""
    asked = ("risks", "--history", company.history, "--as-of", "2024-12-01", "--quantile", 0.5)
    asked = (*asked, "--fewest-won", 1)
    whole = pd.DataFrame(vigie.ask(*asked)["rows"])
    weighed = pd.DataFrame(vigie.ask(*asked, "--bundle", company.bundle)["rows"])
    assert len(whole) == len(weighed) > 0
    merged = whole.merge(weighed, on=["deal_id", "flag"])
    assert (merged["at_stake_y"] < merged["at_stake_x"]).all()
    assert (merged["amount_x"] == merged["amount_y"]).all()


def test_trends_name_what_left_its_range(vigie: Any, history: Path, tmp_path: Path) -> None:
    """Every series has one row for each judged period; flags lie outside their range."""
    out = tmp_path / "trends.parquet"
    asked = ("trends", "--history", history, "--as-of", "2024-11-01", "--kpi", "revenue", "--kpi", "nps")
    answer = vigie.ask(*asked, "--last", 4, "--level", 0.5, "--out", out)
    rows = pd.DataFrame(answer["rows"])
    assert rows.groupby("kpi").size().to_dict() == {"nps": 4, "revenue": 4}
    assert rows["period"].max() == "2024-10"
    flagged = rows[rows["is_flagged"].astype(bool)]
    assert len(flagged) > 0
    assert ((flagged["value"] < flagged["low"]) | (flagged["value"] > flagged["high"])).all()
    assert {part["period"] for part in answer["segments"]} <= set(flagged["period"])
    assert len(pd.read_parquet(out)) == len(rows)
    text = vigie.say(*asked, "--last", 4, "--level", 0.5, "--no-explain")
    assert "would leave their range" in text
    assert vigie.say(*asked[:5], "--kpi", "revenue", "--language", "fr").count("série") == 1


def test_what_cannot_be_done_is_said_in_one_message(vigie: Any, history: Path, tmp_path: Path) -> None:
    """An unknown KPI, a level that is none, a quantile that is none, a bundle that is not there."""
    assert "is not known" in vigie.refusal("trends", "--history", history, "--kpi", "luck")
    assert "between 0 and 1" in vigie.refusal("trends", "--history", history, "--level", 1, code=2)
    assert "no whole year" in vigie.refusal(
        "trends", "--history", history, "--every", "year", "--as-of", "2023-06-01"
    )
    assert "quantile = 0" in vigie.refusal("risks", "--history", history, "--quantile", 0)
    missing = tmp_path / "no bundle"
    assert "no bundle" in vigie.refusal("risks", "--history", history, "--bundle", missing)


def test_kpis_name_the_targets_that_cannot_count(vigie: Any, history: Path, tmp_path: Path) -> None:
    """A target for somebody the history does not know is a finding with its target_id, and on the row."""
    from crm.store import Store

    own = tmp_path / "own.sqlite"
    shutil.copy(history, own)
    with sqlite3.connect(own) as connection:
        connection.execute("UPDATE targets SET scope_id = 'ghost' WHERE target_id = 'T0000001'")
    goal = Store.open(str(own)).read().targets.set_index("target_id").loc["T0000001"]
    quarter = ("--from", f"{goal['period_start']:%Y-%m-%d}", "--to", f"{goal['period_end']:%Y-%m-%d}")
    asked = ("kpis", "--history", own, "--kpi", "revenue", *quarter, "--by", "owner")
    answer = vigie.ask(*asked)
    assert [(found["where"], found["value"]) for found in answer["target_findings"]] == [
        ("targets, target_id T0000001", "ghost")
    ]
    row = next(row for row in answer["rows"] if row["group"] == "ghost")
    assert (row["value"], row["target"]) == (None, goal["value"])
    assert "target_id T0000001: scope_id = 'ghost'" in vigie.run(*asked).stderr
