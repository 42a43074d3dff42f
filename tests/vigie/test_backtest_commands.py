"""vigie backtest: what it says and writes, what it takes up after it was killed, what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from crm.store import Store
from crm.validation import validate_history

START = pd.Timestamp("2024-01-01", tz="UTC")
END = START + pd.Timedelta(days=230)
CONFIG = """
every_days = 14
snapshots = 600
half_lives = []
linear_weights = [0.5]
linear_rows = 300
resamples = 50

[hazard]
intervals = 5
learning_rate = 0.3
rounds = 8
fewest_rounds = 4
most_rounds = 8
rows_per_leaf = 20

[timing]
intervals = 5
rounds = 8

[distill]
rounds = 10
leaves = 7
"""
FILES = ("backtest.json", "backtest.html", "deals.parquet", "leads.parquet", "forecasts.parquet")


class Place(NamedTuple):
    """Where a history, its settings, a bundle and a first backtest are, and what that answered."""

    history: Path
    config: Path
    bundle: Path
    tracking: str
    out: Path
    answer: dict[str, Any]

    def words(self, out: Path, *more: object) -> list[object]:
        """Give the arguments of the same backtest into a directory."""
        return [
            "backtest", "--history", self.history, "--config", self.config, "--from", "2024-04-10",
            "--every", "80D", "--horizons", "4W,1W", "--jobs", 1, "--out", out, *more,
        ]  # fmt: skip


@pytest.fixture(scope="module")
def place(vigie: Any, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Simulate deals, train on them, and go back to two cutoffs."""
    folder = tmp_path_factory.mktemp("replayed")
    rng = np.random.default_rng(0)
    n = 160
    created = START + pd.to_timedelta(rng.uniform(0, 200, n), unit="D")
    closed = created + pd.to_timedelta(rng.gamma(3, 10, n), unit="D")
    good = rng.random(n) < 0.5
    won = rng.random(n) < np.where(good, 0.8, 0.2)
    deals = pd.DataFrame(
        {
            "deal_id": [f"d{number}" for number in range(n)],
            "created_at": created,
            "amount": rng.lognormal(8, 0.5, n).round(2),
            "product": np.where(good, "A", "B"),
            "outcome": np.where(closed >= END, None, np.where(won, "won", "lost")),
            "closed_at": pd.Series(closed).where(closed < END),
        }
    )
    history, config, bundle = folder / "crm.sqlite", folder / "fast.toml", folder / "bundle"
    config.write_text(CONFIG)
    frames = validate_history({"deals": deals}).frames()
    Store.open(f"sqlite:///{history}", create=True).load(
        frames, source="test", exported_at=END, loaded_at=END
    )
    vigie.ask("train", "--history", history, "--config", config, "--bundle", bundle, "--no-track")
    found = Place(history, config, bundle, f"sqlite:///{folder / 'mlflow.db'}", folder / "out", {})
    asked = ("--bundle", shutil.copytree(bundle, folder / "told"), "--tracking", found.tracking)
    return found._replace(answer=vigie.ask(*found.words(found.out, *asked)))


def contents(out: Path) -> dict[str, bytes]:
    """Give the bytes of every file that is an answer."""
    return {name: (out / name).read_bytes() for name in FILES}


def test_the_answer_is_what_was_written(place: Place) -> None:
    """Plan, findings in words, how long each cutoff took; the report and its tables are there."""
    report = json.loads((place.out / "backtest.json").read_text())
    assert place.answer["plan"] == report["plan"]
    assert [one[:10] for one in report["plan"]["cutoffs"]] == ["2024-04-10", "2024-06-29"]
    assert place.answer["deals"]["measures"] == report["deals"]["measures"]
    assert [one["taken_up"] for one in place.answer["times"]] == [False, False]
    assert place.answer["peak_bytes"] > 100 << 20
    assert any(sentence.startswith("Of deals shown at") for sentence in place.answer["words"])
    assert [one["horizon"] for one in place.answer["forecast"]["horizons"]] == ["1W", "4W"]
    assert all(contents(place.out).values())


def test_a_person_is_told_the_same_in_words(vigie: Any, place: Place) -> None:
    """Findings, the table beside the baselines, and where the report is; what was done is taken up."""
    result = vigie.run(*place.words(place.out, "--no-track"))
    assert result.exit_code == 0
    assert "2024-06-29 taken up (1 of 2)" in " ".join(result.stderr.split())
    said = " ".join(result.stdout.split())
    for sentence in place.answer["words"]:
        assert sentence in said
    assert "2 cutoffs from 2024-04-10 to 2024-06-29" in said
    assert "LightGBM on closed ones" in said and "WAPE" in said
    assert f"Report: {place.out / 'backtest.html'}" in said


def test_a_run_that_was_killed_goes_on(vigie: Any, place: Place, tmp_path: Path) -> None:
    """Killed when the first cutoff is done, the same command takes it up and gives the same bytes."""
    words = [str(word) for word in place.words(tmp_path / "out", "--no-track")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VIGIE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "vigie", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=environment,
    )  # fmt: skip
    until = time.monotonic() + 100
    while not list((tmp_path / "out" / "work").glob("[!.]*/facts.json")) and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out" / "backtest.json").exists()
    answer = vigie.ask(*words)
    assert [one["taken_up"] for one in answer["times"]][-1]
    assert contents(tmp_path / "out") == contents(place.out)


def test_the_bundle_carries_the_summary(vigie: Any, place: Place) -> None:
    """The report of the bundle holds it, for a program and in words for a person."""
    told = place.answer["bundle"]
    said = vigie.ask("report", "--bundle", told["directory"])
    assert said["version"] == told["version"]
    assert said["report"]["backtest"]["words"] == place.answer["words"]
    before = vigie.ask("report", "--bundle", place.bundle)
    assert before["version"] != told["version"] and "backtest" not in before["report"]
    assert place.answer["words"][0] in vigie.say("report", "--bundle", told["directory"])


def test_the_run_is_in_mlflow(place: Place) -> None:
    """Settings, figures with their ranges, and both files of the report as they are."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(place.tracking, registry_uri=place.tracking)
    run = client.get_run(place.answer["mlflow"]["run_id"])
    assert run.info.status == "FINISHED" and run.data.tags["vigie.cutoffs"] == "2"
    assert run.data.params["train.hazard.rounds"] == "8"
    auc = place.answer["deals"]["measures"]["vigie"]["auc"]
    assert run.data.metrics["deal.vigie.auc"] == auc["value"]
    assert run.data.metrics["deal.vigie.auc.low"] == auc["low"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "backtest.html",
        "backtest.json",
    }


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (("--every", "fortnight"), 1, "fortnight"),
        (("--horizons", ","), 1, "--horizons"),
        (("--from", "2024-08-18"), 1, "--from is later than"),
        (("--from", "2024-01-01T08:00"), 2, "no time zone"),
        (("--jobs", "0"), 2, "--jobs"),
        (("--currency", "EUR"), 2, "--rates"),
        (("--bundle", "nowhere"), 1, "nowhere"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_work(
    vigie: Any, place: Place, tmp_path: Path, asked: tuple[str, str], code: int, said: str
) -> None:
    """One message says what is wrong; nothing is written."""
    out = tmp_path / "out"
    assert said in vigie.refusal("backtest", "--history", place.history, "--out", out, *asked, code=code)
    assert not out.exists()


def test_a_young_company_has_nothing_to_go_back_to(vigie: Any, tiny: Path, tmp_path: Path) -> None:
    """What there is and what is needed is counted."""
    message = vigie.refusal("backtest", "--history", tiny, "--out", tmp_path / "out", "--no-track")
    assert "training needs 10 won and 20 closed" in message or "no cutoff to go back to" in message


def test_a_directory_that_cannot_be_made_is_named(vigie: Any, place: Place, tmp_path: Path) -> None:
    """A file in its place is no directory."""
    (tmp_path / "file").write_text("")
    message = vigie.refusal(*place.words(tmp_path / "file", "--no-track"))
    assert "another --out" in message and (tmp_path / "file").read_text() == ""
