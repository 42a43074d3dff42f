"""Commands about the ledger of forecasts: what was said, why it moved, how right it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vigie.console import Steps, output, print_json
from vigie.moments import clock, read_moment
from vigie.options import DEFAULT_HISTORY, HistoryOption, JsonOption

if TYPE_CHECKING:
    from crm.ledger import LedgerEntry
    from crm.store import Store

PeriodOption = Annotated[
    str | None,
    typer.Option(
        "--period", metavar="NAME", help="Only forecasts of this period, named as the list names it."
    ),
]
ByOption = Annotated[
    str | None, typer.Option("--by", metavar="GROUP", help='Only those grouped by it; "" for ungrouped ones.')
]
DealsOption = Annotated[int, typer.Option("--deals", min=0, metavar="N", help="So many deals, at most.")]


def list_(
    period: PeriodOption = None,
    by: ByOption = None,
    history: HistoryOption = DEFAULT_HISTORY,
    json: JsonOption = False,
) -> None:
    """List the forecasts that were kept, by period and moment.

    ```console
    vigie ledger list --history crm.sqlite
    vigie ledger list --period 2026-Q4 --by owner
    ```
    """
    entries = _entries(_open(history), period, by)
    from serving.forecast.ledger_facts import heading
    from vigie.ledger_text import list_table

    if json:
        print_json([heading(entry) for entry in entries])
        return
    output().print(list_table(entries))


def show(
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="The beginning of its id.")],
    deals: DealsOption = 10,
    history: HistoryOption = DEFAULT_HISTORY,
    json: JsonOption = False,
) -> None:
    """Show one forecast as it was made: its figures by group, and the largest deals behind it.

    ```console
    vigie ledger show 3f0c9a --history crm.sqlite
    vigie ledger show 3f0c9a --deals 50 --json
    ```
    """
    from serving.forecast.entry_choice import find_entry
    from serving.forecast.ledger_facts import entry_facts
    from vigie.ledger_text import entry_text

    store = _open(history)
    (found,) = _with_deals(store, find_entry(store.forecasts(), entry))
    if json:
        print_json(entry_facts(found, deals))
        return
    output().print(entry_text(found, deals))


def moved(
    before: Annotated[
        str | None, typer.Argument(metavar="BEFORE", help="The beginning of the earlier one's id.")
    ] = None,
    after: Annotated[
        str | None, typer.Argument(metavar="AFTER", help="The beginning of the later one's id.")
    ] = None,
    period: PeriodOption = None,
    by: ByOption = None,
    bridge: Annotated[
        str | None,
        typer.Option(
            "--bridge",
            metavar="ENTRY",
            help="What the earlier one's model said as of the later moment, where two models are compared. "
            "Default: the ledger's, if it has one.",
        ),
    ] = None,
    deals: DealsOption = 10,
    history: HistoryOption = DEFAULT_HISTORY,
    json: JsonOption = False,
) -> None:
    """Say why a forecast moved: won, lost, pushed, changed, created; to the cent.

    Two entries are compared, or the last two of a period.

    ```console
    vigie ledger moved --period 2026-Q4 --by owner --history crm.sqlite
    vigie ledger moved 3f0c9a 81d2e7
    ```
    """
    if (before is None) != (after is None):
        raise typer.BadParameter("give both entries, or neither", param_hint="AFTER")
    from crm.known import known_at
    from serving.forecast.entry_choice import bridge_between, find_entry, last_two
    from serving.forecast.ledger_facts import moves_facts
    from serving.forecast.moves import explain_move
    from vigie.ledger_text import moves_text

    store = _open(history)
    entries = _entries(store, period, by)
    if before is not None and after is not None:
        pair = find_entry(entries, before), find_entry(entries, after)
    else:
        pair = last_two(entries)
    between = find_entry(entries, bridge) if bridge is not None else bridge_between(entries, *pair)
    first, second, *rest = _with_deals(store, *pair, *([] if between is None else [between]))
    with Steps() as steps:
        steps.begin("reading the deals as they were known then")
        known = known_at(store.read(["deals", "changes"]), second.as_of)
    moves = explain_move(first, second, known.deals, rest[0] if rest else None)
    if json:
        print_json(moves_facts(moves, deals))
        return
    output().print(moves_text(moves, deals))


def accuracy(
    period: PeriodOption = None,
    by: ByOption = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="MOMENT", help="Count what had ended and was known then; else now."),
    ] = None,
    currency: Annotated[
        str | None, typer.Option("--currency", metavar="CODE", help="Only forecasts in this currency.")
    ] = None,
    rates: Annotated[
        Path | None,
        typer.Option("--rates", metavar="FILE", help="CSV month,currency,rate; needs --currency."),
    ] = None,
    history: HistoryOption = DEFAULT_HISTORY,
    json: JsonOption = False,
) -> None:
    """Say how right the kept forecasts were, by horizon and group, beside the simpler ones.

    ```console
    vigie ledger accuracy --history crm.sqlite
    vigie ledger accuracy --by owner --as-of 2026-10-01 --json
    ```
    """
    if rates is not None and currency is None:
        raise typer.BadParameter("rates turn amounts into --currency; name it", param_hint="--rates")
    moment = clock() if as_of is None else read_moment(as_of, "--as-of")
    from crm.money import Rates
    from serving.forecast.accuracy import forecast_accuracy
    from serving.forecast.ledger_facts import accuracy_facts
    from vigie.ledger_text import accuracy_text

    given = Rates.none() if rates is None else Rates.read(rates, str(currency))
    store = _open(history)
    entries = _entries(store, period, by)
    if currency is not None:
        entries = [entry for entry in entries if entry.currency == currency.strip().upper()]
    with Steps() as steps:
        steps.begin("reading what came")
        known = store.read(["users", "accounts", "leads", "deals", "changes"])
    found = forecast_accuracy(entries, known, moment, given)
    if json:
        print_json(accuracy_facts(found))
        return
    output().print(accuracy_text(found))


def _open(history: str) -> Store:
    from crm.store import Store

    return Store.open(history)


def _entries(store: Store, period: str | None, by: str | None) -> list[LedgerEntry]:
    """Give the entries asked for, without their deals."""
    entries = store.forecasts(by=by)
    if period is None:
        return entries
    from serving.forecast.entry_choice import of_period

    return of_period(entries, period)


def _with_deals(store: Store, *entries: LedgerEntry) -> list[LedgerEntry]:
    """Give entries with their deals, in the same order."""
    found = store.forecasts(with_deals=True, entry_ids=[entry.entry_id for entry in entries])
    by_id = {entry.entry_id: entry for entry in found}
    return [by_id[entry.entry_id] for entry in entries]
