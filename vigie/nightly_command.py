"""The command that does what is to be done each night, fit for cron."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from crm.errors import VigieError
from vigie.console import Steps, errors, output, print_json
from vigie.door import FAILED
from vigie.moments import clock, show
from vigie.options import (
    DEFAULT_BUNDLE,
    DEFAULT_HISTORY,
    BundleOption,
    CurrencyOption,
    HistoryOption,
    JsonOption,
    RatesOption,
    read_rates,
)
from vigie.rescore_command import ProcessesOption, facts_of, lines_of, rescore_store

if TYPE_CHECKING:
    from serving.jobs.nightly import Freshness, KeptForecasts
    from serving.settings import ServiceSettings

#: Exit code where everything was done, and the data are stale.
STALE = 3


def nightly(
    history: HistoryOption = DEFAULT_HISTORY,
    bundle: BundleOption = DEFAULT_BUNDLE,
    settings: Annotated[
        Path | None,
        typer.Option("--settings", envvar="VIGIE_CONFIG", metavar="FILE", help="The service's settings."),
    ] = None,
    stale_after: Annotated[
        float | None,
        typer.Option(
            "--stale-after",
            min=0.1,
            metavar="HOURS",
            help="Without anything recorded for so long, the exit code is 3. Default: of the settings, 48.",
        ),
    ] = None,
    currency: CurrencyOption = None,
    rates: RatesOption = None,
    processes: ProcessesOption = None,
    json: JsonOption = False,
) -> None:
    """Score all open records, keep the forecasts, check that data come in, let old entries go.

    Kept are forecasts of this and the next month and quarter, in total, by owner and by team. It can run
    twice, and beside the service. What fails does not keep the rest from being done; the exit code is then 1.
    It is 3 where all was done and the data are stale.

    ```console
    0 3 * * *  vigie nightly --history /srv/vigie/crm.sqlite --bundle /srv/vigie/bundle
    ```
    """
    given_rates = read_rates(rates, currency)
    from crm.store.service.engine import ServiceStore
    from serving.answering.kept_history import rates_of
    from serving.settings import CONFIG_VARIABLE, read_service_settings

    chosen = read_service_settings({CONFIG_VARIABLE: "" if settings is None else str(settings)})
    if currency is None:
        given_rates = rates_of(chosen.money.rates, chosen.money.currency)
    limit = stale_after if stale_after is not None else chosen.nightly.stale_after_hours
    night = _Night()
    store = ServiceStore.open(history)
    try:
        now = clock()
        moment = now.to_pydatetime()
        scored = night.do(
            "rescoring", lambda: rescore_store(store, bundle, None, moment, moment, processes=processes)
        )
        with Steps() as steps:
            steps.begin("keeping the forecasts, checking the data")
            fresh, kept = _figures(night, store, bundle, chosen, limit, given_rates)
            steps.begin("letting old entries go")
            gone = night.do("letting go", lambda: _prune(store, chosen))
        stuck = night.do("looking for stuck work", lambda: _stuck(store))
    finally:
        store.close()
    facts = {
        "at": now,
        "rescored": None if scored is None else facts_of(scored, moment),
        "forecasts": None if kept is None else vars(kept),
        "fresh": None if fresh is None else vars(fresh) | {"is_stale": fresh.is_stale},
        "let_go": gone,
        "stuck": stuck,
        "failed": night.failed,
    }
    if json:
        print_json(facts)
    else:
        lines = [] if scored is None else lines_of(scored)
        for line in (*lines, *_lines(kept, fresh, gone, stuck)):
            output().print(Text(line), soft_wrap=True)
    for step, why in night.failed.items():
        errors().print(Text.assemble((f"Error in {step}: ", "bold red"), why), soft_wrap=True)
    if fresh is not None and fresh.is_stale:
        errors().print(Text.assemble(("Stale data: ", "bold red"), _stale(fresh)), soft_wrap=True)
    if night.failed:
        raise typer.Exit(FAILED)
    if fresh is not None and fresh.is_stale:
        raise typer.Exit(STALE)


@dataclass
class _Night:
    """What failed, and why; one step that fails keeps no other from being done."""

    failed: dict[str, str] = field(default_factory=dict)

    def do(self, step: str, work: Callable[[], Any]) -> Any:
        """Do a step, and give what it gives; None where it fails for a reason that it tells."""
        try:
            return work()
        except VigieError as error:
            self.failed[step] = str(error)
            return None


def _figures(
    night: _Night, store: Any, bundle: Path, settings: ServiceSettings, limit: float, rates: Any
) -> tuple[Freshness | None, KeptForecasts | None]:
    """Check the data and keep the forecasts, reading the history once."""
    from serving.bundle import ModelBundle
    from serving.jobs.nightly import freshness_of, keep_forecasts

    now = clock()
    history = night.do("reading the history", store.history.read)
    if history is None:
        return None, None
    fresh = night.do("checking the data", lambda: freshness_of(history, now, limit))
    models = night.do("reading the bundle", lambda: ModelBundle.load(bundle))
    if fresh is None or models is None or "deal" not in models.models:
        return fresh, None
    kept = night.do(
        "keeping the forecasts",
        lambda: keep_forecasts(
            store.history,
            models,
            history,
            fresh,
            now,
            rates=rates,
            zone=settings.nightly.zone,
            fiscal_start=settings.nightly.fiscal_start,
        ),
    )
    return fresh, kept


def _prune(store: Any, settings: ServiceSettings) -> dict[str, int]:
    from serving.jobs.pruning import prune

    return prune(store, settings.keeping, clock().to_pydatetime(), by="nightly")


def _stuck(store: Any) -> dict[str, int]:
    """Count the work and the events that were given up; somebody has to look at them."""
    from crm.store.service.deliveries import dead_letters
    from crm.store.service.jobs import dead_jobs

    with store.reading() as connection:
        most = 1000
        return {
            "jobs": len(dead_jobs(connection, most)),
            "events": len(dead_letters(connection, limit=most)),
        }


def _lines(
    kept: KeptForecasts | None,
    fresh: Freshness | None,
    gone: dict[str, int] | None,
    stuck: dict[str, int] | None,
) -> list[str]:
    lines = []
    if kept is not None:
        lines.append(
            f"Forecasts of {', '.join(kept.periods)} by {', '.join(kept.groupings)}, as of "
            f"{show(kept.as_of)}: {kept.n_new} new in the ledger, {kept.n_there} were there."
        )
    if fresh is not None and not fresh.is_stale:
        lines.append(f"Data are fresh: last recorded {fresh.hours:.1f} h ago.")
    if gone is not None:
        told = [f"{n:,} {name}" for name, n in gone.items() if n]
        lines.append(f"Let go: {', '.join(told)}." if told else "Nothing was old enough to go.")
    if stuck is not None and any(stuck.values()):
        lines.append(
            f"Given up, and kept for you to look at: {stuck['jobs']} jobs, {stuck['events']} events."
        )
    return lines


def _stale(fresh: Freshness) -> str:
    return (
        f"the last thing recorded is of {show(fresh.last)}, {fresh.hours:,.0f} h ago "
        f"(limit {fresh.limit:g} h, "
        "--stale-after); check what brings data in, an import or the CRM's calls of /v1/ingest"
    )
