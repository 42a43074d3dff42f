"""Two exports make a history: what differs is a change at the later one's time, and nothing is erased."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm.errors import ExportError
from crm.history import History
from crm.importing import ImportReport, import_export
from crm.store import Store
from crm.values import as_text

MAPPING = """
[export]
name = "crm"
timezone = "UTC"
nulls = ["-"]

[leads]
file = "leads.csv"
may_be_empty = true
{leads}

[leads.columns]
lead_id = "Id"
created_at = "Created"
{closed}

[leads.outcome]
column = "Status"
won = ["Won"]
lost = ["Lost"]

{more}
"""
JAN, FEB, MAR = (pd.Timestamp(f"2024-0{month}-01", tz="UTC") for month in (1, 2, 3))


class Crm:
    """A CRM whose exports are loaded into one store."""

    def __init__(self, folder: Path, leads: str = "", closed: str = "", more: str = "") -> None:
        self.folder = folder
        self.mapping = folder / "m.toml"
        self.mapping.write_text(MAPPING.format(leads=leads, closed=closed, more=more))
        self.store = Store.open(f"sqlite:///{folder / 'h.db'}", create=True)

    def load(self, at: pd.Timestamp, leads: str, **files: str) -> ImportReport:
        """Export these rows, columns parted by spaces, and import them."""
        for name, rows in {"leads": leads, **files}.items():
            lines = [",".join(line.split()) for line in rows.strip().splitlines()]
            (self.folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        return import_export(self.mapping, self.folder, self.store, at)

    @property
    def history(self) -> History:
        return self.store.read()

    def lead(self, lead_id: str) -> pd.Series:
        return self.history.leads.set_index("lead_id").loc[lead_id]


def found(history: History) -> list[tuple[str, ...]]:
    """Give the changes as record, field, old, new and day, missing as "-"."""
    rows = history.changes.fillna({"old_value": "-", "new_value": "-"})
    days = rows["recorded_at"].dt.strftime("%m-%d")
    return sorted(
        zip(rows["record_id"], rows["field"], rows["old_value"], rows["new_value"], days, strict=True)
    )


def test_a_field_that_differs_becomes_a_change_at_the_exports_time(tmp_path: Path) -> None:
    """Text, numbers and values that come or go are each one change, and the record holds the present."""
    crm = Crm(tmp_path)
    crm.load(FEB, "Id Created Status City Visits\n1 2024-01-01 Open Lyon 3\n2 2024-01-01 Open - 1")
    report = crm.load(
        MAR, "Id Created Status City Visits\n1 2024-01-01 Open Nice 4.5\n2 2024-01-01 Open Brest -"
    )
    assert found(crm.history) == [
        ("1", "City", "Lyon", "Nice", "03-01"),
        ("1", "Visits", "3", "4.5", "03-01"),
        ("2", "City", "-", "Brest", "03-01"),
        ("2", "Visits", "1", "-", "03-01"),
    ]
    assert crm.history.leads.set_index("lead_id")["City"].to_dict() == {"1": "Nice", "2": "Brest"}
    assert report.n_found_changes == 4
    assert report.previous == FEB


def test_the_same_export_again_adds_nothing(tmp_path: Path) -> None:
    """Loaded again, at the same time or a later one, an unchanged export leaves the history as it was."""
    crm = Crm(tmp_path)
    rows = "Id Created Status City\n1 2024-01-01 Open Lyon\n2 2024-01-01 Won -"
    crm.load(FEB, rows)
    first = crm.history
    for at in (FEB, MAR):
        report = crm.load(at, rows)
        assert not report.load.is_change
        for name, frame in first.frames().items():
            pd.testing.assert_frame_equal(crm.history.frames()[name], frame)


def test_an_older_export_is_refused(tmp_path: Path) -> None:
    """History is written forward only; the message names both times."""
    crm = Crm(tmp_path)
    crm.load(MAR, "Id Created Status\n1 2024-01-01 Open")
    with pytest.raises(ExportError, match=r"of 2024-02-01.*has one of 2024-03-01.*--exported-at"):
        crm.load(FEB, "Id Created Status\n1 2024-01-01 Open")


def test_a_moment_without_a_zone_is_no_time_of_an_export(tmp_path: Path) -> None:
    """exported_at must name its zone."""
    with pytest.raises(ValueError, match="names no time zone"):
        Crm(tmp_path).load(pd.Timestamp("2024-02-01"), "Id Created Status\n1 2024-01-01 Open")


def test_a_missing_record_is_gone_and_may_come_back(tmp_path: Path) -> None:
    """A lead that the export no longer holds is marked, not erased; its return is a change."""
    crm = Crm(tmp_path)
    both = "Id Created Status\n1 2024-01-01 Open\n2 2024-01-01 Open"
    crm.load(JAN, both)
    assert crm.load(FEB, "Id Created Status\n1 2024-01-01 Open").n_gone == 1
    assert crm.lead("2")["gone_at"] == FEB
    assert crm.load(FEB + pd.Timedelta(days=1), "Id Created Status\n1 2024-01-01 Open").n_gone == 0
    assert crm.lead("2")["gone_at"] == FEB
    assert crm.load(MAR, both).n_back == 1
    assert pd.isna(crm.lead("2")["gone_at"])
    gone = "2024-02-01T00:00:00+00:00"
    assert found(crm.history) == [("2", "gone_at", "-", gone, "02-01"), ("2", "gone_at", gone, "-", "03-01")]


def test_a_partial_export_makes_nothing_gone(tmp_path: Path) -> None:
    """full = false says that the export holds only some of the records."""
    crm = Crm(tmp_path, leads="full = false")
    crm.load(JAN, "Id Created Status\n1 2024-01-01 Open\n2 2024-01-01 Open")
    assert crm.load(FEB, "Id Created Status\n1 2024-01-01 Open").n_gone == 0
    assert crm.history.leads["gone_at"].isna().all()


def test_an_export_that_lost_most_records_is_refused(tmp_path: Path) -> None:
    """A cut or filtered file does not make half the customers disappear; gone_limit allows it."""
    rows = "Id Created Status\n" + "\n".join(f"{n} 2024-01-01 Open" for n in range(40))
    crm = Crm(tmp_path)
    crm.load(JAN, rows)
    with pytest.raises(ExportError, match="30 of the 40 leads in the store are not in it"):
        crm.load(FEB, "\n".join(rows.splitlines()[:11]))
    assert crm.history.leads["gone_at"].isna().all()
    crm.mapping.write_text(MAPPING.format(leads="gone_limit = 1", closed="", more=""))
    assert crm.load(FEB, "\n".join(rows.splitlines()[:11])).n_gone == 30


def test_another_sources_records_are_not_gone(tmp_path: Path) -> None:
    """A lead that a second tool brought is not missing from the first tool's export."""
    crm = Crm(tmp_path)
    crm.load(JAN, "Id Created Status\n1 2024-01-01 Open")
    other = pd.DataFrame({"lead_id": ["x"], "created_at": [JAN]})
    crm.store.load({"leads": other}, source="other", exported_at=JAN)
    report = crm.load(FEB, "Id Created Status\n1 2024-01-01 Open")
    assert crm.history.leads["gone_at"].isna().all()
    assert "other sources load them too" in report.notices[-1]


def test_at_the_first_load_rows_are_known_at_their_own_time(tmp_path: Path) -> None:
    """Records of a first export were known when they came in; those without a time, from the export on."""
    crm = Crm(tmp_path)
    crm.load(MAR, "Id Created Status\n1 2024-01-05 Open\n2 - Open")
    assert crm.lead("1")["recorded_at"] == pd.Timestamp("2024-01-05", tz="UTC")
    assert crm.lead("2")["recorded_at"] == MAR


def test_later_a_new_record_is_known_at_its_own_time_unless_it_came_late(tmp_path: Path) -> None:
    """What was created before the previous export and was not in it became known only afterwards."""
    crm = Crm(tmp_path)
    crm.load(FEB, "Id Created Status\n1 2024-01-05 Open")
    crm.load(MAR, "Id Created Status\n1 2024-01-05 Open\n2 2024-02-10 Open\n3 2024-01-10 Open\n4 - Open")
    known = crm.history.leads.set_index("lead_id")["recorded_at"].dt.strftime("%m-%d").to_dict()
    assert known == {"1": "01-05", "2": "02-10", "3": "03-01", "4": "03-01"}


def test_an_outcome_without_a_time_is_timed_by_the_export_that_brings_it(tmp_path: Path) -> None:
    """At the first load an untimed outcome stays untimed; later it is known to lie between two exports."""
    crm = Crm(tmp_path)
    crm.load(JAN, "Id Created Status\n1 2023-12-01 Open\n2 2023-12-01 Won")
    crm.load(
        FEB, "Id Created Status\n1 2023-12-01 Won\n2 2023-12-01 Won\n3 2024-01-09 Lost\n4 2023-12-09 Lost"
    )
    leads = crm.history.leads.set_index("lead_id")
    assert leads.loc["1", ["closed_at", "closed_recorded_at"]].tolist() == [FEB, FEB]
    assert leads.loc["3", ["closed_at", "closed_recorded_at"]].tolist() == [FEB, FEB]
    assert leads.loc[["2", "4"], "closed_at"].isna().all()
    assert ("1", "outcome", "-", "won", "02-01") in found(crm.history)
    crm.load(
        MAR, "Id Created Status\n1 2023-12-01 Won\n2 2023-12-01 Won\n3 2024-01-09 Lost\n4 2023-12-09 Lost"
    )
    pd.testing.assert_frame_equal(crm.history.leads.set_index("lead_id"), leads)


def test_a_timed_outcome_is_known_at_its_time_unless_it_was_entered_late(tmp_path: Path) -> None:
    """A close dated before an export in which the lead was open was known only from the next one on."""
    crm = Crm(tmp_path, closed='closed_at = "Ended"')
    crm.load(FEB, "Id Created Ended Status\n1 2024-01-01 - Open\n2 2024-01-01 - Open")
    crm.load(MAR, "Id Created Ended Status\n1 2024-01-01 2024-02-10 Won\n2 2024-01-01 2024-01-20 Lost")
    assert crm.lead("1")["closed_recorded_at"] == pd.Timestamp("2024-02-10", tz="UTC")
    assert crm.lead("2")["closed_at"] == pd.Timestamp("2024-01-20", tz="UTC")
    assert crm.lead("2")["closed_recorded_at"] == MAR


def test_a_reopened_record_is_open_again_and_its_outcome_is_kept_as_a_change(tmp_path: Path) -> None:
    """The outcome that was taken back stays in the history."""
    crm = Crm(tmp_path, closed='closed_at = "Ended"')
    crm.load(FEB, "Id Created Ended Status\n1 2024-01-01 2024-01-20 Lost")
    crm.load(MAR, "Id Created Ended Status\n1 2024-01-01 - Open")
    assert crm.lead("1")[["outcome", "closed_at", "closed_recorded_at"]].isna().all()
    assert ("1", "outcome", "lost", "-", "03-01") in found(crm.history)


def test_a_column_that_the_export_no_longer_has_keeps_its_values(tmp_path: Path) -> None:
    """A column left out of an export is not a column emptied."""
    crm = Crm(tmp_path)
    crm.load(FEB, "Id Created Status City\n1 2024-01-01 Open Lyon")
    crm.load(MAR, "Id Created Status Visits\n1 2024-01-01 Open 3")
    assert crm.lead("1")[["City", "Visits"]].tolist() == ["Lyon", 3.0]
    assert found(crm.history) == []


def test_numbers_that_turn_out_to_be_text_are_compared_as_text(tmp_path: Path) -> None:
    """One cell that is no number makes the column text; the others have not changed by that."""
    crm = Crm(tmp_path)
    crm.load(FEB, "Id Created Status Size\n1 2024-01-01 Open 10\n2 2024-01-01 Open 20")
    crm.load(MAR, "Id Created Status Size\n1 2024-01-01 Open 10\n2 2024-01-01 Open many")
    assert found(crm.history) == [("2", "Size", "20", "many", "03-01")]


CHANGES = """
[changes]
file = "changes.csv"
may_be_empty = true
columns = { record_id = "Lead", field = "Field", old_value = "Old", new_value = "New", changed_at = "At" }
constants = { entity = "lead" }
"""


def test_a_difference_that_the_exports_own_history_explains_is_no_second_change(tmp_path: Path) -> None:
    """Where the CRM tracks a field, its own change stands, and only what it does not explain is added."""
    crm = Crm(tmp_path, more=CHANGES)
    crm.load(
        FEB,
        "Id Created Status City\n1 2024-01-01 Open Lyon\n2 2024-01-01 Open Lyon",
        changes="Lead Field Old New At",
    )
    crm.load(
        MAR,
        "Id Created Status City\n1 2024-01-01 Open Nice\n2 2024-01-01 Open Metz",
        changes="Lead Field Old New At\n1 City Lyon Nice 2024-02-10\n2 City Lyon Brest 2024-02-10",
    )
    assert found(crm.history) == [
        ("1", "City", "Lyon", "Nice", "02-10"),
        ("2", "City", "Lyon", "Brest", "02-10"),
        ("2", "City", "Lyon", "Metz", "03-01"),
    ]


ACTIVITIES = """
[activities]
file = "calls.csv"
columns = { activity_id = "No", lead_id = "Lead", occurred_at = "At", status = "State" }
constants = { kind = "call" }
"""


def test_an_activity_that_moves_on_is_kept_as_it_was_known(tmp_path: Path) -> None:
    """A planned call that is done by the next export was planned until then; both are there."""
    crm = Crm(tmp_path, more=ACTIVITIES)
    leads = "Id Created Status\n1 2024-01-01 Open"
    crm.load(JAN, leads, calls="No Lead At State\na 1 2024-01-20 scheduled")
    done = "No Lead At State\na 1 2024-01-20 done"
    for at in (FEB, MAR):
        crm.load(at, leads, calls=done)
        calls = crm.history.activities
        assert calls["activity_id"].tolist() == ["a", "a@2024-02-01T00:00:00Z"]
        assert calls["status"].tolist() == ["scheduled", "done"]
        assert calls["recorded_at"].iloc[1] == FEB


def test_activities_that_arrive_late_are_known_from_the_export_on(tmp_path: Path) -> None:
    """A call entered after the fact changes no earlier moment; one of the last week is known at its time."""
    crm = Crm(tmp_path, more=ACTIVITIES)
    leads = "Id Created Status\n1 2024-01-01 Open"
    first = "No Lead At State\na 1 2024-01-02 done"
    crm.load(FEB, leads, calls=first)
    crm.load(MAR, leads, calls=first + "\nb 1 2024-01-03 done\nc 1 2024-02-20 done")
    known = crm.history.activities.set_index("activity_id")["recorded_at"].dt.strftime("%m-%d").to_dict()
    assert known == {"a": "01-02", "b": "03-01", "c": "02-20"}


def test_a_table_that_a_later_mapping_adds_is_loaded_as_at_a_first_load(tmp_path: Path) -> None:
    """Calls exported for the first time were known when they were made."""
    crm = Crm(tmp_path)
    leads = "Id Created Status\n1 2024-01-01 Open"
    crm.load(FEB, leads)
    crm.mapping.write_text(MAPPING.format(leads="", closed="", more=ACTIVITIES))
    crm.load(MAR, leads, calls="No Lead At State\na 1 2024-01-02 done")
    assert crm.history.activities["recorded_at"].tolist() == [pd.Timestamp("2024-01-02", tz="UTC")]


def test_what_before_close_states_holds_only_for_records_never_seen_open(tmp_path: Path) -> None:
    """A lead that was seen open has its real stage of then; the mapping's guess is for the others."""
    more = '[leads.before_close.stage]\nvalue = "Working"\n'
    crm = Crm(tmp_path, closed='closed_at = "Ended"\nstage = "Status"', more=more)
    crm.load(FEB, "Id Created Ended Status\n1 2024-01-01 - New\n2 2024-01-01 2024-01-09 Won")
    crm.load(MAR, "Id Created Ended Status\n1 2024-01-01 2024-02-09 Won\n2 2024-01-01 2024-01-09 Won")
    stages = [row for row in found(crm.history) if row[1] == "stage"]
    assert stages == [("1", "stage", "New", "Won", "03-01"), ("2", "stage", "Working", "Won", "01-09")]


VALUES = st.sampled_from(["-", "a", "b"])
EXPORT = st.dictionaries(st.sampled_from(["1", "2", "3"]), st.tuples(VALUES, VALUES), min_size=1)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(exports=st.lists(EXPORT, min_size=2, max_size=4))
def test_rolling_back_gives_every_export_again(
    tmp_path_factory: pytest.TempPathFactory, exports: list[dict[str, tuple[str, str]]]
) -> None:
    """Undoing the changes recorded after an export gives that export, record by record and field by field."""
    crm = Crm(tmp_path_factory.mktemp("crm"), leads="gone_limit = 1")
    times = [JAN + pd.Timedelta(weeks=n) for n in range(len(exports))]
    for at, export in zip(times, exports, strict=True):
        rows = "\n".join(f"{lead} 2023-01-01 Open {x} {y}" for lead, (x, y) in export.items())
        crm.load(at, f"Id Created Status x y\n{rows}")
    leads = crm.history.leads.set_index("lead_id")
    recorded = leads["recorded_at"]
    present = leads[["x", "y", "gone_at"]].apply(as_text).fillna("-").to_dict("index")
    changes = crm.history.changes.sort_values("changed_at", ascending=False, kind="stable")
    changes[["old_value", "new_value"]] = changes[["old_value", "new_value"]].fillna("-")
    for at, export in zip(times, exports, strict=True):
        state = {lead: dict(values) for lead, values in present.items()}
        for change in changes[changes["changed_at"] > at].itertuples():
            assert state[change.record_id][change.field] == change.new_value
            state[change.record_id][change.field] = change.old_value
        there = {
            lead: (values["x"], values["y"])
            for lead, values in state.items()
            if recorded[lead] <= at and values["gone_at"] == "-"
        }
        assert there == export
