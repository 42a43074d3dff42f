"""The doctor's answers: what a history holds, which models it can train, and the words for it."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from crm.history import History
from crm.schema import TABLES
from crm.simulator import simulate
from crm.validation import validate
from features import weekly_snapshots
from training.doctor import Diagnosis, Readiness, diagnose
from training.settings import TrainSettings

NOW = pd.Timestamp("2024-07-01", tz="UTC")


def history(**tables: list[dict[str, Any]]) -> History:
    return History.of(
        {name: validate(TABLES[name], pd.DataFrame(rows), name) for name, rows in tables.items()}
    )


def deals(won: int, lost: int, still_open: int, *, lasted: str = "20D") -> list[dict[str, Any]]:
    """Give deals created a day apart from January on, with amounts and owners."""
    rows = []
    for number in range(won + lost + still_open):
        created = pd.Timestamp("2024-01-01 09:30", tz="UTC") + pd.Timedelta(days=number, minutes=7 * number)
        row = {"deal_id": f"d{number}", "created_at": created, "amount": 100.0, "owner_id": f"u{number % 2}"}
        if number < won + lost:
            row["outcome"] = "won" if number < won else "lost"
            row["closed_at"] = created + pd.Timedelta(lasted)
        rows.append(row)
    return rows


def model(found: Diagnosis, name: str) -> Readiness:
    return next(one for one in found.models if one.model == name)


def test_an_empty_history_supports_nothing_and_says_how_to_begin() -> None:
    """An empty history gives no model, no finding and no wish, and one instruction."""
    found = diagnose(History(), NOW)
    assert [one.can for one in found.models] == [False, False, False]
    assert found.findings == () and found.wishes == () and found.first is None
    assert "vigie import" in found.lines()[0]


def test_one_record_is_too_early() -> None:
    """After a single win the doctor says how many more it takes, for the score and for the cycle."""
    found = diagnose(history(deals=deals(1, 0, 0)), NOW)
    win = model(found, "deal-win probability")
    assert (win.can, win.missing_won, win.missing_closed) == (False, 9, 19)
    assert "9 more won, and 19 more closed in all, are missing" in win.says
    assert not model(found, "cycle length").can
    assert json.dumps(found.to_json_dict())


def test_the_numbers_needed_come_from_the_settings() -> None:
    """The same history is enough for settings that ask for less."""
    records = history(deals=deals(6, 6, 3))
    assert not model(diagnose(records, NOW), "deal-win probability").can
    settings = TrainSettings(min_won=5, min_closed=10)
    assert model(diagnose(records, NOW, settings), "deal-win probability").can


def test_missing_losses_are_not_asked_for_as_wins() -> None:
    """With wins enough, only further closings are missing."""
    win = model(diagnose(history(deals=deals(12, 0, 3)), NOW), "deal-win probability")
    assert (win.missing_won, win.missing_closed) == (0, 8)
    assert "8 more closed are missing" in win.says


def test_a_history_without_losses_is_cautioned() -> None:
    """Sixty wins and no loss can be trained on, with the caution that nothing is ever marked lost."""
    win = model(diagnose(history(deals=deals(60, 0, 60)), NOW), "deal-win probability")
    assert win.can
    assert any("no deal was ever marked lost" in caution for caution in win.cautions)


def test_outcomes_without_a_time_allow_no_cycle_length() -> None:
    """Leads with outcomes but no times train a propensity, with a caution, and no cycle length."""
    rows = [
        {"lead_id": f"l{n}", "recorded_at": NOW - pd.Timedelta(days=1), "sequence": n, "source": "web",
         "outcome": "won" if n % 2 else "lost"}
        for n in range(60)
    ]  # fmt: skip
    found = diagnose(history(leads=rows), NOW)
    propensity, cycle = model(found, "purchase propensity"), model(found, "cycle length")
    assert propensity.can and any("carry no time" in caution for caution in propensity.cautions)
    assert not cycle.can and "closed_at" in cycle.says
    assert found.sizes["lead"].untimed == 60 and found.sizes["lead"].looks == 0


def test_deals_entered_when_they_end_are_cautioned() -> None:
    """Deals that close within minutes are seen open by no look, and the doctor says so."""
    found = diagnose(history(deals=deals(30, 30, 2, lasted="5min")), NOW)
    assert found.sizes["deal"].seen == 0
    assert any("only 0 of 60" in caution for caution in model(found, "deal-win probability").cautions)


def test_cycle_length_falls_back_to_leads() -> None:
    """Where deals have too few outcomes but leads have enough, the leads' cycle length is offered."""
    leads = [{**row, "lead_id": row.pop("deal_id")} for row in deals(20, 20, 5)]
    for row in leads:
        del row["amount"]
    cycle = model(diagnose(history(leads=leads, deals=deals(1, 1, 5)), NOW), "cycle length")
    assert (cycle.can, cycle.entity) == (True, "lead")


def test_only_what_was_known_counts_for_models() -> None:
    """Looked at in February, the deals that closed in March are still open."""
    records = history(deals=deals(15, 15, 0))
    early = diagnose(records, pd.Timestamp("2024-01-25", tz="UTC"))
    assert early.sizes["deal"].closed == 4
    assert early.sizes["deal"].records == 24
    assert early.tables["deals"].n == 30


@pytest.fixture(scope="module")
def simulated() -> History:
    return simulate(300, seed=4).history


def test_looks_are_the_snapshots_that_training_draws(simulated: History) -> None:
    """The number of looks, and of closed records seen, are those of the weekly snapshots themselves."""
    end = pd.Timestamp("2025-01-01", tz="UTC")
    found = diagnose(simulated, end)
    snapshots = weekly_snapshots(simulated, "deal", end)
    closed = simulated.deals.loc[simulated.deals["outcome"].notna(), "deal_id"]
    assert found.sizes["deal"].looks == len(snapshots)
    assert found.sizes["deal"].seen == closed.isin(snapshots["record_id"]).sum()


def test_a_whole_crm_has_all_three_models_and_few_faults(simulated: History) -> None:
    """The simulated CRM trains all models, lacks no column, and has no fault of clock or gap."""
    found = diagnose(simulated, pd.Timestamp("2025-01-01", tz="UTC"))
    assert all(one.can for one in found.models)
    assert {one.code for one in found.findings} <= {"double"}
    assert found.features["lead"] > 50 and found.features["deal"] > 50
    assert "a deal linked to the lead is won" in model(found, "purchase propensity").says


def test_the_order_of_rows_changes_nothing(simulated: History) -> None:
    """The same rows in another order give the same answers, but for which ids are shown."""
    shuffled = History.of(
        {name: f.sample(frac=1, random_state=1, ignore_index=True) for name, f in simulated.frames().items()}
    )
    end = pd.Timestamp("2025-01-01", tz="UTC")
    one, other = diagnose(simulated, end).to_json_dict(), diagnose(shuffled, end).to_json_dict()
    for found in (one, other):
        for finding in found["findings"]:
            finding["examples"] = []
    assert one == other


def test_json_reads_back_as_it_was(simulated: History) -> None:
    """The JSON holds plain values only, without NaN."""
    found = diagnose(simulated, pd.Timestamp("2025-01-01", tz="UTC")).to_json_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_fill_rates_are_told_by_field() -> None:
    """A field filled for half of the deals is told as partly filled, an empty one as never."""
    rows = [{**row, "source": "web" if n % 2 else None} for n, row in enumerate(deals(20, 20, 0))]
    found = diagnose(history(deals=rows), NOW)
    assert found.tables["deals"].fill_rate("source") == 0.5
    lines = found.lines()
    assert any(line.strip().startswith("partly: source 50%") for line in lines)
    assert any("never:" in line and "expected_close_at" in line for line in lines)


def test_a_moment_without_a_time_zone_is_refused() -> None:
    """as_of needs its time zone, as everywhere."""
    with pytest.raises(ValueError, match="names no time zone"):
        diagnose(History(), pd.Timestamp("2024-01-01"))
