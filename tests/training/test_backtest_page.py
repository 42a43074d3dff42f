"""The page of a backtest: complete in itself, well formed, and true to the report."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from training.backtest import BacktestSettings, Plan
from training.backtest.page import make_page
from training.backtest.peers import BASELINES
from training.backtest.prediction import QUANTILES, quantile_name
from training.backtest.report import make_report
from training.backtest.truth import Followed
from training.backtest.words import headlines, reliability_sentence, telling_band, verdict

SETTINGS = BacktestSettings(resamples=40, horizons=("1W",))
CUTOFFS = tuple(pd.Timestamp("2024-03-04", tz="UTC") + pd.Timedelta(weeks=week) for week in range(4))
END = pd.Timestamp("2024-06-01", tz="UTC")
_VOID = {"meta", "line", "circle", "path", "input", "br"}


def followed(entity: str, n: int = 60) -> Followed:
    """Records at four cutoffs, with honest scores."""
    rng = np.random.default_rng(3)
    p = np.tile(rng.uniform(0.02, 0.98, n), len(CUTOFFS))
    won = np.tile(rng.random(n) < p[:n], len(CUTOFFS))
    table = pd.DataFrame(
        {
            "cutoff": np.repeat(CUTOFFS, n),
            f"{entity}_id": [f"r{number}" for number in range(n)] * len(CUTOFFS),
            "owner_id": ["u1", "u2"] * (n // 2 * len(CUTOFFS)),
            "created_at": CUTOFFS[0] - pd.Timedelta(days=9),
            "vigie": p,
            **dict.fromkeys(BASELINES, 0.5),
            "days": 10.0,
            "is_judged": True,
            "is_won": won,
        }
    )
    for kind in ("close", "stage"):
        for name, days in (("p10", 5.0), ("p50", 9.0), ("p90", 20.0)):
            table[f"{kind}_{name}_days"] = days
    table["horizon_days"] = 90.0 if entity == "lead" else np.nan
    return Followed(entity, table, f"the {entity} is won")


def nothing(entity: str) -> Followed:
    """No record at all."""
    return Followed(entity, followed(entity).table.iloc[:0], f"the {entity} is won")


def revenue() -> pd.DataFrame:
    """Four weekly forecasts, the last not over yet."""
    table = pd.DataFrame({"cutoff": CUTOFFS, "horizon": "1W", "currency": "EUR", "period_start": CUTOFFS})
    table["period_end"] = table["period_start"] + pd.Timedelta(days=7)
    table["mean"] = [1000.0, 1200.0, 900.0, 1100.0]
    for level in QUANTILES:
        table[quantile_name(level)] = table["mean"] * (0.5 + level)
    table["stage_weighted"], table["run_rate"], table["series"] = 1500.0, 1000.0, np.nan
    table["corrected_low"], table["corrected_high"] = table["mean"] * 0.6, table["mean"] * 1.4
    table["is_judged"] = [True, True, True, False]
    table["actual"], table["n_won"] = [1010.0, 1500.0, 905.0, np.nan], [3, 4, 2, np.nan]
    table["crps"] = [5.0, 200.0, 4.0, np.nan]
    return table


def report_of(deals: Followed, leads: Followed, forecasts: pd.DataFrame) -> dict[str, Any]:
    """Give a report of these tables; its first cutoff failed."""
    models = {"deal": {"status": "signal", "n_open": 60}, "lead": {"status": "too_early", "n_open": 0}}
    told = [
        {
            "cutoff": moment.isoformat(),
            "model_version": "<b>",
            "models": models,
            "failure": "",
            "forecast": {"status": "made"},
        }
        for moment in CUTOFFS
    ]
    told[0] = {"cutoff": CUTOFFS[0].isoformat(), "models": {}, "failure": "no <deal> & no lead"}
    plan = Plan(CUTOFFS, "1W", 9, END)
    return make_report(plan, SETTINGS, {"deals": "0" * 32}, told, {"deal": deals, "lead": leads}, forecasts)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return report_of(followed("deal"), followed("lead"), revenue())


class Reader(HTMLParser):
    """Reads a page and remembers what it names."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.named_by: list[str] = []
        self.outside: list[str] = []
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in _VOID:
            self.open.append(tag)
        self.ids += [str(given["id"])] if "id" in given else []
        self.named_by += str(given.get("aria-labelledby") or "").split()
        self.outside += [str(given[name]) for name in ("src", "href", "style", "onload") if name in given]
        self.outside += [tag] if tag in ("script", "link", "img", "iframe") else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _VOID, tag

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.said += data


def read(page: str) -> Reader:
    """Read a page; every tag must be closed in its order."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_complete_in_itself(report: dict[str, Any]) -> None:
    """Well formed, nothing from elsewhere, no script, and each chart is named by its own title."""
    page = make_page(report)
    found = read(page)
    assert found.outside == [] and "url(" not in page and "http" not in page
    assert len(found.ids) == len(set(found.ids)) and set(found.named_by) == set(found.ids)
    assert page.count("<svg class=") == page.count('role="img"') >= 9
    assert "nan" not in re.sub(r"<style>.*</style>", "", page, flags=re.DOTALL).lower().replace("finance", "")


def test_what_others_wrote_is_text_on_the_page(report: dict[str, Any]) -> None:
    """Nothing of a message or a version is read as a tag."""
    page = make_page(report)
    assert "no &lt;deal&gt; &amp; no lead" in page and "<code>&lt;b&gt;</code>" in page


def test_the_page_says_what_the_report_says(report: dict[str, Any]) -> None:
    """The findings in words, counts and the plan."""
    said = read(make_page(report)).said
    for sentence in headlines(report):
        assert sentence in said
    assert "At 1 of 4 cutoffs nothing could be said" in said and "chosen from 9" in said
    assert "240 moments of 60 deals" in said
    assert "Next 1 week: the 80% range held 3 of 3" in said


def test_marks_lie_within_their_plots(report: dict[str, Any]) -> None:
    """No dot is left or right of its plot, and none below it."""
    plots = make_page(report).split('<svg class="plot')[1:]
    dots = 0
    for plot in plots:
        height = float(plot.split('height="')[1].split('"')[0])
        for x, y in re.findall(r'<circle class="[^"]*" cx="([-\d.]+)%" cy="([-\d.]+)"', plot):
            assert -0.01 <= float(x) <= 100.01 and -0.01 <= float(y) <= height + 0.01
            dots += 1
    assert dots > 30


@pytest.mark.parametrize("part", ["deal", "lead", "forecast", "all"])
def test_a_part_without_anything_leaves_a_page(part: str) -> None:
    """Where there were no leads, no deals or no forecasts, the rest is there."""
    deals, leads = (
        nothing(entity) if part in (entity, "all") else followed(entity) for entity in ("deal", "lead")
    )
    forecasts = pd.DataFrame() if part in ("forecast", "all") else revenue()
    made = report_of(deals, leads, forecasts)
    said = read(make_page(made)).said
    assert ("Revenue: the next" in said) == (part not in ("forecast", "all"))
    assert ("Deals: chance shown" in said) == (part not in ("deal", "all"))
    assert ("Nothing could be judged yet." in said) == (part == "all")
    json.dumps(made, allow_nan=False)


def test_one_cutoff_and_one_row_make_a_page() -> None:
    """A single answer has no ranking and no line, and its page is well formed all the same."""
    one = followed("deal", 2).table.iloc[:2].assign(is_won=[True, True])
    read(make_page(report_of(Followed("deal", one, "won"), nothing("lead"), revenue().iloc[:1])))


def test_reliability_is_put_in_words(report: dict[str, Any]) -> None:
    """Of those shown at a chance, how many were won, with counts."""
    row = telling_band(report["deals"]["reliability"])
    assert row is not None
    assert reliability_sentence(row, "deal").startswith(f"Of deals shown at {100 * row['from']:.0f}–")
    assert f"({row['won']} of {row['n']} moments, {row['records']} deals)" in reliability_sentence(
        row, "deal"
    )
    assert telling_band([{"n": 3, "from": 0.9}]) is None


def test_the_verdict_names_only_what_is_sure(report: dict[str, Any]) -> None:
    """Better, worse, or not told apart by the interval."""
    found = {
        "vigie": {},
        "base_rate": {"log_loss_gain": {"low": 0.1, "high": 0.2}},
        "stage_rates": {"log_loss_gain": {"low": -0.1, "high": 0.2}},
        "plain_lightgbm": {"log_loss_gain": {"low": None, "high": None}},
    }
    assert verdict(found) == "better than base rate then; no sure difference from stage rates"
