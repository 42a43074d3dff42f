"""What became of each snapshot."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crm.history import LEAD_OUTCOME, History
from crm.validation import validate_history
from training.labels import LOST, OPEN, WON, label, outcomes, with_lead_outcome

START = pd.Timestamp("2024-01-01", tz="UTC").as_unit("us")


def day(number: float) -> pd.Timestamp:
    return START + pd.Timedelta(days=number)


@pytest.fixture
def history() -> History:
    """Three leads: one buys, one is handed on and loses its deal, one is open."""
    leads = pd.DataFrame(
        {
            "lead_id": ["buys", "loses", "open"],
            "created_at": [day(0)] * 3,
            "outcome": ["won", "won", None],
            "closed_at": [day(5), day(5), None],
        }
    )
    deals = pd.DataFrame(
        {
            "deal_id": ["a", "b", "c"],
            "lead_id": ["buys", "loses", "open"],
            "created_at": [day(5), day(5), day(6)],
            "outcome": ["won", "lost", None],
            "closed_at": [day(20), day(12), None],
        }
    )
    return validate_history({"leads": leads, "deals": deals})


def test_a_lead_is_won_when_its_deal_is(history: History) -> None:
    """A conversion without a sale is no purchase; the sale's moment counts, not the conversion's."""
    found = outcomes(history, "lead")
    assert found.events.tolist() == [WON, LOST, OPEN]
    asked = pd.Series(["buys", "loses", "open"])
    got = label(found, asked, pd.Series([day(2)] * 3), day(30))
    assert got.durations.tolist() == [18.0, 10.0, 28.0]


def test_without_links_the_conversion_counts(history: History) -> None:
    """Where no deal names a lead, what the CRM calls converted is the outcome."""
    alone = History.of({"leads": history.leads})
    assert outcomes(alone, "lead").events.tolist() == [WON, WON, OPEN]


def test_what_was_asked_for_counts(history: History) -> None:
    """The history's fact decides though deals are linked; the settings overrule it; auto leaves it."""
    asked = History.of(history.frames(), {LEAD_OUTCOME: "leads"})
    assert outcomes(asked, "lead").events.tolist() == [WON, WON, OPEN]
    assert outcomes(asked, "lead").definition.endswith("as the mapping says")
    assert outcomes(with_lead_outcome(asked, "auto"), "lead").events.tolist() == [WON, WON, OPEN]
    overruled = outcomes(with_lead_outcome(asked, "deals"), "lead")
    assert overruled.events.tolist() == [WON, LOST, OPEN]
    assert overruled.definition.endswith("as the settings say")
    assert outcomes(asked, "deal").definition == "the deal is won"


def test_a_purchase_asked_for_is_not_a_conversion_before_the_first_deal(history: History) -> None:
    """Where the mapping asks for deals, no lead is won as long as none is linked, whatever the CRM says."""
    alone = History.of({"leads": history.leads}, {LEAD_OUTCOME: "deals"})
    assert WON not in outcomes(alone, "lead").events


def test_what_happens_at_the_end_or_later_is_censored(history: History) -> None:
    """An outcome at the very end of observation is not seen, and the record stays open, not lost."""
    found = outcomes(history, "deal")
    got = label(found, pd.Series(["a", "b"]), pd.Series([day(6), day(6)]), day(12))
    assert got.events.tolist() == [OPEN, OPEN]
    assert got.durations.tolist() == [6.0, 6.0]
    assert got.observed.tolist() == [6.0, 6.0]


def test_a_record_that_left_the_export_is_censored_from_then_on(history: History) -> None:
    """Nobody could have seen it close after it was gone."""
    deals = history.deals.assign(gone_at=[None, None, day(10)]).astype({"gone_at": "datetime64[us, UTC]"})
    got = label(
        outcomes(History.of({"deals": deals}), "deal"), pd.Series(["c"]), pd.Series([day(7)]), day(30)
    )
    assert got.events.tolist() == [OPEN]
    assert got.observed.tolist() == [3.0]


def test_an_outcome_without_a_time_is_marked() -> None:
    """It is an outcome, but it ends no duration."""
    leads = pd.DataFrame(
        {"lead_id": ["x", "y"], "outcome": ["won", "lost"], "recorded_at": [day(0)] * 2, "sequence": [1, 2]}
    )
    found = outcomes(validate_history({"leads": leads}), "lead")
    assert found.untimed.tolist() == [True, True]
    assert np.array_equal(found.events, [WON, LOST])
