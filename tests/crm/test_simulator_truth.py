"""The true probabilities are true, and rest on nothing but what the history says."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from crm.errors import InputError
from crm.history import History
from crm.simulator import Simulation, simulate
from crm.simulator.process import (
    COMPETITORS,
    DEAL_STAGES,
    JOB_LEVELS,
    LEAD_STAGES,
    Q_MAX,
    Q_MIN,
    RETURNING_EFFECT,
    SEGMENTS,
    SIZE_CUTS,
    SIZE_EFFECTS,
    SKILLS,
    SOURCES,
    fit_effect,
)

HORIZON = 90
DAY = pd.Timedelta(days=1)


@pytest.fixture(scope="module")
def crm() -> Simulation:
    return simulate(25_000, seed=21)


def open_at(table: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    return table[(table["recorded_at"] < as_of) & ~(table["closed_recorded_at"] < as_of)]


def z_scores(p: npt.NDArray[Any], happened: npt.NDArray[Any], n_bins: int) -> npt.NDArray[np.float64]:
    """Errors of the realised share over all and in bins of probability, in binomial standard errors."""
    bins = np.digitize(p, np.quantile(p, np.linspace(0, 1, n_bins + 1)[1:-1]))
    error = np.bincount(bins, happened.astype(float) - p)
    variance = np.bincount(bins, p * (1 - p))
    return np.append(error / np.sqrt(variance), error.sum() / np.sqrt(variance.sum()))


def test_leads_buy_as_often_as_the_truth_says(crm: Simulation) -> None:
    """Over moments further apart than the horizon, shares equal probabilities, in ten bins and overall."""
    p, bought, too_short = [], [], []
    for as_of in pd.date_range("2022-04-13", "2024-09-20", freq="97D", tz="UTC"):
        leads = open_at(crm.history.leads, as_of)
        p.append(crm.truth.lead_probability(leads["lead_id"], as_of, HORIZON))
        too_short.append(crm.truth.lead_probability(leads["lead_id"], as_of, HORIZON // 2))
        within = leads["closed_at"] < as_of + HORIZON * DAY
        bought.append(((leads["outcome"] == "won") & within).to_numpy())
    truth, happened = np.concatenate(p), np.concatenate(bought)
    assert len(truth) > 8_000
    assert not np.isnan(truth).any()
    assert np.abs(z_scores(truth, happened, 10)).max() < 3.5
    # The same check refuses the probabilities of another horizon: it has the power to.
    assert np.abs(z_scores(np.concatenate(too_short), happened, 10)).max() > 10


@pytest.mark.parametrize("age_days", [1, 30])
def test_deals_are_won_as_often_as_the_truth_says(crm: Simulation, age_days: int) -> None:
    """At one moment of each deal's life, shares equal probabilities, in ten bins and overall."""
    deals = crm.history.deals
    deals = deals[deals["created_at"] < pd.Timestamp("2023-07-01", tz="UTC")]
    as_of = (deals["created_at"] + age_days * DAY).dt.floor("D")
    p = crm.truth.deal_probability(deals["deal_id"], as_of)
    is_open = ~np.isnan(p)
    assert is_open.sum() > 2_000
    happened = (deals["outcome"] == "won").to_numpy()[is_open]
    assert np.abs(z_scores(p[is_open], happened, 10)).max() < 3.5
    shuffled = np.random.default_rng(0).permutation(p[is_open])
    assert np.abs(z_scores(shuffled, happened, 10)).max() > 5


def test_a_closed_or_unknown_record_has_no_probability(crm: Simulation) -> None:
    """Exactly the records open at the moment have a probability, strictly between 0 and 1."""
    as_of = pd.Timestamp("2023-05-17", tz="UTC")
    for table, key, p in (
        (
            crm.history.leads,
            "lead_id",
            crm.truth.lead_probability(crm.history.leads["lead_id"], as_of, HORIZON),
        ),
        (crm.history.deals, "deal_id", crm.truth.deal_probability(crm.history.deals["deal_id"], as_of)),
    ):
        is_open = table[key].isin(open_at(table, as_of)[key]).to_numpy()
        assert (np.isnan(p) == ~is_open).all()
        assert (p[is_open] > 0).all()
        assert (p[is_open] < 1).all()


def test_the_order_and_the_company_of_the_question_do_not_matter(crm: Simulation) -> None:
    """One lead asked alone, or all in another order, or by one moment each, gets the same probability."""
    as_of = pd.Timestamp("2024-02-14", tz="UTC")
    ids = open_at(crm.history.leads, as_of)["lead_id"]
    p = crm.truth.lead_probability(ids, as_of, HORIZON)
    assert (crm.truth.lead_probability(ids[::-1], as_of, HORIZON)[::-1] == p).all()
    each = pd.Series(as_of, index=ids.index)
    assert (crm.truth.lead_probability(ids, each, HORIZON) == p).all()
    assert crm.truth.lead_probability([ids.iloc[7]], "2024-02-14T23:00:00+00:00", HORIZON)[0] == p[7]


def test_a_longer_horizon_is_never_less_likely(crm: Simulation) -> None:
    """The probability rises with the horizon, up to the deal's own for leads that have one."""
    as_of = pd.Timestamp("2024-02-14", tz="UTC")
    deals = open_at(crm.history.deals, as_of).dropna(subset="lead_id")
    by_horizon = [crm.truth.lead_probability(deals["lead_id"], as_of, days) for days in (30, 90, 900)]
    assert (np.diff(by_horizon, axis=0) > 0).all()
    np.testing.assert_allclose(by_horizon[-1], crm.truth.deal_probability(deals["deal_id"], as_of), rtol=1e-4)


def test_an_unknown_id_is_refused(crm: Simulation) -> None:
    """An id of another history is an error that names it."""
    with pytest.raises(InputError, match="lead_id = 'nobody'"):
        crm.truth.lead_probability(["nobody"], "2024-01-01T00:00:00+00:00", HORIZON)


class Replay:
    """The state of leads at a moment, read from the tables alone, day by day."""

    def __init__(self, history: History, lead_ids: pd.Index) -> None:
        self.leads = history.leads.set_index("lead_id").loc[lead_ids]
        self.deals = history.deals.dropna(subset="lead_id").set_index("lead_id")
        prospect = history.activities[history.activities["direction"] == "in"].merge(
            self.leads[["created_at"]], left_on="lead_id", right_index=True
        )
        # The form with which a lead came in is part of its birth.
        prospect = prospect[prospect["occurred_at"] > prospect["created_at"]]
        self.acts = {
            lead: set(days)
            for lead, days in prospect["recorded_at"].dt.floor("D").groupby(prospect["lead_id"])
        }
        self.changes: dict[tuple[str, str, str], dict[pd.Timestamp, str]] = defaultdict(dict)
        deal_ids = self.deals["deal_id"].reindex(lead_ids).dropna()
        known = history.changes["record_id"].isin([*lead_ids, *deal_ids])
        for row in history.changes[known].itertuples():
            day = row.recorded_at.floor("D")
            self.changes[row.entity, row.record_id, row.field][day] = row.new_value
        first = (
            history.changes[known].drop_duplicates(["record_id", "field"]).set_index(["field", "record_id"])
        )
        self.first_close = first.loc["expected_close_at", "old_value"]

    def at(self, lead_id: str, as_of: pd.Timestamp) -> tuple[float, ...]:
        """Give has_deal, stage, engagement, has_acted, age, due, pushes."""
        lead = self.leads.loc[lead_id]
        stage, level, acted, age = 0, SOURCES[lead["source"]][2], True, 0
        deal, due, pushes = None, np.nan, np.nan
        born = lead["recorded_at"].floor("D")
        for day in pd.date_range(born + DAY, as_of - DAY, freq="B"):
            if day.day_of_week == 0:
                level, acted = (level if acted else max(level - 1, 0)), False
                age, due = min(age + 1, 4), max(due - 1, 0)
            if deal is None:
                moved = self.changes["lead", lead_id, "stage"].get(day)
                if moved == "converted":
                    deal = self.deals.loc[lead_id]
                    stage, age, pushes = 0, np.nan, 0
                    planned = self.first_close.get(deal["deal_id"])
                    planned = pd.Timestamp(planned) if planned else deal["expected_close_at"]
                    due = weeks(day, planned)
                    continue
                if moved:
                    stage, age = LEAD_STAGES.index(moved), 0
            else:
                moved = self.changes["deal", deal["deal_id"], "stage"].get(day)
                stage = DEAL_STAGES.index(moved) if moved else stage
                pushed = self.changes["deal", deal["deal_id"], "expected_close_at"].get(day)
                if pushed:
                    due, pushes = weeks(day, pd.Timestamp(pushed)), min(pushes + 1, 2)
            if day in self.acts.get(lead_id, ()):
                level, acted = min(level + 1, 2), True
        return float(deal is not None), stage, level, float(acted), age, due, pushes


def weeks(day: pd.Timestamp, planned: pd.Timestamp) -> int:
    """Weeks until the planned date, that of the day being 1."""
    monday = day - day.day_of_week * DAY
    return (planned - monday).days // 7 + 1


def test_the_state_behind_the_truth_can_be_read_from_the_history(crm: Simulation) -> None:
    """An independent replay of the exported tables gives the same state for leads and their deals."""
    n_deals = 0
    for as_of in (pd.Timestamp("2023-03-16", tz="UTC"), pd.Timestamp("2024-10-07", tz="UTC")):
        leads = open_at(crm.history.leads, as_of).sample(150, random_state=1)["lead_id"]
        replay = Replay(crm.history, pd.Index(leads))
        states = crm.truth.lead_states(leads, as_of)
        n_deals += int(states["has_deal"].sum())
        read = [replay.at(lead, as_of) for lead in leads]
        np.testing.assert_array_equal(states.drop(columns="quality").to_numpy(), np.array(read, dtype=float))
    assert n_deals > 50


def test_the_quality_behind_the_truth_is_the_sum_of_known_effects(crm: Simulation) -> None:
    """What attributes and earlier purchases leave unexplained is a rep's one skill and a busy queue."""
    as_of = pd.Timestamp("2024-06-12", tz="UTC")
    leads = open_at(crm.history.leads, as_of)
    states = crm.truth.lead_states(leads["lead_id"], as_of)
    effect = fit_effect(leads["fit_score"].to_numpy())
    for column, table in (("source", SOURCES), ("segment", SEGMENTS), ("job_level", JOB_LEVELS)):
        effect = effect + leads[column].fillna("").map({k: v[1] for k, v in table.items()}).to_numpy(
            dtype=int
        )
    won = crm.history.deals[crm.history.deals["outcome"] == "won"]
    first_sale = leads["account_id"].map(won.groupby("account_id")["closed_at"].min())
    joined = (leads["recorded_at"].dt.floor("D") + pd.offsets.BDay(1)).to_numpy()
    effect = effect + RETURNING_EFFECT * (first_sale.to_numpy() < joined)

    no_deal = states["has_deal"].to_numpy() == 0
    inside = (states["quality"] > Q_MIN).to_numpy() & (states["quality"] < Q_MAX).to_numpy()
    rest = (states["quality"].to_numpy() - effect)[no_deal & inside]
    owner = leads["owner_id"].to_numpy()[no_deal & inside]
    assert len(rest) > 500
    for rep in np.unique(owner):
        seen = set(rest[owner == rep].astype(int))
        assert any(seen <= {skill - 3, skill, skill + 1} for skill in SKILLS), (rep, seen)


def test_a_deal_adds_its_size_and_its_competitor_to_the_lead(crm: Simulation) -> None:
    """The quality of a lead moves, when its deal opens, by what the first amount and the rival say."""
    deals = crm.history.deals.dropna(subset="lead_id").tail(600)
    opening = deals["created_at"].dt.floor("D")
    before = crm.truth.lead_states(deals["lead_id"], opening)["quality"].to_numpy()
    after = crm.truth.lead_states(deals["lead_id"], opening + DAY)["quality"].to_numpy()
    amounts = crm.history.changes.query("field == 'amount'").drop_duplicates("record_id")
    initial = deals["deal_id"].map(amounts.set_index("record_id")["old_value"].astype("float64"))
    initial = initial.fillna(deals["amount"])
    median = deals["segment"].map({k: v[2] for k, v in SEGMENTS.items()})
    size = np.digitize(np.log(initial / median) / 0.6, SIZE_CUTS)
    rival = deals["competitor"].map({k: v[1] for k, v in COMPETITORS.items()}).to_numpy()
    expected = np.clip(before + np.array(SIZE_EFFECTS)[size] + rival, Q_MIN, Q_MAX)
    np.testing.assert_array_equal(after, expected)
