"""What counts as a lead's outcome, from the mapping to the report: deals won, or the CRM's conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

MAPPING = """
[export]
name = "crm"
timezone = "UTC"
[leads]
file = "leads.csv"
{said}
[leads.columns]
lead_id = "Id"
created_at = "Made"
stage = "Status"
closed_at = "Closed"
[leads.outcome]
column = "Status"
won = ["Converted"]
lost = ["Dropped"]
[deals]
file = "deals.csv"
[deals.columns]
deal_id = "Id"
lead_id = "Lead"
created_at = "Made"
stage = "Status"
closed_at = "Closed"
[deals.outcome]
column = "Status"
won = ["Won"]
lost = ["Lost"]
"""
FAST = """
every_days = 14
half_lives = []
linear_weights = [0.5]
resamples = 50
[hazard]
rounds = 10
fewest_rounds = 5
[timing]
rounds = 10
fewest_rounds = 5
[distill]
rounds = 20
"""
N_CONVERTED, N_BOUGHT, N_DROPPED = 60, 12, 60


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give 60 converted leads, each with a deal of which 12 are won, and 60 that were dropped."""
    folder = tmp_path_factory.mktemp("export")
    made = pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(N_CONVERTED + N_DROPPED) * 3, "D")
    converted = np.arange(len(made)) % 2 == 0
    ids = pd.Series(range(len(made)), dtype="str")
    leads = pd.DataFrame(
        {
            "Id": ids,
            "Made": made,
            "Status": np.where(converted, "Converted", "Dropped"),
            "Closed": made + pd.Timedelta(days=20),
        }
    )
    leads.to_csv(folder / "leads.csv", index=False)
    opened = made[converted] + pd.Timedelta(days=20)
    won = np.arange(N_CONVERTED) % 5 == 0
    deals = pd.DataFrame(
        {
            "Id": ids[converted],
            "Lead": ids[converted],
            "Made": opened,
            "Status": np.where(won, "Won", "Lost"),
            "Closed": opened + pd.Timedelta(days=30),
        }
    )
    deals.to_csv(folder / "deals.csv", index=False)
    return folder


def trained_leads(vigie: Any, folder: Path, export: Path, said: str, setting: str = "") -> dict[str, Any]:
    """Import by a mapping that says so, train with that setting, and give the report about leads."""
    mapping, config = folder / "crm.toml", folder / "fast.toml"
    mapping.write_text(MAPPING.format(said=said))
    config.write_text(setting + FAST)
    history = ("--history", folder / "h.sqlite")
    done = vigie.ask("import", mapping, "--data", export, "--exported-at", "2024-06-01", *history)
    assert (done["lead_outcome_from"] or "") in said
    bundle = ("--bundle", folder / "bundle", "--no-track", "--config", config)
    section = vigie.ask("train", *history, *bundle)["report"]["models"]["lead"]
    assert f"Won means that {section['outcome']}." in vigie.say("report", "--bundle", folder / "bundle")
    return dict(section)


def test_linked_deals_decide_where_nobody_says_otherwise(vigie: Any, tmp_path: Path, export: Path) -> None:
    """Deals name their leads, so a lead is won with its deal."""
    section = trained_leads(vigie, tmp_path, export, "")
    assert section["counts"]["won"] == N_BOUGHT
    assert section["outcome"] == "a deal linked to the lead is won"


def test_a_mapping_that_asks_for_the_conversion_gets_it(vigie: Any, tmp_path: Path, export: Path) -> None:
    """With outcome_from = "leads" training learns the CRM's conversion, and says that the mapping asked."""
    section = trained_leads(vigie, tmp_path, export, 'outcome_from = "leads"')
    assert section["counts"]["won"] == N_CONVERTED
    assert section["counts"]["lost"] == N_DROPPED
    assert section["outcome"] == "the CRM records the lead as converted, as the mapping says"
    doctor = vigie.say("doctor", "--history", tmp_path / "h.sqlite")
    assert "the CRM records the lead as converted, as the mapping says" in doctor


def test_the_settings_overrule_the_mapping(vigie: Any, tmp_path: Path, export: Path) -> None:
    """lead_outcome in the training's settings wins over the mapping, and the report says who chose."""
    said = 'outcome_from = "leads"'
    section = trained_leads(vigie, tmp_path, export, said, 'lead_outcome = "deals"\n')
    assert section["counts"]["won"] == N_BOUGHT
    assert section["outcome"] == "a deal linked to the lead is won, as the settings say"
