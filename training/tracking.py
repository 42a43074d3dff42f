"""MLflow: one run for each training and backtest, the bundle as a registered model, and who is champion.

The only module that imports MLflow. MLflow reports its own use over the network unless it is told not to
before it is imported, and so it is told here: a line above its import, whoever imports this first.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# Its own bars for every artifact copied would come between ours.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow.artifacts
import pandas as pd
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, InputTag, LoggedModelOutput, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types.schema import ColSpec, Schema

from crm.errors import BundleError, NotEnoughData, TrackingError
from crm.history import History
from crm.known import known_at
from serving.bundle import ModelBundle
from training.backtest.settings import BacktestSettings
from training.backtest.summary import flat_figures
from training.digests import digest_history
from training.figures import flat_metrics, flat_settings
from training.gate import Decision, decide, first_champion, observed_until
from training.plots import draw_all
from training.settings import TrainSettings
from training.tracking_store import Store, follow_move, locate
from training.train import Trained
from training.tune import Tuned

with warnings.catch_warnings():
    # On import MLflow warns of type hints that are its own.
    warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
    import mlflow.pyfunc

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"

_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", name) for name in ("entity", "record", "as_of")]),
    outputs=Schema(
        [
            ColSpec("double", "probability"),
            *(ColSpec("string", name) for name in ("answer", "reason_missing", "model_version")),
        ]
    ),
)
_EXAMPLE = {"created_at": "2024-01-08T09:30:00+00:00"}


@dataclass(frozen=True)
class Tracked:
    """Where a training went.

    Parameters
    ----------
    run_id : str
    version : str
        Of the registered model.
    alias : {"champion", "challenger"}
        The highest that the version has.
    """

    run_id: str
    version: str
    alias: str


def track(
    trained: Trained,
    history: History,
    settings: TrainSettings,
    *,
    tracking_uri: str,
    experiment: str = "vigie",
    registered_name: str = "vigie",
    tuned: Tuned | None = None,
) -> Tracked:
    """Log a training as one run, and register its bundle as the challenger.

    The first bundle that can score anything becomes champion at once, as nothing could answer otherwise; each
    further one needs :func:`promote`.

    Parameters
    ----------
    trained : Trained
    history : History
        What it was trained on; the digests are of what was known of it by ``trained_through``.
    settings : TrainSettings
    tracking_uri : str
        ``sqlite:///mlflow.db`` for a file with its artifacts in a folder beside it, or a server's address.
    experiment, registered_name : str
    tuned : Tuned, optional
        How the settings were found.

    Raises
    ------
    TrackingError
        If the store cannot be reached or written. The run is then marked as failed and nothing is promoted.
    """
    bundle = trained.bundle
    with _client(tracking_uri) as (client, store):
        experiment_id = _experiment(client, experiment, store)
        stamp = int(bundle.created_at.timestamp() * 1000)
        run = client.create_run(
            experiment_id,
            run_name=f"{bundle.trained_through:%Y-%m-%d} {bundle.version[:8]}",
            tags={
                "vigie.bundle": bundle.version,
                "vigie.trained_through": bundle.trained_through.isoformat(),
            },
        )
        run_id: str = run.info.run_id
        try:
            _log_facts(client, run_id, trained, settings, stamp)
            _log_datasets(client, run_id, history, bundle)
            _log_files(client, run_id, trained, settings, history, tuned)
            version = _register(client, run_id, experiment_id, registered_name, bundle)
        except BaseException:
            # Also when interrupted: a run that did not end is never left looking as if it were going on.
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")
        client.set_registered_model_alias(registered_name, CHALLENGER, version)
        if _holder(client, registered_name, CHAMPION) is None:
            first = first_champion(bundle)
            _record(client, registered_name, version, first)
            if first.promoted:
                client.set_registered_model_alias(registered_name, CHAMPION, version)
                return Tracked(run_id, version, CHAMPION)
    return Tracked(run_id, version, CHALLENGER)


def track_backtest(
    report: Mapping[str, Any],
    files: Sequence[Path],
    settings: BacktestSettings,
    *,
    tracking_uri: str,
    finished_at: pd.Timestamp,
    experiment: str = "vigie-backtest",
) -> str:
    """Log a backtest as one run: its settings, its figures over all cutoffs, and its files.

    Parameters
    ----------
    report : mapping
        As :func:`training.backtest.backtest` gives it.
    files : sequence of Path
        Logged as they are.
    settings : BacktestSettings
    tracking_uri : str
    finished_at : Timestamp with a time zone
    experiment : str

    Returns
    -------
    str
        The id of the run.

    Raises
    ------
    TrackingError
        If the store cannot be reached or written. The run is then marked as failed.
    """
    cutoffs = report["plan"]["cutoffs"]
    with _client(tracking_uri) as (client, store):
        experiment_id = _experiment(client, experiment, store)
        run = client.create_run(
            experiment_id,
            run_name=f"backtest {cutoffs[0][:10]} to {cutoffs[-1][:10]}",
            tags={"vigie.observed_until": report["plan"]["end"], "vigie.cutoffs": str(len(cutoffs))},
        )
        run_id: str = run.info.run_id
        try:
            _log_params(client, run_id, flat_settings(settings))
            stamp = int(finished_at.timestamp() * 1000)
            metrics = [Metric(key, value, stamp, 0) for key, value in flat_figures(report).items()]
            for first in range(0, len(metrics), 500):
                client.log_batch(run_id, metrics=metrics[first : first + 500])
            for file in files:
                client.log_artifact(run_id, str(file))
        except BaseException:
            # Also when interrupted, as in track.
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")
    return run_id


def promote(
    tracking_uri: str,
    history: History,
    *,
    version: str | None = None,
    name: str = "vigie",
    force: bool = False,
    until: pd.Timestamp | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Decision:
    """Make a challenger the champion, if the gate lets it.

    Parameters
    ----------
    tracking_uri : str
    history : History
    version : str, optional
        Of the registered model; by default the one with the alias ``challenger``.
    name : str
        Of the registered model.
    force : bool
        Promote whatever the gate finds; the decision still says what it found.
    until : Timestamp with a time zone, optional
        End of observation; by default just after the last thing the history knows.
    say : callable
        Told what is being done.

    Returns
    -------
    Decision
        Also kept as tags of the version (``vigie.gate.promoted``, ``.reason``, ``.figures``).

    Raises
    ------
    TrackingError
        If the store cannot be reached, or holds no such version.
    """
    with _client(tracking_uri) as (client, _):
        chosen = _version(client, name, version or CHALLENGER, is_alias=version is None)
        champion = _holder(client, name, CHAMPION)
        if champion is not None and str(champion.version) == str(chosen.version):
            return Decision(False, f"version {chosen.version} is the champion already")
        with tempfile.TemporaryDirectory(prefix="vigie-gate-") as folder:
            challenging = ModelBundle.load(_download(client, chosen, Path(folder) / CHALLENGER))
            if champion is None:
                decision = first_champion(challenging)
            else:
                reigning = ModelBundle.load(_download(client, champion, Path(folder) / CHAMPION))
                moment = until if until is not None else observed_until(history)
                decision = _decide(history, reigning, challenging, moment, force=force, say=say)
        if force and not decision.promoted:
            decision = Decision(True, f"forced, although {decision.reason}", decision.figures)
        versions = {
            "challenger": str(chosen.version),
            "champion": str(champion.version) if champion else None,
        }
        decision = Decision(decision.promoted, decision.reason, {"versions": versions, **decision.figures})
        _record(client, name, chosen.version, decision)
        if decision.promoted:
            if champion is not None:
                client.set_registered_model_alias(name, PREVIOUS, champion.version)
            client.set_registered_model_alias(name, CHAMPION, chosen.version)
    return decision


def fetch_bundle(tracking_uri: str, alias: str = CHAMPION, *, to: Path, name: str = "vigie") -> Path:
    """Copy a registered bundle out of MLflow.

    Parameters
    ----------
    tracking_uri : str
    alias : str
        ``champion``, ``challenger``, ``previous``, or the number of a version.
    to : Path
        The directory to write; replaced where it is an earlier bundle, untouched where anything fails.
    name : str
        Of the registered model.

    Returns
    -------
    Path
        ``to``.

    Raises
    ------
    TrackingError
        If the store cannot be reached, or holds no such version.
    BundleError
        If the bundle was cut or altered, or ``to`` holds something else.
    """
    registered_bundle(tracking_uri, alias, name=name).save(to)
    return to


def registered_bundle(tracking_uri: str, alias: str = CHAMPION, *, name: str = "vigie") -> ModelBundle:
    """Read a registered bundle out of MLflow.

    Parameters
    ----------
    tracking_uri : str
    alias : str
        As of :func:`fetch_bundle`.
    name : str
        Of the registered model.

    Raises
    ------
    TrackingError
        If the store cannot be reached, or holds no such version.
    BundleError
        If the bundle was cut or altered.
    """
    with _client(tracking_uri) as (client, _), tempfile.TemporaryDirectory(prefix="vigie-fetch-") as folder:
        chosen = _version(client, name, alias, is_alias=not alias.isdecimal())
        try:
            return ModelBundle.load(_download(client, chosen, Path(folder)))
        except BundleError as error:
            # Named by where it lies for good; the folder that it was copied to is gone when this is read.
            raise BundleError(str(error).replace(folder, f"{name} version {chosen.version}")) from None


def champion_of(tracking_uri: str, *, name: str = "vigie") -> tuple[str, str | None]:
    """Say who is champion, without reading its bundle.

    Parameters
    ----------
    tracking_uri : str
    name : str
        Of the registered model.

    Returns
    -------
    str
        The number of the version.
    str or None
        The version of its bundle; None where it was registered without saying.

    Raises
    ------
    TrackingError
        If the store cannot be reached, or holds no champion.
    """
    with _client(tracking_uri) as (client, _):
        found = _version(client, name, CHAMPION, is_alias=True)
        return str(found.version), found.tags.get("vigie.bundle")


@contextmanager
def _client(tracking_uri: str) -> Iterator[tuple[MlflowClient, Store]]:
    """Open a store; what MLflow finds wrong becomes one of our own errors, and its own talk is not shown."""
    store = locate(tracking_uri)
    follow_move(store)
    quiet = logging.root.manager.disable
    logging.disable(max(quiet, logging.INFO))
    try:
        with warnings.catch_warnings():
            # MLflow's own mappers use an option that SQLAlchemy 2.1 deprecates.
            warnings.filterwarnings("ignore", message="The ``noload`` loader", category=DeprecationWarning)
            client = MlflowClient(store.uri, registry_uri=store.uri)
        yield client, store
    except MlflowException as error:
        raise TrackingError(
            f"--tracking {tracking_uri}: MLflow refused ({str(error).splitlines()[0]}); check the address, "
            "and that the store was made by this version of MLflow or upgraded with mlflow db upgrade"
        ) from error
    except OSError as error:
        raise TrackingError(
            f"--tracking {tracking_uri}: cannot be written or read ({error.strerror or error}); check the "
            "disk and the rights"
        ) from error
    finally:
        logging.disable(quiet)


def _experiment(client: MlflowClient, name: str, store: Store) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None if store.artifacts is None else str(store.artifacts)
    return str(client.create_experiment(name, artifact_location=place))


def _log_facts(
    client: MlflowClient, run_id: str, trained: Trained, settings: TrainSettings, stamp: int
) -> None:
    _log_params(client, run_id, flat_settings(settings))
    metrics = [Metric(key, value, stamp, 0) for key, value in flat_metrics(trained.report).items()]
    client.log_batch(run_id, metrics=metrics)
    for entity, section in trained.report["models"].items():
        client.set_tag(run_id, f"vigie.{entity}.status", section["status"])


def _log_params(client: MlflowClient, run_id: str, settings: Mapping[str, str]) -> None:
    params = [Param(key, value) for key, value in settings.items()]
    for first in range(0, len(params), 100):
        client.log_batch(run_id, params=params[first : first + 100])


def _log_datasets(client: MlflowClient, run_id: str, history: History, bundle: ModelBundle) -> None:
    known = known_at(history, pd.Timestamp(bundle.trained_through))
    frames = known.frames()
    inputs = []
    for table, digest in digest_history(known).items():
        source = CodeDatasetSource({"table": table, "known_before": bundle.trained_through.isoformat()})
        dataset = MetaDataset(source, name=table, digest=digest)
        tags = [InputTag("mlflow.data.context", "training"), InputTag("rows", str(len(frames[table])))]
        inputs.append(DatasetInput(dataset._to_mlflow_entity(), tags))
    client.log_inputs(run_id, inputs)


def _log_files(
    client: MlflowClient,
    run_id: str,
    trained: Trained,
    settings: TrainSettings,
    history: History,
    tuned: Tuned | None,
) -> None:
    # The bundle's own text: what is not finite is null in it, and everything is plain JSON.
    files = {name: trained.bundle.files[name].decode() for name in ("report.json", "audit.json")}
    files["settings.json"] = json.dumps(settings.to_json_dict(), indent=1)
    if tuned is not None:
        files["tuning.json"] = json.dumps(tuned.to_json_dict(), indent=1)
    for name, text in files.items():
        client.log_text(run_id, text, name)
    for name, figure in draw_all(history, trained.bundle).items():
        client.log_figure(run_id, figure, f"plots/{name}", save_kwargs={"dpi": 110, "bbox_inches": "tight"})


def _register(client: MlflowClient, run_id: str, experiment_id: str, name: str, bundle: ModelBundle) -> str:
    """Log the bundle's directory as a model and register it; nothing is pickled."""
    entity = min(bundle.models)
    record = json.dumps({f"{entity}_id": "example", **_EXAMPLE})
    example = pd.DataFrame([{"entity": entity, "record": record, "as_of": "2024-02-01T00:00:00+00:00"}])
    logged = client.create_logged_model(experiment_id, name=name, source_run_id=run_id)
    with tempfile.TemporaryDirectory(prefix="vigie-model-") as folder:
        directory = Path(folder) / "bundle"
        bundle.save(directory)
        with warnings.catch_warnings():
            # MLflow compares the example's columns with a range, as pandas 3 no longer likes.
            warnings.filterwarnings("ignore", message="Operation with range is deprecated")
            mlflow.pyfunc.save_model(
                path=str(Path(folder) / "model"),
                loader_module="training.registered",
                data_path=str(directory),
                signature=_SIGNATURE,
                input_example=example,
                pip_requirements=[f"vigie=={installed_version('vigie')}"],
                mlflow_model=Model(run_id=run_id, model_id=logged.model_id, model_uuid=logged.model_id),
            )
        client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description="Vigie's bundle: scores of leads and deals")
    made = client.create_model_version(
        name,
        logged.artifact_location,
        run_id=run_id,
        model_id=logged.model_id,
        tags={"vigie.bundle": bundle.version, "vigie.trained_through": bundle.trained_through.isoformat()},
    )
    return str(made.version)


def _holder(client: MlflowClient, name: str, alias: str) -> Any:
    """Give the version that has an alias; None where none has."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _version(client: MlflowClient, name: str, wanted: str, *, is_alias: bool) -> Any:
    found = None
    if is_alias:
        found = _holder(client, name, wanted)
    else:
        matches = client.search_model_versions(f"name = '{name}'")
        found = next((one for one in matches if str(one.version) == wanted), None)
    if found is None:
        what = f"no {wanted}" if is_alias else f"no version {wanted}"
        raise TrackingError(f"registered model {name!r}: has {what}; run vigie train --tracking … first")
    return found


def _download(client: MlflowClient, version: Any, to: Path) -> Path:
    place = client.get_model_version_download_uri(version.name, version.version)
    to.mkdir(parents=True, exist_ok=True)
    found = mlflow.artifacts.download_artifacts(
        artifact_uri=f"{place}/data/bundle", dst_path=str(to), tracking_uri=client.tracking_uri
    )
    return Path(found)


def _decide(
    history: History,
    champion: ModelBundle,
    challenger: ModelBundle,
    until: pd.Timestamp,
    *,
    force: bool,
    say: Callable[[str], None],
) -> Decision:
    try:
        return decide(history, champion, challenger, until, say=say)
    except NotEnoughData as error:
        if not force:
            raise
        return Decision(False, f"the two could not be compared: {error}")


def _record(client: MlflowClient, name: str, version: str, decision: Decision) -> None:
    tags = {
        "vigie.gate.promoted": str(decision.promoted).lower(),
        "vigie.gate.reason": decision.reason,
        "vigie.gate.figures": json.dumps(decision.figures),
    }
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
