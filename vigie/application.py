"""The commands, gathered."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from vigie import (
    backtest_commands,
    demo_command,
    follow_command,
    forecast_command,
    history_commands,
    keys_commands,
    kpi_commands,
    ledger_commands,
    model_commands,
    nightly_command,
    rescore_command,
    risk_commands,
    score_commands,
    serve_command,
    trend_commands,
)
from vigie.door import Door

_HISTORY = "History"
_MODELS = "Models"
_SCORES = "Scores"
_FORECAST = "Forecast"
_SERVICE = "Service"


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"vigie {version('vigie')}")
        raise typer.Exit


def _begin(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="VIGIE_DEBUG", help="Show the whole trace of an error.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Which leads to call, which deals will close, and why: scores that can be checked.

    Begin with `vigie demo`, or with your CRM's export:

    ```console
    vigie import mapping.toml --data export/
    vigie train
    vigie score leads --as-of 2024-06-01 --out leads.csv
    ```
    """


def make_app() -> typer.Typer:
    """Give the command line, with every command."""
    app = typer.Typer(
        name="vigie",
        cls=Door,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_begin)
    app.command("import", rich_help_panel=_HISTORY)(history_commands.import_)
    app.command("doctor", rich_help_panel=_HISTORY)(history_commands.doctor)
    app.command("kpis", rich_help_panel=_HISTORY)(kpi_commands.kpis)
    app.command("trends", rich_help_panel=_HISTORY)(trend_commands.trends)
    app.command("upgrade", rich_help_panel=_HISTORY)(history_commands.upgrade)
    app.command("simulate", rich_help_panel=_HISTORY)(history_commands.simulate)
    app.command("train", rich_help_panel=_MODELS)(model_commands.train)
    app.command("report", rich_help_panel=_MODELS)(model_commands.report)
    app.command("promote", rich_help_panel=_MODELS)(model_commands.promote)
    app.command("follow", rich_help_panel=_MODELS)(follow_command.follow)
    app.command("backtest", rich_help_panel=_MODELS)(backtest_commands.backtest)
    score = typer.Typer(no_args_is_help=True, help="Score leads or deals, into a CSV or Parquet file.")
    score.command("leads")(score_commands.leads)
    score.command("deals")(score_commands.deals)
    app.add_typer(score, name="score", rich_help_panel=_SCORES)
    app.command("rescore", rich_help_panel=_SCORES)(rescore_command.rescore)
    app.command("nightly", rich_help_panel=_SCORES)(nightly_command.nightly)
    app.command("forecast", rich_help_panel=_FORECAST)(forecast_command.forecast)
    ledger = typer.Typer(no_args_is_help=True, help="What was forecast, why it moved, and how right it was.")
    ledger.command("list")(ledger_commands.list_)
    ledger.command("show")(ledger_commands.show)
    ledger.command("moved")(ledger_commands.moved)
    ledger.command("accuracy")(ledger_commands.accuracy)
    app.add_typer(ledger, name="ledger", rich_help_panel=_FORECAST)
    app.command("risks", rich_help_panel=_FORECAST)(risk_commands.risks)
    app.command("serve", rich_help_panel=_SERVICE)(serve_command.serve)
    keys = typer.Typer(no_args_is_help=True, help="The keys of those who call the service.")
    keys.command("add")(keys_commands.add)
    keys.command("list")(keys_commands.list_)
    keys.command("rotate")(keys_commands.rotate)
    keys.command("revoke")(keys_commands.revoke)
    app.add_typer(keys, name="keys", rich_help_panel=_SERVICE)
    app.command("demo", rich_help_panel=_SCORES)(demo_command.demo)
    return app
