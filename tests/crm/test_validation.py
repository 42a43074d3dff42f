"""Validation: what a frame becomes, and what each fault is told like."""

from __future__ import annotations

import re
from decimal import Decimal

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from crm.errors import ExportError
from crm.history import utc
from crm.schema import DTYPES, TABLES
from crm.validation import orphans, validate, validate_history

AT = utc("2024-01-02T03:04:05Z")


def check(table: str, **columns: object) -> pd.DataFrame:
    """Validate a frame of these columns."""
    return validate(TABLES[table], pd.DataFrame(columns), "export.csv")


def lead(**columns: object) -> pd.DataFrame:
    """Validate one lead, with these values besides."""
    return check("leads", **({"lead_id": ["L1"], "created_at": [AT]} | columns))


@pytest.mark.parametrize("name", TABLES)
def test_every_table_gets_its_columns_and_dtypes(name: str) -> None:
    """A frame of the required columns alone comes out with every canonical column in its dtype."""
    table = TABLES[name]
    given = {
        c.name: [AT if c.kind == "timestamp" else 1.0 if c.kind == "number" else (c.choices or ("x",))[0]]
        for c in table.columns
        if c.required and not c.default_from
    }
    given |= {c.default_from: [AT] for c in table.columns if c.required and c.default_from}
    moments = [c.name for c in table.columns if c.kind == "timestamp" and c.name in given]
    if name == "targets":
        given["period_end"] = [AT + pd.Timedelta(days=1)]
    found = check(name, **given)
    assert found.columns.tolist() == list(table.names)
    assert {c: str(found[c].dtype) for c in table.names} == {c.name: DTYPES[c.kind] for c in table.columns}
    assert len(found) == 1
    assert found[moments].notna().all(axis=None)


def test_a_valid_frame_stays_as_it_is() -> None:
    """Validating twice is validating once."""
    once = lead(size=[3], city=["Rome"], outcome=["won"], closed_at=[AT])
    assert_frame_equal(validate(TABLES["leads"], once, "again"), once)


def test_no_row_is_enough() -> None:
    """An empty frame with its columns is valid and keeps dtypes."""
    none = lead(size=[3.0], city=["Rome"]).iloc[:0]
    found = validate(TABLES["leads"], none, "x")
    assert found.empty
    assert found.dtypes.drop("city").equals(none.dtypes.drop("city"))


def test_missing_values_take_their_defaults() -> None:
    """recorded_at and closed_recorded_at follow their moments row by row, status is done."""
    late = AT + pd.Timedelta(days=2)
    found = check(
        "deals",
        deal_id=["D1", "D2"],
        created_at=[AT, AT],
        recorded_at=[None, late],
        closed_at=[late, None],
    )
    assert found["recorded_at"].tolist() == [AT, late]
    assert found["closed_recorded_at"].fillna(AT).tolist() == [late, AT]
    done = check("activities", activity_id=["X"], kind=["call"], occurred_at=[AT])
    assert done["status"].tolist() == ["done"]


def test_attributes_are_numbers_or_text() -> None:
    """All numbers become float64, all else str; digits that came as text stay text."""
    found = check(
        "leads",
        lead_id=["L1", "L2"],
        created_at=[AT, AT],
        whole=[1, 2],
        gappy=pd.array([1, None], dtype="Int64"),
        exact=[Decimal("0.5"), None],
        postcode=["01234", None],
        mixed=[1.0, "ten"],
        flag=[True, False],
        moment=[AT, None],
        level=pd.Categorical(["low", "high"]),
        nothing=[None, None],
    )
    assert found["whole"].tolist() == [1.0, 2.0]
    for name in ("whole", "gappy", "exact", "nothing"):
        assert found[name].dtype == "float64", name
    assert found["postcode"].fillna("-").tolist() == ["01234", "-"]
    assert found["mixed"].tolist() == ["1", "ten"]
    assert found["flag"].tolist() == ["true", "false"]
    assert found["moment"].fillna("-").tolist() == ["2024-01-02T03:04:05+00:00", "-"]
    assert found["level"].tolist() == ["low", "high"]


def test_ids_read_as_numbers_become_plain_text() -> None:
    """An id that a reader took for a number has no decimal point, and a missing one stays missing."""
    found = check("leads", lead_id=[7, 8], created_at=[AT, AT], account_id=[12.0, None])
    assert found["lead_id"].tolist() == ["7", "8"]
    assert found["account_id"].fillna("-").tolist() == ["12", "-"]


def test_empty_text_is_missing() -> None:
    """An empty cell is no level of a category, no id, no number and no moment."""
    found = check(
        "deals", deal_id=["D1"], created_at=[AT], stage=[""], amount=[""], expected_close_at=[""], hint=[""]
    )
    assert found[["stage", "amount", "expected_close_at", "hint"]].isna().all(axis=None)


def test_moments_of_any_zone_and_unit_become_utc() -> None:
    """Text with an offset, other zones and other units give the same microseconds in UTC."""
    paris = AT.tz_convert("Europe/Paris")
    for given in (
        ["2024-01-02T04:04:05+01:00"],
        ["2024-01-02 03:04:05Z"],
        [paris.as_unit("ns")],
        [paris.to_pydatetime()],
    ):
        found = lead(created_at=given)["created_at"]
        assert found.tolist() == [AT]
        assert found.dtype == "datetime64[us, UTC]"


FAULTS = {
    "missing value": (
        "leads",
        {"lead_id": ["L1", None], "created_at": [AT] * 2},
        "row 2: lead_id = '': is missing",
    ),
    "empty id": ("leads", {"lead_id": [""], "created_at": [AT]}, "row 1 .*: lead_id = '': is missing"),
    "no recorded_at": (
        "leads",
        {"lead_id": ["L1"], "created_at": [None]},
        r"row 1 \(lead_id L1\): recorded_at = '': is missing, and so is created_at; every row needs it",
    ),
    "missing column": (
        "activities",
        {"activity_id": ["X1"], "occurred_at": [AT]},
        "kind = '': this column is missing",
    ),
    "unknown column": (
        "users",
        {"user_id": ["U"], "shoe": [1]},
        "shoe = '': users has no such column; its columns: user_id",
    ),
    "bad moment": (
        "leads",
        {"lead_id": ["L1"], "created_at": ["yesterday"]},
        r"\(lead_id L1\): created_at = 'yesterday': is no moment",
    ),
    "naive text": (
        "leads",
        {"lead_id": ["L1"], "created_at": ["2024-01-02"]},
        "created_at = '2024-01-02': names no time zone",
    ),
    "naive moment": (
        "leads",
        {"lead_id": ["L1"], "created_at": [pd.Timestamp("2024-01-02")]},
        "names no time zone",
    ),
    "bad number": (
        "deals",
        {"deal_id": ["D"], "created_at": [AT], "amount": ["1,5 €"]},
        "amount = '1,5 €': is no number",
    ),
    "infinite": (
        "deals",
        {"deal_id": ["D"], "created_at": [AT], "amount": [float("inf")]},
        "amount = 'inf': is infinite",
    ),
    "infinite attribute": (
        "leads",
        {"lead_id": ["L1"], "created_at": [AT], "x": [float("-inf")]},
        "x = '-inf': is infinite",
    ),
    "choice": (
        "leads",
        {"lead_id": ["L1"], "created_at": [AT], "outcome": ["Won!"]},
        "outcome = 'Won!': is none of won, lost; map it",
    ),
    "duplicate": (
        "leads",
        {"lead_id": ["a", "b", "a"], "created_at": [AT] * 3},
        r"row 1 \(lead_id a\): lead_id = 'a': comes more than once",
    ),
    "epoch": (
        "leads",
        {"lead_id": ["L1"], "created_at": ["1970-01-01T00:00:00Z"]},
        "created_at = '1970-01-01.*is not between 1970-01-02 and 2200",
    ),
    "far future": (
        "deals",
        {"deal_id": ["D"], "created_at": [AT], "expected_close_at": ["9999-12-31T00:00:00Z"]},
        "expected_close_at = '9999-12-31.*is not between",
    ),
    "order": (
        "leads",
        {"lead_id": ["L1"], "created_at": [AT], "closed_at": [AT - pd.Timedelta(days=1)]},
        r"\(lead_id L1\): closed_at = '2024-01-01.*is before created_at",
    ),
    "NUL": (
        "leads",
        {"lead_id": ["L1"], "created_at": [AT], "city": ["a\0b"]},
        "city = .*holds a NUL character",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_row_column_value_and_remedy(fault: str) -> None:
    """Each kind of fault alone refuses the frame, with one line that says where it is and what to do."""
    table, columns, message = FAULTS[fault]
    with pytest.raises(ExportError) as caught:
        check(table, **columns)
    title, *lines = str(caught.value).splitlines()
    assert title == f"export.csv cannot be used as {table}, 1 fault:"
    assert len(lines) == 1
    assert lines[0].startswith("export.csv")
    assert re.search(message, lines[0]), lines[0]


def test_two_columns_of_one_name_are_refused() -> None:
    """A frame with a column twice cannot say which is meant."""
    frame = pd.DataFrame([["U1", "a", "b"]], columns=["user_id", "name", "name"])
    with pytest.raises(ExportError, match="name = '': two columns have this name"):
        validate(TABLES["users"], frame, "users.csv")


def test_many_faults_are_counted_and_the_first_shown() -> None:
    """Of a thousand bad rows five are listed, and all faults of all columns are counted."""
    n = 1000
    with pytest.raises(ExportError, match="1001 faults") as caught:
        check(
            "deals",
            deal_id=[f"D{i}" for i in range(n)],
            created_at=[AT] * n,
            amount=["?"] * n,
            outcome=["open", *[None] * (n - 1)],
        )
    lines = str(caught.value).splitlines()
    assert sum("is no number" in line for line in lines) == 5
    assert sum("is none of" in line for line in lines) == 1


def test_rows_are_numbered_as_they_came() -> None:
    """A frame with an index of its own still names the row by its place."""
    frame = pd.DataFrame({"user_id": ["U1", None]}, index=[70, 71])
    with pytest.raises(ExportError, match=r"users\.csv, row 2: user_id"):
        validate(TABLES["users"], frame, "users.csv")
    assert validate(TABLES["users"], frame.iloc[:1], "users.csv").index.tolist() == [0]


def test_a_history_of_an_unknown_table_is_refused() -> None:
    """A misspelt table name is told with the right names; the fault of a table names the table."""
    with pytest.raises(ExportError, match="no table is called 'lead'; the tables are users, accounts, leads"):
        validate_history({"lead": pd.DataFrame()}, "folder")
    with pytest.raises(ExportError, match="folder: users, row 1: user_id"):
        validate_history({"users": pd.DataFrame({"user_id": [None]})}, "folder")


def test_what_is_about_nothing_is_found() -> None:
    """One problem for each id that is not there, with the rows that name it; exported tables only."""
    history = validate_history(
        {
            "leads": pd.DataFrame({"lead_id": ["L1"], "created_at": [AT]}),
            "activities": pd.DataFrame(
                {
                    "activity_id": ["X1", "X2", "X3", "X4"],
                    "lead_id": ["L1", "L9", "L9", None],
                    "account_id": ["A1", None, None, None],
                    "kind": "call",
                    "occurred_at": AT,
                }
            ),
            "changes": pd.DataFrame(
                {
                    "change_id": ["C1", "C2", "C3"],
                    "entity": ["lead", "lead", "deal"],
                    "record_id": ["L1", "L8", "D1"],
                    "field": "stage",
                    "changed_at": AT,
                }
            ),
        }
    )
    assert [str(problem) for problem in orphans(history.frames())] == [
        "activities: activity_id X2 and 1 more: lead_id = 'L9': no lead has this id; export that lead too",
        "changes: change_id C2: record_id = 'L8': no lead has this id; export that lead too",
    ]
    assert orphans({"leads": history.leads}) == []
