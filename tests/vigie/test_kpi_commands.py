"""vigie kpis: what it measures, prints and writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crm.store import Store
from crm.validation import validate_history


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four deals, two won in March 2026, one lost, one open, one in dollars; and a quota."""
    path = tmp_path_factory.mktemp("kpis") / "history.sqlite"
    days = ["2026-03-02T00:00Z", "2026-03-03T00:00Z", "2026-03-04T00:00Z", "2026-03-05T00:00Z"]
    tables: dict[str, dict[str, object]] = {
        "users": {"user_id": ["U1", "U2"], "team": ["North", "South"]},
        "deals": {
            "deal_id": ["D1", "D2", "D3", "D4"],
            "created_at": days,
            "owner_id": ["U1", "U2", "U1", "U2"],
            "amount": [1000.0, 500.0, 700.0, 300.0],
            "currency": ["EUR", "USD", "EUR", "EUR"],
            "stage": ["won", "won", "lost", "offer"],
            "outcome": ["won", "won", "lost", None],
            "closed_at": ["2026-03-20T00:00Z", "2026-03-31T22:30Z", "2026-03-25T00:00Z", None],
        },
        "targets": {
            "target_id": ["T1"],
            "kpi": ["revenue"],
            "scope": ["company"],
            "period_start": ["2026-03-01T00:00Z"],
            "period_end": ["2026-04-01T00:00Z"],
            "value": [2900.0],
        },
    }
    frames = {name: pd.DataFrame(columns) for name, columns in tables.items()}
    valid = validate_history(frames)
    Store.open(str(path), create=True).load(
        {name: getattr(valid, name) for name in frames}, source="test", exported_at=None
    )
    return path


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    """A dollar was worth 0.9 euro in March, and 0.8 in April."""
    path = tmp_path / "rates.csv"
    path.write_text("month,currency,rate\n2026-03,USD,0.9\n2026-04,USD,0.8\n", encoding="utf-8")
    return path


def ask(vigie: Any, store: Path, rates: Path, *asked: object) -> Any:
    """Ask for KPIs in euro."""
    return vigie.ask("kpis", "--history", store, "--currency", "EUR", "--rates", rates, *asked)


def test_kpis_have_their_counts_and_targets(vigie: Any, store: Path, rates: Path) -> None:
    """Revenue in euro with its attainment, a win rate with what it stands on, each team beside the total."""
    said = ask(
        vigie, store, rates, "--period", "2026-03", "--by", "team", "--kpi", "revenue", "--kpi", "win_rate"
    )
    rows = {(row["kpi"], row["group"]): row for row in said["rows"]}
    assert set(rows) == {(kpi, g) for kpi in ("revenue", "win_rate") for g in ("total", "North", "South")}
    revenue = rows["revenue", "total"]
    assert (revenue["value"], revenue["unit"], revenue["target"], revenue["attainment"]) == (
        1450,
        "EUR",
        2900,
        0.5,
    )
    assert revenue["label"] == "Revenue won"
    rate = rows["win_rate", "North"]
    assert (rate["value"], rate["numerator"], rate["denominator"]) == (0.5, 1, 2)
    # Observation ends one second after the last thing recorded, the deal won late on 31 March.
    assert said["as_of"] == "2026-03-31T22:30:01+00:00"


def test_a_zone_decides_where_a_month_ends(vigie: Any, store: Path, rates: Path) -> None:
    """Half past midnight of 1 April in Paris is April's, at April's rate."""
    said = ask(vigie, store, rates, "--period", "2026-04", "--kpi", "revenue", "--zone", "Europe/Paris")
    assert said["rows"][0]["value"] == 400


def test_a_period_is_measured_part_by_part(vigie: Any, store: Path, rates: Path) -> None:
    """Every month from February to the end of March has a row; fiscal quarters are named so."""
    span = ("--from", "2026-02-01", "--to", "2026-04-01", "--kpi", "deals_won")
    months = ask(vigie, store, rates, *span, "--every", "month")["rows"]
    assert [(row["period"], row["value"]) for row in months] == [("2026-02", 0), ("2026-03", 2)]
    fiscal = ask(vigie, store, rates, "--period", "2026-Q4", "--fiscal-start", 4, "--kpi", "deals_won")[
        "rows"
    ]
    assert [(row["period"], row["value"]) for row in fiscal] == [("FY2026-Q4", 2)]


def test_without_a_period_it_is_the_quarter_that_was_running(vigie: Any, store: Path, rates: Path) -> None:
    """On 1 April at midnight nothing of April is known yet: the quarter is the first."""
    for moment in ("2026-04-01", "2026-02-15"):
        said = ask(vigie, store, rates, "--as-of", moment, "--kpi", "deals_won")
        assert [row["period"] for row in said["rows"]] == ["2026-Q1"]


def test_only_what_was_known_is_measured(vigie: Any, store: Path, rates: Path) -> None:
    """As of the middle of March nothing was won."""
    said = ask(vigie, store, rates, "--period", "2026-03", "--as-of", "2026-03-15", "--kpi", "deals_won")
    assert said["rows"][0]["value"] == 0


def test_a_person_reads_a_table(vigie: Any, store: Path, rates: Path) -> None:
    """Names, values with their unit and range, what is missing, in English and in French."""
    asked = ("kpis", "--history", store, "--currency", "EUR", "--rates", rates, "--period", "2026-03")
    text = vigie.say(*asked, "--by", "team")
    assert "Win rate 66.7%" in text
    assert "Revenue won 1,450 EUR" in text
    assert "50.0%" in text
    assert "As of 2026-03-31 22:30:01 UTC." in text
    assert "Without any record: New leads, Lead conversion rate" in text
    assert "New leads 0" not in text
    alone = vigie.say(*asked, "--kpi", "deal_stage_conversion")
    assert "the history has no changes of a deal's stage" in alone
    french = vigie.say(*asked, "--language", "fr", "--kpi", "win_rate", "--every", "week")
    assert "Taux de réussite" in french
    assert "2026-W13" in french
    assert "100,0 %" in french


def test_rows_go_to_a_file(vigie: Any, store: Path, rates: Path, tmp_path: Path) -> None:
    """CSV and Parquet hold the same rows, and any pandas reads them."""
    for suffix in ("csv", "parquet"):
        ask(vigie, store, rates, "--period", "2026-03", "--out", tmp_path / f"kpis.{suffix}")
    text = pd.read_csv(tmp_path / "kpis.csv", parse_dates=["period_start"])
    binary = pd.read_parquet(tmp_path / "kpis.parquet")
    assert text["kpi"].tolist() == binary["kpi"].tolist()
    assert (text["period_start"] == pd.Timestamp("2026-03-01", tz="UTC")).all()
    assert binary.set_index("kpi").loc["revenue", "value"] == 1450


def test_definitions_need_no_history(vigie: Any) -> None:
    """The catalogue is printed without a store, whole or of one KPI, for a person and for a program."""
    text = vigie.say("kpis", "--definitions", "--kpi", "win_rate", "--language", "fr")
    assert "Taux de réussite win_rate, ratio deals won / deals won or lost" in text
    facts = vigie.ask("kpis", "--definitions")["kpis"]
    assert {"name", "label_fr", "formula", "covers", "source"} <= set(facts[0])
    assert len(facts) > 30


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (("--period", "2026-Q9"), 1, "'2026-Q9' cannot be read"),
        (("--kpi", "magic"), 1, "KPI 'magic' is not known: give one of leads_created"),
        (("--by", "colour"), 1, "group 'colour' is not known for these records: give one of owner, team"),
        (("--zone", "Mars/Olympus"), 1, "'Mars/Olympus' is not known"),
        (("--from", "2026-03-01"), 2, "give both, or neither"),
        (("--currency", "EUR"), 2, "give both, or neither"),
        (("--answer-hours", "0"), 1, "answer_hours = 0"),
        (("--out", "kpis.txt"), 1, "must end in .csv"),
        (("--kpi", "revenue", "--period", "2026-03"), 1, "several currencies (EUR, USD): give --rates FILE"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    vigie: Any, store: Path, asked: tuple[str, ...], code: int, said: str
) -> None:
    """Each refusal says what is wrong and what there is."""
    assert said in vigie.refusal("kpis", "--history", store, *asked, code=code)


def test_a_missing_rate_is_named(vigie: Any, store: Path, tmp_path: Path) -> None:
    """Currency, month and file."""
    path = tmp_path / "few.csv"
    path.write_text("month,currency,rate\n2026-02,USD,0.9\n", encoding="utf-8")
    asked = ("--currency", "EUR", "--rates", path, "--period", "2026-03", "--kpi", "revenue")
    message = vigie.refusal("kpis", "--history", store, *asked)
    assert "no rate for USD in 2026-03" in message
    assert "few.csv" in message
