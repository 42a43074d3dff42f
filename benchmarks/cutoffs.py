"""Train and score as of past cutoffs, through the command line, and leave the score files to be judged.

    python benchmarks/cutoffs.py examples/bpic2012.toml DATA_DIR deals 2011-12-12 2012-01-02 --out scores

For each cutoff: import into a fresh store, train with ``--observed-until`` it, score ``--as-of`` it. Prints
the seconds of each step; the files are ``OUT/CUTOFF.parquet``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(*words: str) -> float:
    """Run ``vigie`` with these words and give its seconds; the run must succeed."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "vigie", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    return time.perf_counter() - start


def main() -> None:
    """Read the arguments and go through the cutoffs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mapping")
    parser.add_argument("data")
    parser.add_argument("entity", choices=["leads", "deals"])
    parser.add_argument("cutoffs", nargs="+")
    parser.add_argument("--out", type=Path, default=Path("scores"))
    parser.add_argument("--config", help="settings of the training (TOML)")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    config = ["--config", asked.config] if asked.config else []
    print("cutoff        import   train   score  (seconds)")
    for cutoff in asked.cutoffs:
        with tempfile.TemporaryDirectory() as folder:
            store, bundle = f"{folder}/crm.sqlite", f"{folder}/bundle"
            spent = [
                run("import", asked.mapping, "--data", asked.data, "--history", store),
                run(
                    "train", "--history", store, "--observed-until", cutoff, "--bundle", bundle, "--no-track",
                    *config,
                ),
                run(
                    "score", asked.entity, "--history", store, "--as-of", cutoff, "--bundle", bundle,
                    "--out", str(asked.out / f"{cutoff}.parquet"),
                ),
            ]  # fmt: skip
        print(f"{cutoff}  " + "  ".join(f"{seconds:6.1f}" for seconds in spent), flush=True)


if __name__ == "__main__":
    main()
