"""What the notebooks are about follows from the environment, and from nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from crm.errors import InputError, NotEnoughData, StoreError
from crm.history import History
from crm.periods import next_period
from crm.simulator import simulate
from crm.store import Store
from features import learn_spec
from serving.bundle import ModelBundle
from serving.outcome_model import OutcomeModel
from training.backtest import Done
from training.settings import TrainSettings, quick_settings
from vigie.notebook_inputs import VARIABLES, notebook_inputs, tell_cutoff

MOMENT = pd.Timestamp("2024-07-01", tz="UTC")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def history() -> History:
    """A simulated CRM of a year and a half."""
    return simulate(400, seed=2, years=1.5, end=MOMENT).history


@pytest.fixture(scope="module")
def store(history: History, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same in a store."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'crm.sqlite'}"
    Store.open(url, create=True).load(
        history.frames(), source="simulator", exported_at=MOMENT, loaded_at=MOMENT
    )
    return url


def test_without_anything_a_company_is_simulated() -> None:
    """Its true probabilities are known, and the settings are a demo's."""
    given = notebook_inputs({"VIGIE_LEADS": "80"})
    assert len(given.history.leads) == 80
    assert given.truth is not None
    assert given.settings == quick_settings()
    assert given.rates.currency == ""
    assert given.given_bundle is None


def test_a_variable_that_is_empty_is_not_set() -> None:
    """An empty value is what a shell leaves of a variable that was unset."""
    given = notebook_inputs({"VIGIE_LEADS": "80"} | {name: "" for name in VARIABLES if name != "VIGIE_LEADS"})
    assert given.truth is not None
    assert given.work == Path(".demo")


def test_a_store_is_read_as_known_after_its_last_row(store: str, history: History) -> None:
    """No truth is known of it, and nothing planned for later is in it."""
    given = notebook_inputs({"VIGIE_HISTORY": store})
    assert given.truth is None
    assert given.history.leads["lead_id"].tolist() == history.leads["lead_id"].tolist()
    assert given.until <= MOMENT
    assert given.history.activities["occurred_at"].max() < given.until


def test_a_bundle_that_is_named_is_taken(store: str, history: History, tmp_path: Path) -> None:
    """It is loaded, not trained again."""
    moment = MOMENT.to_pydatetime()
    model = OutcomeModel("deal", learn_spec(history, "deal"), None, signal=False)
    bundle = ModelBundle({"deal": model}, created_at=moment, trained_through=moment)
    bundle.save(tmp_path / "bundle")
    given = notebook_inputs({"VIGIE_HISTORY": store, "VIGIE_BUNDLE": str(tmp_path / "bundle")})
    assert given.bundle().version == bundle.version


def test_settings_and_rates_go_into_the_backtest(store: str, tmp_path: Path) -> None:
    """The training's settings are those of the file, and amounts are in the currency asked for."""
    (tmp_path / "train.toml").write_text("snapshots = 77\n")
    (tmp_path / "rates.csv").write_text("month,currency,rate\n2024-03,EUR,1.1\n")
    files = {"VIGIE_CONFIG": str(tmp_path / "train.toml"), "VIGIE_RATES": str(tmp_path / "rates.csv")}
    asked = notebook_inputs({"VIGIE_HISTORY": store, "VIGIE_CURRENCY": "USD"} | files).backtest_settings()
    assert asked.train == TrainSettings(snapshots=77)
    assert (asked.currency, asked.rates) == ("USD", (("2024-03", "EUR", 1.1),))
    assert asked.horizons == ("1M", "1Q")


def test_the_plan_takes_the_last_months_that_leave_a_quarter(store: str) -> None:
    """Consecutive months, and the quarter after the last of them is over."""
    given = notebook_inputs({"VIGIE_HISTORY": store, "VIGIE_CUTOFFS": "3"})
    plan = given.plan()
    assert len(plan.cutoffs) == 3
    assert all(next_period("1M", a).end == b for a, b in pairwise(plan.cutoffs))
    assert next_period("1Q", plan.cutoffs[-1]).end <= given.until
    assert next_period("1Q", next_period("1M", plan.cutoffs[-1]).end).end > given.until
    assert str(plan) == f"3 cutoffs from {plan.cutoffs[0]:%Y-%m-%d} to {plan.cutoffs[-1]:%Y-%m-%d}, every 1M"


def test_a_short_history_is_judged_on_the_next_month(store: str) -> None:
    """Where no cutoff leaves a quarter, one that leaves a month will do; where none does, that is said."""
    given = notebook_inputs({"VIGIE_HISTORY": store, "VIGIE_CUTOFFS": "1000"})
    first = given.plan().cutoffs[0]
    assert replace(given, until=first + pd.Timedelta(days=45)).plan().cutoffs == (first,)
    with pytest.raises(NotEnoughData, match="no cutoff to go back to"):
        replace(given, until=first + pd.Timedelta(days=10)).plan()


@pytest.mark.parametrize("text", ["0", "-5", "many", "1.5"])
@pytest.mark.parametrize("name", ["VIGIE_LEADS", "VIGIE_CUTOFFS", "VIGIE_JOBS"])
def test_a_count_that_is_none_is_named(name: str, text: str) -> None:
    """The message names the variable and its value."""
    with pytest.raises(InputError, match=f"{name} = '{text}': must be a whole number above zero"):
        notebook_inputs({"VIGIE_LEADS": "80", name: text})


@pytest.mark.parametrize(("given", "missing"), [("RATES", "CURRENCY"), ("CURRENCY", "RATES")])
def test_rates_and_currency_go_together(given: str, missing: str) -> None:
    """One without the other is an error that names the other."""
    with pytest.raises(InputError, match=f"VIGIE_{missing} is not set"):
        notebook_inputs({"VIGIE_LEADS": "80", f"VIGIE_{given}": "EUR"})


def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The notebooks never make one."""
    with pytest.raises(StoreError, match=r"nothing\.sqlite"):
        notebook_inputs({"VIGIE_HISTORY": f"sqlite:///{tmp_path / 'nothing.sqlite'}"})
    assert list(tmp_path.iterdir()) == []


def test_each_finished_cutoff_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """How long it took, that it was done before, or why nothing could be said."""
    for failure, taken_up in (("", False), ("", True), ("too little closed", False)):
        tell_cutoff(Done(MOMENT, "t", "s", failure, taken_up, 41.6, 40.0, 0))
    assert capsys.readouterr().out.splitlines() == [
        "01 July 2024: 42 s",
        "01 July 2024: taken up",
        "01 July 2024: too little closed",
    ]


def test_every_variable_is_documented() -> None:
    """The page of the notebooks names each, and no other."""
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    assert set(re.findall(r"VIGIE_[A-Z]+", page)) == set(VARIABLES)
