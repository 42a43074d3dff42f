"""Build the same features by Vigie and by Featuretools with its cutoff times, and check that they are equal.

Featuretools does not work with pandas 3, so it runs in an environment of its own, which this makes once:

    python -m venv .venv-featuretools && .venv-featuretools/bin/pip install featuretools pyarrow "pandas<3"
    python benchmarks/features_featuretools.py --python .venv-featuretools/bin/python

Both build, for each snapshot, the number of events and the days since the last, of all events and of those
of each direction, channel and kind. Featuretools walks through the distinct moments one by one, so its size
is kept small; Vigie's time on the same is given from DataFrames to matrix.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = {
    "direction": ("in", "out"),
    "channel": ("email", "call", "web"),
    "kind": ("message", "call", "visit", "demo"),
}


def featuretools(folder: Path) -> None:
    """Build the features by Featuretools; run by its own interpreter, which has no Vigie."""
    import featuretools as ft  # only its own environment has it

    events = pd.read_parquet(folder / "events.parquet")
    leads = pd.read_parquet(folder / "leads.parquet")
    cutoffs = pd.read_parquet(folder / "snapshots.parquet")
    start = time.perf_counter()
    entities = ft.EntitySet("crm")
    entities.add_dataframe(dataframe_name="leads", dataframe=leads, index="lead_id", time_index="recorded_at")
    entities.add_dataframe(
        dataframe_name="events",
        dataframe=events,
        index="event_id",
        time_index="known_at",
        logical_types=dict.fromkeys(COLUMNS, "Categorical"),
    )
    entities.add_relationship("leads", "lead_id", "events", "lead_id")
    for column, values in COLUMNS.items():
        entities.add_interesting_values(dataframe_name="events", values={column: list(values)})
    primitives = ["count", "time_since_last"]
    matrix, _ = ft.dfs(
        entityset=entities,
        target_dataframe_name="leads",
        cutoff_time=cutoffs,
        include_cutoff_time=False,
        agg_primitives=primitives,
        where_primitives=primitives,
        trans_primitives=[],
        max_depth=2,
        n_jobs=1,
    )
    seconds = time.perf_counter() - start
    wanted = {}
    for suffix, where in _groups().items():
        condition = f" WHERE {where[0]} = {where[1]}" if where else ""
        wanted[f"count_{suffix}"] = matrix[f"COUNT(events{condition})"].to_numpy(dtype=float)
        since = matrix[f"TIME_SINCE_LAST(events.known_at{condition})"].to_numpy(dtype=float)
        wanted[f"days_since_{suffix}"] = since / 86400.0
    result = pd.DataFrame(wanted)
    result["i"] = matrix["i"].to_numpy()
    result.to_parquet(folder / "featuretools.parquet")
    (folder / "facts.json").write_text(json.dumps({"seconds": seconds, "version": ft.__version__}))


def _groups() -> dict[str, tuple[str, str] | None]:
    """Give Vigie's name of each group of events, and the column and value that make it."""
    groups: dict[str, tuple[str, str] | None] = {"event": None}
    for column, values in COLUMNS.items():
        for value in values:
            # The kind "call" and the channel "call" are told apart by name.
            name = {"direction": value, "channel": f"channel_{value}", "kind": value}[column]
            groups[name] = (column, value)
    return groups


def compare(python: str, n_events: int, n_snapshots: int) -> dict[str, Any]:
    """Build the features both ways and compare the times."""
    from features_speed import make_history, make_snapshots, make_spec

    from features import build_features

    history = make_history(n_events)
    spec = make_spec()
    names = [f"{what}_{group}" for group in _groups() for what in ("count", "days_since")]
    spec = spec.keep(names)
    snapshots = make_snapshots(history, 1).sample(n_snapshots, random_state=0).reset_index(drop=True)
    start = time.perf_counter()
    ours = build_features(history, snapshots, spec).to_frame()
    seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, history, snapshots)
        subprocess.run([python, "-W", "ignore", __file__, "--child", name], check=True)
        theirs = pd.read_parquet(folder / "featuretools.parquet").sort_values("i")
        facts = json.loads((folder / "facts.json").read_text())
    for column in ours.columns:
        want = theirs[column].to_numpy(dtype=np.float64)
        if column.startswith("count"):
            want = np.nan_to_num(want)
        np.testing.assert_allclose(ours[column], want, atol=1e-9, err_msg=column)
    return {
        "events": n_events,
        "snapshots": n_snapshots,
        "features": len(ours.columns),
        "featuretools": facts["version"],
        "featuretools_s": round(facts["seconds"], 2),
        "vigie_s": round(seconds, 3),
        "times_as_fast": round(facts["seconds"] / seconds),
    }


def _write(folder: Path, history: Any, snapshots: pd.DataFrame) -> None:
    """Write what Featuretools reads, without what pandas 3 alone understands."""
    activities = history.activities
    events = pd.DataFrame(
        {
            "event_id": np.arange(len(activities)),
            "lead_id": activities["lead_id"].astype(object),
            "known_at": activities["recorded_at"].dt.tz_localize(None).astype("datetime64[ns]"),
            **{column: activities[column].astype(object) for column in COLUMNS},
        }
    )
    leads = pd.DataFrame(
        {
            "lead_id": history.leads["lead_id"].astype(object),
            "recorded_at": history.leads["recorded_at"].dt.tz_localize(None).astype("datetime64[ns]"),
        }
    )
    cutoffs = pd.DataFrame(
        {
            "lead_id": snapshots["record_id"].astype(object),
            "time": snapshots["as_of"].dt.tz_localize(None).astype("datetime64[ns]"),
            "i": np.arange(len(snapshots)),
        }
    )
    for name, frame in {"events": events, "leads": leads, "snapshots": cutoffs}.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter that has Featuretools")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--snapshots", type=int, default=500)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        featuretools(arguments.child)
    else:
        print(json.dumps(compare(arguments.python, arguments.events, arguments.snapshots)))


if __name__ == "__main__":
    main()
