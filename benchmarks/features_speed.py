"""Measure feature building: beside the same features as DuckDB SQL, by size, and for one record.

    python benchmarks/features_speed.py                    # everything, some minutes
    python benchmarks/features_speed.py --events 400000    # the comparison on a tenth of the size

The comparison builds the same features of the same snapshots both ways in one run and checks that they are
equal. DuckDB has two ways, a grouped join and running counts with ASOF joins; the faster one counts. Each
side is timed from the DataFrames as the store gives them, and from what each keeps ready (Vigie's prepared
history, DuckDB's own tables). DuckDB uses every core, Vigie one; so seconds of all cores stand beside those
of the clock.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pandas as pd

from crm.history import History, empty_frame
from crm.schema import TABLES
from features import FeatureSpec, Kind, Snapshots, build_features, learn_spec, prepare

DAY = 86_400_000_000
BEGIN = 1_672_531_200_000_000  # 2023-01-01 in UTC
DAYS = 720
CHANNELS = ("email", "call", "web")
KINDS = ("message", "call", "visit", "demo")
WINDOWS = (7, 30, 90)


def moments(micros: np.ndarray[Any, Any]) -> pd.Series[Any]:
    """Give microseconds as the moments that the canonical tables hold."""
    return pd.Series(micros.astype("datetime64[us]")).dt.tz_localize("UTC")


def texts(values: tuple[str, ...] | list[str], codes: np.ndarray[Any, Any]) -> pd.Series[Any]:
    """Give codes as texts."""
    return pd.Series(pd.Categorical.from_codes(codes, list(values)), copy=False).astype("str")


def make_history(n_events: int, seed: int = 0) -> History:
    """Make leads with 40 events each, over two years."""
    rng = np.random.default_rng(seed)
    n_leads = max(1, n_events // 40)
    ids = [f"L{n:07}" for n in range(n_leads)]
    created = BEGIN + rng.integers(0, (DAYS - 90) * DAY, n_leads)
    owner = rng.integers(0, n_leads, n_events)
    when = created[owner] + (rng.exponential(40.0, n_events) * DAY).astype(np.int64)
    leads = pd.DataFrame({"lead_id": pd.Series(ids, dtype="str"), "recorded_at": moments(created)})
    leads["created_at"] = leads["recorded_at"]
    activities = pd.DataFrame(
        {
            "activity_id": texts(["x"], np.zeros(n_events, np.int64)),
            "lead_id": texts(ids, owner),
            "kind": texts(KINDS, rng.integers(0, len(KINDS), n_events)),
            "channel": texts(CHANNELS, rng.integers(-1, len(CHANNELS), n_events)),
            "direction": texts(("in", "out"), rng.integers(-1, 2, n_events)),
            "status": texts(["done"], np.zeros(n_events, np.int64)),
            "occurred_at": moments(when),
            "recorded_at": moments(when),
        }
    )
    frames = {"leads": leads, "activities": activities}
    for name, frame in frames.items():
        blank = empty_frame(TABLES[name])
        missing = [column for column in blank.columns if column not in frame.columns]
        frames[name] = frame.assign(
            **{c: pd.Series([None] * len(frame), dtype=blank[c].dtype) for c in missing}
        )
    return History.of(frames)


def make_snapshots(history: History, each: int) -> pd.DataFrame:
    """Give some moments, ninety days apart at most, of every lead."""
    rng = np.random.default_rng(1)
    leads = history.leads
    born = leads["recorded_at"].to_numpy(dtype="datetime64[us]").astype(np.int64)
    record = np.repeat(np.arange(len(leads)), each)
    at = born[record] + rng.integers(DAY, 90 * DAY, len(record))
    return pd.DataFrame(
        {"record_id": leads["lead_id"].take(record).reset_index(drop=True), "as_of": moments(at)}
    )


def make_spec() -> FeatureSpec:
    """Give 47 features: recency, counts by window, counts and speed by kind."""
    groups = ("event", "in", "out", *(f"channel_{channel}" for channel in CHANNELS))
    names = [f"days_since_{g}" for g in groups] + [f"count_{g}" for g in groups]
    names += [f"count_{g}_{days}d" for days in WINDOWS for g in groups]
    for what in ("count", "days_since", "days_to_first"):
        names += [f"{what}_{kind}" for kind in KINDS]
    names += ["age_days", "count_event_1d", "days_unanswered"]
    return FeatureSpec(
        "lead",
        names=tuple(names),
        kinds=tuple(Kind("activity", kind, "done") for kind in KINDS),
        channels=CHANNELS,
        directions=("in", "out"),
    )


def _flags() -> dict[str, str]:
    """Give the condition of each group and kind of event."""
    flags = {"event": "true", "in": "direction = 'in'", "out": "direction = 'out'"}
    flags |= {f"channel_{channel}": f"channel = '{channel}'" for channel in CHANNELS}
    return flags | {kind: f"kind = '{kind}'" for kind in KINDS}


_ASKED = """
    SELECT i, record_id, epoch_us(as_of) AS at, epoch_us(created_at) AS born
    FROM snapshots JOIN leads ON lead_id = record_id"""
_KNOWN = "SELECT *, epoch_us(greatest(occurred_at, recorded_at)) AS t FROM activities"


def sql_by_grouping(spec: FeatureSpec) -> str:
    """Write the features as a join of snapshots with all earlier events, grouped."""
    columns = {}
    for name in _flags():
        flag = f'"is_{name}"'
        columns[f"days_since_{name}"] = f"(s.at - max(t) FILTER ({flag})) / 86400000000.0"
        columns[f"count_{name}"] = f"count(t) FILTER ({flag})"
        columns[f"days_to_first_{name}"] = f"(min(t) FILTER ({flag}) - s.born) / 86400000000.0"
        for days in (1, *WINDOWS):
            columns[f"count_{name}_{days}d"] = f"count(t) FILTER ({flag} AND t >= s.at - {days * DAY})"
    last_in, last_out = ('max(t) FILTER ("is_in")', 'max(t) FILTER ("is_out")')
    columns |= _derived(last_in, last_out)
    flags = ", ".join(f'coalesce({condition}, false) AS "is_{name}"' for name, condition in _flags().items())
    return f"""
        WITH s AS ({_ASKED}), e AS (SELECT lead_id, t, {flags} FROM ({_KNOWN}))
        SELECT i, {_selected(spec, columns)} FROM s LEFT JOIN e ON e.lead_id = s.record_id AND e.t < s.at
        GROUP BY i, s.at, s.born ORDER BY i"""


def sql_by_running_counts(spec: FeatureSpec) -> str:
    """Write the features as running counts of events, looked up at each edge by ASOF joins."""
    running, columns = [], {}
    for name, condition in _flags().items():
        of = f"CASE WHEN {condition} THEN t END"
        running.append(f'count({of}) OVER w AS "n_{name}", max({of}) OVER w AS "last_{name}"')
        running.append(f'min({of}) OVER w AS "first_{name}"')
        columns[f"days_since_{name}"] = f'(s.at - e0."last_{name}") / 86400000000.0'
        columns[f"count_{name}"] = f'coalesce(e0."n_{name}", 0)'
        columns[f"days_to_first_{name}"] = f'(e0."first_{name}" - s.born) / 86400000000.0'
        for days in (1, *WINDOWS):
            columns[f"count_{name}_{days}d"] = f'coalesce(e0."n_{name}", 0) - coalesce(e{days}."n_{name}", 0)'
    columns |= _derived('e0."last_in"', 'e0."last_out"')
    joins = " ".join(
        f"ASOF LEFT JOIN e e{days} ON e{days}.lead_id = s.record_id AND s.at - {days * DAY} > e{days}.t"
        for days in (0, 1, *WINDOWS)
    )
    return f"""
        WITH s AS ({_ASKED}), e AS MATERIALIZED (
            SELECT lead_id, t, {", ".join(running)} FROM ({_KNOWN})
            WINDOW w AS (PARTITION BY lead_id ORDER BY t))
        SELECT i, {_selected(spec, columns)} FROM s {joins} ORDER BY i"""


def _derived(last_in: str, last_out: str) -> dict[str, str]:
    waited = (
        f"CASE WHEN {last_in} > coalesce({last_out}, 0) THEN (s.at - {last_in}) / 86400000000.0 ELSE 0 END"
    )
    return {"age_days": "(s.at - s.born) / 86400000000.0", "days_unanswered": waited}


def _selected(spec: FeatureSpec, columns: dict[str, str]) -> str:
    return ", ".join(f'CAST({columns[name]} AS DOUBLE) AS "{name}"' for name in spec.names)


SQL = {"grouping": sql_by_grouping, "running_counts": sql_by_running_counts}


class Timed(NamedTuple):
    """What a piece of work took, and gave."""

    seconds: float
    core_seconds: float
    result: Any

    def figures(self, name: str) -> dict[str, float]:
        """Give the times under a name."""
        return {f"{name}_s": round(self.seconds, 2), f"{name}_core_s": round(self.core_seconds, 2)}


def best(of: int, work: Callable[[], Any]) -> Timed:
    """Run a piece of work some times; give the run that took the shortest by the clock."""
    runs = []
    for _ in range(of):
        cores, start = time.process_time(), time.perf_counter()
        result = work()
        runs.append(Timed(time.perf_counter() - start, time.process_time() - cores, result))
    return min(runs, key=lambda run: run.seconds)


def compare(n_events: int, repeats: int) -> dict[str, Any]:
    """Build the same features by Vigie and by DuckDB."""
    history, spec = make_history(n_events), make_spec()
    snapshots = make_snapshots(history, 8)
    prepared = prepare(history, spec)
    ready = best(repeats, lambda: build_features(prepared, snapshots))
    whole = best(repeats, lambda: build_features(history, snapshots, spec))
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    numbered = snapshots.assign(i=np.arange(len(snapshots)))
    frames = {"leads": history.leads, "activities": history.activities, "snapshots": numbered}
    for name, frame in frames.items():
        db.register(name, frame)
    whole_sql = {way: best(repeats, lambda w=write: run(db, w(spec))) for way, write in SQL.items()}
    for name in frames:
        db.execute(f"CREATE TABLE own_{name} AS SELECT * FROM {name}")
        db.unregister(name)
        db.execute(f"ALTER TABLE own_{name} RENAME TO {name}")
    ready_sql = {way: best(repeats, lambda w=write: run(db, w(spec))) for way, write in SQL.items()}
    for timed in ready_sql.values():
        for place, name in enumerate(spec.names):
            want = np.ma.filled(timed.result[name].astype(np.float64), np.nan)
            ours = ready.result.values[:, place]  # noqa: PD011
            np.testing.assert_allclose(ours, want, atol=1e-9, err_msg=name)
    answer = {"events": n_events, "snapshots": len(snapshots), "features": len(spec.names)}
    answer |= whole.figures("vigie_from_frames") | ready.figures("vigie_ready")
    for what, by_way in (("from_frames", whole_sql), ("ready", ready_sql)):
        for way, timed in by_way.items():
            answer |= timed.figures(f"duckdb_{way}_{what}")
    fastest, fastest_ready = (
        min(by_way.values(), key=lambda t: t.seconds) for by_way in (whole_sql, ready_sql)
    )
    answer["times_as_fast_from_frames"] = round(fastest.seconds / whole.seconds, 2)
    answer["times_as_fast_ready"] = round(fastest_ready.seconds / ready.seconds, 2)
    return answer


def run(db: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    """Run a query; give its columns."""
    return db.execute(sql).fetchnumpy()


def scale(sizes: list[int]) -> list[dict[str, Any]]:
    """Measure preparing and building by number of events, with one snapshot for five events."""
    rows = []
    for n_events in sizes:
        history = make_history(n_events)
        snapshots, spec = make_snapshots(history, 8), make_spec()
        preparing = best(1, lambda h=history, s=spec: prepare(h, s))
        building = best(1, lambda p=preparing.result, s=snapshots: build_features(p, s))
        rows.append(
            {
                "events": n_events,
                "snapshots": len(snapshots),
                **preparing.figures("prepare"),
                **building.figures("build"),
                "us_per_event": round((preparing.seconds + building.seconds) / n_events * 1e6, 2),
                "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
            }
        )
    return rows


def single(n_events: int) -> dict[str, Any]:
    """Measure the features of one record out of a prepared history, and DuckDB's of the same."""
    history = make_history(n_events)
    some, spec = make_snapshots(history, 1).iloc[:400], make_spec()
    prepared = prepare(history, spec)
    learned = learn_spec(history, "lead")
    wide = prepare(history, learned)
    at = some["as_of"].to_numpy(dtype="datetime64[us]")
    asked = [Snapshots([record], at[i : i + 1]) for i, record in enumerate(some["record_id"])]

    def each(work: Callable[[Snapshots], Any], of: list[Snapshots]) -> float:
        times = [best(1, lambda s=one: work(s)).seconds for one in of]
        return round(float(np.median(times)) * 1e3, 3)

    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    for name, frame in {"leads": history.leads, "activities": history.activities}.items():
        db.register("frame", frame)
        db.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
        db.execute(f"CREATE INDEX {name}_by_lead ON {name} (lead_id)")
    sql = sql_by_grouping(spec).replace(
        "FROM snapshots", "FROM (SELECT 0 AS i, ? AS record_id, ?::TIMESTAMPTZ AS as_of)"
    )

    def query(one: Snapshots) -> Any:
        moment = pd.Timestamp(one.as_of[0]).tz_localize("UTC").to_pydatetime()
        return db.execute(sql, [one.record_id[0], moment]).fetchall()

    return {
        "events": n_events,
        "vigie_ms": each(lambda one: build_features(prepared, one), asked),
        f"vigie_all_{len(learned.names)}_features_ms": each(lambda one: build_features(wide, one), asked),
        "duckdb_ms": each(query, asked[:50]),
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=4_000_000, help="events of the comparison")
    parser.add_argument("--largest", type=int, default=10_000_000, help="events of the largest size")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each side; the shortest counts")
    arguments = parser.parse_args()
    sizes = [size for size in (10_000, 100_000, 1_000_000, 10_000_000) if size <= arguments.largest]
    print(json.dumps({"single": single(min(200_000, arguments.events))}), flush=True)
    print(json.dumps({"scale": scale(sizes)}), flush=True)
    print(json.dumps({"compare": compare(arguments.events, arguments.repeats)}), flush=True)


if __name__ == "__main__":
    main()
