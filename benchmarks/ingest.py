"""How many records a second are ingested into a store that holds much already.

python benchmarks/ingest.py --leads 100000 --activities 1000000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from crm.store import Store
from crm.store.service.engine import ServiceStore
from serving.answering.ingest_reading import read_ingest
from serving.answering.ingesting import take_in

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KINDS = ("email", "call", "meeting", "visit")


def moments(days: np.ndarray) -> pd.Series:
    """Give moments so many days before now."""
    return pd.Series(pd.Timestamp(NOW) - pd.to_timedelta(days, unit="D")).dt.as_unit("us")


def fill(url: str, n_leads: int, n_activities: int) -> None:
    """Load leads and activities in bulk, as an import does."""
    rng = np.random.default_rng(1)
    age = rng.uniform(60, 700, n_leads)
    leads = pd.DataFrame(
        {
            "lead_id": [f"L-{number}" for number in range(n_leads)],
            "created_at": moments(age),
            "owner_id": rng.choice([f"rep-{number}" for number in range(50)], n_leads),
            "source": rng.choice(["web", "fair", "partner"], n_leads),
            "stage": rng.choice(["new", "talk", "offer"], n_leads),
            "industry": rng.choice(["steel", "food", "law"], n_leads),
        }
    )
    of = rng.integers(0, n_leads, n_activities)
    activities = pd.DataFrame(
        {
            "activity_id": [f"T-{number}" for number in range(n_activities)],
            "lead_id": leads["lead_id"].to_numpy()[of],
            "kind": rng.choice(KINDS, n_activities),
            "channel": "email",
            "direction": rng.choice(["in", "out"], n_activities),
            "status": "done",
            "occurred_at": moments(age[of] * rng.uniform(0, 1, n_activities)),
        }
    )
    frames = {"leads": leads, "activities": activities}
    Store.open(url, create=True).load(frames, source="benchmark", exported_at=None)


def new_activities(n_leads: int, size: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Give bodies of activities that the store does not have."""
    number = 0
    while True:
        rows: list[dict[str, Any]] = []
        for lead in rng.integers(0, n_leads, size):
            number += 1
            rows.append(
                {
                    "activity_id": f"N-{number}",
                    "lead_id": f"L-{lead}",
                    "kind": KINDS[number % 4],
                    "channel": "email",
                    "direction": "in",
                    "occurred_at": (NOW - timedelta(minutes=number % 9000)).isoformat(),
                }
            )
        yield orjson.dumps({"activities": rows})


def changed_leads(n_leads: int, size: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Give bodies of leads that move to another stage."""
    while True:
        rows = [
            {
                "lead_id": f"L-{lead}",
                "stage": f"stage {rng.integers(0, 8)}",
                "attributes": {"employees": float(lead)},
            }
            for lead in rng.choice(n_leads, size, replace=False)
        ]
        yield orjson.dumps({"leads": rows})


def measure(name: str, store: ServiceStore, bodies: Iterator[bytes], seconds: float) -> None:
    """Ingest for a while, each body in its own transaction, and print records a second."""
    n_records, took = 0, []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        body = next(bodies)
        began = time.perf_counter()
        read = read_ingest(body, NOW)
        with store.writing() as connection:
            answer = take_in(connection, read, source="benchmark", clock=lambda: NOW)
        took.append(time.perf_counter() - began)
        n_records += sum(counts.new + counts.changed for counts in answer.tables.values())
    rate = n_records / sum(took)
    middle, worst = np.median(took) * 1000, max(took) * 1000
    print(f"{name:<40} {rate:>9,.0f} records/s   {middle:>8.1f} ms a call, worst {worst:,.1f} ms")


def main() -> None:
    """Fill a store and ingest into it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=100_000)
    parser.add_argument("--activities", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--history", help="the store's address; default: a SQLite file of its own")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = asked.history or f"sqlite:///{Path(folder) / 'crm.sqlite'}"
        began = time.perf_counter()
        fill(url, asked.leads, asked.activities)
        print(f"filled in {time.perf_counter() - began:.1f} s")
        store, rng = ServiceStore.open(url), np.random.default_rng(2)
        for size in (5000, 1000, 100, 1):
            bodies = new_activities(asked.leads, size, rng)
            prefix = f"{size}-"
            fresh = (body.replace(b'"N-', f'"N{prefix}'.encode()) for body in bodies)
            measure(f"new activities, {size:,} a call", store, fresh, asked.seconds)
        again = next(new_activities(asked.leads, 5000, np.random.default_rng(2))).replace(b'"N-', b'"N5000-')
        changed = changed_leads(asked.leads, 1000, rng)
        measure("leads that change, 1,000 a call", store, changed, asked.seconds)
        began = time.perf_counter()
        with store.writing() as connection:
            take_in(connection, read_ingest(again, NOW), source="benchmark", clock=lambda: NOW)
        print(f"5,000 activities sent again: {(time.perf_counter() - began) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
