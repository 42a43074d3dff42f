"""vigie train, report, promote: what they say, what they keep, and what stays where they fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import training.tracking
import training.train
from crm.errors import NotEnoughData, TrackingError
from crm.history import History
from crm.observed import last_recorded
from crm.schema import DEALS
from crm.store import Store
from crm.validation import validate
from serving.bundle import ModelBundle

NOW = pd.Timestamp("2030-01-01", tz="UTC")


def train(company: Any, bundle: Path, *asked: object) -> tuple[object, ...]:
    """Give the arguments that train on the company's history."""
    return ("train", "--history", company.history, "--config", company.config, "--bundle", bundle, *asked)


def untimed_deal() -> pd.DataFrame:
    """Give a deal that has no time of its own, and is known from its export on."""
    known = pd.Timestamp("2026-01-01", tz="UTC")
    return validate(DEALS, pd.DataFrame([{"deal_id": "untimed", "recorded_at": known}]), "test")


def content(directory: Path) -> dict[str, bytes]:
    """Give every file of a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_training_writes_a_bundle_and_says_how_good_it_is(vigie: Any, company: Any) -> None:
    """The answer for a program holds what the bundle holds."""
    said, bundle = company.trained, ModelBundle.load(company.bundle)
    assert said["version"] == bundle.version
    assert said["trained_through"] == "2024-11-01T00:00:00+00:00"
    assert set(said["report"]["models"]) == {"lead", "deal"}
    assert said["audit"]["lead"]["excluded"] == bundle.audit["lead"]["excluded"]
    assert "mlflow" not in said
    # Options overrule the configuration, and the bundle keeps what was used.
    assert bundle.config["horizon_days"] == said["report"]["models"]["lead"]["horizon_days"] == 60
    assert bundle.config["hazard"]["intervals"] == 6


def test_report_tells_what_training_told(vigie: Any, company: Any) -> None:
    """The report of a bundle, for a program and for a person."""
    said = vigie.ask("report", "--bundle", company.bundle)
    assert said["report"] == company.trained["report"]
    text = vigie.say("report", "--bundle", company.bundle)
    assert "Leads: the chance of a purchase within 60 days" in text
    assert "Leakage audit" in text
    for entity in ("lead", "deal"):
        assert all(f"{field}: " in text for field in said["audit"][entity]["excluded"])
    assert text.index("Leads:") < text.index("Deals:")


def test_a_history_that_ended_is_not_observed_until_today(vigie: Any, company: Any) -> None:
    """Without --observed-until it ends just after the last thing recorded; future dates do not count."""
    history = Store.open(str(company.history)).read()
    until = last_recorded(history, NOW)
    assert until < pd.Timestamp("2025-01-01", tz="UTC")
    everything = [history.activities["recorded_at"], history.changes["recorded_at"]]
    everything += [history.leads["recorded_at"], history.deals["closed_recorded_at"]]
    last = max(series.max() for series in everything)
    assert last < until <= last + pd.Timedelta(seconds=1)
    # A record without a time of its own is known from its export on, which may be years later.
    assert last_recorded(replace(history, deals=pd.concat([history.deals, untimed_deal()])), NOW) == until
    early = last_recorded(history, pd.Timestamp("2024-03-01", tz="UTC"))
    assert early <= pd.Timestamp("2024-03-01", tz="UTC")


@pytest.mark.parametrize(
    ("option", "value"), [("--horizon-days", 0), ("--tune", -1), ("--horizon-days", "nan")]
)
def test_a_length_that_is_none_is_a_wrong_use(
    vigie: Any, company: Any, tmp_path: Path, option: str, value: object
) -> None:
    """Nothing is trained for no days, or tuned for no minutes."""
    message = vigie.refusal(*train(company, tmp_path / "b", option, value), code=2)
    assert option in message
    assert "above 0" in message


def test_a_slip_in_the_configuration_is_named(vigie: Any, company: Any, tmp_path: Path) -> None:
    """An unknown setting is refused with the nearest one."""
    config = tmp_path / "settings.toml"
    config.write_text("horizon_day = 30\n")
    message = vigie.refusal("train", "--history", company.history, "--config", config, "--no-track")
    assert "horizon_day" in message
    assert "did you mean horizon_days?" in message


def test_promoting_what_is_not_there_is_refused(vigie: Any, company: Any, tmp_path: Path) -> None:
    """An empty registry has no challenger; the bundle it would have been written to is not made."""
    tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"
    where = ("--history", company.history, "--tracking", tracking, "--to", tmp_path / "champion")
    assert "challenger" in vigie.refusal("promote", *where)
    assert not (tmp_path / "champion").exists()


def test_a_history_without_any_time_is_observed_until_it_was_exported() -> None:
    """Where nothing has a time of its own, what is known from the export on counts."""
    until = last_recorded(History(deals=untimed_deal()), NOW)
    assert until == pd.Timestamp("2026-01-01T00:00:01", tz="UTC")
    with pytest.raises(NotEnoughData, match="vigie import"):
        last_recorded(History(), NOW)


def test_a_failed_training_keeps_the_old_bundle(vigie: Any, tiny: Path, own_bundle: Path) -> None:
    """Before anything was recorded there is nothing to learn: the message says so, the bundle stays."""
    before = content(own_bundle)
    asked = ("--observed-until", "1999-01-01", "--no-track")
    message = vigie.refusal("train", "--history", tiny, "--bundle", own_bundle, *asked)
    assert "1999-01-01" in message
    assert content(own_bundle) == before


def test_a_training_that_cannot_be_logged_keeps_the_old_bundle(
    vigie: Any, tiny: Path, own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle is replaced last, once the run is logged."""

    def fail(*_: object, **__: object) -> None:
        raise TrackingError("the server is gone")

    monkeypatch.setattr(training.tracking, "track", fail)
    before = content(own_bundle)
    asked = ("--tracking", f"sqlite:///{own_bundle.parent / 'mlflow.db'}")
    message = vigie.refusal("train", "--history", tiny, "--bundle", own_bundle, *asked)
    assert "the server is gone" in message
    assert content(own_bundle) == before


def test_training_is_logged_where_asked(
    vigie: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tracker gets the settings used and the address; the answer says where the run is."""
    seen: dict[str, Any] = {}

    def track(trained: Any, history: Any, settings: Any, **options: Any) -> training.tracking.Tracked:
        seen.update(options, settings=settings, until=trained.bundle.trained_through)
        return training.tracking.Tracked("run7", "3", "challenger")

    monkeypatch.setattr(training.tracking, "track", track)
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    where = ("--history", tiny, "--bundle", tmp_path / "b", "--tracking", address)
    said = vigie.say("train", *where, "--horizon-days", 14)
    assert "MLflow: run run7, version 3, challenger. vigie promote" in said
    assert "just after the last thing that the history records" in said
    assert seen["tracking_uri"] == address
    assert seen["settings"].horizon_days == 14
    assert seen["until"] < pd.Timestamp("2025-01-01T01:00", tz="UTC")


@pytest.mark.parametrize("option", [("--tracking", "mlflow.db"), ("--bundle", "letters")])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    vigie: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: tuple[str, str]
) -> None:
    """A folder with other files is no place for a bundle, a path no address of a tracking store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training.train, "train", None)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("dear")
    assert option[1] in vigie.refusal("train", "--history", tiny, *option)
    assert (tmp_path / "letters" / "love.txt").read_text() == "dear"


def test_too_early_is_said_and_no_score_pretends_otherwise(vigie: Any, tiny: Path, tmp_path: Path) -> None:
    """A young company gets a report that counts what is missing, and rows without a score."""
    where = ("--history", tiny, "--bundle", tmp_path / "b")
    assert "Too early: " in vigie.say("train", *where, "--no-track")
    scored = vigie.ask("score", "leads", *where, "--as-of", "2024-12-01", "--out", tmp_path / "l.csv")
    assert scored["scored"] == 0
    assert scored["missing"] == {"too_early": scored["rows"]}
    assert scored["rows"] > 0


BUNDLE_COMMANDS = (
    ("report",),
    ("serve", "--port", "39999"),
    ("score", "leads", "--as-of", "2024-11-15", "--out", "leads.csv", "--history", "none.sqlite"),
)


@pytest.mark.parametrize("command", BUNDLE_COMMANDS, ids=lambda command: command[0])
def test_a_bundle_that_is_not_there_is_named(
    vigie: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """The message says that vigie train makes one."""
    monkeypatch.chdir(tmp_path)
    message = vigie.refusal(*command, "--bundle", tmp_path / "none")
    assert "none" in message
    assert "vigie train" in message
    assert not (tmp_path / "leads.csv").exists()


@pytest.mark.parametrize("command", BUNDLE_COMMANDS, ids=lambda command: command[0])
def test_a_cut_bundle_is_refused(
    vigie: Any, own_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Half a file is noticed before anything is said, served or scored from it."""
    monkeypatch.chdir(tmp_path)
    path = own_bundle / "lead.hazard.txt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = vigie.refusal(*command, "--bundle", own_bundle)
    assert "lead.hazard.txt" in message
    assert "it was cut" in message


def test_a_bundle_of_a_newer_format_is_refused(vigie: Any, own_bundle: Path) -> None:
    """A newer bundle asks for a newer Vigie."""
    path = own_bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    message = vigie.refusal("report", "--bundle", own_bundle)
    assert "format = 99" in message
    assert "upgrade Vigie" in message


def test_a_bundle_without_the_model_asked_for_is_refused(vigie: Any, company: Any, tmp_path: Path) -> None:
    """A bundle of leads alone scores no deals, and says why."""
    whole = ModelBundle.load(company.bundle)
    alone = ModelBundle({"lead": whole.models["lead"]}, whole.created_at, whole.trained_through)
    alone.save(tmp_path / "alone")
    out = tmp_path / "deals.csv"
    asked = ("--as-of", "2024-11-15", "--out", out, "--history", company.history)
    message = vigie.refusal("score", "deals", *asked, "--bundle", tmp_path / "alone")
    assert "has no model of deals" in message
    assert not out.exists()
