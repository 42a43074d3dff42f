"""The example mappings, each on a few rows written in the form of the export that it is for."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from crm.history import History
from crm.importing import import_export
from crm.store import Store

EXAMPLES = Path(__file__).parents[2] / "examples"
T = pd.Timestamp("2024-01-01T00:00:00Z")


def imported(tmp_path: Path, name: str, **files: str) -> tuple[History, tuple[str, ...]]:
    """Import files (an underscore pair in a name is a point) by an example; give the history and notices."""
    for file, content in files.items():
        path = tmp_path / file.replace("__", ".")
        raw = content.encode()
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    store = Store.open(f"sqlite:///{tmp_path / 'h.db'}", create=True)
    report = import_export(EXAMPLES / f"{name}.toml", tmp_path, store, T)
    assert not import_export(EXAMPLES / f"{name}.toml", tmp_path, store, T).load.is_change
    return store.read(), report.notices


def test_bpic2012_is_an_event_log(tmp_path: Path) -> None:
    """An application closes at its first final event, its offer moves beside it, and calls are work."""
    case = "2012-01-01 08:00:00.500000+00:00,{0},5000,{1},{2},{3},2012-01-0{4}+00:00\n"
    log = "reg_date,case_id,amount_req,resource,lifecycle,activity,timestamp\n"
    log += case.format(1, "112.0", "COMPLETE", "A_SUBMITTED", "1 08:00:00.500000")
    log += case.format(1, "", "SCHEDULE", "W_Nabellen offertes", "2 08:00:00")
    log += case.format(1, "112.0", "COMPLETE", "O_SENT", "2 09:00:00")
    log += case.format(1, "112.0", "COMPLETE", "A_APPROVED", "3 09:00:00")
    log += case.format(1, "112.0", "COMPLETE", "A_CANCELLED", "4 09:00:00")
    log += case.format(2, "112.0", "COMPLETE", "A_SUBMITTED", "5 09:00:00")
    history, notices = imported(tmp_path, "bpic2012", events__csv__gz=log)
    deals = history.deals.set_index("deal_id")
    assert deals.loc["1", ["outcome", "stage", "offer_stage", "amount"]].tolist() == [
        "won",
        "A_CANCELLED",
        "O_SENT",
        5000.0,
    ]
    assert deals.loc["1", "closed_recorded_at"] == pd.Timestamp("2012-01-03T09:00:00Z")
    assert deals.loc["1", "recorded_at"] == pd.Timestamp("2012-01-01T08:00:00.5Z")
    assert deals.loc["2", ["outcome", "owner_id"]].isna().all()
    assert history.activities[["kind", "status"]].to_numpy().tolist() == [
        ["W_Nabellen offertes", "scheduled"]
    ]
    assert len(history.changes) == 5
    assert notices == ()


def test_olist_takes_only_the_date_from_the_second_file(tmp_path: Path) -> None:
    """A lead with a won date is won, the others are open; nothing else that only winners have comes in."""
    leads = "mql_id,first_contact_date,landing_page_id,origin\na,2018-02-01,p,social\nb,2018-02-02,q,\n"
    leads += "c,2018-03-08,q,email\n"
    won = "mql_id,seller_id,won_date,business_segment\na,s,2018-02-26 19:58:54,pet\n"
    won += "c,t,2018-03-06 19:38:55,toys\n"
    history, notices = imported(
        tmp_path,
        "olist",
        olist_marketing_qualified_leads_dataset__csv=leads,
        olist_closed_deals_dataset__csv=won,
    )
    frame = history.leads.set_index("lead_id")
    assert history.attributes("leads") == ["landing_page_id"]
    assert frame["outcome"].fillna("-").to_dict() == {"a": "won", "b": "-", "c": "won"}
    assert frame.loc["a", "closed_at"] == pd.Timestamp("2018-02-26T19:58:54Z")
    assert frame.loc["c", "closed_at"] == frame.loc["c", "created_at"]
    assert "taken to have ended as it began" in notices[0]


def test_x_education_has_outcomes_without_a_time(tmp_path: Path) -> None:
    """Each lead is one snapshot in the order of its number; what the form shows unanswered is missing."""
    rows = "Prospect ID,Lead Number,Lead Source,Converted,TotalVisits,Tags,City,\n"
    rows += "p,660737,Google,0,0,Ringing,Select,\nq,660738,Google,1,5,,Mumbai,\n"
    history, notices = imported(tmp_path, "x_education", Leads__csv=rows)
    frame = history.leads
    assert frame["outcome"].tolist() == ["lost", "won"]
    assert frame[["created_at", "closed_at", "closed_recorded_at"]].isna().all().all()
    assert (frame["recorded_at"] == T).all()
    assert frame["sequence"].tolist() == [660737.0, 660738.0]
    assert frame["City"].fillna("-").tolist() == ["-", "Mumbai"]
    assert frame["TotalVisits"].tolist() == [0.0, 5.0]
    assert notices == ("Leads.csv: column 8 has no name; it was left out",)


@pytest.fixture
def maven(tmp_path: Path) -> History:
    """Four deals, one of each stage."""
    deals = "opportunity_id,sales_agent,product,account,deal_stage,engage_date,close_date,close_value\n"
    deals += "w,Ann,GTXPro,Acme,Won,2017-01-01,2017-03-01,4514\nl,Ann,MG,Acme,Lost,2017-01-02,2017-03-02,0\n"
    deals += "e,Bob,MG,,Engaging,2017-01-03,,\np,Bob,GTXPro,Acme,Prospecting,,,\n"
    history, notices = imported(
        tmp_path,
        "maven_crm",
        sales_pipeline__csv=deals,
        products__csv="product,series,sales_price\nGTX Pro,GTX,4821\nMG,MG,55\n",
        accounts__csv="account,sector,revenue,subsidiary_of\nAcme,technolgy,1100.04,\n",
        sales_teams__csv="sales_agent,manager,regional_office\nAnn,Dan,East\nBob,Dan,West\n",
    )
    assert notices == ()
    return history


def test_maven_deals_are_worth_the_list_price_until_they_are_won(maven: History) -> None:
    """The price paid is known from the close on, and a lost deal is not worth nothing beforehand."""
    assert maven.deals.set_index("deal_id")["amount"].to_dict() == {"w": 4514, "l": 55, "e": 55, "p": 4821}
    amounts = maven.changes.query("field == 'amount'")
    assert amounts[["record_id", "old_value", "new_value"]].to_numpy().tolist() == [["w", "4821", "4514"]]
    assert amounts["recorded_at"].tolist() == [pd.Timestamp("2017-03-01T00:00:00Z")]


def test_maven_stages_do_not_tell_the_outcome_beforehand(maven: History) -> None:
    """A closed deal was engaged until it closed; a deal without any date is known from the export on."""
    stages = maven.changes.query("field == 'stage'").sort_values("record_id")
    assert stages[["record_id", "old_value", "new_value"]].to_numpy().tolist() == [
        ["l", "Engaging", "Lost"],
        ["w", "Engaging", "Won"],
    ]
    deals = maven.deals.set_index("deal_id")
    assert deals.loc["p", "recorded_at"] == T
    assert pd.isna(deals.loc["p", "created_at"])


def test_maven_reps_have_manager_and_region(maven: History) -> None:
    """What the sales teams' file says of a rep is with the rep, and companies keep their attributes."""
    assert maven.users[["user_id", "manager_id", "region"]].to_numpy().tolist() == [
        ["Ann", "Dan", "East"],
        ["Bob", "Dan", "West"],
    ]
    assert maven.accounts.loc[0, ["sector", "revenue"]].tolist() == ["technology", 1100.04]
