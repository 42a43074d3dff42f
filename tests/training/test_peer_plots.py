"""The plots beside the baselines: what they draw is what the backtest's report says."""

from __future__ import annotations

from typing import Any

from matplotlib.colors import to_hex

from training.peer_plots import advantage_plot, calls_plot, gains_plot, reliability_plot


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """Give a figure as a report holds it."""
    return {"value": value, "low": low, "high": high}


SECTION = {
    "reliability": [
        {"shown": 0.05, "happened": 0.1, "low": 0.02, "high": 0.2, "n": 90},
        {"shown": 0.95, "happened": 1.0, "low": None, "high": None, "n": 10},
    ],
    "gain_shares": [0.0, 0.5, 1.0],
    "gains": {"base_rate": [0.0, 0.5, 1.0], "vigie": [0.0, 0.8, 1.0], "stage_rates": [0.0, 0.6, 1.0]},
}


def test_reliability_shows_each_tenth_with_its_interval() -> None:
    """A dot at shown and happened, an interval where there is one, and a size after the count."""
    axes = reliability_plot(SECTION, "deals").axes[0]
    dots = axes.collections[-1]
    assert dots.get_offsets().tolist() == [[0.05, 0.1], [0.95, 1.0]]
    assert dots.get_sizes()[0] > dots.get_sizes()[1]
    (segments,) = axes.containers[0].lines[2]
    assert [[round(y, 9) for _, y in ends] for ends in segments.get_segments()] == [[0.02, 0.2], [1.0, 1.0]]


def test_gains_are_drawn_for_each_method_vigie_first_in_the_key() -> None:
    """The curves are the report's, and Vigie's lies above the others."""
    axes = gains_plot(SECTION, "deals").axes[0]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}
    assert drawn["Vigie"] == [0.0, 0.8, 1.0]
    assert drawn["stage rates"] == [0.0, 0.6, 1.0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "Vigie",
        "base rate then",
        "stage rates",
    ]
    assert axes.get_lines()[-1].get_label() == "Vigie"


def test_an_advantage_is_blue_only_where_it_is_sure() -> None:
    """Blue above zero, red below, grey where the interval holds zero; Vigie itself has no row."""
    measures = {
        "vigie": {"auc": estimate(0.8)},
        "base_rate": {"auc_gain": estimate(0.3, 0.2, 0.4)},
        "stage_rates": {"auc_gain": estimate(0.1, -0.1, 0.2)},
        "logistic_regression": {"auc_gain": estimate(-0.2, -0.3, -0.1)},
        "plain_lightgbm": {"auc_gain": estimate(None)},
    }
    axes = advantage_plot(measures, "auc_gain", "deals", "AUC").axes[0]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == ["than base rate then", "than stage rates", "than logistic regression"]
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in dots] == [0.3, 0.1, -0.2]
    assert [to_hex(line.get_color()) for line in dots] == ["#1f5fa8", "#8a8a8a", "#d1495b"]
    ranges = [list(line.get_xdata()) for line in axes.get_lines() if line.get_linewidth() == 3]
    assert ranges == [[0.2, 0.4], [-0.1, 0.2], [-0.3, -0.1]]


def test_nothing_to_compare_is_an_empty_frame() -> None:
    """A horizon without baselines is drawn, not an error in the middle of a story."""
    assert len(advantage_plot({"vigie": {}}, "wape_gain", "x", "WAPE").axes[0].get_lines()) == 1


def test_calls_stand_side_by_side() -> None:
    """One bar for each way to choose whom to call."""
    calls = [
        {
            "k": 5,
            "called": 0.2,
            "vigie": estimate(0.7),
            "newest_first": estimate(0.3),
            "random": estimate(0.2),
        },
        {
            "k": 10,
            "called": 0.4,
            "vigie": estimate(0.9),
            "newest_first": estimate(0.5),
            "random": estimate(0.4),
        },
    ]
    axes = calls_plot(calls, "leads").axes[0]
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert heights == [[0.7, 0.9], [0.3, 0.5], [0.2, 0.4]]
    assert axes.get_xticklabels()[0].get_text() == "5 calls a rep\n20% of all"
