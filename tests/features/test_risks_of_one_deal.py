"""One deal held against what won deals were like: the same flags as among all deals of the history."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from crm.history import History
from crm.moments import in_micros
from crm.simulator import simulate
from features import open_at
from features.kpis.risk import deals_at_risk
from features.kpis.risk_limits import RiskLimits, learn_risk_limits, signs_of
from features.kpis.risk_rules import RiskRules
from features.kpis.risk_words import FLAGS, evidence


@pytest.fixture(scope="module")
def history() -> History:
    """Give a small company."""
    return simulate(1200, seed=5).history


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Give a frame's rows with None for what is missing and moments in microseconds."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [
        {
            name: in_micros(value.to_pydatetime()) if isinstance(value, pd.Timestamp) else value
            for name, value in row.items()
        }
        for row in rows
    ]


def grouped(rows: list[dict[str, Any]], key: str) -> dict[Any, list[dict[str, Any]]]:
    """Sort rows by a column."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return found


@pytest.mark.parametrize("as_of", ["2023-06-01", "2024-09-01"])
@pytest.mark.parametrize("rules", [RiskRules(), RiskRules(quantile=0.7, fewest_won=5, usual=0.5)])
def test_one_deal_has_the_flags_it_has_among_all(history: History, as_of: str, rules: RiskRules) -> None:
    """Every open deal, alone, has the flags and the evidence that the report of all deals gives it."""
    moment = pd.Timestamp(as_of, tz="UTC")
    told = learn_risk_limits(history, moment, rules)
    limits = RiskLimits.from_json_dict(json.loads(json.dumps(told.to_json_dict())))
    assert limits == told
    activities = rows_of(history.activities)
    own = grouped(activities, "deal_id")
    of_lead = grouped([row for row in activities if row["deal_id"] is None], "lead_id")
    changes = grouped([row for row in rows_of(history.changes) if row["entity"] == "deal"], "record_id")
    deals = {row["deal_id"]: row for row in rows_of(history.deals)}
    found = set()
    for name in open_at(history, "deal", moment).tolist():
        others = {"activities": of_lead.get(deals[name]["lead_id"], [])}
        signs = signs_of(
            limits, deals[name], own.get(name, []), changes.get(name, []), others, in_micros(moment)
        )
        flags = [sign["flag"] for sign in signs]
        assert flags == sorted(flags, key=list(FLAGS).index)
        found |= {(name, sign["flag"], evidence(sign, rules.quantile)) for sign in signs}
    report = deals_at_risk(history, moment, rules=rules)
    expected = {(r.deal_id, r.flag, (r.evidence_en, r.evidence_fr)) for r in report.itertuples()}
    assert expected
    assert found == expected


def test_without_limits_only_a_past_date_is_told() -> None:
    """A bundle that learned nothing of won deals still says that a close date is over."""
    deal = {"deal_id": "D", "created_at": 0, "recorded_at": 0, "expected_close_at": 10 * 86_400_000_000}
    (sign,) = signs_of(None, deal, [], [], {}, 13 * 86_400_000_000)
    assert (sign["flag"], sign["measure"]) == ("past_date", 3.0)
    assert evidence(sign)[0] == "It was to close on 1970-01-11, 3 days ago."
    assert signs_of(None, deal, [], [], {}, 10 * 86_400_000_000 + 1) == []
