"""Seconds, memory and rows of simulated histories, by size.

Run ``python benchmarks/simulator_speed.py 1000 20000 100000``. Each size runs in a process of its own, so
that the peak of memory is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import pandas as pd

from crm.simulator import simulate


def measure(n_leads: int, seed: int) -> tuple[float, float, int, float]:
    """Give seconds, peak gigabytes, activities, and seconds to tell all open leads' true probabilities."""
    started = time.perf_counter()
    crm = simulate(n_leads, seed=seed)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    leads = crm.history.leads
    started = time.perf_counter()
    crm.truth.lead_probability(
        leads["lead_id"][leads["outcome"].isna()], pd.Timestamp("2025-01-01", tz="UTC"), 90
    )
    return seconds, peak, len(crm.history.activities), time.perf_counter() - started


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "sizes", type=int, nargs="*", default=[1_000, 20_000, 100_000], help="numbers of leads"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{'leads':>9} {'activities':>11} {'seconds':>8} {'peak GB':>8} {'truth s':>8}")
    context = multiprocessing.get_context("spawn")
    for n_leads in arguments.sizes:
        with context.Pool(1) as pool:
            seconds, peak, n_activities, truth = pool.apply(measure, (n_leads, arguments.seed))
        print(f"{n_leads:>9,} {n_activities:>11,} {seconds:>8.2f} {peak:>8.2f} {truth:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
