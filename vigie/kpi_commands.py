"""The command that measures KPIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from crm.errors import Problem, list_problems
from vigie.console import Steps, errors, output, print_json
from vigie.histories import read_history
from vigie.moments import clock, read_moment
from vigie.options import (
    DEFAULT_HISTORY,
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


def kpis(
    period: PeriodsOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    every: Annotated[
        Literal["day", "week", "month", "quarter", "year"] | None,
        typer.Option("--every", help="Measure each calendar day, week, … of the period, whole."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="GROUP",
            help="owner, team, manager, region, any attribute, or account.ATTRIBUTE.",
        ),
    ] = None,
    kpi: Annotated[
        list[str] | None, typer.Option("--kpi", metavar="NAME", help="Only this one. May be repeated.")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="MOMENT",
            help="Measure what was known before: a date (00:00 UTC) or a moment with its zone. "
            "Default: just after the last thing that the history records.",
        ),
    ] = None,
    answer_hours: Annotated[
        float, typer.Option("--answer-hours", help="Within how many hours a lead should be answered.")
    ] = 24.0,
    reply_days: Annotated[
        float, typer.Option("--reply-days", help="Within how many days a prospect's action is a reply.")
    ] = 7.0,
    inactive_days: Annotated[
        float,
        typer.Option(
            "--inactive-days",
            help="How long after an order an account still is a customer, where there are no subscriptions.",
        ),
    ] = 365.0,
    qualified_stage: Annotated[
        list[str] | None,
        typer.Option(
            "--qualified-stage",
            metavar="STAGE",
            help="A stage of leads that counts as qualified. May be repeated. "
            "Default: those whose name says so.",
        ),
    ] = None,
    currency: CurrencyOption = None,
    rates: RatesOption = None,
    zone: ZoneOption = "UTC",
    fiscal_start: FiscalStartOption = 1,
    history: HistoryOption = DEFAULT_HISTORY,
    language: Annotated[
        Literal["en", "fr"], typer.Option("--language", help="Language of the names.")
    ] = "en",
    definitions: Annotated[
        bool, typer.Option("--definitions", help="Say what each KPI is, covers and comes from; measure none.")
    ] = False,
    out: RowsOption = None,
    json: JsonOption = False,
) -> None:
    """Measure KPIs of sales and customers, each with the counts behind it, as they were known at a moment.

    Without a period, the quarter that was running.

    ```console
    vigie kpis --period 2026-Q4 --by team
    vigie kpis --from 2026-01-01 --to 2027-01-01 --every month --kpi win_rate --kpi revenue
    vigie kpis --definitions --language fr
    ```
    """
    if (from_ is None) != (to is None):
        raise typer.BadParameter("give both, or neither", param_hint="'--from' / '--to'")
    given_rates = read_rates(rates, currency)
    moment = None if as_of is None else read_moment(as_of, "--as-of")
    from crm.asked_periods import kpi_periods
    from features.kpis import KpiSettings, measure_kpis
    from features.kpis.catalogue import chosen
    from vigie.kpi_text import definitions_text, kpi_text
    from vigie.table_files import check_out, write_table

    asked = chosen(kpi or None)
    if definitions:
        defined = [{name: getattr(one, name) for name in _DEFINED} for one in asked]
        if json:
            print_json({"kpis": defined})
        else:
            output().print(definitions_text(asked, language))
        return
    if out is not None:
        check_out(out)
    settings = KpiSettings(answer_hours, reply_days, tuple(qualified_stage or ()), inactive_days)
    with Steps() as steps:
        steps.begin("reading the history")
        known = read_history(history)
        now = moment if moment is not None else _just_after(known)
        periods = kpi_periods(period or [], (from_, to), every, now, zone, fiscal_start)
        steps.begin(f"measuring {len(asked)} KPIs over {', '.join(one.name for one in periods)}")
        rows = measure_kpis(
            known,
            periods,
            now,
            names=[one.name for one in asked],
            by=by,
            rates=given_rates,
            zone=zone,
            settings=settings,
        )
        rows.insert(1, "label", [_label(name, language) for name in rows["kpi"]])
        if out is not None:
            write_table(rows, out)
    problems = _uncounted_targets(known, now)
    if json:
        facts = {"as_of": now, "by": by, "file": out, "rows": rows.to_dict("records")}
        print_json(facts | {"target_findings": [vars(problem) for problem in problems]})
        return
    output().print(kpi_text(rows, language))
    if problems:
        errors().print(Text(list_problems(problems), style="yellow"), soft_wrap=True)
    if out is not None:
        output().print(f"Rows: {out}", soft_wrap=True)


#: What the definition of a KPI holds, for a program.
_DEFINED = (
    "name",
    "label_en",
    "label_fr",
    "formula",
    "covers",
    "unit",
    "better",
    "source",
    "tables",
    "detail",
)


def _label(name: str, language: Literal["en", "fr"]) -> str:
    from features.kpis import KPIS

    return KPIS[name].label(language)


def _uncounted_targets(known: History, as_of: pd.Timestamp) -> list[Problem]:
    """Name the targets known then that cannot count."""
    from features.kpis import KPIS
    from features.kpis.targets import target_findings

    targets = known.targets[known.targets["recorded_at"] < as_of]
    return target_findings(targets, known.users, list(KPIS))


def _just_after(known: History) -> pd.Timestamp:
    from crm.observed import last_recorded

    return last_recorded(known, clock())
