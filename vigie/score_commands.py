"""Commands that score: leads and deals, at a moment or at many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from vigie.console import Steps, output, print_json
from vigie.histories import read_history
from vigie.moments import read_moment, show
from vigie.options import (
    DEFAULT_BUNDLE,
    DEFAULT_HISTORY,
    BundleOption,
    HistoryOption,
    JsonOption,
    LanguageOption,
)

if TYPE_CHECKING:
    import pandas as pd


AsOfOption = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="MOMENT",
        help="Score the records open then: a date (00:00 UTC) or a moment with its zone.",
    ),
]
SnapshotsOption = Annotated[
    Path | None,
    typer.Option(
        "--snapshots",
        metavar="FILE",
        help="Score these records at these moments: CSV or Parquet with the id and as_of.",
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="Where to write: .csv, .csv.gz or .parquet.")
]
TopOption = Annotated[
    int, typer.Option("--reasons", min=0, max=20, help="So many reasons up, and so many down, at most.")
]


def leads(
    out: OutOption,
    as_of: AsOfOption = None,
    snapshots: SnapshotsOption = None,
    history: HistoryOption = DEFAULT_HISTORY,
    bundle: BundleOption = DEFAULT_BUNDLE,
    reasons: TopOption = 3,
    language: LanguageOption = "en",
    json: JsonOption = False,
) -> None:
    """Score leads: the chance that each buys within the horizon, and why.

    Only what was known before the moment counts. With --snapshots, a record that was closed or unknown then
    has an empty score and a reason_missing.

    ```console
    vigie score leads --as-of 2024-06-01 --out leads.csv
    vigie score leads --snapshots moments.csv --out leads.parquet
    ```
    """
    _score("lead", out, as_of, snapshots, history, bundle, reasons, language, json)


def deals(
    out: OutOption,
    as_of: AsOfOption = None,
    snapshots: SnapshotsOption = None,
    history: HistoryOption = DEFAULT_HISTORY,
    bundle: BundleOption = DEFAULT_BUNDLE,
    reasons: TopOption = 3,
    language: LanguageOption = "en",
    json: JsonOption = False,
) -> None:
    """Score deals: the chance that each is won, when it closes, for how much, and why.

    Only what was known before the moment counts. With --snapshots, a record that was closed or unknown then
    has an empty score and a reason_missing.

    ```console
    vigie score deals --as-of 2012-01-09 --out deals.parquet
    vigie score deals --snapshots moments.csv --out deals.csv
    ```
    """
    _score("deal", out, as_of, snapshots, history, bundle, reasons, language, json)


def _score(
    entity: Literal["lead", "deal"],
    out: Path,
    as_of: str | None,
    snapshots: Path | None,
    history: str,
    bundle: Path,
    reasons: int,
    language: Literal["en", "fr"],
    json: bool,
) -> None:
    if (as_of is None) == (snapshots is None):
        raise typer.BadParameter("give one of the two", param_hint="'--as-of' / '--snapshots'")
    moment = None if as_of is None else read_moment(as_of, "--as-of")
    from serving.bundle import ModelBundle
    from serving.scoring import model_of, score
    from vigie.score_files import score_frame
    from vigie.snapshot_files import read_snapshots
    from vigie.table_files import check_out, write_table

    check_out(out)
    with Steps() as steps:
        steps.begin("reading the model bundle and the history")
        models = ModelBundle.load(bundle)
        model_of(models, entity)
        asked = None if snapshots is None else read_snapshots(snapshots, entity)
        known = read_history(history)
        if asked is None:
            assert moment is not None
            from features import open_at

            asked = snapshots_at(list(open_at(known, entity, moment)), moment)
        steps.begin(f"scoring {len(asked):,} {entity}s")
        scores = score(models, known, asked, entity, top=reasons, language=language)
        steps.begin(f"writing {out}")
        frame = score_frame(scores)
        write_table(frame, out)
    missing = {str(why): int(n) for why, n in frame["reason_missing"].value_counts().items()}
    facts = {
        "file": str(out),
        "entity": entity,
        "as_of": moment,
        "rows": len(frame),
        "scored": len(frame) - sum(missing.values()),
        "missing": missing,
        "model_version": models.version,
        "signal": scores.signal,
    }
    if json:
        print_json(facts)
        return
    when = "" if moment is None else f" open at {show(moment)}"
    output().print(Text(f"{facts['scored']:,} {entity}s{when} scored: {out}"), soft_wrap=True)
    for why, n in missing.items():
        output().print(f"{n:,} without a score: {_WHY[why]}.")
    if not scores.signal and "too_early" not in missing:
        output().print("No skill was found in training: every score is the base rate (see vigie report).")


_WHY = {
    "unknown": "the history holds no record of that id",
    "not_known_yet": "not recorded before the moment asked for",
    "closed": "closed before the moment asked for",
    "gone": "gone from the CRM before the moment asked for",
    "too_early": "it is too early, the history holds too few outcomes (see vigie report)",
}


def snapshots_at(record_ids: list[str], moment: pd.Timestamp) -> pd.DataFrame:
    """Give snapshots of these records, all at one moment."""
    import pandas as pd

    as_of = pd.Series([moment] * len(record_ids), dtype="datetime64[us, UTC]")
    return pd.DataFrame({"record_id": pd.Series(record_ids, dtype="str"), "as_of": as_of})
