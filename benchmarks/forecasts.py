"""Forecasts against the simulator's revenue, and how long one over many open deals takes.

    python benchmarks/forecasts.py simulated --seeds 1 2 3 4 5 --jobs 2
    python benchmarks/forecasts.py speed --open-deals 100000

``simulated``: a history of three years a seed; at twelve month starts, each trained on what was known then,
the next month and the next quarter are forecast and held against what came. Prints coverage of the 80% range,
bias, WAPE and CRPS beside stage-weighted, run rate and series, with standard errors by seed.

``speed``: one forecast of two periods, grouped by owner, over a history with so many open deals.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pandas as pd

from crm.history import History
from crm.known import known_at
from crm.periods import next_period
from crm.simulator import simulate
from features import prepare
from serving.bundle import ModelBundle
from serving.forecast import forecast
from training.audit import audit
from training.forecasting import learn_forecast
from training.learning import learn
from training.settings import TrainSettings

CUTOFFS = 12
HORIZONS = {"month": "1M", "quarter": "1Q"}
#: Of each copied deal, at most: the last ones.
ACTIVITIES = 10
BESIDE = ("stage_weighted", "run_rate", "series")


def deals_model(history: History, until: pd.Timestamp) -> ModelBundle:
    """Train what a forecast needs, the model of deals, on what was known by a moment."""
    known, settings = known_at(history, until), TrainSettings()
    excluded = audit(known, "deal", until).excluded
    learned = learn(known, "deal", until, settings, excluded, lambda _: None)
    if learned is None:
        raise SystemExit("the simulated history holds no deal")
    return ModelBundle(
        models={"deal": learned.model},
        created_at=until.to_pydatetime(),
        trained_through=until.to_pydatetime(),
        forecast=learn_forecast(known, learned.model, until, settings.seed, lambda _: None, learned.hazards),
    )


def one_cutoff(task: tuple[int, int, int]) -> pd.DataFrame:
    """Forecast from one cutoff of one seed's history, and put what came beside it."""
    leads, seed, back = task
    history = simulate(leads, seed=seed, years=3).history
    end = history.activities["recorded_at"].max()
    last = pd.Timestamp((end - pd.Timedelta(days=92)).strftime("%Y-%m-01"), tz="UTC")
    as_of = (last - pd.DateOffset(months=back)).as_unit("us")
    periods = [next_period(span, as_of) for span in HORIZONS.values()]
    found = forecast(deals_model(history, as_of), history, as_of, periods)
    won = history.deals[history.deals["outcome"].eq("won")]
    actual = np.array(
        [won["amount"][(won["closed_at"] >= p.start) & (won["closed_at"] < p.end)].sum() for p in periods]
    )
    rows = found.rows[["mean", "p10", "p90", *BESIDE]].assign(
        horizon=list(HORIZONS), seed=seed, as_of=as_of, actual=actual, crps=found.crps(actual)
    )
    print(f"  seed {seed}, {as_of.date()}", flush=True)
    return rows


def simulated(leads: int, seeds: list[int], jobs: int) -> pd.DataFrame:
    """Run every cutoff of every seed, and print the figures of each horizon."""
    tasks = [(leads, seed, back) for seed in seeds for back in range(CUTOFFS - 1, -1, -1)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        table = pd.concat(pool.map(one_cutoff, tasks), ignore_index=True)
    for horizon, rows in table.groupby("horizon"):
        report(str(horizon), rows)
    report("both", table)
    return table


def report(name: str, rows: pd.DataFrame) -> None:
    """Print one horizon's figures; the standard error is that of the seeds' means."""
    held = (rows["actual"] >= rows["p10"]) & (rows["actual"] <= rows["p90"])
    seeds = held.groupby(rows["seed"]).mean()
    error = seeds.std() / np.sqrt(len(seeds)) if len(seeds) > 1 else float("nan")
    total = rows["actual"].sum()
    print(f"{name}: {len(rows)} forecasts, 80% range held {held.mean():.1%} (standard error {error:.1%})")
    bias = rows.groupby("seed")[["mean", "actual"]].sum()
    apart = bias["mean"] / bias["actual"] - 1.0
    spread = apart.std() / np.sqrt(len(apart)) if len(apart) > 1 else float("nan")
    print(f"  bias {rows['mean'].sum() / total - 1.0:+.1%} (standard error {spread:.1%}), ", end="")
    print(f"CRPS {rows['crps'].sum() / total:.3f}")
    for column in ("mean", *BESIDE):
        there = rows[column].notna()
        wape = (rows[column] - rows["actual"])[there].abs().sum() / rows["actual"][there].sum()
        print(f"  WAPE {column:<15} {wape:.3f}")


def with_open_deals(history: History, as_of: pd.Timestamp, count: int) -> History:
    """Repeat the deals open at a moment, with all that happened to them, until there are so many."""
    deals = history.deals
    still = deals[(deals["recorded_at"] < as_of) & ~(deals["closed_recorded_at"] < as_of)]
    ids = set(still["deal_id"])
    acts = history.activities[history.activities["deal_id"].isin(ids)]
    acts = acts.groupby("deal_id", sort=False).tail(ACTIVITIES)
    moves = history.changes[history.changes["record_id"].isin(ids)]
    copies: dict[str, list[pd.DataFrame]] = {"deals": [deals], "activities": [history.activities]}
    copies["changes"] = [history.changes]
    for turn in range(count // len(still)):
        name = f"-{turn}"
        copies["deals"].append(still.assign(deal_id=still["deal_id"] + name))
        copies["activities"].append(
            acts.assign(activity_id=acts["activity_id"] + name, deal_id=acts["deal_id"] + name)
        )
        copies["changes"].append(
            moves.assign(change_id=moves["change_id"] + name, record_id=moves["record_id"] + name)
        )
    return replace(history, **{table: pd.concat(parts, ignore_index=True) for table, parts in copies.items()})


def speed(leads: int, count: int) -> None:
    """Time one forecast over many open deals."""
    history = simulate(leads, seed=7, years=2).history
    end = history.activities["recorded_at"].max()
    as_of = (end - pd.Timedelta(days=60)).floor("D").as_unit("us")
    bundle = deals_model(history, as_of)
    large = with_open_deals(history, as_of, count)
    periods = [next_period("1M", as_of), next_period("1Q", as_of)]
    print(f"{len(large.deals):,} deals, {len(large.activities):,} activities")
    for draws, prepared in ((1000, None), (1000, prepare(large, bundle.models["deal"].spec))):
        wall, processor = time.perf_counter(), time.process_time()
        found = forecast(bundle, large, as_of, periods, by="owner", draws=draws, prepared=prepared)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        n_open = int((found.deals["state"] == "open").sum() / len(periods))
        print(
            f"  {n_open:,} open deals, {len(found.groups) - 1} owners, {draws} draws, "
            f"{'from frames' if prepared is None else 'prepared'}: {wall:.2f} s, processor {processor:.2f} s"
        )


def main() -> None:
    """Read the words and run."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("what", choices=["simulated", "speed"])
    words.add_argument("--leads", type=int, default=15_000)
    words.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    words.add_argument("--jobs", type=int, default=2)
    words.add_argument("--open-deals", type=int, default=100_000)
    given = words.parse_args()
    if given.what == "speed":
        speed(given.leads, given.open_deals)
    else:
        simulated(given.leads, given.seeds, given.jobs)


if __name__ == "__main__":
    main()
