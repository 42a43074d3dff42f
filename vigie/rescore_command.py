"""The command that scores all open records of the store into the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from vigie.console import errors, output, print_json
from vigie.moments import clock, read_moment, show
from vigie.options import (
    DEFAULT_BUNDLE,
    DEFAULT_HISTORY,
    BundleOption,
    HistoryOption,
    JsonOption,
)

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from crm.store.service.engine import ServiceStore
    from serving.jobs.bulk import BulkReport

ProcessesOption = Annotated[
    int | None,
    typer.Option("--processes", min=1, max=64, help="Processes that score. Default: one a core, at most 4."),
]
#: Processes that score by default at most: each takes some 450 MB.
MOST_PROCESSES = 4


def rescore(
    history: HistoryOption = DEFAULT_HISTORY,
    bundle: BundleOption = DEFAULT_BUNDLE,
    entity: Annotated[
        Literal["lead", "deal"] | None,
        typer.Option("--entity", help="Only leads, or only deals. Default: all that the bundle can score."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="MOMENT",
            help="Score from what was known before: a date (00:00 UTC) or a moment with its zone. "
            "Default: now.",
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Score also what is current, and in place of scores as of a later moment."
        ),
    ] = False,
    processes: ProcessesOption = None,
    json: JsonOption = False,
) -> None:
    """Score all open leads and deals into the store, where the service and its lists read them.

    A run that was cut goes on where it stopped: what the same model scored within 12 hours, and after the
    last import, is current and left as it is. Scores of records that are no longer open are dropped.

    ```console
    vigie rescore --history crm.sqlite --bundle bundle
    vigie rescore --entity lead --as-of 2026-03-01 --again
    ```
    """
    now = clock().to_pydatetime()
    moment = now if as_of is None else read_moment(as_of, "--as-of").to_pydatetime()
    if moment > now:
        raise typer.BadParameter(f"{as_of} is in the future", param_hint="--as-of")
    from crm.store.service.engine import ServiceStore
    from serving.answering.fresh_forecasts import last_recorded_in

    store = ServiceStore.open(history)
    try:
        done = rescore_store(
            store, bundle, None if entity is None else [entity], moment, now, again=again, processes=processes
        )
        with store.reading() as connection:
            last = last_recorded_in(connection, moment)
    finally:
        store.close()
    if json:
        print_json(facts_of(done, moment))
        return
    for line in lines_of(done):
        output().print(Text(line), soft_wrap=True)
    if last is not None and (moment - last).days >= 7:
        errors().print(
            Text(
                f"Note: the last thing recorded before {show(moment)} is of {show(last)}; "
                "records look silent since then."
            ),
            soft_wrap=True,
        )


def rescore_store(
    store: ServiceStore,
    bundle: Path,
    entities: list[str] | None,
    as_of: datetime,
    now: datetime,
    *,
    again: bool = False,
    processes: int | None = None,
) -> BulkReport:
    """Score all open records, with a bar that shows how far it is."""
    import asyncio

    from crm.store.service.records import count_open
    from serving.jobs.bulk import rescore_open

    with store.reading() as connection:
        n_open = {entity: count_open(connection, entity) for entity in entities or ("lead", "deal")}
    wanted = processes if processes is not None else min(os.cpu_count() or 1, MOST_PROCESSES)
    with _bars(n_open) as progress:
        return asyncio.run(
            rescore_open(
                store,
                bundle.absolute(),
                entities,
                as_of,
                now,
                again=again,
                processes=wanted,
                progress=lambda entity, n_seen, _: progress(entity, n_seen),
            )
        )


@contextmanager
def _bars(n_open: dict[str, int]) -> Iterator[Any]:
    """Give what shows how many records were gone through: bars on a terminal, else a line a kind."""
    console = errors()
    if not console.is_terminal:
        told: set[str] = set()

        def tell(entity: str, n_seen: int) -> None:
            if entity not in told:
                told.add(entity)
                console.print(Text(f"… scoring {n_open[entity]:,} open {entity}s"), soft_wrap=True)

        yield tell
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {entity: bars.add_task(f"scoring open {entity}s", total=n) for entity, n in n_open.items()}
        yield lambda entity, n_seen: bars.update(tasks[entity], completed=n_seen)


def facts_of(done: BulkReport, as_of: datetime) -> dict[str, Any]:
    """Give what was done, for a program."""
    return {
        "as_of": as_of,
        "model_version": done.model_version,
        **{entity: vars(report) for entity, report in done.done.items()},
    }


def lines_of(done: BulkReport) -> list[str]:
    """Give what was done, in words."""
    return [
        f"{entity.capitalize()}s: {one.n_scored:,} scored by {done.model_version}, {one.n_changed:,} of them "
        f"new or changed; {one.n_current:,} were current, {one.n_dropped:,} dropped."
        for entity, one in done.done.items()
    ]
