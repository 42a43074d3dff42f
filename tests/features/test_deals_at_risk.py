"""Deals at risk: each flag on a small history that can be checked by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.errors import InputError
from crm.history import History, utc
from crm.known import known_at
from crm.money import Rates
from crm.simulator import simulate
from crm.validation import validate_history
from features.kpis.risk import COLUMNS, deals_at_risk, risk_limits
from features.kpis.risk_rules import RiskRules
from features.kpis.risk_words import FLAGS

DAY = pd.Timedelta(days=1)
BEGIN = utc("2025-01-01T00:00Z")
AS_OF = BEGIN + 100 * DAY


@dataclass
class Company:
    """Collects deals, what was done with them and what changed; days count from 1 January 2025."""

    deals: list[dict[str, object]] = field(default_factory=list)
    acts: list[dict[str, object]] = field(default_factory=list)
    changes: list[dict[str, object]] = field(default_factory=list)

    def deal(
        self, name: str, day: float, *, stage: str = "offer", won: float | None = None, **columns: object
    ) -> str:
        """Open a deal; won on a day, or open still."""
        row: dict[str, object] = {"deal_id": name, "created_at": BEGIN + day * DAY, "stage": stage}
        row |= {"amount": 100.0, "owner_id": "U1"}
        if won is not None:
            row |= {"outcome": "won", "closed_at": BEGIN + won * DAY}
        self.deals.append(row | columns)
        return name

    def act(self, deal: str, day: float, direction: str = "in", **columns: object) -> None:
        """Do something with a deal."""
        row = {"deal_id": deal, "direction": direction, "kind": "call", "occurred_at": BEGIN + day * DAY}
        self.acts.append(row | {"activity_id": str(len(self.acts))} | columns)

    def change(self, deal: str, day: float, name: str, old: object, new: object) -> None:
        """Change a field of a deal; dates are given as days."""
        if name == "expected_close_at":
            old, new = ((BEGIN + value * DAY).isoformat() for value in (old, new))  # type: ignore[operator]
        row = {"change_id": str(len(self.changes)), "entity": "deal", "record_id": deal, "field": name}
        row |= {"old_value": old, "new_value": new, "changed_at": BEGIN + day * DAY}
        self.changes.append(row)

    def history(self) -> History:
        """Give the history."""
        tables = {"deals": self.deals, "activities": self.acts, "changes": self.changes}
        return validate_history({name: pd.DataFrame(rows) for name, rows in tables.items() if rows})


def talkative(n_won: int = 20) -> Company:
    """So many deals won in the stage offer after 30 days, in which the prospect acted on days 0, 5 and 20."""
    company = Company()
    for n in range(n_won):
        name = company.deal(f"W{n:02}", 0, stage="won", won=30)
        company.change(name, 30, "stage", "offer", "won")
        for day in (1, 5, 20):
            company.act(name, day)
    return company


def flags(history: History, rules: RiskRules | None = None) -> dict[str, list[str]]:
    """Give the flags of each deal as of day 100."""
    found = deals_at_risk(history, AS_OF, rules=rules)
    return {str(deal): some["flag"].to_list() for deal, some in found.groupby("deal_id")}


def test_a_deal_is_silent_beyond_the_longest_silence_of_won_deals() -> None:
    """Won deals were silent 15 days at most, from day 5 to 20: 15 days are not beyond, 16 are."""
    company = talkative()
    for name, last in (("at the limit", 85), ("beyond", 84)):
        company.act(company.deal(name, 70), last)
    found = deals_at_risk(company.history(), AS_OF)
    assert found["deal_id"].to_list() == ["beyond"]
    row = found.iloc[0]
    assert row[["flag", "measure", "limit", "stage", "n_won"]].to_list() == ["silent", 16, 15, "offer", 20]
    assert row["evidence_en"] == (
        "The prospect has not acted for 16 days; "
        "no deal won had been silent more than 15 days in offer (20 won)."
    )
    assert row["evidence_fr"] == (
        "Le client n’a pas agi depuis 16 jours\u00a0; aucune affaire gagnée n’était restée silencieuse "
        "plus de 15 jours à l’étape offer (20 gagnées)."
    )


def test_our_own_acts_end_no_silence_where_the_prospects_are_known() -> None:
    """A deal that we call every week and that never answers is silent, and one-sided."""
    company = talkative()
    company.act(company.deal("unanswered", 60), 99, "out")
    assert flags(company.history()) == {"unanswered": ["silent", "one_sided"]}
    words = deals_at_risk(company.history(), AS_OF)["evidence_en"].iloc[1]
    assert (
        words
        == "We acted 1 time, the prospect never; in 100% of the deals won the prospect had in offer (20 won)."
    )


def test_a_silence_that_began_in_an_earlier_stage_counts_in_the_later_one() -> None:
    """Won deals were silent from day 10 to 25, in offer from day 20: up to 15 days there, 10 in talk."""
    company = Company()
    for n in range(20):
        name = company.deal(f"W{n:02}", 0, stage="won", won=30)
        company.change(name, 20, "stage", "talk", "offer")
        company.change(name, 30, "stage", "offer", "won")
        for day in (1, 10, 25):
            company.act(name, day)
    company.act(company.deal("in offer", 60), 86)
    company.act(company.deal("in talk", 60, stage="talk"), 86)
    limits = risk_limits(company.history(), AS_OF).set_index(["flag", "stage"])["limit"]
    assert limits["silent", "offer"] == 15
    assert limits["silent", "talk"] == 10
    assert flags(company.history()) == {"in talk": ["silent"]}


def test_with_too_few_won_deals_nothing_is_claimed() -> None:
    """Nineteen are not twenty; the limits say so; with a lower bar the same deal is flagged."""
    company = talkative(19)
    company.act(company.deal("silent", 10), 12)
    assert flags(company.history()) == {}
    limits = risk_limits(company.history(), AS_OF).set_index("flag")
    assert limits.loc["silent", ["n_won", "is_claimed", "basis", "n_open"]].to_list() == [19, False, "in", 1]
    assert flags(company.history(), RiskRules(fewest_won=19)) == {"silent": ["silent"]}


def test_a_quantile_leaves_out_the_longest_silences() -> None:
    """One won deal of 21 was silent 60 days: it sets the limit, unless 95% of won deals are enough."""
    company = talkative()
    patient = company.deal("patient", 0, stage="won", won=70)
    company.change(patient, 70, "stage", "offer", "won")
    company.act(patient, 60)
    company.act(company.deal("open", 60), 80)
    assert flags(company.history()) == {}
    found = deals_at_risk(company.history(), AS_OF, rules=RiskRules(quantile=0.95))
    assert found[["deal_id", "limit"]].to_numpy().tolist() == [["open", 15]]
    assert (
        "; 95% of the deals won had been silent for 15 days at most in offer" in found["evidence_en"].iloc[0]
    )


def test_without_activities_silence_is_time_without_a_change() -> None:
    """A history of deals and stages only: won after 30 days in offer, open for 40."""
    company = Company()
    for n in range(20):
        company.change(company.deal(f"W{n:02}", 0, stage="won", won=30), 30, "stage", "offer", "won")
    company.deal("old", 60)
    company.deal("young", 75)
    found = deals_at_risk(company.history(), AS_OF)
    assert found[["deal_id", "measure", "limit"]].to_numpy().tolist() == [["old", 40, 30]]
    assert found["evidence_en"].iloc[0].startswith("Nothing has changed for 40 days; ")


def test_a_deal_is_past_its_date_once_that_day_is_over() -> None:
    """Expected on day 99, the whole of which is over on day 100; on day 100 there is still time."""
    company = Company()
    company.deal("late", 50, expected_close_at=BEGIN + 99 * DAY)
    company.deal("today", 50, expected_close_at=BEGIN + 100 * DAY)
    company.change("late", 60, "expected_close_at", 70, 99)
    found = deals_at_risk(company.history(), AS_OF)
    assert found["deal_id"].to_list() == ["late"]
    assert found[["flag", "measure", "limit"]].iloc[0].to_list() == ["past_date", 1, 0]
    assert found["evidence_en"].iloc[0] == "It was to close on 2025-04-10, 1 day ago, put off 1 time before."


def test_pushed_more_often_than_any_won_deal_of_that_stage() -> None:
    """Won deals were put off once in offer; twice is too often, once is not, and pulling in is no push."""
    company = talkative()
    for n in range(20):
        company.change(f"W{n:02}", 10, "expected_close_at", 20, 40)
    far = BEGIN + 200 * DAY
    for name, dates in (("twice", (90, 120, 200)), ("once", (90, 200)), ("pulled", (210, 205, 200))):
        company.act(company.deal(name, 80, expected_close_at=far), 98)
        for place, (old, new) in enumerate(pairwise(dates)):
            company.change(name, 90 + place, "expected_close_at", old, new)
    found = deals_at_risk(company.history(), AS_OF)
    assert found[["deal_id", "flag", "measure", "limit"]].to_numpy().tolist() == [["twice", "pushed", 2, 1]]
    assert found["evidence_en"].iloc[0] == (
        "Its close date was put off 2 times, by 110 days in all; "
        "no deal won had been put off more than 1 time in offer (20 won)."
    )


def test_a_deal_back_in_an_earlier_stage_goes_backwards_until_it_is_forward_again() -> None:
    """From offer back to talk; one that went back and forth stands where it was."""
    company = Company()
    for name, steps in (
        ("back", "talk offer talk"),
        ("recovered", "talk offer talk offer"),
        ("on", "talk offer"),
    ):
        stages = steps.split()
        company.deal(name, 50, stage=stages[-1])
        for place, (old, new) in enumerate(pairwise(stages)):
            company.change(name, 60 + place, "stage", old, new)
    found = deals_at_risk(company.history(), AS_OF)
    assert found[["deal_id", "flag", "measure"]].to_numpy().tolist() == [["back", "backwards", 1]]
    assert (
        found["evidence_en"].iloc[0]
        == "It went back from offer to talk on 2025-03-03; 0 of 0 won ever went back."
    )


def test_a_single_contact_is_a_risk_where_won_deals_had_several() -> None:
    """Two people by the end of offer in every won deal; one in an open deal as old; a young one may yet."""
    company = talkative()
    for n in range(20):
        for day, person in ((2, "L1"), (6, "L2")):
            company.act(f"W{n:02}", day, lead_id=person)
    for name, day in (("old", 60), ("young", 85)):
        company.act(company.deal(name, day), 95, lead_id="L3")
    found = deals_at_risk(company.history(), AS_OF)
    assert found[["deal_id", "flag", "measure", "limit"]].to_numpy().tolist() == [
        ["old", "single_contact", 1, 2]
    ]
    assert found["evidence_en"].iloc[0] == (
        "Only one person of the prospect has taken part; "
        "100% of the deals won had two or more in offer (20 won)."
    )


def test_where_won_deals_had_one_contact_too_nothing_is_said() -> None:
    """A CRM that names one person a deal cannot tell; nor one that names nobody."""
    company = talkative()
    company.act(company.deal("open", 60), 95, lead_id="L3")
    assert flags(company.history()) == {}


def test_what_is_at_stake_is_the_amount_times_the_chance() -> None:
    """80 of 100 at 80%; the whole amount without a chance; nothing below zero; unknown without an amount."""
    company = Company()
    for name, amount in (("likely", 100.0), ("unscored", 50.0), ("refund", -30.0), ("unsaid", None)):
        company.deal(name, 50, amount=amount, expected_close_at=BEGIN + 90 * DAY)
    chances = pd.Series({"likely": 0.8, "refund": 0.5, "unsaid": 0.9, "another": 0.1})
    found = deals_at_risk(company.history(), AS_OF, chances)
    assert found["deal_id"].to_list() == ["likely", "unscored", "refund", "unsaid"]
    assert found["at_stake"].to_list()[:3] == [80, 50, 0]
    assert np.isnan(found["at_stake"].iloc[3])
    assert found["amount"].to_list()[:3] == [100, 50, -30]
    with pytest.raises(InputError, match=r"deal_id likely: 80\.0 is no probability"):
        deals_at_risk(company.history(), AS_OF, pd.Series({"likely": 80.0}))


def test_several_currencies_need_rates() -> None:
    """At the rate of the month of as_of; without rates there is a message."""
    company = Company()
    for name, currency in (("home", "EUR"), ("away", "USD")):
        company.deal(name, 50, currency=currency, expected_close_at=BEGIN + 90 * DAY)
    rates = Rates("EUR", {("2025-04", "USD"): 0.5})
    found = deals_at_risk(company.history(), AS_OF, rates=rates).set_index("deal_id")["amount"]
    assert found.to_dict() == {"home": 100, "away": 50}
    with pytest.raises(InputError, match="several currencies"):
        deals_at_risk(company.history(), AS_OF)


def test_empty_histories_and_one_deal_are_at_no_risk() -> None:
    """No deal, one open deal, one closed deal, one gone: no row, the documented columns, no error."""
    one, closed, gone = Company(), Company(), Company()
    one.deal("only", 50)
    closed.deal("only", 50, won=60)
    gone.deal("only", 50, gone_at=BEGIN + 60 * DAY, expected_close_at=BEGIN + 55 * DAY)
    for known in (History(), one.history(), closed.history(), gone.history()):
        found = deals_at_risk(known, AS_OF)
        assert found.empty
        assert list(found.columns) == list(COLUMNS)
        risk_limits(known, AS_OF)


@settings(max_examples=5, deadline=None)
@given(st.integers(300, 700), st.sampled_from([1.0, 0.9]))
def test_nothing_recorded_at_or_after_as_of_changes_a_risk(day: int, quantile: float) -> None:
    """The whole simulated history and the one known then give the same rows."""
    whole = simulate(250, seed=8, years=2, end="2025-01-01T00:00:00+00:00").history
    as_of, rules = utc("2023-01-01T00:00Z") + day * DAY, RiskRules(quantile=quantile, fewest_won=5)
    found = deals_at_risk(whole, as_of, rules=rules)
    pd.testing.assert_frame_equal(deals_at_risk(known_at(whole, as_of), as_of, rules=rules), found)


def test_the_order_of_rows_changes_nothing() -> None:
    """A shuffled history has the same risks, in the same order; each flag is one of those there are."""
    whole = simulate(300, seed=8, years=2, end="2025-01-01T00:00:00+00:00").history
    random = np.random.default_rng(1)
    mixed = {n: f.iloc[random.permutation(len(f))].reset_index(drop=True) for n, f in whole.frames().items()}
    as_of, rules = utc("2024-09-01T00:00Z"), RiskRules(quantile=0.8, fewest_won=5)
    found = deals_at_risk(whole, as_of, rules=rules)
    assert len(found) > 3
    assert set(found["flag"]) <= set(FLAGS)
    pd.testing.assert_frame_equal(deals_at_risk(History.of(mixed), as_of, rules=rules), found)
