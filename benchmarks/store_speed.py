"""How fast the history store loads and reads: 2 million activities and 100,000 leads with 20 attributes.

    python benchmarks/store_speed.py [--url sqlite:///fresh.db] [--activities 2000000] [--leads 100000]

Without ``--url`` a SQLite file in the temporary folder is used and removed. Prints wall and processor time
of each step; what the store gives back is compared with what was put in. Targets on SQLite and two idle
cores: 2 million activities load in under 10 s and read in under 3 s.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.testing import assert_frame_equal

from crm.history import utc
from crm.known import known_at
from crm.schema import TABLES
from crm.store import Store
from crm.validation import validate

START = utc("2020-01-01T00:00:00Z")
SPAN_US = 4 * 365 * 86_400 * 1_000_000


def moments(rng: np.random.Generator, n: int) -> pd.Series:
    """Give n random moments of four years."""
    return pd.Series(START + pd.to_timedelta(rng.integers(0, SPAN_US, n), unit="us")).dt.as_unit("us")


def labels(rng: np.random.Generator, n: int, prefix: str, n_levels: int) -> pd.Series:
    """Give n random labels of so many levels."""
    levels = np.array([f"{prefix}{i}" for i in range(n_levels)], dtype=object)
    return pd.Series(levels[rng.integers(0, n_levels, n)], dtype="str")


def make_activities(n: int, n_leads: int) -> pd.DataFrame:
    """Give activities whose ids come in no order, which is the slowest for an index."""
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "activity_id": pd.Series([f"A{i}" for i in rng.permutation(n)], dtype="str"),
            "lead_id": labels(rng, n, "L", n_leads),
            "user_id": labels(rng, n, "U", 100),
            "kind": labels(rng, n, "kind ", 12),
            "channel": labels(rng, n, "channel ", 6),
            "direction": pd.Series(np.where(rng.random(n) < 0.5, "in", "out"), dtype="str"),
            "occurred_at": moments(rng, n),
        }
    )


def make_leads(n: int) -> pd.DataFrame:
    """Give leads with ten numbers and ten categories as attributes, a third of them missing."""
    rng = np.random.default_rng(2)
    columns: dict[str, object] = {"lead_id": [f"L{i}" for i in range(n)], "created_at": moments(rng, n)}
    for i in range(10):
        columns[f"number_{i}"] = pd.Series(rng.normal(size=n).round(3)).mask(rng.random(n) < 1 / 3)
        columns[f"category_{i}"] = labels(rng, n, "level ", 20).mask(rng.random(n) < 1 / 3)
    return pd.DataFrame(columns)


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Print how long a step took."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{step:<44}{wall:8.2f} s{processor:8.2f} s of processor", flush=True)


def measure(url: str, n_activities: int, n_leads: int) -> None:
    """Load, load again, read, and look at one moment of the past."""
    frames = {"leads": make_leads(n_leads), "activities": make_activities(n_activities, n_leads)}
    store = Store.open(url, create=True)
    if store.loads():
        sys.exit(f"{store.address} already holds a history; name a fresh one")
    for name, frame in frames.items():
        with timed(f"validate {len(frame):,} {name}"):
            frames[name] = validate(TABLES[name], frame, "benchmark")
    for again in ("", " again"):
        for name, frame in frames.items():
            with timed(f"load {len(frame):,} {name}{again}"):
                store.load({name: frame}, source=name, exported_at=None)
    for name, frame in frames.items():
        with timed(f"read {len(frame):,} {name}"):
            found = store.read([name]).frames()[name]
        assert_frame_equal(found, frame)
    history = store.read()
    with timed("the history as of two years in"):
        known_at(history, START + pd.Timedelta(days=730))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url")
    parser.add_argument("--activities", type=int, default=2_000_000)
    parser.add_argument("--leads", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{Path(folder) / 'history.db'}"
        measure(url, options.activities, options.leads)


if __name__ == "__main__":
    main()
