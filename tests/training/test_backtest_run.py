"""The time machine as a whole: no hindsight, no work lost, the same bytes however it was run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crm.errors import InputError, NotEnoughData, VigieError
from crm.history import History
from crm.known import known_at
from crm.money import Rates
from crm.periods import Period, next_period
from crm.validation import validate_history
from serving.bundle import ModelBundle
from serving.forecast import forecast
from serving.scoring import Scores, score
from training.backtest import Backtest, BacktestSettings, Done, Plan, backtest, plan_cutoffs
from training.backtest.one_cutoff import go_back
from training.backtest.summary import add_to_bundle, flat_figures, summarise
from training.backtest.work import Work
from training.backtest.workers import allowed, available_memory, estimate
from training.settings import DistillSettings, HazardSettings, TrainSettings

START = pd.Timestamp("2024-01-01", tz="UTC")
END = START + pd.Timedelta(days=230)
FAST = TrainSettings(
    every_days=14,
    snapshots=600,
    half_lives=(),
    linear_weights=(0.5,),
    linear_rows=300,
    resamples=50,
    hazard=HazardSettings(
        intervals=5, learning_rate=0.3, rounds=8, fewest_rounds=4, most_rounds=8, rows_per_leaf=20
    ),
    timing=HazardSettings(intervals=5, rounds=8),
    distill=DistillSettings(rounds=10, leaves=7),
)
SETTINGS = BacktestSettings(train=FAST, horizons=("1W", "4W"), resamples=30, draws=50)
FILES = ("backtest.json", "backtest.html", "deals.parquet", "leads.parquet", "forecasts.parquet")


def company(n: int = 160) -> History:
    """Deals of which those of product A are won four times as often, closed after a month or so."""
    rng = np.random.default_rng(0)
    created = START + pd.to_timedelta(rng.uniform(0, 200, n), unit="D")
    closed = created + pd.to_timedelta(rng.gamma(3, 10, n), unit="D")
    good = rng.random(n) < 0.5
    won = rng.random(n) < np.where(good, 0.8, 0.2)
    is_open = closed >= END
    deals = pd.DataFrame(
        {
            "deal_id": [f"d{number}" for number in range(n)],
            "created_at": created,
            "owner_id": rng.choice(["u1", "u2"], n),
            "amount": rng.lognormal(8, 0.5, n).round(2),
            "currency": "EUR",
            "product": np.where(good, "A", "B"),
            "outcome": np.where(is_open, None, np.where(won, "won", "lost")),
            "closed_at": pd.Series(closed).where(~is_open),
        }
    )
    return validate_history({"deals": deals, "users": pd.DataFrame({"user_id": ["u1", "u2"]})})


class Guess:
    """A forecast with what the backtest uses of one: the run rate of the past 60 days, spread widely."""

    def __init__(self, known: History, cutoff: pd.Timestamp, periods: list[Period], draws: int) -> None:
        won = known.deals[known.deals["outcome"].eq("won")]
        a_day = won["amount"][won["closed_at"] >= cutoff - pd.Timedelta(days=60)].sum() / 60
        days = np.array([period.days for period in periods])
        spread = np.random.default_rng(0).lognormal(0, 0.4, (len(periods), 1, draws))
        self.currency = "EUR"
        self.draws = a_day * days[:, None, None] * spread
        mean = self.draws.mean(axis=2)[:, 0]
        self.rows = pd.DataFrame({"group": "total", "mean": mean, "run_rate": a_day * days})

    def quantile(self, level: float) -> np.ndarray:
        """Give a quantile of the draws."""
        return np.quantile(self.draws, level, axis=2)


def guess(bundle: Any, known: History, cutoff: Any, periods: Any, settings: BacktestSettings) -> Guess:
    """Stand in for the served forecast."""
    return Guess(known, cutoff, list(periods), settings.draws)


def plan_of(history: History) -> Plan:
    """Three cutoffs, two weeks apart; at the first, too little had closed."""
    first = START + pd.Timedelta(days=20)
    found = plan_cutoffs(history, END, SETTINGS, every="80D", start=first)
    assert len(found.cutoffs) == 3
    return found


def contents(out: Path) -> dict[str, bytes]:
    """Give the bytes of every file that is an answer."""
    return {name: (out / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def history() -> History:
    return company()


@pytest.fixture(scope="module")
def whole(history: History, tmp_path_factory: pytest.TempPathFactory) -> tuple[Backtest, Path]:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    return backtest(history, plan_of(history), out, SETTINGS, forecaster=guess), out


def test_a_run_that_was_stopped_goes_on(
    history: History, whole: tuple[Backtest, Path], tmp_path: Path
) -> None:
    """What was done is taken up, what was half written is done again, and the answer is the same bytes."""

    def stop(done: Done) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backtest(history, plan_of(history), tmp_path, SETTINGS, forecaster=guess, finished=stop)
    assert not (tmp_path / "backtest.json").exists()
    (tmp_path / "work" / ".half-written").mkdir()
    found = backtest(history, plan_of(history), tmp_path, SETTINGS, forecaster=guess)
    assert [one.taken_up for one in found.done] == [False, False, True]
    assert contents(tmp_path) == contents(whole[1])
    assert not (tmp_path / "work" / ".half-written").exists()


def test_a_bundle_that_was_done_is_taken_up(
    history: History, whole: tuple[Backtest, Path], tmp_path: Path
) -> None:
    """Where training was done and scoring was not, only scoring is; where the bundle is cut, both."""
    shutil.copytree(whole[1], tmp_path, dirs_exist_ok=True)
    last = whole[0].done[-1]
    for path in (tmp_path / "work").iterdir():
        if path.name.startswith(f"{last.cutoff:%Y%m%d}") and not path.suffix:
            shutil.rmtree(path)
    kept = next(iter((tmp_path / "work").glob(f"{last.cutoff:%Y%m%d}*.bundle")))
    written = (kept / "manifest.json").stat().st_mtime_ns
    backtest(history, plan_of(history), tmp_path, SETTINGS, forecaster=guess)
    assert (kept / "manifest.json").stat().st_mtime_ns == written
    assert contents(tmp_path) == contents(whole[1])


def test_two_processes_give_the_same_bytes_as_one(history: History, tmp_path: Path) -> None:
    """How many cutoffs are gone through at a time changes nothing."""
    plan = replace(plan_of(history), cutoffs=plan_of(history).cutoffs[1:])
    one = backtest(history, plan, tmp_path / "one", SETTINGS, jobs=1, forecaster=None)
    two = backtest(history, plan, tmp_path / "two", SETTINGS, jobs=2, forecaster=None)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert [found.said_key for found in one.done] == [found.said_key for found in two.done]
    assert two.report["forecast"]["horizons"] == []


def changed_later(history: History, cutoff: pd.Timestamp) -> History:
    """Turn every outcome that was recorded at the cutoff or later, and add deals created after it."""
    deals = history.deals
    late = deals["closed_at"] >= cutoff
    turned = deals["outcome"].map({"won": "lost", "lost": "won"}).where(late, deals["outcome"])
    amount = deals["amount"].where(deals["created_at"] < cutoff, 1e6)
    late_ones = deals[deals["created_at"] >= cutoff]
    added = late_ones.assign(deal_id=late_ones["deal_id"] + "+")
    table = pd.concat([deals.assign(outcome=turned, amount=amount), added])
    return replace(history, deals=table.reset_index(drop=True))


def test_what_was_recorded_later_changes_nothing_that_was_said(history: History, tmp_path: Path) -> None:
    """Scores, baselines and forecast at a cutoff are the same to the byte, and so is the key of the work."""
    cutoff = plan_of(history).cutoffs[1]
    other = changed_later(history, cutoff)
    assert not other.deals["outcome"].equals(history.deals["outcome"])
    done = {}
    for name, one in (("as it was", history), ("changed", other), ("cut", known_at(history, cutoff))):
        work = Work(tmp_path / name)
        work.prepare()
        done[name] = go_back(one, cutoff, SETTINGS, work, guess).said_key
    assert len(set(done.values())) == 1
    files = {
        name: {
            path.relative_to(tmp_path / name).as_posix(): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in done
    }
    assert files["as it was"] == files["changed"] == files["cut"]
    assert len(files["cut"]) > 5


def test_what_came_later_changes_the_judgement(
    history: History, whole: tuple[Backtest, Path], tmp_path: Path
) -> None:
    """The same scores, taken up from before, are judged by outcomes that are now known otherwise."""
    plan = plan_of(history)
    other = changed_later(history, plan.cutoffs[-1])
    shutil.copytree(whole[1], tmp_path, dirs_exist_ok=True)
    found = backtest(other, plan, tmp_path, SETTINGS, forecaster=guess)
    assert all(one.taken_up for one in found.done if not one.failure)
    before, after = whole[0].deals, found.deals
    pd.testing.assert_series_equal(before["vigie"], after["vigie"])
    assert before["is_won"].sum() != after["is_won"].sum()


def test_settings_of_the_judgement_do_not_train_again(
    history: History, whole: tuple[Backtest, Path], tmp_path: Path
) -> None:
    """Other numbers of calls and resamples use what was said; another horizon only needs the bundles."""
    shutil.copytree(whole[1], tmp_path, dirs_exist_ok=True)
    work = Work(tmp_path / "work")
    cutoff = plan_of(history).cutoffs[-1]
    judged_otherwise = replace(SETTINGS, calls=(3,), resamples=10)
    assert go_back(history, cutoff, judged_otherwise, work, guess).taken_up
    assert not go_back(history, cutoff, replace(SETTINGS, horizons=("2W",)), work, guess).taken_up
    assert not go_back(history, cutoff, SETTINGS, work, None).taken_up


def test_a_cutoff_with_too_little_is_told_and_not_fatal(whole: tuple[Backtest, Path]) -> None:
    """The first of the three comes too early to score anything; the others are judged."""
    cutoffs = whole[0].report["cutoffs"]
    assert cutoffs[0]["models"]["deal"] == {"status": "too_early", "n_open": 0}
    assert cutoffs[1]["models"]["deal"]["n_open"] > 0 and cutoffs[2]["failure"] == ""
    assert len(whole[0].report["deals"]["by_cutoff"]) == 2


def test_before_the_first_record_a_cutoff_fails_and_the_others_go_on(
    history: History, tmp_path: Path
) -> None:
    """The reason is in the report; where all fail, it is the error."""
    early = START - pd.Timedelta(days=9)
    plan = replace(plan_of(history), cutoffs=(early, END - pd.Timedelta(days=40)))
    found = backtest(history, plan, tmp_path / "some", SETTINGS, forecaster=guess)
    assert "no deal recorded before" in found.report["cutoffs"][0]["failure"]
    assert found.report["deals"]["status"] == "judged"
    assert "At 1 of 2 cutoffs nothing could be said" in (tmp_path / "some" / "backtest.html").read_text()
    with pytest.raises(NotEnoughData, match="no deal recorded before"):
        backtest(history, replace(plan, cutoffs=(early,)), tmp_path / "none", SETTINGS, forecaster=guess)


def test_a_forecast_that_cannot_be_made_is_told(history: History, tmp_path: Path) -> None:
    """The scores are judged all the same."""

    def refuse(*_: Any) -> Any:
        raise VigieError("no deal has an amount")

    plan = replace(plan_of(history), cutoffs=plan_of(history).cutoffs[1:2])
    found = backtest(history, plan, tmp_path, SETTINGS, forecaster=refuse)
    assert found.report["cutoffs"][0]["forecast"] == {"status": "failed", "reason": "no deal has an amount"}
    assert found.report["forecast"]["horizons"] == [] and found.report["deals"]["status"] == "judged"
    assert "No forecast: no deal has an amount" in (tmp_path / "backtest.html").read_text()


def test_a_rate_that_is_missing_is_told_before_the_work(history: History, tmp_path: Path) -> None:
    """Amounts in two currencies need rates; with them, and without forecasts, the backtest goes on."""
    deals = history.deals.assign(currency=history.deals["currency"].where(history.deals.index > 80, "USD"))
    mixed, plan = replace(history, deals=deals), plan_of(history)
    plan = replace(plan, cutoffs=plan.cutoffs[1:2])
    with pytest.raises(InputError, match="--rates"):
        backtest(mixed, plan, tmp_path, SETTINGS, forecaster=guess)
    assert not any((tmp_path / "work").glob("*"))
    months = {(f"2024-{month:02d}", "USD"): 0.5 for month in range(1, 13)}
    rated = SETTINGS.with_rates(Rates("EUR", months))
    found = backtest(mixed, plan, tmp_path, rated, forecaster=guess)
    won = deals[deals["outcome"].eq("won") & (deals["closed_at"] >= plan.cutoffs[0])]
    won = won[won["closed_at"] < plan.cutoffs[0] + pd.Timedelta(days=7)]
    euros = (won["amount"] * won["currency"].map({"USD": 0.5, "EUR": 1.0})).sum()
    assert found.forecasts["actual"].iloc[0] == pytest.approx(euros) and euros > 0
    scores_only = backtest(mixed, plan, tmp_path, SETTINGS, forecaster=None)
    assert scores_only.report["deals"]["status"] == "judged"


def test_the_report_holds_what_its_tables_hold(whole: tuple[Backtest, Path]) -> None:
    """The tables, read back, give the figures of the report."""
    found, out = whole
    report = json.loads((out / "backtest.json").read_text())
    assert report == json.loads(json.dumps(found.report))
    deals = pd.read_parquet(out / "deals.parquet")
    judged = deals[deals["is_judged"]]
    brier = ((judged["vigie"] - judged["is_won"]) ** 2).mean()
    assert report["deals"]["measures"]["vigie"]["brier"]["value"] == pytest.approx(brier)
    assert report["deals"]["n_judged"] == len(judged) and report["deals"]["n_won"] == judged["is_won"].sum()
    rows = pd.read_parquet(out / "forecasts.parquet")
    over = rows[rows["is_judged"] & rows["horizon"].eq("1W")]
    wape = (over["mean"] - over["actual"]).abs().sum() / over["actual"].sum()
    shortest = report["forecast"]["horizons"][0]
    assert shortest["horizon"] == "1W"
    assert shortest["methods"]["vigie"]["wape"]["value"] == pytest.approx(wape)


def served(history: History, found: Backtest, out: Path, entity: str) -> tuple[pd.DataFrame, Scores]:
    """Give what was said at the last cutoff, and what the kept bundle of it serves for the same."""
    last = found.done[-1]
    bundle = ModelBundle.load(out / "work" / f"{last.cutoff:%Y%m%dT%H%M%S}-{last.trained_key}.bundle")
    assert bundle.version == found.report["cutoffs"][-1]["model_version"]
    table = (found.deals if entity == "deal" else found.leads)[lambda one: one["cutoff"] == last.cutoff]
    asked = table[[f"{entity}_id", "cutoff"]].set_axis(["record_id", "as_of"], axis=1)
    return table, score(bundle, history, asked.reset_index(drop=True), entity)


def test_what_is_judged_is_what_is_served(history: History, whole: tuple[Backtest, Path]) -> None:
    """A number can be replayed: the bundle of the cutoff is there, and serves chance and close again."""
    table, scores = served(history, *whole, "deal")
    assert len(table) > 5
    assert scores.probability == pytest.approx(table["vigie"].to_numpy())
    for name in ("close_p10", "close_p50", "close_p90"):
        days = (getattr(scores, name) - scores.as_of) / np.timedelta64(1, "D")
        assert days == pytest.approx(table[f"{name}_days"].to_numpy(), abs=1e-6)


def test_forecasts_are_those_served(history: History, tmp_path: Path) -> None:
    """Mean, ranges, baselines and CRPS of a horizon are those of the forecast that is served."""
    settings = replace(SETTINGS, draws=200)
    cutoff = plan_of(history).cutoffs[1]
    plan = replace(plan_of(history), cutoffs=(cutoff,))
    found = backtest(history, plan, tmp_path, settings)
    assert found.report["cutoffs"][0]["forecast"] == {"status": "made"}
    kept = next((tmp_path / "work").glob("*.bundle"))
    periods = [next_period(horizon, cutoff) for horizon in settings.horizons]
    made = forecast(ModelBundle.load(kept), history, cutoff, periods, draws=200, seed=settings.seed)
    for name in ("mean", "p10", "p90", "open_mean", "new_mean", "stage_weighted", "run_rate", "series"):
        told = made.rows[name].to_numpy(float)
        assert np.array_equal(found.forecasts[name].to_numpy(), told, equal_nan=True), name
    assert found.forecasts["q975"].tolist() == made.quantile(0.975)[:, 0].tolist()
    actual = found.forecasts["actual"].to_numpy()
    assert (actual > 0).all()
    assert found.forecasts["crps"].to_numpy() == pytest.approx(made.crps(actual))


def leads(n: int = 240) -> History:
    """Leads of which those from fairs are converted often and soon, and nobody is ever marked lost."""
    rng = np.random.default_rng(1)
    created = START + pd.to_timedelta(rng.uniform(0, 220, n), unit="D")
    fair = rng.random(n) < 0.5
    converted = created + pd.to_timedelta(rng.gamma(2, 12, n), unit="D")
    won = (rng.random(n) < np.where(fair, 0.7, 0.15)) & (converted < END)
    table = pd.DataFrame(
        {
            "lead_id": [f"l{number}" for number in range(n)],
            "created_at": created,
            "owner_id": rng.choice(["u1", "u2"], n),
            "source": np.where(fair, "fair", "web"),
            "outcome": np.where(won, "won", None),
            "closed_at": pd.Series(converted).where(won),
        }
    )
    return validate_history({"leads": table, "users": pd.DataFrame({"user_id": ["u1", "u2"]})})


def test_leads_are_judged_on_their_horizon(tmp_path: Path) -> None:
    """At a cutoff whose horizon has passed every open lead is judged, later none; scores are as served."""
    history = leads()
    settings = replace(SETTINGS, train=replace(FAST, horizon_days=30.0))
    plan = Plan((END - pd.Timedelta(days=45), END - pd.Timedelta(days=20)), "25D", 2, END)
    found = backtest(history, plan, tmp_path, settings, forecaster=guess)
    section = found.report["leads"]
    first, second = (found.leads[found.leads["cutoff"] == cutoff] for cutoff in plan.cutoffs)
    assert first["is_judged"].all() and not second["is_judged"].any() and len(second) > 20
    assert section["n_judged"] == len(first) and section["horizon_days"] == 30.0
    records = history.leads.set_index("lead_id").loc[first["lead_id"]]
    within = records["closed_at"] <= plan.cutoffs[0] + pd.Timedelta(days=30)
    assert first["is_won"].tolist() == within.tolist() and 0 < section["n_won"] == within.sum()
    assert section["measures"]["vigie"]["auc"]["value"] > 0.55
    assert [row["k"] for row in section["calls"]] == [5, 10, 20] and section["timing"] == {}
    assert found.report["deals"]["status"] == "nothing to judge"
    table, scores = served(history, found, tmp_path, "lead")
    assert scores.probability == pytest.approx(table["vigie"].to_numpy())


def test_a_bundle_carries_the_summary(whole: tuple[Backtest, Path], tmp_path: Path) -> None:
    """Its report holds it, its version changes, its scores do not."""
    found, out = whole
    last = found.done[-1]
    kept = out / "work" / f"{last.cutoff:%Y%m%dT%H%M%S}-{last.trained_key}.bundle"
    before = ModelBundle.load(shutil.copytree(kept, tmp_path / "bundle"))
    told = add_to_bundle(tmp_path / "bundle", found.report)
    after = ModelBundle.load(tmp_path / "bundle")
    assert after.version == told.version != before.version
    assert after.report["backtest"] == json.loads(json.dumps(summarise(found.report)))
    assert {name: value for name, value in after.report.items() if name != "backtest"} == before.report
    assert after.models["deal"].booster == before.models["deal"].booster


def test_figures_for_mlflow_are_flat_and_finite(whole: tuple[Backtest, Path]) -> None:
    """Measures, ranges, calls, timing and forecasts have names of their own."""
    flat = flat_figures(whole[0].report)
    assert {"deal.vigie.auc", "deal.plain_lightgbm.log_loss_gain.low", "deal.close.vigie.mae_days"} <= set(
        flat
    )
    assert {"forecast.1W.vigie.wape", "forecast.4W.coverage_80"} <= set(flat)
    assert all(np.isfinite(value) for value in flat.values())


def test_memory_bounds_the_processes() -> None:
    """Never more than asked for, never fewer than run already, never none."""
    assert allowed(4, 0, 100 << 30, 1 << 30) == 4
    assert allowed(4, 1, 3 << 30, 2 << 30) == 2
    assert allowed(4, 2, 0, 2 << 30) == 2
    assert allowed(4, 0, 0, 2 << 30) == 1
    assert 0 < estimate(company(50)) < 2 << 30
    assert available_memory() > 0
