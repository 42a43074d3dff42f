"""The command that forecasts revenue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vigie.console import Steps, output, print_json
from vigie.histories import read_history
from vigie.moments import clock, read_moment
from vigie.options import (
    DEFAULT_BUNDLE,
    DEFAULT_HISTORY,
    BundleOption,
    CurrencyOption,
    FiscalStartOption,
    FromOption,
    HistoryOption,
    JsonOption,
    PeriodsOption,
    RatesOption,
    RowsOption,
    ToOption,
    ZoneOption,
    read_rates,
)

if TYPE_CHECKING:
    import pandas as pd

    from crm.history import History
    from serving.forecast import Forecast


def forecast(
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="MOMENT",
            help="Forecast from what was known before: a date (00:00 UTC) or a moment with its zone. "
            "Default: just after the last thing that the history records.",
        ),
    ] = None,
    period: PeriodsOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    next_: Annotated[
        list[str] | None,
        typer.Option(
            "--next", metavar="SPAN", help="From the as-of on: 10D, 4W, 3M, 1Q, 1Y. May be repeated."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="GROUP",
            help="owner, team, manager, region, or any attribute of deals.",
        ),
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Share of outcomes that a range is to hold.")] = 0.8,
    currency: CurrencyOption = None,
    rates: RatesOption = None,
    zone: ZoneOption = "UTC",
    fiscal_start: FiscalStartOption = 1,
    history: HistoryOption = DEFAULT_HISTORY,
    bundle: BundleOption = DEFAULT_BUNDLE,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep it in the ledger, so that its error will be known.")
    ] = False,
    out: RowsOption = None,
    json: JsonOption = False,
) -> None:
    """Forecast the revenue of a period: closed, from open deals, from deals to come; with an honest range.

    Without a period, the running quarter and the next one. Ranges are corrected by how the forecasts kept in
    the ledger came out.

    ```console
    vigie forecast --period 2026-Q4 --by owner --keep
    vigie forecast --as-of 2012-01-09 --next 1W --next 4W --out weekly.csv
    vigie forecast --from 2026-10-01 --to 2026-12-01 --currency EUR --rates rates.csv
    ```
    """
    if (from_ is None) != (to is None):
        raise typer.BadParameter("give both, or neither", param_hint="'--from' / '--to'")
    given_rates = read_rates(rates, currency)
    moment = None if as_of is None else read_moment(as_of, "--as-of")
    from crm.asked_periods import forecast_periods
    from crm.store import Store
    from serving.bundle import ModelBundle
    from serving.forecast import forecast as make
    from serving.forecast.accuracy import past_errors
    from vigie.table_files import check_out, write_table

    if out is not None:
        check_out(out)
    with Steps() as steps:
        steps.begin("reading the model bundle and the history")
        models = ModelBundle.load(bundle)
        known = read_history(history)
        now = moment if moment is not None else _just_after(known)
        periods = forecast_periods(period or [], (from_, to), next_ or [], now, zone, fiscal_start)
        steps.begin("forecasting " + ", ".join(one.name for one in periods))
        found = make(
            models,
            known,
            now,
            periods,
            by=by,
            level=level,
            rates=given_rates,
            zone=zone,
            past_errors=past_errors(Store.open(history).forecasts(as_of_before=now), known, now, given_rates),
        )
        kept = _keep(history, found) if keep else None
        if out is not None:
            write_table(found.rows, out)
    if json:
        print_json(_facts(found, kept))
        return
    from vigie.forecast_text import forecast_text

    output().print(forecast_text(found))
    if kept is not None:
        output().print(f"Kept in the ledger: {kept} new of {len(found.periods)}.")
    if out is not None:
        output().print(f"Rows: {out}", soft_wrap=True)


def _just_after(known: History) -> pd.Timestamp:
    from crm.observed import last_recorded

    return last_recorded(known, clock())


def _keep(url: str, found: Forecast) -> int:
    from crm.store import Store
    from serving.forecast.ledger_entry import entries_of

    store = Store.open(url)
    return sum(store.keep_forecast(entry) for entry in entries_of(found, clock()))


def _facts(found: Forecast, kept: int | None) -> dict[str, object]:
    return {
        "as_of": found.as_of,
        "by": found.by,
        "level": found.level,
        "currency": found.currency,
        "model_version": found.model_version,
        "seed": found.seed,
        "notes": list(found.notes),
        "kept": kept,
        "rows": found.rows.to_dict("records"),
    }
