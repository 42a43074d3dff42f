"""Records a second: scores with reasons from a history, chances without, and the trees beside LightGBM.

    python benchmarks/scoring_speed.py
    python benchmarks/scoring_speed.py --bundle DIR --leads 20000

A history is simulated, models are trained on a small one of the same kind (or read from ``--bundle``), and
all records open a while before the end are scored. Each figure is the best of a few calls, in one process
and one thread; processor seconds stand beside wall seconds, for a machine that does other work too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.history import History
from crm.simulator import simulate
from features import Snapshots, build_features, open_at, prepare, prepare_records, weekly_snapshots
from serving import ModelBundle, OutcomeModel, deal_chances, score
from serving.forest import Forest
from training.train import train

Floats = NDArray[np.float64]
Work = tuple[Floats, Callable[[], object]]
#: Rows on which what is slow is measured.
SLOW_ROWS = 2000


@dataclass(frozen=True)
class Cost:
    """What one call cost."""

    wall: float
    processor: float


def cost_of(call: Callable[[], object], times: int) -> Cost:
    """Give the least that a call took."""
    best = Cost(np.inf, np.inf)
    for _ in range(times):
        wall, processor = time.perf_counter(), time.process_time()
        call()
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        best = Cost(min(best.wall, wall), min(best.processor, processor))
    return best


def tell(what: str, count: int, cost: Cost, unit: str = "records") -> None:
    """Print one line."""
    print(
        f"  {what:<46} {cost.wall:>8.3f} s {cost.processor:>8.3f} s {count / cost.wall:>11,.0f} {unit}/s",
        flush=True,
    )


def scores(bundle: ModelBundle, history: History, entity: str, as_of: pd.Timestamp, times: int) -> None:
    """Print what scores with reasons cost: the fixed part, and what each record adds."""
    spec = bundle.models[entity].spec
    ids = open_at(history, entity, as_of).tolist()
    moment = np.datetime64(as_of.tz_localize(None), "us")
    asked = Snapshots(ids, np.full(len(ids), moment))
    one = Snapshots(ids[:1], asked.as_of[:1])
    whole = prepare(history, spec)
    print(f"\n{entity}s: {len(ids):,} open, with reasons           wall    processor")
    from_frames = cost_of(lambda: score(bundle, history, asked, entity), times)
    first = cost_of(lambda: score(bundle, history, one, entity), times)
    tell("from the history", len(ids), from_frames)
    tell("of which all but the records: one record", 1, first)
    each = Cost(max(from_frames.wall - first.wall, 1e-9), max(from_frames.processor - first.processor, 0.0))
    tell("so each further record", len(ids) - 1, each)
    tell(
        "making these records ready",
        len(ids),
        cost_of(lambda: prepare_records(history, spec, ids), times),
    )
    tell("making the whole history ready", len(ids), cost_of(lambda: prepare(history, spec), times))
    tell("scoring what is ready", len(ids), cost_of(lambda: score(bundle, whole, asked, entity), times))


def chances(model: OutcomeModel, history: History, until: pd.Timestamp, rows: int, times: int) -> Floats:
    """Print what chances, timing and amount of many deals cost; give their features."""
    drawn = weekly_snapshots(history, "deal", until)
    drawn = drawn.sample(min(rows, len(drawn)), random_state=1)
    asked = Snapshots(drawn["record_id"].tolist(), drawn["as_of"].to_numpy(dtype="datetime64[us]"))
    prepared = prepare(history, model.spec)
    x = build_features(prepared, asked).values  # noqa: PD011 - a FeatureMatrix, not a frame
    n = len(x)
    print(f"\n{n:,} snapshots of deals, without reasons    wall    processor")
    tell(
        "all: features, chance, timing, amount",
        n,
        cost_of(lambda: deal_chances(model, prepared, asked), times),
    )
    tell("features", n, cost_of(lambda: build_features(prepared, asked), times))
    tell("chance to win", n, cost_of(lambda: model.margin(x), times))
    if model.hazard is not None:
        hazard = model.hazard
        tell("timing", n, cost_of(lambda: hazard.predict(x, asked.as_of), times))
    return x


def beside_lightgbm(model: OutcomeModel, x: Floats, times: int) -> None:
    """Print the time that sums of trees take beside LightGBM's own, for one row and for many."""
    print(f"\nthe trees of the deals' model   {'rows':>7} {'vigie':>9} {'lightgbm':>9}   processor µs a row")
    few = x[:SLOW_ROWS]
    if model.hazard is not None:
        steps = len(model.hazard.edges_days) - 1
        trees = lgb.Booster(model_str=model.hazard.booster)
        swept = Forest(trees, swept=model.hazard.n_features, steps=steps)

        def walk(rows: Floats) -> Floats:
            each = np.column_stack([np.repeat(rows, steps, axis=0), np.tile(np.arange(steps), len(rows))])
            return np.asarray(trees.predict(each, raw_score=True, num_threads=1))

        ours, theirs = swept(few[:200]), walk(few[:200]).reshape(-1, steps, 3)
        if not np.allclose(ours.transpose(2, 1, 0), theirs, rtol=0, atol=1e-12):
            raise SystemExit("the sums over the intervals differ from LightGBM's")
        name = f"timing over {steps} intervals"
        one = x[:1]
        compare(name, (one, lambda: swept(one)), (one, lambda: walk(one)), 20 * times)
        compare(name, (x, lambda: swept(x)), (few, lambda: walk(few)), times)
    if model.booster:
        booster = lgb.Booster(model_str=model.booster)
        forest = Forest(booster)
        if not np.array_equal(forest(few)[0, 0], booster.predict(few, raw_score=True)):
            raise SystemExit("the win margins differ from LightGBM's")
        walked = (few, lambda: booster.predict(few, raw_score=True, num_threads=1))
        compare("win margin", (x, lambda: forest(x)), walked, times)


def compare(name: str, ours: Work, theirs: Work, times: int) -> None:
    """Print one comparison; LightGBM may be given fewer rows, as it is asked for its cost a row."""
    own, other = (cost_of(call, times).processor / len(rows) for rows, call in (ours, theirs))
    print(f"{name:<31} {len(ours[0]):>7} {own * 1e6:>9.1f} {other * 1e6:>9.1f}   {other / own:.1f} times")


def main() -> None:
    """Simulate, train or read models, and print what scoring costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--leads", type=int, default=100_000, help="leads of the history that is scored")
    parser.add_argument("--train-leads", type=int, default=3000, help="leads of the one that is trained on")
    parser.add_argument("--bundle", type=Path, help="a trained bundle, instead of training one")
    parser.add_argument("--rows", type=int, default=100_000, help="snapshots of deals for the chances")
    parser.add_argument("--as-of", default="2024-09-01T00:00:00+00:00", help="when records are scored")
    parser.add_argument("--times", type=int, default=3, help="calls of which the best counts")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    as_of = pd.Timestamp(options.as_of).tz_convert("UTC").as_unit("us")
    if options.bundle is not None:
        bundle = ModelBundle.load(options.bundle)
    else:
        print(f"training on {options.train_leads:,} leads", flush=True)
        bundle = train(simulate(options.train_leads, seed=options.seed + 1).history, as_of).bundle
    for model in bundle.models.values():
        model.warm()
    history = simulate(options.leads, seed=options.seed).history
    print(f"{options.leads:,} leads, {len(history.deals):,} deals, {len(history.activities):,} activities")
    for entity in bundle.models:
        scores(bundle, history, entity, as_of, options.times)
    if "deal" in bundle.models:
        deals = bundle.models["deal"]
        x = chances(deals, history, as_of, options.rows, options.times)
        beside_lightgbm(deals, x, options.times)


if __name__ == "__main__":
    main()
