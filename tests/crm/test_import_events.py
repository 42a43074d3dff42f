"""Event logs become records, changes of stage and work, with what happened when and nothing more."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from crm.errors import ExportError
from crm.importing import Export, read_export
from crm.mapping import load_mapping

MAPPING = """
[export]
name = "log"

[events]
file = "log.csv"
entity = "deal"
record = "case"
time = "at"
activity = "what"
status = "state"
user = "who"
statuses = { SCHEDULE = "scheduled", START = "started", COMPLETE = "done" }
ignore = ["X_*"]

[events.columns]
created_at = "opened"
amount = "sum"

[events.outcomes]
won = ["A_SIGNED"]
lost = ["A_REFUSED"]

[events.stages]
stage = ["A_*"]
offer_stage = ["O_*"]

[[events.work]]
match = ["W_call*"]
channel = "call"
direction = "out"

[[events.work]]
match = ["W_check"]
"""

HEADER = "case,opened,sum,who,state,what,at\n"


def row(case: str, what: str, at: str, state: str = "COMPLETE", who: str = "7.0", total: str = "100") -> str:
    return f"{case},2024-01-01T08:00:00Z,{total},{who},{state},{what},2024-01-{at}Z\n"


def read(tmp_path: Path, rows: str, mapping: str = MAPPING) -> Export:
    (tmp_path / "m.toml").write_text(mapping)
    (tmp_path / "log.csv").write_text(HEADER + rows)
    return read_export(load_mapping(tmp_path / "m.toml"), tmp_path)


def test_a_record_closes_at_its_first_outcome_and_later_events_are_kept(tmp_path: Path) -> None:
    """A refusal after the signature does not undo it, and is a change of stage all the same."""
    rows = (
        row("1", "A_NEW", "01T09:00:00")
        + row("1", "A_SIGNED", "02T09:00:00")
        + row("1", "A_REFUSED", "03T09:00:00")
        + row("2", "A_NEW", "01T10:00:00")
    )
    frames = read(tmp_path, rows).frames()
    deals = frames["deals"].set_index("deal_id")
    assert deals.loc["1", "outcome"] == "won"
    assert deals.loc["1", "closed_at"] == pd.Timestamp("2024-01-02T09:00:00Z")
    assert deals.loc["1", "stage"] == "A_REFUSED"
    assert pd.isna(deals.loc["2", "outcome"])
    assert pd.isna(deals.loc["2", "closed_at"])
    assert len(frames["changes"]) == 4


def test_events_are_ordered_by_time_and_within_an_instant_by_the_file(tmp_path: Path) -> None:
    """The history is in order of time; ties keep the file's order, and so do their ids."""
    rows = (
        row("1", "A_LATER", "05T09:00:00")
        + row("1", "A_B", "02T09:00:00")
        + row("1", "A_A", "02T09:00:00")
        + row("1", "A_NEW", "01T09:00:00")
    )
    changes = read(tmp_path, rows).frames()["changes"]
    assert changes["new_value"].tolist() == ["A_NEW", "A_B", "A_A", "A_LATER"]
    assert changes["old_value"].fillna("-").tolist() == ["-", "A_NEW", "A_B", "A_A"]
    assert changes["change_id"].tolist() == sorted(changes["change_id"])


def test_each_track_of_stages_has_its_own_history(tmp_path: Path) -> None:
    """The application's and the offer's stages move apart; the deal's present value is the last of each."""
    rows = (
        row("1", "A_NEW", "01T09:00:00") + row("1", "O_SENT", "02T09:00:00") + row("1", "A_OK", "03T09:00:00")
    )
    frames = read(tmp_path, rows).frames()
    offers = frames["changes"].query("field == 'offer_stage'")
    assert offers["new_value"].tolist() == ["O_SENT"]
    assert offers["old_value"].isna().all()
    assert frames["deals"].loc[0, ["stage", "offer_stage"]].tolist() == ["A_OK", "O_SENT"]


def test_work_has_kind_status_user_channel_and_direction(tmp_path: Path) -> None:
    """The lifecycle is translated, a channel stays with its kind of work, a whole id loses its .0."""
    rows = (
        row("1", "A_NEW", "01T09:00:00", who="")
        + row("1", "W_call back", "02T09:00:00", state="SCHEDULE")
        + row("1", "W_check", "02T10:00:00", state="START", who="")
    )
    work = read(tmp_path, rows).frames()["activities"]
    assert work["kind"].tolist() == ["W_call back", "W_check"]
    assert work["status"].tolist() == ["scheduled", "started"]
    assert work["user_id"].fillna("-").tolist() == ["7", "-"]
    assert work["channel"].fillna("-").tolist() == ["call", "-"]
    assert work["direction"].fillna("-").tolist() == ["out", "-"]
    assert work["deal_id"].tolist() == ["1", "1"]


def test_no_owner_is_invented(tmp_path: Path) -> None:
    """Who worked on a deal is known of the work, not of the deal."""
    assert "owner_id" not in read(tmp_path, row("1", "A_NEW", "01T09:00:00")).frames()["deals"]


def test_ids_do_not_depend_on_the_other_records(tmp_path: Path) -> None:
    """The next export, with more records before and between, gives each event the id it had."""
    one = row("1", "A_NEW", "01T09:00:00") + row("1", "W_check", "02T09:00:00")
    first = read(tmp_path, one).frames()
    more = read(tmp_path, row("0", "A_NEW", "01T09:00:00") + one + row("1", "A_OK", "02T09:00:00")).frames()
    assert set(first["activities"]["activity_id"]) <= set(more["activities"]["activity_id"])
    assert set(first["changes"]["change_id"]) <= set(more["changes"]["change_id"])


def test_ignored_activities_leave_no_row_but_their_record(tmp_path: Path) -> None:
    """What the mapping ignores is neither stage nor work; the record that it names still exists."""
    frames = read(tmp_path, row("9", "X_PING", "01T09:00:00")).frames()
    assert frames["deals"]["deal_id"].tolist() == ["9"]
    assert frames["activities"].empty
    assert frames["changes"].empty


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            row("1", "B_NEW", "01T09:00:00"),
            "the activity 'B_NEW' (1 events) is in none of the mapping's lists",
        ),
        (
            row("1", "W_check", "01T09:00:00", state="DONE"),
            "state = 'DONE': is none of the mapping's statuses",
        ),
        (row("", "A_NEW", "01T09:00:00"), "row 1: case = 'nan': is missing"),
        (row("1", "", "01T09:00:00"), "what = 'nan': is missing"),
        (
            row("1", "A_NEW", "01T09:00:00") + row("1", "A_OK", "02T09:00:00", total="200"),
            "takes several values",
        ),
        (row("1", "A_NEW", "41T09:00:00"), "at = '2024-01-41T09:00:00Z': is no moment"),
        (row("1", "A_Signed", "02T09:00:00"), "no event is the outcome 'A_SIGNED', but some are 'A_Signed'"),
    ],
)
def test_what_a_log_cannot_say_is_refused(tmp_path: Path, rows: str, said: str) -> None:
    """Each fault is named with the file, the column or activity, and the remedy."""
    with pytest.raises(ExportError) as caught:
        read(tmp_path, rows)
    assert said in str(caught.value)
    assert "log.csv" in str(caught.value)


def test_an_activity_has_one_role(tmp_path: Path) -> None:
    """An activity that two lists claim is refused, for it would be counted twice."""
    mapping = MAPPING.replace('ignore = ["X_*"]', 'ignore = ["A_NEW"]')
    with pytest.raises(ExportError, match="listed as stage and as ignored"):
        read(tmp_path, row("1", "A_NEW", "01T09:00:00"), mapping)
