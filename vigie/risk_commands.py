"""The command that finds deals at risk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vigie.console import Steps, output, print_json
from vigie.histories import read_history
from vigie.moments import clock, read_moment
from vigie.options import (
    DEFAULT_HISTORY,
    CurrencyOption,
    HistoryOption,
    JsonOption,
    LanguageOption,
    RatesOption,
    RowsOption,
    read_rates,
)

if TYPE_CHECKING:
    import pandas as pd

    from crm.history import History


def risks(
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="MOMENT",
            help="Judge by what was known before: a date (00:00 UTC) or a moment with its zone. "
            "Default: just after the last thing that the history records.",
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            envvar="VIGIE_BUNDLE",
            metavar="DIR",
            help="A model bundle: what is at stake is then the amount times the chance to win it.",
        ),
    ] = None,
    quantile: Annotated[
        float,
        typer.Option(
            "--quantile",
            help="The share of won deals that a deal must go beyond in silence or pushes. 1: all of them.",
        ),
    ] = 1.0,
    fewest_won: Annotated[
        int, typer.Option("--fewest-won", min=1, help="With fewer won deals in a stage, nothing is claimed.")
    ] = 20,
    currency: CurrencyOption = None,
    rates: RatesOption = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Show so many deals on the terminal.")] = 20,
    history: HistoryOption = DEFAULT_HISTORY,
    language: LanguageOption = "en",
    out: RowsOption = None,
    json: JsonOption = False,
) -> None:
    """Find open deals at risk, each with the evidence and the revenue at stake.

    Silent longer than won deals of that stage ever were, past the expected close date, pushed more often than
    they were, back in an earlier stage, with a single contact, or never answered.

    ```console
    vigie risks --bundle bundle --top 10
    vigie risks --as-of 2024-06-01 --quantile 0.95 --out risks.csv
    ```
    """
    given_rates = read_rates(rates, currency)
    moment = None if as_of is None else read_moment(as_of, "--as-of")
    from crm.money import reporting_currency
    from crm.observed import last_recorded
    from features.kpis.risk import deals_at_risk, risk_limits
    from features.kpis.risk_rules import RiskRules
    from vigie.risk_text import risk_text
    from vigie.table_files import check_out, write_table

    if out is not None:
        check_out(out)
    rules = RiskRules(quantile=quantile, fewest_won=fewest_won)
    with Steps() as steps:
        steps.begin("reading the history")
        known = read_history(history)
        now = moment if moment is not None else last_recorded(known, clock())
        chances = None
        if bundle is not None:
            steps.begin("asking the model for the chances of the open deals")
            chances = _chances(bundle, known, now)
        steps.begin("holding open deals against those that were won")
        found = deals_at_risk(known, now, chances, given_rates, rules)
        limits = risk_limits(known, now, rules)
        if out is not None:
            write_table(found, out)
    unit = reporting_currency(known, given_rates)
    if json:
        deals = found.drop_duplicates("deal_id")
        print_json(
            {
                "as_of": now,
                "currency": unit,
                "at_stake": float(deals["at_stake"].sum()),
                "deals": len(deals),
                "rows": found.to_dict("records"),
                "limits": limits.to_dict("records"),
            }
        )
        return
    output().print(risk_text(found, limits, now, unit, language, top))
    if out is not None:
        output().print(f"Rows: {out}", soft_wrap=True)


def _chances(bundle: Path, known: History, moment: pd.Timestamp) -> pd.Series:
    """Give the chance of each open deal, as the scores have it."""
    import pandas as pd

    from features import open_at
    from serving.bundle import ModelBundle
    from serving.scoring import score
    from vigie.score_commands import snapshots_at

    models = ModelBundle.load(bundle)
    asked = snapshots_at(list(open_at(known, "deal", moment)), moment)
    scores = score(models, known, asked, "deal", top=0)
    return pd.Series(scores.probability, index=pd.Index(asked["record_id"]), dtype="float64")
