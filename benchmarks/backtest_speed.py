"""The time machine, timed: a whole backtest through the command line, with the memory of all its processes.

    python benchmarks/backtest_speed.py crm.sqlite --from 2011-12-05 --until 2012-02-13 --jobs 2

Runs ``vigie backtest`` afresh in a directory that is thrown away, and again over what the first run left.
Prints seconds, the most memory that its processes held together, and the seconds of each cutoff.
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

import psutil

#: Seconds between two looks at the memory.
_LOOK = 0.25


def run(words: list[str], out: Path) -> tuple[dict[str, Any], float, int]:
    """Run ``vigie backtest`` and give its answer, its seconds and the most bytes held by all its processes.

    Memory that processes share is counted with each.
    """
    answer = out.with_suffix(".json")
    began, peak = time.perf_counter(), 0
    with answer.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "vigie", "backtest", *words, "--out", str(out), "--no-track", "--json"],
            stdout=file,
        )
        root = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, held(root))
            time.sleep(_LOOK)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(process.returncode)
    return json.loads(answer.read_bytes()), seconds, peak


def held(root: psutil.Process) -> int:
    """Give the bytes that a process and all it began hold."""
    total = 0
    try:
        for one in [root, *root.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        # One that has just ended holds nothing.
        pass
    return total


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("history", help="a SQLite file or the URL of a store")
    parser.add_argument("--from", dest="first", required=True)
    parser.add_argument("--until", required=True)
    parser.add_argument("--every", default="1W")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    words = [
        "--history", asked.history, "--from", asked.first, "--until", asked.until, "--every", asked.every,
        "--jobs", str(asked.jobs),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="vigie-backtest-") as folder:
        out = Path(folder) / "backtest"
        answer, seconds, peak = run(words, out)
        _, again, _ = run(words, out)
    times = answer["times"]
    print(f"{len(times)} cutoffs in {seconds:.0f} s with {asked.jobs} jobs; taken up again in {again:.0f} s")
    print(f"memory: {peak / 2**30:.2f} GB all processes together, {answer['peak_bytes'] / 2**30:.2f} GB one")
    for name, what in (("seconds", "seconds"), ("core_seconds", "seconds of a core")):
        print(f"{what} of each cutoff: " + ", ".join(f"{one[name]:.0f}" for one in times))


if __name__ == "__main__":
    main()
