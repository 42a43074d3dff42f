"""The ledger of forecasts by the command line: listed, shown, explained, held against what came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from crm.history import utc
from crm.ledger import LedgerEntry
from crm.store import Store
from vigie.application import make_app

MONDAY, NEXT = utc("2026-09-07T00:00:00Z"), utc("2026-09-14T00:00:00Z")
START, END = utc("2026-09-01T00:00:00Z"), utc("2026-10-01T00:00:00Z")
SALE = utc("2026-09-10T12:00:00Z")


def entry(as_of: pd.Timestamp, deals: list[dict[str, Any]], **changes: Any) -> LedgerEntry:
    """Give a forecast of September for one rep, with these deals behind it."""
    behind = pd.DataFrame(deals).assign(group="ann", owner_id="ann", stage="offer")
    closed, still = (int(behind["mean_cents"][behind["state"] == state].sum()) for state in ("won", "open"))
    mean = closed + still + 100
    row = {
        "closed_cents": closed, "open_cents": still, "new_cents": 100, "mean_cents": mean,
        "median_cents": mean, "low_cents": mean - 3000, "high_cents": mean + 3000,
        "stage_weighted_cents": 5000, "run_rate_cents": None, "series_cents": None,
        "quota_cents": 20_000, "commit_cents": None,
    }  # fmt: skip
    plain: dict[str, Any] = {
        "made_at": as_of,
        "as_of": as_of,
        "period_start": START,
        "period_end": END,
        "period": "2026-09",
        "by": "owner",
        "level": 0.8,
        "currency": "EUR",
        "model_version": "m1",
        "seed": 7,
        "rows": pd.DataFrame([{"group": "total", **row}, {"group": "ann", **row}]),
        "quantiles": np.full((2, 99), mean),
        "deals": behind,
    }
    return LedgerEntry.of(**(plain | changes))


def deal(name: str, cents: int, state: str = "open", chance: float = 0.5) -> dict[str, Any]:
    """Give a deal behind a forecast, that adds so much."""
    amount = cents / 100 / (chance if state == "open" else 1.0)
    figures = {"amount": amount, "expected_amount": amount, "win_probability": chance, "in_period": 1.0}
    return {"deal_id": name, "state": state, **figures, "mean_cents": cents}


FIRST = entry(MONDAY, [deal("A", 5000), deal("B", 2000)])
SECOND = entry(NEXT, [deal("A", 9000, "won"), deal("B", 3000, chance=0.75)])
NEW_MODEL = entry(NEXT, [deal("A", 9000, "won"), deal("B", 3600, chance=0.9)], model_version="m2")


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Give a store with two deals, one of them won in September, and two forecasts a week apart."""
    path = tmp_path / "crm.sqlite"
    store = Store.open(str(path), create=True)
    deals = pd.DataFrame(
        {
            "deal_id": ["A", "B"],
            "created_at": [utc("2026-06-01T00:00:00Z")] * 2,
            "owner_id": "ann",
            "amount": [90.0, 40.0],
            "currency": "EUR",
            "outcome": ["won", None],
            "closed_at": [SALE, None],
        }
    )
    store.load({"deals": deals}, source="test", exported_at=None)
    for one in (SECOND, FIRST):
        assert store.keep_forecast(one)
    return path


def test_the_list_has_each_forecast(vigie: Any, history: Path) -> None:
    """By period and moment, with its figures; a period or grouping that is asked for narrows it."""
    listed = vigie.ask("ledger", "list", "--history", history)
    assert [one["entry_id"] for one in listed] == [FIRST.entry_id, SECOND.entry_id]
    assert listed[0]["total"]["mean"] == 71.0 and listed[0]["total"]["run_rate"] is None
    said = vigie.say("ledger", "list", "--history", history, "--period", "2026-09", "--by", "owner")
    assert f"{FIRST.entry_id[:12]} 2026-09 owner 2026-09-07 00:00 UTC m1 71.00 41.00 101.00 80%" in said
    assert "holds no such forecast" in vigie.say("ledger", "list", "--history", history, "--by", "team")


def test_a_period_without_forecasts_is_refused_with_those_there_are(vigie: Any, history: Path) -> None:
    """The message names the periods of the ledger; an empty ledger says how to begin one."""
    message = vigie.refusal("ledger", "list", "--history", history, "--period", "2026-Q9")
    assert "holds no forecast of '2026-Q9'; it holds 2026-09" in message
    Store.open(str(history.with_name("new.sqlite")), create=True)
    other = ("--history", history.with_name("new.sqlite"))
    for command in (("moved",), ("accuracy",), ("list", "--period", "2026-09")):
        assert "vigie forecast --keep" in vigie.refusal("ledger", *command, *other)


def test_an_entry_is_shown_by_the_beginning_of_its_id(vigie: Any, history: Path) -> None:
    """Its figures by group, and the largest deals first, as many as asked for."""
    shown = vigie.ask("ledger", "show", FIRST.entry_id[:8], "--history", history, "--deals", 1)
    assert shown["groups"]["ann"]["quota"] == 200.0
    assert [one["deal_id"] for one in shown["deals"]] == ["A"] and shown["deals"][0]["mean"] == 50.0
    said = vigie.say("ledger", "show", FIRST.entry_id, "--history", history)
    assert "2026-09 as of 2026-09-07 00:00 UTC, in EUR" in said
    assert "The largest 2 of the 2 deals behind it" in said and "A open offer 100.00 50.0%" in said
    assert "at least 4 letters" in vigie.refusal("ledger", "show", "3f", "--history", history)
    assert "is not in the ledger" in vigie.refusal("ledger", "show", "ffffff", "--history", history)


def test_a_move_is_explained_to_the_cent(vigie: Any, history: Path) -> None:
    """The last two of a period are compared; the parts add up to the difference."""
    moved = vigie.ask("ledger", "moved", "--period", "2026-09", "--history", history)
    assert (moved["before"]["entry_id"], moved["after"]["entry_id"]) == (FIRST.entry_id, SECOND.entry_id)
    parts = moved["parts"]["total"]
    assert moved["difference"] == 50.0 == parts["won"] + parts["activity"]
    assert (parts["won"], parts["activity"], parts["lost"]) == (40.0, 10.0, 0.0)
    assert [(one["deal_id"], one["part"], one["moved"]) for one in moved["deals"]] == [
        ("A", "won", 40.0),
        ("B", "activity", 10.0),
    ]
    ids = (FIRST.entry_id[:10], SECOND.entry_id[:10])
    said = vigie.say("ledger", "moved", *ids, "--history", history)
    assert "71.00 as of 2026-09-07 00:00 UTC, 121.00 as of 2026-09-14 00:00 UTC: +50.00" in said
    assert (
        "won: deals that were won, against what was expected of them +40.00" in said
        and "What moved it most" in said
    )
    assert "give the earlier one first" in vigie.refusal("ledger", "moved", *ids[::-1], "--history", history)
    assert "both entries" in vigie.refusal("ledger", "moved", ids[0], "--history", history, code=2)


def test_the_model_is_told_apart_where_the_ledger_can(vigie: Any, history: Path) -> None:
    """The old model's forecast as of the later moment is found in the ledger; without it the text says so."""
    store = Store.open(str(history))
    store.keep_forecast(NEW_MODEL)
    ids = (FIRST.entry_id, NEW_MODEL.entry_id)
    parts = vigie.ask("ledger", "moved", *ids, "--history", history)
    assert parts["model_separable"] and parts["parts"]["total"]["model_changed"] == 6.0
    with sa.create_engine(f"sqlite:///{history}").begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM forecast_entries WHERE entry_id = '{SECOND.entry_id}'")
    alone = vigie.ask("ledger", "moved", *ids, "--history", history)
    assert not alone["model_separable"] and alone["parts"]["total"]["model_changed"] == 16.0
    assert "is not told apart from it" in vigie.say("ledger", "moved", *ids, "--history", history)
    named = vigie.refusal("ledger", "moved", *ids, "--bridge", FIRST.entry_id, "--history", history)
    assert "a bridge is of model m1" in named


def test_the_record_is_held_against_what_came(vigie: Any, history: Path) -> None:
    """Errors, coverage and the simpler forecasts, by horizon and rep; before the end there is no record."""
    found = vigie.ask("ledger", "accuracy", "--history", history, "--as-of", "2026-10-01")
    everything = found["by_horizon"][-1]
    assert everything["n_forecasts"] == 2 and everything["wape"] == pytest.approx((19 + 31) / 180)
    assert everything["wape_stage_weighted"] == pytest.approx(80 / 180) and everything["wape_commit"] is None
    assert found["by_group"][0]["group"] == "ann" and found["n_replayed"] == 0
    said = vigie.say("ledger", "accuracy", "--history", history, "--as-of", "2026-10-01")
    assert "2 forecasts of 1 period that ended, in EUR; 0 entries of periods that run on." in said
    assert "all 2 27.8% +6.7% 50% of 80%" in said
    early = vigie.refusal("ledger", "accuracy", "--history", history, "--as-of", "2026-09-20")
    assert "the first ends at 2026-10-01 00:00 UTC" in early
    none = vigie.refusal("ledger", "accuracy", "--history", history, "--currency", "USD")
    assert "holds no such forecast yet" in none
    assert "--currency" in vigie.refusal("ledger", "accuracy", "--rates", "r.csv", code=2)


def test_no_figure_is_cut_on_a_narrow_terminal(history: Path) -> None:
    """Words wrap, and figures that do not fit follow below; large ones are told without their cents."""
    large = entry(NEXT, [deal("C", 98_765_432_100)], seed=8)
    Store.open(str(history)).keep_forecast(large)
    moved = ["moved", FIRST.entry_id, large.entry_id]
    for command in (["list"], ["show", large.entry_id], moved, ["accuracy", "--as-of", "2026-10-01"]):
        narrow = {"COLUMNS": "40", "NO_COLOR": "1"}
        arguments = ["ledger", *command, "--history", str(history)]
        said = CliRunner().invoke(make_app(), arguments, env=narrow).stdout
        assert max(len(line) for line in said.splitlines()) <= 40
        assert "…" not in said
        assert "987,654,322" in said or command[0] == "accuracy"


def test_a_ledger_of_a_newer_vigie_is_refused(vigie: Any, history: Path) -> None:
    """Each command says to upgrade, and none leaves the entry out in silence."""
    with sa.create_engine(f"sqlite:///{history}").begin() as connection:
        connection.exec_driver_sql("UPDATE forecast_entries SET format = 99 WHERE position = 1")
    for command in (("list",), ("moved",), ("accuracy",), ("show", FIRST.entry_id)):
        assert "in format 99 of the ledger" in vigie.refusal("ledger", *command, "--history", history)
