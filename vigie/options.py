"""Options that several commands share, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

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
