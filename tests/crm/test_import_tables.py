"""The tables form: columns, values, joins and outcomes arrive as the mapping says."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from crm.importing import Export, read_export
from crm.mapping import load_mapping

HEAD = '[export]\nname = "crm"\ntimezone = "UTC"\n'
DEALS = """
[deals]
file = "deals.csv"
{more}
[deals.columns]
deal_id = "Id"
created_at = "Opened"
closed_at = "Closed"
stage = "Stage"
amount = "Value"
[deals.outcome]
column = "Stage"
won = ["Won"]
lost = ["Lost"]
"""
ROWS = """Id,Opened,Closed,Stage,Value,Product
1,2024-01-01,2024-02-01,Won,90,A
2,2024-01-02,2024-02-02,Lost,0,B
3,2024-01-03,2024-09-09,Offer,,A
"""


def read(tmp_path: Path, mapping: str, **files: str | bytes) -> Export:
    (tmp_path / "m.toml").write_text(mapping, encoding="utf-8")
    for name, content in files.items():
        raw = content.encode() if isinstance(content, str) else content
        (tmp_path / f"{name}.csv").write_bytes(raw)
    return read_export(load_mapping(tmp_path / "m.toml"), tmp_path)


def leads(tmp_path: Path, rows: str | bytes, more: str = "", columns: str = "") -> pd.DataFrame:
    mapping = HEAD + f'[leads]\nfile = "leads.csv"\n{more}\n[leads.columns]\nlead_id = "Id"\n{columns}\n'
    return read(tmp_path, mapping, leads=rows).frames()["leads"]


def test_further_columns_become_attributes_numbers_where_all_are_numbers(tmp_path: Path) -> None:
    """Numbers are numbers, a postcode or an 18-digit id is none, and ignored columns are left out."""
    rows = "Id,Visits,Zip,Long,Mixed,Secret\n1,3,01234,123456789012345678,1,x\n2,4.5,75001,2,n/a,y\n"
    frame = leads(tmp_path, rows, 'ignore = ["Secret"]')
    assert frame["Visits"].tolist() == [3.0, 4.5]
    assert frame["Zip"].tolist() == ["01234", "75001"]
    assert frame["Long"].tolist() == ["123456789012345678", "2"]
    assert frame["Mixed"].tolist() == ["1", "n/a"]
    assert "Secret" not in frame


def test_an_attribute_can_be_renamed_or_kept_as_text(tmp_path: Path) -> None:
    """[attributes] gives a column another name, and as_text keeps codes that look like numbers."""
    frame = leads(tmp_path, "Id,a,b\n1,10,20\n", 'as_text = ["size"]\n[leads.attributes]\nsize = "a"')
    assert frame["size"].tolist() == ["10"]
    assert frame["b"].tolist() == [20.0]
    assert "a" not in frame


def test_nulls_are_missing_everywhere(tmp_path: Path) -> None:
    """What the mapping lists under nulls is no value, in ids, attributes and numbers alike."""
    frame = leads(tmp_path, "Id,City,n\n1,Select,NULL\n2,Lyon,5\n", 'nulls = ["Select", "NULL"]')
    assert frame["City"].fillna("-").tolist() == ["-", "Lyon"]
    assert frame["n"].fillna(-1).tolist() == [-1.0, 5.0]


def test_a_column_without_a_name_is_left_out_with_a_notice(tmp_path: Path) -> None:
    """A trailing comma in the header makes a nameless column, which is dropped and said."""
    export = read(tmp_path, HEAD + '[leads]\nfile = "l.csv"\ncolumns = { lead_id = "Id" }', l="Id,\n1,\n")
    assert export.frames()["leads"].columns.tolist() == ["lead_id"]
    assert export.notices == ("l.csv: column 2 has no name; it was left out",)


def test_bom_emoji_and_line_breaks_in_quotes_are_read(tmp_path: Path) -> None:
    """Excel's byte order mark, an emoji and a note of several lines arrive as they are."""
    frame = leads(tmp_path, '\ufeffId,Note\n1,"hot 🔥\nlead"\n'.encode())
    assert frame["lead_id"].tolist() == ["1"]
    assert frame["Note"].tolist() == ["hot 🔥\nlead"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_other_encodings_are_read_when_named(tmp_path: Path, encoding: str) -> None:
    """An export in Windows' encodings is read once the mapping names it."""
    frame = leads(tmp_path, "Id,City\n1,Orléans\n".encode(encoding), f'encoding = "{encoding}"')
    assert frame["City"].tolist() == ["Orléans"]


def test_european_numbers_and_delimiters(tmp_path: Path) -> None:
    """Semicolons, a decimal comma and points between thousands are read as the mapping says."""
    rows = "Id;Value;n\n1;1.234,50;0,5\n2;7;1\n"
    options = 'delimiter = ";"\ndecimal = ","\nthousands = "."'
    mapping = f'[deals]\nfile = "d.csv"\n{options}\ncolumns = {{ deal_id = "Id", amount = "Value" }}'
    frame = read(tmp_path, HEAD + mapping, d=rows).frames()["deals"]
    assert frame["amount"].tolist() == [1234.5, 7.0]
    assert frame["n"].tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("written", "more", "moment"),
    [
        ("2024-07-01 12:00:00", 'timezone = "Europe/Paris"', "2024-07-01T10:00:00Z"),
        ("2024-01-01 12:00:00", 'timezone = "Europe/Paris"', "2024-01-01T11:00:00Z"),
        ("2024-07-01T12:00:00+05:30", "", "2024-07-01T06:30:00Z"),
        ("2024-07-01 12:00:00.123456Z", "", "2024-07-01T12:00:00.123456Z"),
        ("2024-07-01 12:00:00 UTC", "", "2024-07-01T12:00:00Z"),
        ("2024-07-01", 'timezone = "Europe/Paris"', "2024-06-30T22:00:00Z"),
        ("01/07/2024", 'date_format = "%d/%m/%Y"', "2024-07-01T00:00:00Z"),
        ("01/07/2024 09:30", 'date_format = ["%d/%m/%Y", "%d/%m/%Y %H:%M"]', "2024-07-01T09:30:00Z"),
        ("01.07.2024 09:30 +0200", 'date_format = "%d.%m.%Y %H:%M %z"', "2024-07-01T07:30:00Z"),
        ("1719835200", 'date_format = "unix"', "2024-07-01T12:00:00Z"),
        ("1719835200500", 'date_format = "unix_ms"', "2024-07-01T12:00:00.5Z"),
        ("2024-10-27 02:30:00", 'timezone = "Europe/Paris"\ndst = "earlier"', "2024-10-27T00:30:00Z"),
        ("2024-10-27 02:30:00", 'timezone = "Europe/Paris"\ndst = "later"', "2024-10-27T01:30:00Z"),
        ("2024-03-31 02:30:00", 'timezone = "Europe/Paris"\ndst = "later"', "2024-03-31T01:00:00Z"),
        # the clocks of São Paulo skipped midnight on that day
        ("2017-10-15", 'timezone = "America/Sao_Paulo"', "2017-10-15T03:00:00Z"),
    ],
)
def test_moments(tmp_path: Path, written: str, more: str, moment: str) -> None:
    """A moment is read in its own zone, else in the mapping's, in the format that the mapping names."""
    frame = leads(tmp_path, f"Id,At\n1,{written}\n", more, 'created_at = "At"')
    assert frame["created_at"].tolist() == [pd.Timestamp(moment)]


def test_different_offsets_in_one_column_are_each_converted(tmp_path: Path) -> None:
    """An export that spans a change of clocks writes two offsets; both are right."""
    rows = "Id,At\n1,2024-01-01T12:00:00+01:00\n2,2024-07-01T12:00:00+02:00\n3,\n"
    frame = leads(tmp_path, rows, columns='created_at = "At"')
    assert frame["created_at"].dt.hour.fillna(-1).tolist() == [11, 10, -1]


def test_gzip_and_parquet_hold_the_same(tmp_path: Path) -> None:
    """The same table as CSV, gzipped CSV and Parquet, whose numbers and moments have types, reads alike."""
    opened = pd.to_datetime(["2024-01-01T10:00:00Z", "2024-01-02T10:00:00.25Z"], format="ISO8601")
    table = pa.table(
        {
            "Id": pa.array([1, 2]),
            "Opened": pa.array(opened.to_pydatetime(), pa.timestamp("ms", tz="Europe/Paris")),
            "Value": pa.array([1.5, None]),
            "Kind": pa.array(["a", "b"]).dictionary_encode(),
        }
    )
    csv = "Id,Opened,Value,Kind\n1,2024-01-01T10:00:00Z,1.5,a\n2,2024-01-02T10:00:00.25Z,,b\n"
    (tmp_path / "d.csv").write_text(csv)
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(csv.encode()))
    pa.parquet.write_table(table, tmp_path / "d.parquet")
    frames = []
    for name in ("d.csv", "d.csv.gz", "d.parquet"):
        columns = 'columns = { deal_id = "Id", created_at = "Opened", amount = "Value" }'
        frames.append(read(tmp_path, f'{HEAD}[deals]\nfile = "{name}"\n{columns}').frames()["deals"])
    pd.testing.assert_frame_equal(frames[0], frames[1])
    pd.testing.assert_frame_equal(frames[0], frames[2])


def test_a_parquet_files_own_types_ignore_what_is_said_of_csv(tmp_path: Path) -> None:
    """A decimal comma and a date format of CSV files do not spoil Parquet's numbers and moments."""
    at = pa.array([datetime(2024, 5, 6, 7, 8, 9)], pa.timestamp("us"))  # noqa: DTZ001 - naive on purpose
    table = pa.table({"Id": ["x"], "At": at, "Value": [1.5]})
    pa.parquet.write_table(table, tmp_path / "d.parquet")
    more = 'decimal = ","\ndate_format = "%d/%m/%Y"\ntimezone = "Europe/Paris"'
    columns = 'columns = { deal_id = "Id", created_at = "At", amount = "Value" }'
    frame = read(tmp_path, f'{HEAD}[deals]\nfile = "d.parquet"\n{more}\n{columns}').frames()["deals"]
    assert frame["amount"].tolist() == [1.5]
    assert frame["created_at"].tolist() == [pd.Timestamp("2024-05-06T05:08:09Z")]


def test_an_open_deal_has_no_close_whatever_its_close_date_says(tmp_path: Path) -> None:
    """Many CRMs keep the expected date in the close date; it counts only once there is an outcome."""
    deals = read(tmp_path, HEAD + DEALS.format(more=""), deals=ROWS).frames()["deals"]
    assert deals["outcome"].fillna("-").tolist() == ["won", "lost", "-"]
    assert deals["closed_at"].isna().tolist() == [False, False, True]


def test_a_stage_without_history_is_unknown_before_the_close(tmp_path: Path) -> None:
    """The final stage would tell the outcome beforehand; it counts from the close on, and that is said."""
    export = read(tmp_path, HEAD + DEALS.format(more=""), deals=ROWS)
    closing = export.closing.set_index("record_id")
    assert closing["old_value"].isna().all()
    assert closing["new_value"].to_dict() == {"1": "Won", "2": "Lost", "3": "Offer"}
    assert closing.loc["1", "changed_at"] == pd.Timestamp("2024-02-01", tz="UTC")
    assert pd.isna(closing.loc["3", "changed_at"])
    assert "no history of stage" in export.notices[0]


def test_a_stage_without_history_or_time_is_left_empty(tmp_path: Path) -> None:
    """Where the outcome has no time either, the final stage can be known at no moment before it."""
    mapping = HEAD + DEALS.format(more="").replace('closed_at = "Closed"', "") + 'open = ["Offer"]\n'
    deals = read(tmp_path, mapping, deals=ROWS).frames()["deals"]
    assert deals["stage"].fillna("-").tolist() == ["-", "-", "Offer"]


def test_a_mapped_history_of_stages_is_used_instead(tmp_path: Path) -> None:
    """With the CRM's own field history nothing is made up about the stage."""
    history = """
[changes]
file = "h.csv"
columns = { record_id = "Deal", field = "Field", old_value = "Old", new_value = "New", changed_at = "At" }
constants = { entity = "deal" }
[changes.values.Field]
StageName = "stage"
"""
    rows = "Deal,Field,Old,New,At\n1,StageName,Offer,Won,2024-02-01\n"
    export = read(tmp_path, HEAD + DEALS.format(more="") + history, deals=ROWS, h=rows)
    assert export.closing.empty
    assert export.notices == ()
    assert export.frames()["changes"]["field"].tolist() == ["stage"]


def test_before_close_parts_what_was_believed_from_what_it_became(tmp_path: Path) -> None:
    """Until a deal is won its amount is the list price; the price paid is a change at the close."""
    more = """
[[deals.join]]
file = "prices.csv"
on = "Product"
take = { list_price = "Price" }
[deals.before_close.amount]
column = "list_price"
changes_when = "won"
[deals.before_close.stage]
value = "Offer"
"""
    export = read(
        tmp_path, HEAD + DEALS.format(more=more), deals=ROWS, prices="Product,Price\nA,100\nB,200\n"
    )
    deals = export.frames()["deals"]
    assert deals["amount"].tolist() == [90.0, 200.0, 100.0]
    assert deals["Product"].tolist() == ["A", "B", "A"]
    assert "list_price" not in deals
    found = export.closing[["record_id", "field", "old_value", "new_value"]].to_numpy().tolist()
    assert sorted(found) == [
        ["1", "amount", "100", "90"],
        ["1", "stage", "Offer", "Won"],
        ["2", "stage", "Offer", "Lost"],
    ]


def test_a_join_keeps_every_row_in_its_place(tmp_path: Path) -> None:
    """Leads with and without a row in the second file keep theirs; only what is named is taken."""
    mapping = """
[leads]
file = "leads.csv"
columns = { lead_id = "id", closed_at = "won_date" }
outcome = { won_where_filled = "won_date" }
[[leads.join]]
file = "won.csv"
on = "id"
right_on = "lead"
take = { won_date = "at" }
"""
    won = "lead,at,segment\nc,2024-01-03,x\na,2024-01-01,y\nz,2024-01-09,z\n"
    export = read(tmp_path, HEAD + mapping, leads="id\na\nb\nc\n", won=won)
    frame = export.frames()["leads"]
    assert frame["outcome"].fillna("-").tolist() == ["won", "-", "won"]
    assert frame["closed_at"].dt.day.fillna(0).tolist() == [1, 0, 3]
    assert "segment" not in frame
    assert export.notices == ("won.csv: 1 rows belong to no row of leads.csv; left out",)


@pytest.mark.parametrize(("policy", "left"), [("skip", ["2"]), ("close_at_creation", ["1", "2"])])
def test_an_outcome_before_creation_can_be_settled(tmp_path: Path, policy: str, left: list[str]) -> None:
    """The mapping may leave such records out, or take them to have ended as they began; either is said."""
    rows = "Id,Opened,Closed,Stage,Value\n1,2024-03-01,2024-02-01,Won,1\n2,2024-01-01,2024-02-01,Won,1\n"
    export = read(tmp_path, HEAD + DEALS.format(more=f'outcome_before_creation = "{policy}"'), deals=rows)
    deals = export.frames()["deals"]
    assert deals["deal_id"].tolist() == left
    assert (deals["closed_at"] >= deals["created_at"]).all()
    assert "1 record ended before it began (1)" in export.notices[0]


def test_the_last_of_repeated_rows_can_be_kept(tmp_path: Path) -> None:
    """duplicates = "last" keeps one row for each id, and says how many went."""
    frame = leads(tmp_path, "Id,n\n1,1\n2,2\n1,3\n", 'duplicates = "last"')
    assert frame[["lead_id", "n"]].to_numpy().tolist() == [["2", 2.0], ["1", 3.0]]


def test_activities_without_ids_are_numbered_the_same_each_time(tmp_path: Path) -> None:
    """Two calls of one minute are two, and a later export gives each the id it had."""
    mapping = (
        HEAD
        + '[leads]\nfile = "l.csv"\ncolumns = { lead_id = "Id" }\n'
        + '[[activities]]\nfile = "c.csv"\nconstants = { kind = "call" }\n'
        + 'columns = { lead_id = "Who", occurred_at = "At" }\n'
    )
    calls = "Who,At\n1,2024-01-01T10:00Z\n1,2024-01-01T10:00Z\n"
    first = read(tmp_path, mapping, l="Id\n1\n2\n", c=calls).frames()["activities"]
    later = read(tmp_path, mapping, l="Id\n1\n2\n", c=calls + "2,2024-01-01T09:00Z\n").frames()["activities"]
    assert first["activity_id"].is_unique
    assert set(first["activity_id"]) < set(later["activity_id"])


def test_an_expected_date_that_becomes_the_closing_date_is_unknown_before(tmp_path: Path) -> None:
    """One column for both dates holds the actual close of closed deals, which nobody knew beforehand."""
    mapping = HEAD + DEALS.format(more="").replace(
        'stage = "Stage"', 'stage = "Stage"\nexpected_close_at = "Closed"'
    )
    export = read(tmp_path, mapping, deals=ROWS)
    closing = export.closing.query("field == 'expected_close_at'").set_index("record_id")
    assert closing["old_value"].isna().all()
    assert closing.loc["1", "changed_at"] == pd.Timestamp("2024-02-01", tz="UTC")
    assert closing.loc["3", "new_value"] == "2024-09-09T00:00:00+00:00"
    assert any("no history of expected_close_at" in notice for notice in export.notices)


def test_the_values_of_a_field_history_are_written_plainly(tmp_path: Path) -> None:
    """Moments and numbers of a history take the form of ours; a field that no record has is said."""
    history = """
[changes]
file = "h.csv"
delimiter = ";"
decimal = ","
date_format = "%d/%m/%Y"
columns = { record_id = "Deal", field = "Field", old_value = "Old", new_value = "New", changed_at = "At" }
constants = { entity = "deal" }
"""
    rows = (
        "Deal;Field;Old;New;At\n"
        "1;amount;1234,50;90;05/01/2024\n"
        "1;expected_close_at;31/01/2024;01/02/2024;06/01/2024\n"
        "1;Discount;1,5;none;07/01/2024\n"
        "1;Size;1,5;2;07/01/2024\n"
        "1;StageName;Offer;Won;01/02/2024\n"
    )
    deals = "Id,Opened,Closed,Stage,Value,Size\n1,2024-01-01,2024-02-01,Won,90,2\n"
    export = read(tmp_path, HEAD + DEALS.format(more="") + history, deals=deals, h=rows)
    changes = export.frames()["changes"].set_index("field")
    assert changes.loc["amount", ["old_value", "new_value"]].tolist() == ["1234.5", "90"]
    assert changes.loc["expected_close_at", "old_value"] == "2024-01-31T00:00:00+00:00"
    assert changes.loc["Size", ["old_value", "new_value"]].tolist() == ["1.5", "2"]
    assert changes.loc["Discount", "new_value"] == "none"
    assert any("1 changes of 'StageName', which is no column of deals" in notice for notice in export.notices)
