"""The command that replays the past: what would have been said then, judged by what came."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from vigie.console import Steps, errors, output, print_json
from vigie.histories import read_history
from vigie.moments import clock, read_moment
from vigie.options import (
    DEFAULT_HISTORY,
    DEFAULT_TRACKING,
    HistoryOption,
    JsonOption,
    TrackingOption,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from training.backtest import Backtest, BacktestSettings, Done, Plan


def backtest(
    history: HistoryOption = DEFAULT_HISTORY,
    every: Annotated[
        str | None,
        typer.Option(
            "--every",
            metavar="LENGTH",
            help="Distance of two cutoffs: 1W, 10D, 1M. Default: 1W, thinned evenly to 26 at most.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MOMENT",
            help="The first cutoff. Default: the first at which training is possible.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="MOMENT",
            help="The last cutoff, at most. Default: the last that leaves the shortest horizon to judge.",
        ),
    ] = None,
    horizons: Annotated[
        str, typer.Option("--horizons", metavar="LENGTHS", help="Periods of revenue that are forecast.")
    ] = "1W,2W,4W,1Q",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", min=1, metavar="N", help="Cutoffs at a time, memory allowing. Default: one a core."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the report, its tables and the work go.")
    ] = Path("backtest"),
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings of the training (TOML).")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="DIR", help="Also write the summary into this bundle's report."),
    ] = None,
    rates: Annotated[
        Path | None,
        typer.Option("--rates", metavar="FILE", help="CSV month,currency,rate; needs --currency."),
    ] = None,
    currency: Annotated[
        str | None, typer.Option("--currency", metavar="CODE", help="Report revenue in this currency.")
    ] = None,
    no_forecast: Annotated[bool, typer.Option("--no-forecast", help="Judge scores only.")] = False,
    tracking: TrackingOption = DEFAULT_TRACKING,
    no_track: Annotated[bool, typer.Option("--no-track", help="Log nothing to MLflow.")] = False,
    json: JsonOption = False,
) -> None:
    """Go back to past moments, say what would have been said then, and judge it by what came.

    At each cutoff everything is rebuilt from what had been recorded by then: models, scores, forecasts. A
    run that was stopped goes on where it was.

    ```console
    vigie backtest --history crm.sqlite --out backtest
    vigie backtest --from 2011-12-05 --until 2012-02-13 --every 1W --no-track
    ```
    """
    first = None if start is None else read_moment(start, "--from")
    last = None if until is None else read_moment(until, "--until")
    if (rates is None) != (currency is None):
        raise typer.BadParameter("--rates and --currency need each other", param_hint="--rates")
    from crm.money import Rates
    from crm.observed import last_recorded
    from training.backtest import BacktestSettings, check_horizons, plan_cutoffs
    from training.backtest import backtest as go
    from training.backtest.prediction import forecast_as_served
    from training.settings import TrainSettings, read_settings

    settings = BacktestSettings(
        train=TrainSettings() if config is None else read_settings(config),
        horizons=check_horizons(tuple(horizons.split(","))),
    )
    if rates is not None:
        settings = settings.with_rates(Rates.read(rates, str(currency)))
    # What cannot be written in the end is told now, not after an hour of learning.
    if bundle is not None:
        from serving.bundle import ModelBundle

        ModelBundle.load(bundle)
    if not no_track:
        from training.tracking_store import locate

        locate(tracking)
    with Steps() as steps:
        steps.begin("reading the history")
        known = read_history(history)
        plan = plan_cutoffs(
            known, last_recorded(known, clock()), settings, every=every, start=first, until=last
        )
    errors().print(Text(f"{plan}."), soft_wrap=True)
    with _Bar(len(plan.cutoffs)) as bar:
        found = go(
            known,
            plan,
            out,
            settings,
            jobs=jobs or cores(),
            forecaster=None if no_forecast else forecast_as_served,
            finished=bar.finished,
            say=bar.say,
        )
    facts: dict[str, Any] = {}
    with Steps() as steps:
        if bundle is not None:
            from training.backtest.summary import add_to_bundle

            steps.begin(f"writing the summary into {bundle}")
            facts["bundle"] = {
                "directory": str(bundle),
                "version": add_to_bundle(bundle, found.report).version,
            }
        if not no_track:
            steps.begin("logging to MLflow")
            facts["mlflow"] = {"run_id": _track(found, settings, out, tracking)}
    if json:
        print_json({"out": str(out), "plan": found.report["plan"], **_answer(found), **facts})
        return
    _print(found, plan, out, facts)


def cores() -> int:
    """Give how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _track(found: Backtest, settings: BacktestSettings, out: Path, tracking: str) -> str:
    from training.tracking import track_backtest

    files = [out / "backtest.json", out / "backtest.html"]
    return track_backtest(found.report, files, settings, tracking_uri=tracking, finished_at=clock())


def _answer(found: Backtest) -> dict[str, Any]:
    from training.backtest.summary import summarise

    summary = summarise(found.report)
    times = [
        {
            "cutoff": one.cutoff,
            "seconds": round(one.seconds, 1),
            "core_seconds": round(one.core_seconds, 1),
            "taken_up": one.taken_up,
        }
        for one in found.done
    ]
    return {**summary, "times": times, "peak_bytes": max(one.peak_bytes for one in found.done)}


def _print(found: Backtest, plan: Plan, out: Path, facts: Mapping[str, Any]) -> None:
    from training.backtest.words import headlines
    from vigie.backtest_text import forecasts_table, measures_table

    console, report = output(), found.report
    console.print(Text(f"{plan}; judged by what was recorded by {plan.end:%Y-%m-%d}."), soft_wrap=True)
    for sentence in headlines(report):
        console.print(Text(f"  {sentence}"), soft_wrap=True)
    for entity in ("deal", "lead"):
        section = report[f"{entity}s"]
        if section["status"] == "judged":
            console.print()
            console.print(measures_table(section, entity))
    if report["forecast"]["horizons"]:
        console.print()
        console.print(forecasts_table(report["forecast"]["horizons"]))
    for one in report["cutoffs"]:
        if one["failure"]:
            console.print(Text(f"{one['cutoff'][:10]}: {one['failure']}", style="yellow"), soft_wrap=True)
        elif "reason" in one["forecast"]:
            said = f"{one['cutoff'][:10]}: no forecast: {one['forecast']['reason']}"
            console.print(Text(said, style="yellow"), soft_wrap=True)
    console.print()
    told = f"Report: {out / 'backtest.html'} and {out / 'backtest.json'}."
    if "bundle" in facts:
        told += f" Bundle {facts['bundle']['version']} in {facts['bundle']['directory']} carries its summary."
    if "mlflow" in facts:
        told += f" MLflow: run {facts['mlflow']['run_id']}."
    console.print(Text(told), soft_wrap=True)


class _Bar:
    """Shows how many cutoffs are done; where there is no terminal, each is a line."""

    def __init__(self, total: int) -> None:
        self._console = errors()
        self._total, self._done = total, 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("going back", total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def finished(self, done: Done) -> None:
        """Tell of a cutoff that is done."""
        self._done += 1
        how = "failed" if done.failure else "taken up" if done.taken_up else f"{done.seconds:.1f} s"
        self._progress.advance(self._task)
        line = f"{done.cutoff:%Y-%m-%d}  {how}  ({self._done} of {self._total})"
        self._console.print(Text(line), soft_wrap=True)

    def say(self, step: str) -> None:
        """Tell what is being done after the cutoffs."""
        self._progress.update(self._task, description=step)
        if not self._console.is_terminal:
            self._console.print(Text(f"… {step}"), soft_wrap=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
