"""Exact reasons, side by side: Vigie's tables, LightGBM's pred_contrib, woodelf.

    python benchmarks/reasons_speed.py

The boosters are fitted to made-up soft labels: contributions cost what the trees' shape makes them cost,
whatever the trees say. Each figure is the best of a few calls in this one process, one thread.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from woodelf import WoodelfExplainer

from serving.contributions import TreeContributions

Floats = NDArray[np.float64]
FEATURES = 80
#: Name, leaves, depth, rounds; the first is what Vigie trains.
SHAPES = (("7 leaves, 180 trees", 7, -1, 180), ("31 leaves, depth 6, 300 trees", 31, 6, 300))
SIZES = (1, 100, 1_000, 10_000)


def make_rows(count: int, seed: int) -> Floats:
    """Give rows with counts and missing values."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, FEATURES))
    x[:, ::3] = rng.poisson(3, (count, len(range(0, FEATURES, 3))))
    x[rng.random(x.shape) < 0.15] = np.nan
    return x


def fit(leaves: int, depth: int, rounds: int) -> lgb.Booster:
    """Fit a booster to soft labels."""
    x = make_rows(20_000, 0)
    z = np.nan_to_num(x)
    y = 1 / (1 + np.exp(-(z[:, 1] + z[:, 2] * z[:, 4] / 2 + z[:, 3] / 3 - 1)))
    options = {"objective": "cross_entropy", "num_leaves": leaves, "max_depth": depth, "learning_rate": 0.05}
    options |= {"feature_fraction": 0.25, "min_data_in_leaf": 50, "num_threads": 1, "verbose": -1, "seed": 1}
    booster = lgb.train(options, lgb.Dataset(x, y), rounds)
    return lgb.Booster(model_str=booster.model_to_string())


def seconds(call: Callable[[], object], budget: float = 1.0) -> float:
    """Give the best time of a call, repeated for a while."""
    best, spent = np.inf, 0.0
    while spent < budget:
        began = time.perf_counter()
        call()
        took = time.perf_counter() - began
        best, spent = min(best, took), spent + took
    return float(best)


def main() -> None:
    """Print microseconds a row, by shape of the trees and number of rows."""
    warnings.simplefilter("ignore")
    for name, leaves, depth, rounds in SHAPES:
        booster = fit(leaves, depth, rounds)
        began = time.perf_counter()
        tables = TreeContributions(booster)
        built = time.perf_counter() - began
        woodelf = WoodelfExplainer(booster)
        print(f"\n{name}: tables made in {built:.2f} s")
        print(f"{'rows':>8} {'predict':>9} {'tables':>9} {'pred_contrib':>13} {'woodelf':>9}   µs a row")
        for size in SIZES:
            x = make_rows(size, 1)
            frame = pd.DataFrame(x, columns=booster.feature_name())
            ours, theirs = tables(x), np.asarray(booster.predict(x, pred_contrib=True))[:, :-1]
            if not np.allclose(ours, theirs, rtol=0, atol=1e-10):
                raise SystemExit("the contributions differ")
            calls: tuple[Callable[[], object], ...] = (
                partial(booster.predict, x, raw_score=True, num_threads=1),
                partial(tables, x),
                partial(booster.predict, x, pred_contrib=True, num_threads=1),
                partial(woodelf.shap_values, frame, verbose=False),
            )
            figures = [seconds(call) / size * 1e6 for call in calls]
            print(f"{size:>8} {figures[0]:>9.1f} {figures[1]:>9.1f} {figures[2]:>13.1f} {figures[3]:>9.1f}")


if __name__ == "__main__":
    main()
