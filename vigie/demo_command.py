"""The command that shows everything at once: simulate, train, report, rank, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.rule import Rule
from rich.text import Text

from vigie.console import Steps, output
from vigie.histories import read_history, store_to_load
from vigie.model_commands import ConfigOption, default_until, learn, print_report, tell_saved
from vigie.moments import clock, read_moment, show
from vigie.serve_command import DEFAULT_PORT, PortOption, become_server, check_port, tell_address
from vigie.top_records import render_top

_FOLDER = Path(".demo")
_HOST = "127.0.0.1"
_END = "2025-01-01"
_SEED = 1


def demo(
    history: Annotated[
        str | None,
        typer.Option("--history", metavar="PATH|URL", help="Your own history instead of a simulated one."),
    ] = None,
    leads: Annotated[int, typer.Option("--leads", help="How many leads to simulate.")] = 6_000,
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", help="Where the demo keeps its files.")
    ] = _FOLDER,
    config: ConfigOption = None,
    port: PortOption = DEFAULT_PORT,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="End after the report.")] = False,
) -> None:
    """Simulate a CRM, train on it, show what was learned, and serve scores until stopped.

    ```console
    vigie demo
    vigie demo --history crm.sqlite --no-serve
    ```
    """
    if not no_serve:
        check_port(_HOST, port)
    from features import open_at
    from serving.scoring import score
    from training.settings import quick_settings, read_settings
    from vigie.score_commands import snapshots_at

    settings = quick_settings() if config is None else read_settings(config)
    folder.mkdir(parents=True, exist_ok=True)
    bundle = folder / "bundle"
    with Steps() as steps:
        if history is None:
            history = _simulate(leads, folder, steps)
        steps.begin("reading the history")
        known = read_history(history)
        until = default_until(known)
        tracking = f"sqlite:///{folder.absolute() / 'mlflow.db'}"
        models, tracked = learn(known, until, settings, bundle, steps, tracking)
        ranked = {}
        for entity in models.models:
            steps.begin(f"scoring the open {entity}s")
            asked = snapshots_at(list(open_at(known, entity, until)), until)
            ranked[entity] = score(models, known, asked, entity, top=2)
    print_report(models)
    for entity, scores in ranked.items():
        output().print()
        title = f"The most promising of {len(scores):,} {entity}s open at {show(until)}"
        output().print(Rule(Text(title, style="bold"), align="left"))
        output().print(render_top(scores))
    output().print()
    tell_saved(models, bundle, tracked)
    output().print(Text(f"Look at the runs: mlflow ui --backend-store-uri {tracking}"), soft_wrap=True)
    if not no_serve:
        tell_address(_HOST, port, models.version)
        become_server(bundle, _HOST, port)


def _simulate(leads: int, folder: Path, steps: Steps) -> str:
    """Give the demo's own history, made anew."""
    from crm.simulator import simulate

    path = folder / "history.sqlite"
    path.unlink(missing_ok=True)
    steps.begin(f"simulating a CRM with {leads:,} leads")
    moment = read_moment(_END, "--end")
    simulation = simulate(leads, seed=_SEED, end=moment)
    steps.begin("loading it into a history store")
    with store_to_load(str(path)) as store:
        store.load(simulation.history.frames(), source="simulator", exported_at=moment, loaded_at=clock())
    return str(path)
