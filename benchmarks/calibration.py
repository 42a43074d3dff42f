"""Calibration against the truth: scores of simulated records beside the probabilities that made them.

    python benchmarks/calibration.py
    python benchmarks/calibration.py --leads 100000 --seeds 1 --until 2024-07-01 --looks 6

For each seed a history is simulated and trained on until each moment; the records open then and at further
moments, which training has not seen, are scored and compared with their true probabilities. The slope is that
of a logistic regression of the truth on the score's log-odds (Cox, "Two further applications of a model for
binary regression", 1958): 1 where the scores are as sure as they may be, under 1 where they are too sure. The
truth takes the place of outcomes, so that no luck is in it. Its interval is a bootstrap that draws records.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.simulator import Simulation, simulate
from features import build_features, open_at
from serving.bundle import ModelBundle
from training.metrics import calibration_line
from training.settings import HazardSettings, TrainSettings
from training.train import ENTITIES, train

Floats = npt.NDArray[np.float64]

#: What a slope must lie between.
BOUNDS = (0.9, 1.1)


@dataclass(frozen=True)
class Looks:
    """Scores and true probabilities of n records open at moments.

    Parameters
    ----------
    records : ndarray of str, shape (n,)
        A name for each row's record; the same record at two moments has the same.
    probability, truth : ndarray of shape (n,)
    """

    records: npt.NDArray[np.str_]
    probability: Floats
    truth: Floats


def pool(parts: Sequence[Looks]) -> Looks:
    """Put looks together."""
    return Looks(
        np.concatenate([part.records for part in parts]),
        np.concatenate([part.probability for part in parts]),
        np.concatenate([part.truth for part in parts]),
    )


def slope_interval(looks: Looks, resamples: int, seed: int, level: float = 0.9) -> tuple[float, float]:
    """Give the bootstrap interval of the slope, drawing whole records."""
    record = np.unique(looks.records, return_inverse=True)[1]
    n = int(record.max()) + 1
    rng = np.random.default_rng(seed)
    slopes = []
    for _ in range(resamples):
        times = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        slopes.append(calibration_line(looks.truth, looks.probability, times[record])[0])
    low, high = np.quantile(slopes, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def look(
    crm: Simulation, bundle: ModelBundle, entity: str, moments: Sequence[pd.Timestamp], name: str
) -> Looks:
    """Score the records open at each moment, and ask the simulator for the truth."""
    model, parts = bundle.models[entity], []
    for moment in moments:
        ids = open_at(crm.history, entity, moment)
        snapshots = pd.DataFrame({"record_id": ids, "as_of": [moment] * len(ids)})
        snapshots = snapshots.astype({"record_id": "str", "as_of": "datetime64[us, UTC]"})
        x = build_features(crm.history, snapshots, model.spec).values  # noqa: PD011 - no frame
        if entity == "lead":
            truth = crm.truth.lead_probability(list(ids), moment, float(model.horizon_days or 0.0))
        else:
            truth = crm.truth.deal_probability(list(ids), moment)
        # A record whose end the CRM has yet to hear of is open in the CRM and settled in truth.
        there = ~np.isnan(truth)
        named = np.char.add(f"{name} ", ids.astype(np.str_))
        parts.append(Looks(named[there], model.probability(model.margin(x))[there], truth[there]))
    return pool(parts)


def describe(looks: Looks, resamples: int, seed: int) -> dict[str, Any]:
    """Give the figures of one row."""
    slope, intercept = calibration_line(looks.truth, looks.probability)
    low, high = slope_interval(looks, resamples, seed)
    return {
        "looks": len(looks.truth),
        "records": len(np.unique(looks.records)),
        "slope": slope,
        "slope_low": low,
        "slope_high": high,
        "intercept": intercept,
        "mean_score": float(looks.probability.mean()),
        "mean_truth": float(looks.truth.mean()),
        "correlation": float(np.corrcoef(looks.probability, looks.truth)[0, 1]),
    }


def row_text(what: str, row: dict[str, Any]) -> str:
    """Give a row of the Markdown table."""
    return (
        f"| {what} | {row['looks']:,} of {row['records']:,} | {row['slope']:.3f} "
        f"({row['slope_low']:.3f} … {row['slope_high']:.3f}) | {row['intercept']:+.3f} | "
        f"{row['mean_score']:.4f} | {row['mean_truth']:.4f} | {row['correlation']:.3f} |"
    )


def main() -> None:
    """Run the command; it ends with 1 where a pooled slope lies outside of its bounds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--leads", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--until", nargs="+", default=["2024-01-01", "2024-07-01"], help="days, midnight UTC")
    parser.add_argument("--looks", type=int, default=6, help="moments scored after each training")
    parser.add_argument("--every", type=int, default=28, help="days between them")
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="a file for the figures")
    asked = parser.parse_args()
    settings = TrainSettings(hazard=HazardSettings(threads=asked.threads))
    found: dict[str, list[Looks]] = {entity: [] for entity in ENTITIES}
    rows: dict[str, dict[str, Any]] = {}
    for seed in asked.seeds:
        crm = simulate(asked.leads, seed=seed)
        for text in asked.until:
            until, began = pd.Timestamp(text, tz="UTC"), time.perf_counter()
            bundle = train(crm.history, until, settings).bundle
            print(f"seed {seed} until {text}: trained in {time.perf_counter() - began:.0f} s", flush=True)
            moments = [until + pd.Timedelta(days=asked.every * back) for back in range(asked.looks)]
            for entity in ENTITIES:
                looks = look(crm, bundle, entity, moments, f"{seed}")
                found[entity].append(looks)
                rows[f"{entity}s, seed {seed}, until {text}"] = describe(looks, asked.resamples, seed)
    for entity, parts in found.items():
        rows[f"**{entity}s, all**"] = describe(pool(parts), asked.resamples, 0)
    print("\n| | looks | slope, 90% | intercept | mean score | mean truth | correlation |")
    print("|---" * 7 + "|")
    print("\n".join(row_text(what, row) for what, row in sorted(rows.items(), reverse=True)))
    if asked.json is not None:
        asked.json.write_text(json.dumps({"leads": asked.leads, "rows": rows}, indent=2) + "\n", "utf-8")
    pooled = [rows[f"**{entity}s, all**"]["slope"] for entity in ENTITIES]
    if not all(BOUNDS[0] <= slope <= BOUNDS[1] for slope in pooled):
        sys.exit(1)


if __name__ == "__main__":
    main()
