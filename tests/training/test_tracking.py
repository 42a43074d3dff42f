"""MLflow: what a run holds, who becomes champion, and that a store can be moved."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from crm.errors import BundleError, TrackingError
from crm.history import History
from crm.validation import validate_history
from serving.bundle import ModelBundle
from training.digests import digest_table
from training.following import Follower
from training.gate import Decision
from training.registered import RegisteredBundle
from training.settings import DistillSettings, HazardSettings, TrainSettings
from training.tracking import Tracked, fetch_bundle, promote, track
from training.train import Trained, train
from training.tune import Trial, Tuned

START = pd.Timestamp("2024-01-01", tz="UTC")
UNTIL = pd.Timestamp("2024-09-01", tz="UTC")
LATER = pd.Timestamp("2024-10-01", tz="UTC")
FAST = TrainSettings(
    every_days=14,
    half_lives=(),
    linear_weights=(0.5,),
    resamples=100,
    hazard=HazardSettings(
        learning_rate=0.2,
        intervals=6,
        rounds=10,
        fewest_rounds=5,
        most_rounds=15,
        rows_per_leaf=30,
        threads=1,
    ),
    distill=DistillSettings(rounds=20, leaves=7, threads=1),
)


def _at(days: Any) -> pd.Series:
    return pd.Series(START + pd.to_timedelta(days, unit="D")).dt.as_unit("us")


@pytest.fixture(scope="module")
def history() -> History:
    """Give 300 deals: those whose buyer writes are mostly won."""
    rng = np.random.default_rng(5)
    n = 300
    created = np.sort(rng.uniform(0, 300, n))
    keen = rng.random(n) < 0.5
    ended = created + 15 + rng.exponential(30, n)
    won = rng.random(n) < np.where(keen, 0.85, 0.1)
    closed = ended < 330
    deals = pd.DataFrame(
        {
            "deal_id": [f"D{i}" for i in range(n)],
            "created_at": _at(created),
            "owner_id": rng.choice(["ann", "bob"], n),
            "stage": "open",
            "outcome": np.where(closed, np.where(won, "won", "lost"), None),
            "closed_at": _at(ended).where(pd.Series(closed)),
        }
    )
    deal = np.repeat(np.arange(n), np.where(keen, 8, 1))
    moments = created[deal] + rng.uniform(0, 1, len(deal)) * (ended - created)[deal]
    deal, moments = deal[moments < 330], moments[moments < 330]
    activities = pd.DataFrame(
        {
            "activity_id": [f"A{i}" for i in range(len(deal))],
            "deal_id": [f"D{i}" for i in deal],
            "kind": "email",
            "direction": "in",
            "occurred_at": _at(moments),
        }
    )
    return validate_history({"deals": deals, "activities": activities})


@pytest.fixture(scope="module")
def trained(history: History) -> Trained:
    """Give a training with signal."""
    found = train(history, UNTIL, FAST)
    assert found.report["models"]["deal"]["status"] == "signal"
    return found


@pytest.fixture(scope="module")
def retrained(history: History) -> Trained:
    """Give the same, a month later."""
    return train(history, LATER, FAST)


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, history: History, trained: Trained, retrained: Trained
) -> tuple[Path, Tracked, Tracked]:
    """Give a folder with a store of both trainings."""
    folder = tmp_path_factory.mktemp("a folder") / "first place"
    folder.mkdir()
    tuned = Tuned(FAST, False, 0.01, -0.02, 0.03, (Trial({"leaves": 7.0}, 1.0),))
    first = track(trained, history, FAST, tracking_uri=_uri(folder))
    second = track(retrained, history, FAST, tracking_uri=_uri(folder), tuned=tuned)
    return folder, first, second


@pytest.fixture
def store(made: tuple[Path, Tracked, Tracked], tmp_path: Path) -> str:
    """Give the address of a copy of that store, so that a test may change it."""
    shutil.copytree(made[0], tmp_path / "copy")
    return _uri(tmp_path / "copy")


def _uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def _client(uri: str) -> MlflowClient:
    return MlflowClient(uri, registry_uri=uri)


def test_a_run_holds_every_setting(made: tuple[Path, Tracked, Tracked]) -> None:
    """Parameters are all settings, nested ones with dotted names."""
    params = _client(_uri(made[0])).get_run(made[1].run_id).data.params
    assert params["hazard.leaves"] == "7"
    assert params["hazard.threads"] == "1"
    assert params["linear_weights"] == "[0.5]"
    assert params["audit.drop"] == "[]"


def test_a_run_shows_measures_beside_baselines(made: tuple[Path, Tracked, Tracked], trained: Trained) -> None:
    """The model's figures stand beside its baselines', equal to the report's."""
    metrics = _client(_uri(made[0])).get_run(made[1].run_id).data.metrics
    measures = trained.report["models"]["deal"]["window"]["measures"]
    assert metrics["deal.vigie.auc"] == measures["vigie"]["auc"]
    assert metrics["deal.base_rate.log_loss"] == measures["base rate"]["log_loss"]
    assert metrics["deal.skill.low"] > 0
    assert metrics["deal.counts.won"] == trained.report["models"]["deal"]["counts"]["won"]


def test_a_run_names_the_data_it_saw(made: tuple[Path, Tracked, Tracked], history: History) -> None:
    """Digests are of each table as known at the end of training, so later data do not change them."""
    client = _client(_uri(made[0]))
    digests = [
        {one.dataset.name: one.dataset.digest for one in client.get_run(run).inputs.dataset_inputs}
        for run in (made[1].run_id, made[2].run_id)
    ]
    assert set(digests[0]) == {"deals", "activities"}
    assert digests[0]["deals"] != digests[1]["deals"]
    shuffled = history.activities.sample(frac=1, random_state=1)
    assert digest_table(shuffled) == digest_table(history.activities)
    kind = history.activities["kind"]
    changed = history.activities.assign(kind=kind.mask(kind.index == 0, "x"))
    assert digest_table(changed) != digest_table(history.activities)


def test_a_run_keeps_plots_report_audit_and_tuning(
    made: tuple[Path, Tracked, Tracked], trained: Trained
) -> None:
    """Calibration, lift and SHAP plots are pictures, report and audit JSON, tuning is there where asked."""
    artifacts = made[0] / "mlflow-artifacts" / made[1].run_id / "artifacts"
    for name in ("calibration", "lift", "shap"):
        content = (artifacts / "plots" / f"deal.{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 5_000
    report = json.loads((artifacts / "report.json").read_text())
    assert report["models"]["deal"]["status"] == "signal"
    assert "deal" in json.loads((artifacts / "audit.json").read_text())
    assert not (artifacts / "tuning.json").exists()
    tuning = json.loads((artifacts.parents[1] / made[2].run_id / "artifacts" / "tuning.json").read_text())
    assert tuning["trials"] == [{"hazard": {"leaves": 7.0}, "loss": 1.0}]


def test_nothing_pickled_is_written(made: tuple[Path, Tracked, Tracked]) -> None:
    """The registered model is the bundle's own files and MLflow's text; none of it is a pickle."""
    files = [path for path in (made[0] / "mlflow-artifacts").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".txt", ".png", ".npz", ".yaml", ""}
    # Every pickle of protocol 2 or later begins so.
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80"]
    described = next(path for path in files if path.name == "MLmodel").read_text()
    assert "loader_module: training.registered" in described
    assert "cloudpickle" not in described


def test_the_first_is_champion_and_the_next_only_challenges(made: tuple[Path, Tracked, Tracked]) -> None:
    """A first bundle answers at once; a further one has to pass the gate."""
    _, first, second = made
    assert (first.version, first.alias) == ("1", "champion")
    assert (second.version, second.alias) == ("2", "challenger")
    client = _client(_uri(made[0]))
    assert str(client.get_model_version_by_alias("vigie", "champion").version) == "1"
    assert str(client.get_model_version_by_alias("vigie", "challenger").version) == "2"
    assert client.get_model_version("vigie", "1").tags["vigie.gate.promoted"] == "true"


def test_a_bundle_that_can_score_nothing_is_not_the_first_champion(
    store: str, history: History, trained: Trained
) -> None:
    """Where it is too early to score, the version is kept as a challenger and the tag says why."""
    early = replace(trained.bundle.models["deal"], signal=False, too_early=True)
    bundle = replace(trained.bundle, models={"deal": early})
    tracked = track(Trained(bundle, {}), history, FAST, tracking_uri=store, registered_name="other")
    assert tracked.alias == "challenger"
    assert "too early" in _client(store).get_model_version("other", "1").tags["vigie.gate.reason"]
    assert not promote(store, history, name="other").promoted
    with pytest.raises(TrackingError, match="no champion"):
        fetch_bundle(store, to=Path("nowhere"), name="other")


def test_a_fetched_bundle_is_the_one_that_was_trained(
    store: str, trained: Trained, retrained: Trained, tmp_path: Path
) -> None:
    """What comes out of the registry is byte for byte what went in, by alias or by version."""
    assert fetch_bundle(store, to=tmp_path / "champion") == tmp_path / "champion"
    assert ModelBundle.load(tmp_path / "champion").version == trained.bundle.version
    fetch_bundle(store, "2", to=tmp_path / "second")
    assert ModelBundle.load(tmp_path / "second").files == retrained.bundle.files


def test_a_fetch_that_fails_leaves_what_was_there(store: str, tmp_path: Path) -> None:
    """An unknown alias or version is refused, and the directory stays as it was."""
    fetch_bundle(store, to=tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    for wanted in ("previous", "7"):
        with pytest.raises(TrackingError, match=wanted):
            fetch_bundle(store, wanted, to=tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before


def test_a_moved_store_finds_its_artifacts(
    made: tuple[Path, Tracked, Tracked], trained: Trained, tmp_path: Path
) -> None:
    """A store moved with its folder, the old place gone, is used as before and holds no old path."""
    old = tmp_path / "old"
    shutil.copytree(made[0], old)
    fetch_bundle(_uri(old), to=tmp_path / "before")
    old.rename(tmp_path / "new")
    fetch_bundle(_uri(tmp_path / "new"), to=tmp_path / "after")
    assert ModelBundle.load(tmp_path / "after").version == trained.bundle.version
    content = _client(_uri(tmp_path / "new")).get_run(made[1].run_id).info.artifact_uri
    assert content.startswith(str(tmp_path / "new" / "mlflow-artifacts"))


@pytest.fixture
def inverted(trained: Trained) -> Trained:
    """Give a bundle whose every score is turned around."""
    model = trained.bundle.models["deal"]
    turned = replace(model, weights=(-3 * model.weights[0], -3 * model.weights[1]))
    return Trained(replace(trained.bundle, models={"deal": turned}), trained.audits)


def test_a_worse_challenger_is_refused_unless_forced(store: str, history: History, inverted: Trained) -> None:
    """It stays challenger, with the figures in its tags; by force it rules, and the tags say so."""
    tracked = track(inverted, history, FAST, tracking_uri=store)
    assert tracked == Tracked(tracked.run_id, "3", "challenger")
    client = _client(store)
    decision = promote(store, history)
    assert not decision.promoted
    assert decision.figures["comparisons"][0]["low"] > 0
    assert decision.figures["versions"] == {"challenger": "3", "champion": "1"}
    assert decision.reason.startswith("the challenger is worse: deals: log loss")
    tags = client.get_model_version("vigie", "3").tags
    assert tags["vigie.gate.promoted"] == "false"
    assert tags["vigie.gate.reason"] == decision.reason
    assert json.loads(tags["vigie.gate.figures"]) == decision.figures
    assert str(client.get_model_version_by_alias("vigie", "champion").version) == "1"
    forced = promote(store, history, force=True)
    assert forced.promoted
    assert forced.reason == f"forced, although {decision.reason}"
    assert str(client.get_model_version_by_alias("vigie", "champion").version) == "3"


def test_a_promotion_moves_the_aliases(store: str, history: History, inverted: Trained) -> None:
    """A better version becomes champion, the old one previous; asked again, there is nothing to do."""
    track(inverted, history, FAST, tracking_uri=store)
    promote(store, history, force=True)
    decision = promote(store, history, version="2")
    assert decision.promoted
    assert decision.reason.startswith("not worse: deals: log loss")
    client = _client(store)
    assert str(client.get_model_version_by_alias("vigie", "champion").version) == "2"
    assert str(client.get_model_version_by_alias("vigie", "previous").version) == "3"
    assert promote(store, history, version="2") == Decision(False, "version 2 is the champion already")


def test_a_failed_tracking_registers_nothing(
    store: str, history: History, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up while plots are drawn leaves a failed run, no version, and one message."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.tracking.draw_all", full)
    with pytest.raises(TrackingError, match="No space left on device"):
        track(trained, history, FAST, tracking_uri=store)
    client = _client(store)
    runs = client.search_runs([client.get_experiment_by_name("vigie").experiment_id])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED", "FINISHED"]
    assert len(client.search_model_versions("name = 'vigie'")) == 2


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mlruns", "sqlite:///mlflow.db for a file"),
        ("sqlite://", "names no file"),
        ("sqlite:////proc/nothing/mlflow.db", "cannot be written"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(
    address: str, said: str, history: History, trained: Trained
) -> None:
    """A folder, no file, or a place that cannot be written each get a message with the remedy."""
    with pytest.raises(TrackingError, match=said):
        track(trained, history, FAST, tracking_uri=address)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, history: History) -> None:
    """Another file under the store's name is left as it is."""
    path = tmp_path / "mlflow.db"
    path.write_text("these are my notes, not a database\n" * 40)
    before = path.read_bytes()
    with pytest.raises(TrackingError, match="cannot be used as MLflow's database"):
        promote(_uri(tmp_path), history)
    assert path.read_bytes() == before


def test_the_registered_model_scores_as_the_service_does(
    made: tuple[Path, Tracked, Tracked], history: History
) -> None:
    """MLflow loads the model and gives the probability that the bundle gives; faults are per row."""
    with warnings.catch_warnings():
        # MLflow's own use of pandas and pydantic, not ours.
        warnings.simplefilter("ignore")
        import mlflow.pyfunc

        client = _client(_uri(made[0]))
        place = client.get_model_version_download_uri("vigie", "1")
        model = mlflow.pyfunc.load_model(place)
        record = {
            "deal_id": "X",
            "created_at": "2024-08-01T00:00:00+00:00",
            "owner_id": "ann",
            "stage": "open",
        }
        rows = pd.DataFrame(
            [
                {"entity": "deal", "record": json.dumps(record), "as_of": "2024-09-01T00:00:00+00:00"},
                {"entity": "deal", "record": "{", "as_of": "2024-09-01T00:00:00+00:00"},
                {"entity": "lead", "record": "{}", "as_of": "2024-09-01T00:00:00+00:00"},
                {"entity": "cat", "record": "{}", "as_of": "2024-09-01T00:00:00+00:00"},
                {"entity": "deal", "record": json.dumps(record), "as_of": "2024-09-01"},
            ]
        )
        found = model.predict(rows)
    direct = RegisteredBundle(ModelBundle.load(Path(place) / "data" / "bundle")).predict(rows)
    pd.testing.assert_frame_equal(found, direct)
    answer = json.loads(found["answer"][0])
    assert 0 < found["probability"][0] == answer["win_probability"] < 1
    assert found["probability"][1:].isna().all()
    assert (found["reason_missing"][1:] != "").all()
    assert found["reason_missing"][3] == "entity = 'cat': must be lead or deal"


def test_mlflow_never_reports_its_use(tmp_path: Path) -> None:
    """Importing the module in a fresh process, with nothing in the environment, starts no telemetry."""
    code = (
        "import training.tracking as t\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "print(is_telemetry_disabled(), get_telemetry_client())\n"
    )
    silent = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI", "PYTEST_CURRENT_TEST", "GITHUB_ACTIONS")
    env = {key: value for key, value in os.environ.items() if key not in silent}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=Path.cwd(), check=True
    )
    assert run.stdout.split() == ["True", "None"]


def test_a_follower_writes_the_champion_and_its_successor_once(
    made: tuple[Path, Tracked, Tracked], store: str, trained: Trained, retrained: Trained, tmp_path: Path
) -> None:
    """Whoever is champion lies in the directory after the next look; a look at the same writes nothing."""
    place = tmp_path / "served"
    follower = Follower(store, place)
    assert follower.look() == trained.bundle.version == ModelBundle.load(place).version
    written = (place / "manifest.json").stat()
    assert follower.look() is None
    assert Follower(store, place).look() is None
    assert (place / "manifest.json").stat() == written
    _client(store).set_registered_model_alias("vigie", "champion", made[2].version)
    assert follower.look() == retrained.bundle.version == ModelBundle.load(place).version


def test_a_follower_puts_a_damaged_directory_right(
    store: str, trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A manifest that was cut is no version, so the champion is written again."""
    place = tmp_path / "served"
    Follower(store, place).look()
    (place / "manifest.json").write_bytes(b"{")
    assert Follower(store, place).look() == trained.bundle.version
    assert ModelBundle.load(place).version == trained.bundle.version


def test_a_follower_leaves_the_directory_as_it_is_where_the_champion_is_no_good(
    made: tuple[Path, Tracked, Tracked],
    store: str,
    trained: Trained,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A champion whose files were cut, or a registry that is gone, is logged once; the old bundle stays."""
    place = tmp_path / "served"
    follower = Follower(store, place)
    follower.look()
    _client(store).set_registered_model_alias("vigie", "champion", made[2].version)
    for booster in (tmp_path / "copy").rglob("deal.booster.txt"):
        booster.write_bytes(booster.read_bytes()[:-10])
    with caplog.at_level(logging.INFO, "vigie.following"):
        assert follower.look() is follower.look() is None
        assert ModelBundle.load(place).version == trained.bundle.version
        (tmp_path / "copy" / "mlflow.db").write_bytes(b"nothing of the kind" * 100)
        assert follower.look() is follower.look() is None
    assert [record.message for record in caplog.records] == ["champion_not_read"] * 2
    assert "deal.booster.txt" in caplog.records[0].facts["message"]  # type: ignore[attr-defined]
    assert ModelBundle.load(place).version == trained.bundle.version


def test_a_follower_writes_no_champion_that_cannot_answer(
    store: str,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One that fails the probe is never written, read once, and named in the log once."""
    read: list[str] = []

    def registered(uri: str, alias: str, name: str) -> ModelBundle:
        read.append(alias)
        return trained.bundle

    def fail(bundle: ModelBundle) -> None:
        raise BundleError("its model of deals cannot answer")

    monkeypatch.setattr("training.following.registered_bundle", registered)
    monkeypatch.setattr("training.following.probe", fail)
    follower = Follower(store, tmp_path / "served")
    assert follower.look() is follower.look() is None
    assert len(read) == 1
    assert not (tmp_path / "served").exists()
    assert [record.message for record in caplog.records] == ["champion_not_written"]
