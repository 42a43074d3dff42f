"""The command that follows KPIs over time."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from vigie.console import Steps, output, print_json
from vigie.histories import read_history
from vigie.moments import clock, read_moment
from vigie.options import (
    DEFAULT_HISTORY,
    CurrencyOption,
    FiscalStartOption,
    HistoryOption,
    JsonOption,
    LanguageOption,
    RatesOption,
    RowsOption,
    ZoneOption,
    read_rates,
)


def trends(
    every: Annotated[
        Literal["day", "week", "month", "quarter", "year"],
        typer.Option("--every", help="What a period is."),
    ] = "month",
    last: Annotated[int, typer.Option("--last", min=1, help="Judge so many of the last periods.")] = 1,
    kpi: Annotated[
        list[str] | None,
        typer.Option(
            "--kpi",
            metavar="NAME",
            help="Only this one. May be repeated. Default: all that are not apart by stage or channel.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="GROUP", help="Follow each owner, team, … beside the total."),
    ] = None,
    level: Annotated[
        float, typer.Option("--level", help="Share of values inside their normal range by chance.")
    ] = 0.99,
    explain: Annotated[
        bool, typer.Option("--explain/--no-explain", help="Name the segment behind each flag of a total.")
    ] = True,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="MOMENT",
            help="Follow what was over by then: a date (00:00 UTC) or a moment with its zone. "
            "Default: just after the last thing that the history records.",
        ),
    ] = None,
    currency: CurrencyOption = None,
    rates: RatesOption = None,
    zone: ZoneOption = "UTC",
    fiscal_start: FiscalStartOption = 1,
    history: HistoryOption = DEFAULT_HISTORY,
    language: LanguageOption = "en",
    out: RowsOption = None,
    json: JsonOption = False,
) -> None:
    """Show where KPIs left the range that their own past made normal, and which segment is behind it.

    Each period is measured as it was known when it ended, and judged by the periods before it alone.

    ```console
    vigie trends
    vigie trends --every week --kpi leads_created --kpi win_rate --last 4 --json
    ```
    """
    given_rates = read_rates(rates, currency)
    if not 0 < level < 1:
        raise typer.BadParameter("give a share between 0 and 1", param_hint="'--level'")
    moment = None if as_of is None else read_moment(as_of, "--as-of")
    from crm.observed import last_recorded
    from features.kpis.anomalies import explain_flags
    from features.kpis.trends import find_trends, measure_series, past_periods
    from vigie.table_files import check_out, write_table
    from vigie.trend_text import trend_text

    if out is not None:
        check_out(out)
    with Steps() as steps:
        steps.begin("reading the history")
        known = read_history(history)
        now = moment if moment is not None else last_recorded(known, clock())
        periods = past_periods(known, now, every, zone=zone, fiscal_start=fiscal_start)
        steps.begin(f"measuring {len(periods)} periods, {periods[0].name} to {periods[-1].name}")
        rows = measure_series(known, periods, now, names=kpi or None, by=by, rates=given_rates, zone=zone)
        steps.begin("making normal ranges from what came before")
        found = find_trends(rows, level, shown=last)
        flagged = found[found["is_flagged"]]
        if not explain:
            flagged = flagged.iloc[:0]
        steps.begin(f"looking for the segments behind {len(flagged)} flags")
        segments = explain_flags(known, flagged, periods, rates=given_rates, zone=zone)
        if out is not None:
            write_table(found, out)
    if json:
        print_json(
            {
                "as_of": now,
                "level": level,
                "rows": found.to_dict("records"),
                "segments": segments.to_dict("records"),
            }
        )
        return
    output().print(trend_text(found, segments, level, language))
    if out is not None:
        output().print(f"Rows: {out}", soft_wrap=True)
