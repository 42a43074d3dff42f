"""Commands about the models: train, report, promote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from vigie.console import Steps, output, print_json
from vigie.histories import read_history
from vigie.moments import clock, read_moment, show
from vigie.options import (
    DEFAULT_BUNDLE,
    DEFAULT_HISTORY,
    DEFAULT_TRACKING,
    BundleOption,
    HistoryOption,
    JsonOption,
    TrackingOption,
)

if TYPE_CHECKING:
    import pandas as pd

    from crm.history import History
    from serving.bundle import ModelBundle
    from training.settings import TrainSettings
    from training.tracking import Tracked

UntilOption = Annotated[
    str | None,
    typer.Option(
        "--observed-until",
        metavar="MOMENT",
        help="Use only what was recorded before: a date (00:00 UTC) or a moment with its zone. Default: just "
        "after the last thing that the history records.",
    ),
]

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings of the training (TOML).")
]


def train(
    history: HistoryOption = DEFAULT_HISTORY,
    observed_until: UntilOption = None,
    bundle: BundleOption = DEFAULT_BUNDLE,
    config: ConfigOption = None,
    horizon_days: Annotated[
        float | None,
        typer.Option("--horizon-days", help="A lead's score is its chance to buy within so many days."),
    ] = None,
    tune: Annotated[
        float | None, typer.Option("--tune", metavar="MINUTES", help="Search for better settings so long.")
    ] = None,
    tracking: TrackingOption = DEFAULT_TRACKING,
    no_track: Annotated[bool, typer.Option("--no-track", help="Log nothing to MLflow.")] = False,
    json: JsonOption = False,
) -> None:
    """Learn the models that the history supports, and say how good they are.

    Where anything fails, the bundle that was there before stays.

    ```console
    vigie train --history crm.sqlite --bundle bundle
    vigie train --observed-until 2012-01-09 --no-track
    ```
    """
    for name, value in (("--horizon-days", horizon_days), ("--tune", tune)):
        if value is not None and not 0 < value < float("inf"):
            raise typer.BadParameter(f"{value:g} must be above 0", param_hint=name)
    asked = None if observed_until is None else read_moment(observed_until, "--observed-until")
    from training.settings import TrainSettings, read_settings

    settings = TrainSettings() if config is None else read_settings(config)
    if horizon_days is not None:
        settings = replace(settings, horizon_days=horizon_days)
    with Steps() as steps:
        steps.begin("reading the history")
        known = read_history(history)
        until = asked if asked is not None else default_until(known)
        trained, tracked = learn(
            known, until, settings, bundle, steps, None if no_track else tracking, tune_minutes=tune
        )
    if json:
        facts = {"bundle": str(bundle), **_facts(trained)}
        print_json(facts | ({} if tracked is None else {"mlflow": vars(tracked)}))
        return
    if asked is None:
        output().print(f"Observed until {show(until)}, just after the last thing that the history records.")
    print_report(trained)
    output().print()
    tell_saved(trained, bundle, tracked)
    if tracked is not None and tracked.alias == "challenger":
        output().print("vigie promote makes it the champion, if it is no worse.")


def report(bundle: BundleOption = DEFAULT_BUNDLE, json: JsonOption = False) -> None:
    """Say what a bundle's models have learned, how good they are, and what was left out.

    ```console
    vigie report --bundle bundle
    ```
    """
    from serving.bundle import ModelBundle

    models = ModelBundle.load(bundle)
    if json:
        print_json(_facts(models))
        return
    print_report(models)


def promote(
    history: HistoryOption = DEFAULT_HISTORY,
    tracking: TrackingOption = DEFAULT_TRACKING,
    model_version: Annotated[
        str | None,
        typer.Option("--model-version", metavar="N", help="In MLflow's registry. Default: the challenger."),
    ] = None,
    observed_until: UntilOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote whatever the gate finds; the finding is kept.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Also write the champion's bundle there, to be served."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make the challenger the champion, unless it is worse on the same later window.

    Where the gate refuses, it says why, and the exit code is 1.

    ```console
    vigie promote --history crm.sqlite
    vigie promote --to bundle
    ```
    """
    asked = None if observed_until is None else read_moment(observed_until, "--observed-until")
    with Steps() as steps:
        steps.begin("reading the history")
        known = read_history(history)
        until = asked if asked is not None else default_until(known)
        from training.tracking import fetch_bundle
        from training.tracking import promote as promote_model

        decision = promote_model(
            tracking, known, version=model_version, force=force, until=until, say=steps.begin
        )
        if decision.promoted and to is not None:
            steps.begin(f"writing the champion's bundle to {to}")
            fetch_bundle(tracking, to=to)
    if json:
        print_json({"promoted": decision.promoted, "reason": decision.reason, "figures": decision.figures})
    else:
        word, style = ("Promoted", "bold green") if decision.promoted else ("Not promoted", "bold yellow")
        output().print(Text.assemble((word, style), f": {decision.reason}."), soft_wrap=True)
    if not decision.promoted:
        raise typer.Exit(1)


def default_until(history: History) -> pd.Timestamp:
    """Give the end of observation where none is asked for."""
    from crm.observed import last_recorded

    return last_recorded(history, clock())


def learn(
    history: History,
    until: pd.Timestamp,
    settings: TrainSettings,
    bundle: Path,
    steps: Steps,
    tracking: str | None,
    *,
    tune_minutes: float | None = None,
) -> tuple[ModelBundle, Tracked | None]:
    """Train, log and save; the bundle is replaced last, once everything else is done."""
    from serving.bundle import check_place
    from training.train import train as train_models

    # What cannot be written in the end is told now, not after minutes of learning.
    check_place(bundle)
    if tracking is not None:
        from training.tracking_store import locate

        locate(tracking)

    tuned = None
    if tune_minutes is not None:
        from training.tune import search

        steps.begin(f"searching for better settings for {tune_minutes:g} minutes")
        tuned = search(history, until, settings, tune_minutes, steps.begin)
        settings = tuned.settings
    trained = train_models(history, until, settings, created_at=clock(), say=steps.begin)
    tracked = None
    if tracking is not None:
        from training.tracking import track

        steps.begin("logging to MLflow")
        tracked = track(trained, history, settings, tracking_uri=tracking, tuned=tuned)
    steps.begin(f"writing the bundle to {bundle}")
    trained.bundle.save(bundle)
    return trained.bundle, tracked


def print_report(models: ModelBundle) -> None:
    """Print what the models have learned."""
    from training.report_text import render_report

    output().print(render_report(models.report, models.audit))


def tell_saved(models: ModelBundle, bundle: Path, tracked: Tracked | None) -> None:
    """Say where the bundle and the run are."""
    text = f"Bundle {models.version} written to {bundle}."
    if tracked is not None:
        text += f" MLflow: run {tracked.run_id}, version {tracked.version}, {tracked.alias}."
    output().print(Text(text), soft_wrap=True)


def _facts(models: ModelBundle) -> dict[str, Any]:
    return {
        "version": models.version,
        "created_at": models.created_at,
        "trained_through": models.trained_through,
        "report": models.report,
        "audit": models.audit,
    }
