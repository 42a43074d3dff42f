"""The plot of KPIs over time: values, their normal range, and what left it."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from training.kpi_plots import trend_plot


def trends(**more: object) -> pd.DataFrame:
    """Four months of one KPI, the last of them out of the ordinary."""
    starts = pd.date_range("2024-01-01", periods=4, freq="MS", tz="UTC")
    columns = {
        "kpi": "win_rate",
        "group": "total",
        "detail": "",
        "unit": "ratio",
        "period_start": starts,
        "value": [0.3, 0.32, 0.31, 0.1],
        "low": [np.nan, np.nan, 0.2, 0.2],
        "high": [np.nan, np.nan, 0.4, 0.4],
        "is_flagged": [False, False, False, True],
    }
    return pd.DataFrame(columns | more)


def test_values_and_what_left_the_range_are_drawn() -> None:
    """The line holds all values, in order of time, and the red dot the flagged one."""
    axes = trend_plot(trends().iloc[::-1]).axes[0]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}
    assert drawn == {"measured": [0.3, 0.32, 0.31, 0.1], "outside": [0.1]}
    assert axes.get_title() == "Win rate"


def test_the_band_begins_where_there_is_a_range() -> None:
    """Months with too short a past have no band."""
    (band,) = trend_plot(trends()).axes[0].collections
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0.2, 0.4)
    assert corners[:, 0].min() > trend_plot(trends()).axes[0].get_lines()[0].get_xdata(orig=False)[1]


def test_a_wide_range_does_not_flatten_the_values() -> None:
    """The axis is made for the values; a range a thousand times wider is cut."""
    axes = trend_plot(trends(high=[np.nan, np.nan, 400.0, 400.0])).axes[0]
    bottom, top = axes.get_ylim()
    assert bottom == 0.0
    assert 0.32 < top < 1.0


def test_values_below_zero_are_shown() -> None:
    """A net promoter score may be negative."""
    values = [-40.0, -10.0, -20.0, -30.0]
    axes = trend_plot(trends(kpi="nps", unit="points", value=values, low=np.nan, high=np.nan)).axes[0]
    assert axes.get_ylim()[0] < -40.0


def test_each_kpi_has_its_own_plot_of_the_total() -> None:
    """Groups, details and KPIs without a value are left out."""
    more = [
        trends(kpi="revenue", unit="EUR", value=[10_000.0, 20_000.0, 30_000.0, 5.0]),
        trends(group="North"),
        trends(detail="email"),
        trends(kpi="nps", value=np.nan),
    ]
    axes = trend_plot(pd.concat([trends(), *more])).axes
    assert [one.get_title() for one in axes] == ["Win rate", "Revenue won, EUR"]


def test_no_kpi_is_an_empty_figure() -> None:
    """A history that is too short for any series is no error in the middle of a story."""
    assert trend_plot(trends().iloc[:0]).axes == []


def test_a_single_period_is_drawn() -> None:
    """A young history has one month, and a picture of it."""
    figure = trend_plot(trends().iloc[:1])
    figure.savefig(io.BytesIO())
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["Jan 2024"]
