"""The plots of forecasts: what they draw is what the forecast and the backtest say."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from training.forecast_plots import coverage_plot, fan_plot, miss_plot, parts_plot

NAN = float("nan")


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """Give a figure as a report holds it."""
    return {"value": value, "low": low, "high": high}


def outlook(quota: list[float]) -> Any:
    """Two months in two groups, as far as a plot looks at them."""
    total = {
        "closed": [40.0, 0.0],
        "open_mean": [50.0, 30.0],
        "new_mean": [10.0, 60.0],
        "mean": [100.0, 90.0],
    }
    ends = {"p5": [80.0, 50.0], "p50": [99.0, 88.0], "p95": [130.0, 150.0]}
    beside = {"stage_weighted": [140.0, NAN], "run_rate": [70.0, 75.0], "quota": quota}
    rows = pd.DataFrame({"group": "total", **total, **ends, **beside})
    rows = pd.concat([rows, rows.assign(group="North", mean=1.0)], ignore_index=True)
    periods = (SimpleNamespace(name="2024-01"), SimpleNamespace(name="2024-02"))
    return SimpleNamespace(rows=rows, periods=periods, level=0.9, currency="EUR")


HORIZONS = [
    {
        "horizon": "1M",
        "n": 5,
        "methods": {
            "run_rate": {"wape": estimate(0.5, 0.4, 0.8)},
            "vigie": {"wape": estimate(0.25, 0.2, 0.3)},
            "series": {"wape": estimate(None)},
        },
        "coverage": [{"level": 0.5, **estimate(0.6, 0.4, 0.7)}, {"level": 0.8, **estimate(0.9)}],
    },
    {
        "horizon": "1Q",
        "n": 4,
        "methods": {"vigie": {"wape": estimate(0.1)}, "series": {"wape": estimate(0.2, 0.1, 0.3)}},
        "coverage": [{"level": 0.5, **estimate(0.25)}, {"level": 0.8, **estimate(1.0)}],
    },
]


def labels(axes: Any) -> list[str]:
    """Give what the key names, in its order."""
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_parts_are_stacked_to_the_mean() -> None:
    """Closed, open and new stand on each other, and end at the total's mean."""
    axes = parts_plot(outlook([NAN, NAN]), "months").axes[0]
    heights = np.array([[bar.get_height() for bar in bars] for bars in axes.containers[:3]])
    assert heights.tolist() == [[40, 0], [50, 30], [10, 60]]
    assert [bar.get_y() + bar.get_height() for bar in axes.containers[2]] == [100, 90]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2024-01", "2024-02"]


def test_the_range_is_that_of_the_forecast_s_level() -> None:
    """Its ends are the columns named after the level, and the key says so."""
    axes = parts_plot(outlook([NAN, NAN]), "months").axes[0]
    segments = axes.containers[3].lines[2][0].get_segments()
    assert [[y for _, y in ends] for ends in segments] == [[80, 130], [50, 150]]
    assert "90% range" in labels(axes)


def test_a_quota_is_drawn_only_where_there_is_one() -> None:
    """A method that says nothing has no place in the key."""
    assert "quota" not in labels(parts_plot(outlook([NAN, NAN]), "months").axes[0])
    assert "quota" in labels(parts_plot(outlook([120.0, NAN]), "months").axes[0])


def test_what_came_is_drawn_where_it_is_known() -> None:
    """The last period is not over: its forecast is drawn, and no diamond."""
    starts = pd.date_range("2024-01-01", periods=3, freq="MS", tz="UTC")
    edges = {name: [1.0, 2.0, 3.0] for name in ("q100", "q250", "q750", "q900")}
    forecasts = pd.DataFrame(
        {
            "horizon": "1M",
            "period_start": starts,
            "currency": "EUR",
            "mean": [10.0, 20.0, 30.0],
            "stage_weighted": NAN,
            "run_rate": [5.0, 6.0, 7.0],
            "is_judged": [True, True, False],
            "actual": [11.0, 19.0, NAN],
            **edges,
        }
    )
    other = forecasts.assign(horizon="1Q", mean=-1.0)
    axes = fan_plot(pd.concat([other, forecasts.iloc[::-1]]), "1M").axes[0]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}
    assert drawn == {"forecast": [10, 20, 30], "run rate": [5, 6, 7], "what came": [11, 19]}
    assert axes.get_title() == "Revenue of the next 1 month, as forecast at each cutoff"


def test_a_single_cutoff_is_drawn_with_its_range() -> None:
    """A band needs two points; one forecast has lines from end to end instead, and its date."""
    row = {"horizon": "1M", "currency": "EUR", "mean": 10.0, "stage_weighted": NAN, "run_rate": NAN}
    ends = {"q100": 2.0, "q250": 5.0, "q750": 15.0, "q900": 20.0}
    start = pd.Timestamp("2024-01-08", tz="UTC")
    judged = {"is_judged": True, "actual": 11.0, "period_start": start}
    figure = fan_plot(pd.DataFrame([row | ends | judged]), "1M")
    figure.savefig(io.BytesIO())
    lines = [found for found in figure.axes[0].collections if isinstance(found, LineCollection)]
    assert [[y for _, y in line.get_segments()[0]] for line in lines] == [[2.0, 20.0], [5.0, 15.0]]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["08 Jan 24"]


def test_misses_are_told_for_each_method_and_horizon() -> None:
    """A method without a figure at a horizon has no bar there."""
    axes = miss_plot(HORIZONS).axes[0]
    heights = {name: [] for name in labels(axes)}
    bars = [container for container in axes.containers if hasattr(container, "patches")]
    for name, container in zip(heights, bars, strict=True):
        heights[name] = [bar.get_height() for bar in container]
    assert heights == {"Vigie": [0.25, 0.1], "run rate": [0.5], "series forecast": [0.2]}
    assert sorted(text.get_text() for text in axes.texts) == ["10%", "20%", "25%", "50%"]


def test_coverage_stands_against_what_was_promised() -> None:
    """One line a horizon, near the level on one axis and at the share that held on the other."""
    lines = coverage_plot(HORIZONS).axes[0].get_lines()
    assert lines[0].get_xdata().tolist() == lines[0].get_ydata().tolist() == [0, 1]
    held = [line for line in lines[1:] if line.get_linestyle() == "-" and line.get_marker() == "o"]
    assert [line.get_ydata().tolist() for line in held] == [[0.6, 0.9], [0.25, 1.0]]
    assert all(line.get_xdata() == pytest.approx([0.5, 0.8], abs=0.02) for line in held)


@pytest.mark.parametrize("plot", [miss_plot, coverage_plot])
def test_a_backtest_without_forecasts_can_be_drawn(plot: Any) -> None:
    """An empty frame, not an error in the middle of a story."""
    assert len(plot([]).axes) == 1
