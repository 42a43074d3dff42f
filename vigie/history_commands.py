"""Commands about the history: import, doctor, upgrade, simulate."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from crm.errors import NotEnoughData, StoreError
from vigie.console import Steps, output, print_json
from vigie.histories import read_history, store_to_load
from vigie.moments import clock, read_moment, show
from vigie.options import DEFAULT_HISTORY, HistoryOption, JsonOption

if TYPE_CHECKING:
    import pandas as pd

    from crm.history import History
    from crm.importing import ImportReport
    from crm.store import LoadReport, Store

#: What the store calls the source of simulated rows.
_SIMULATOR = "simulator"
#: Days without anything after which an export seems to be an old one.
_OLD_DAYS = 60


def import_(
    mapping: Annotated[Path, typer.Argument(help="The mapping file (TOML); see examples/.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder of the export's files.")],
    history: HistoryOption = DEFAULT_HISTORY,
    exported_at: Annotated[
        str | None,
        typer.Option(
            "--exported-at",
            metavar="MOMENT",
            help="When the CRM gave the export: a date (00:00 UTC) or a moment with its zone. Default: now.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Load a CRM export into the history: all of it, or nothing.

    Load exports regularly: each difference from the last one becomes a change in the history. Loading the
    same export again adds nothing.

    ```console
    vigie import examples/olist.toml --data olist/ --history crm.sqlite
    vigie import crm.toml --data 2024-06-03/ --exported-at 2024-06-03T06:00:00+02:00
    ```
    """
    from crm.importing import import_export
    from crm.mapping import load_mapping

    moment = clock() if exported_at is None else read_moment(exported_at, "--exported-at")
    load_mapping(mapping)
    with Steps() as steps, store_to_load(history) as store:
        steps.begin(f"importing {data} by {mapping.name}")
        done = import_export(mapping, data, store, moment, loaded_at=clock())
    hint = None if exported_at is not None else _old_export(store, moment)
    if json:
        print_json(_as_json(done, hint))
        return
    _print_import(done, hint)


def _old_export(store: Store, moment: datetime) -> str | None:
    """Say that an export without its moment seems to be an old one: it would count as taken today."""
    last = _last_or(store.read(["leads", "deals", "activities"]), clock())
    if (moment - last).days < _OLD_DAYS:
        return None
    return (
        f"nothing in the export is later than {show(last)}. If it was taken then, import it into a new store "
        "with --exported-at: what has no time of its own counts as known from the export on"
    )


def doctor(
    history: HistoryOption = DEFAULT_HISTORY,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="MOMENT",
            help="Look at it as of then: a date (00:00 UTC) or a moment with its zone. Default: just after "
            "the last thing that the history records.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what the history holds, and which models it can support.

    ```console
    vigie doctor --history crm.sqlite
    ```
    """
    asked = None if as_of is None else read_moment(as_of, "--as-of")
    from training.doctor import diagnose

    with Steps() as steps:
        steps.begin("reading the history")
        found = read_history(history)
        steps.begin("looking at it")
        diagnosis = diagnose(found, asked if asked is not None else _last_or(found, clock()))
    if json:
        print_json(diagnosis.to_json_dict())
        return
    for line in diagnosis.lines():
        output().print(Text(line), soft_wrap=True)


def _last_or(history: History, now: pd.Timestamp) -> pd.Timestamp:
    """Give when training would observe until; now, where the history is empty and is to be told so."""
    from crm.observed import last_recorded

    try:
        return last_recorded(history, now)
    except NotEnoughData:
        return now


def upgrade(history: HistoryOption = DEFAULT_HISTORY) -> None:
    """Bring a history store made by an older Vigie to the newest schema.

    Make a copy of the file first: an older Vigie can no longer open it afterwards.

    ```console
    vigie upgrade --history crm.sqlite
    ```
    """
    from crm.store import Store

    store = Store.open(history, upgrade=True)
    output().print(Text(f"{store.address} has the newest schema."), soft_wrap=True)


def simulate(
    leads: Annotated[int, typer.Option("--leads", help="How many leads come in.")] = 3000,
    history: HistoryOption = DEFAULT_HISTORY,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same history.")] = 0,
    years: Annotated[float, typer.Option("--years", help="How long the history is.")] = 3.0,
    end: Annotated[
        str, typer.Option("--end", metavar="MOMENT", help="The moment of the export.")
    ] = "2025-01-01",
    json: JsonOption = False,
) -> None:
    """Fill a new history store with a simulated CRM.

    ```console
    vigie simulate --leads 3000 --history simulated.sqlite
    ```
    """
    from crm.simulator import simulate as simulate_history

    moment = read_moment(end, "--end")
    source = f"{_SIMULATOR}: {leads} leads, seed {seed}, {years:g} years"
    with Steps() as steps, store_to_load(history) as store:
        if any(load.source != source or load.exported_at != moment for load in store.loads()):
            raise StoreError(
                f"{store.address} holds a history already; simulated records must not mix with it: choose "
                "another file with --history"
            )
        steps.begin(f"simulating {leads:,} leads over {years:g} years")
        simulation = simulate_history(leads, seed=seed, years=years, end=moment)
        steps.begin("loading them into the history")
        done = store.load(simulation.history.frames(), source=source, exported_at=moment, loaded_at=clock())
    if json:
        print_json({"source": source, "exported_at": moment, "tables": _counts(done)})
        return
    output().print(_table(done))


def _counts(load: LoadReport) -> dict[str, dict[str, int]]:
    return {
        name: {"new": rows.new, "changed": rows.changed, "unchanged": rows.unchanged}
        for name, rows in load.tables.items()
    }


def _as_json(done: ImportReport, hint: str | None) -> dict[str, Any]:
    return {
        "source": done.source,
        "exported_at": done.exported_at,
        "previous": done.previous,
        "lead_outcome_from": done.lead_outcome_from,
        "load_id": done.load.load_id,
        "tables": _counts(done.load),
        "changes_found": done.n_found_changes,
        "gone": done.n_gone,
        "back": done.n_back,
        "notices": [*done.notices, *([] if hint is None else [hint])],
    }


def _print_import(done: ImportReport, hint: str | None) -> None:
    console = output()
    title = f"{done.source}, exported {show(done.exported_at)}"
    console.print(Text(title, style="bold"), soft_wrap=True)
    if not done.load.is_change:
        console.print("Nothing new: the history holds all of it already.")
    console.print(_table(done.load))
    if done.previous is not None:
        console.print(
            f"Since the export of {show(done.previous)}: {done.n_found_changes:,} fields changed, "
            f"{done.n_gone:,} records gone, {done.n_back:,} back again."
        )
    for notice in (*done.notices, *([] if hint is None else [hint])):
        console.print(Text(f"Note: {notice}", style="yellow"), soft_wrap=True)


def _table(load: LoadReport) -> Table:
    table = Table("table", box=None, pad_edge=False)
    for name in ("new", "changed", "unchanged"):
        table.add_column(name, justify="right")
    for name, rows in load.tables.items():
        if rows.total:
            table.add_row(name, f"{rows.new:,}", f"{rows.changed:,}", f"{rows.unchanged:,}")
    return table
