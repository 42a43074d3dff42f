"""Options that several commands share, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from crm.money import Rates

HistoryOption = Annotated[
    str,
    typer.Option(
        "--history",
        envvar="VIGIE_HISTORY",
        metavar="PATH|URL",
        help="The history store: a SQLite file, sqlite:///file or postgresql://user:password@host/database.",
    ),
]
DEFAULT_HISTORY = "vigie.sqlite"

BundleOption = Annotated[
    Path,
    typer.Option("--bundle", envvar="VIGIE_BUNDLE", metavar="DIR", help="The directory of the model bundle."),
]
DEFAULT_BUNDLE = Path("bundle")

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the answer as JSON on the standard output, for a program.")
]

TrackingOption = Annotated[
    str,
    typer.Option(
        "--tracking",
        envvar="MLFLOW_TRACKING_URI",
        metavar="URI",
        help="Where MLflow keeps the runs and the registry.",
    ),
]
DEFAULT_TRACKING = "sqlite:///mlflow.db"

LanguageOption = Annotated[Literal["en", "fr"], typer.Option("--language", help="Language of the reasons.")]

PeriodsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--period", metavar="PERIOD", help="2026-Q4, 2026-10, 2026-W40, 2026, FY2026. May be repeated."
    ),
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="DATE", help="First day of a period; with --to.")
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="DATE", help="The period ends where this day begins.")
]
CurrencyOption = Annotated[
    str | None, typer.Option("--currency", metavar="CODE", help="Reporting currency; with --rates.")
]
RatesOption = Annotated[
    Path | None, typer.Option("--rates", metavar="FILE", help="Rates by month (CSV: month,currency,rate).")
]
ZoneOption = Annotated[str, typer.Option("--zone", help="Where days begin, such as Europe/Paris.")]
FiscalStartOption = Annotated[
    int, typer.Option("--fiscal-start", min=1, max=12, help="Month in which the fiscal year begins.")
]
RowsOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write the rows: .csv, .csv.gz or .parquet.")
]


def read_rates(rates: Path | None, currency: str | None) -> Rates:
    """Read the rates of --rates and --currency; none where neither is given.

    Raises
    ------
    typer.BadParameter
        Where only one of the two is given.
    InputError
        Where the file cannot be read.
    """
    from crm.money import Rates

    if (currency is None) != (rates is None):
        raise typer.BadParameter("give both, or neither", param_hint="'--currency' / '--rates'")
    return Rates.none() if rates is None or currency is None else Rates.read(rates, currency)
