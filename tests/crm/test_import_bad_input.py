"""What is wrong with an export is said with file, place, value and remedy; nothing is loaded."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from crm.errors import ExportError
from crm.importing import import_export
from crm.store import Store

MAPPING = """
[export]
name = "crm"
{export_keys}

[leads]
file = "{file}"
{leads_keys}

[leads.columns]
lead_id = "Id"
created_at = "Created"
closed_at = "Ended"

[leads.outcome]
column = "Status"
won = ["Won"]
lost = ["Lost"]
open = ["Open"]

[activities]
file = "calls.csv"
{activities_keys}

[activities.columns]
activity_id = "No"
lead_id = "Lead"
occurred_at = "At"

[activities.constants]
kind = "call"
"""
HEADER = "Id,Created,Ended,Status,City\n"
GOOD = HEADER + "1,2024-01-01T00:00:00Z,,Open,Lyon\n2,2024-01-02T00:00:00Z,2024-02-01T00:00:00Z,Won,Nantes\n"
CALLS = "No,Lead,At\nc1,1,2024-01-05T00:00:00Z\n"
T = pd.Timestamp("2024-03-01T00:00:00Z")


def attempt(
    tmp_path: Path,
    leads: str | bytes = GOOD,
    calls: str | bytes = CALLS,
    file: str = "leads.csv",
    written_as: str | None = None,
    export_keys: str = "",
    leads_keys: str = "",
    activities_keys: str = "",
) -> tuple[str, Store]:
    """Import into a store that holds one lead already; give the error's text and the store."""
    data = tmp_path / "data"
    data.mkdir()
    for name, content in ((written_as or file, leads), ("calls.csv", calls)):
        (data / name).write_bytes(content.encode() if isinstance(content, str) else content)
    keys = {"export_keys": export_keys, "leads_keys": leads_keys, "activities_keys": activities_keys}
    (tmp_path / "m.toml").write_text(MAPPING.format(file=file, **keys))
    store = Store.open(f"sqlite:///{tmp_path / 'h.db'}", create=True)
    already = pd.DataFrame({"lead_id": ["0"], "created_at": [pd.Timestamp("2023-01-01T00:00:00Z")]})
    store.load({"leads": already}, source="other", exported_at=T)
    with pytest.raises(ExportError) as caught:
        import_export(tmp_path / "m.toml", data, store, T)
    return str(caught.value), store


def assert_untouched(store: Store) -> None:
    """Check that the store holds what it held before the failed import, and no trace of it."""
    history = store.read()
    assert history.leads["lead_id"].tolist() == ["0"]
    assert history.activities.empty
    assert history.changes.empty
    assert [load.source for load in store.loads()] == ["other"]


ZIPPED = gzip.compress(GOOD.encode())

CASES: dict[str, tuple[dict[str, str | bytes], list[str]]] = {
    "cut within a row": (
        {"leads": GOOD[: GOOD.rindex(",Won")]},
        ["leads.csv: row 2 has 3 fields, the header has 5", "cut short"],
    ),
    "cut within quotes": (
        {"leads": GOOD + '3,2024-01-03T00:00:00Z,,Open,"La Ro'},
        ["row 3 opens a quotation mark that is never closed", "La Ro"],
    ),
    "a row too long": (
        {"leads": GOOD + "3,2024-01-03T00:00:00Z,,Open,Lyon, France\n"},
        ["row 3 has 6 fields, the header has 5", "quote values"],
    ),
    "gzip cut in half": (
        {"leads": ZIPPED[: len(ZIPPED) // 2], "file": "leads.csv.gz"},
        ["leads.csv.gz: the gzip file ends too early", "copy or export it again"],
    ),
    "gzip that is none": ({"leads": GOOD, "file": "leads.csv.gz"}, ["not a sound gzip file", "drop .gz"]),
    "gzip unnamed": ({"leads": ZIPPED}, ["is gzipped; name it leads.csv.gz"]),
    "gzip spoilt inside": (
        {"leads": ZIPPED[:20] + b"\xff\xff\xff" + ZIPPED[23:], "file": "leads.csv.gz"},
        ["not a sound gzip file"],
    ),
    "wrong delimiter": (
        {"leads": GOOD.replace(",", ";")},
        ["the whole header is one column", "not ',' but ';'", 'say delimiter = ";"'],
    ),
    "wrong encoding": (
        {"leads": GOOD.replace("Lyon", "Orléans").encode("cp1252")},
        ["leads.csv: byte 61 (line 2) is 0xe9, which is not utf-8", 'say encoding = "cp1252"'],
    ),
    "utf-16": ({"leads": GOOD.encode("utf-16")}, ['say encoding = "utf-16"']),
    "bytes of nothing": ({"leads": GOOD + "\0\0\0"}, ["NUL characters from line 4"]),
    "empty": ({"leads": ""}, ["leads.csv: the file is empty"]),
    "header only": ({"leads": HEADER}, ["columns but no rows", "may_be_empty = true"]),
    "header without line break": ({"leads": HEADER.strip()}, ["columns but no rows"]),
    "missing column": (
        {"leads": GOOD.replace("Created", "CreatedAt")},
        ["no column 'Created'", "[leads] created_at", "did you mean 'CreatedAt'?", "Id, CreatedAt, Ended"],
    ),
    "column twice": ({"leads": GOOD.replace("City", "Id")}, ["the column 'Id' comes 2 times"]),
    "ignored column missing": ({"leads_keys": 'ignore = ["Town"]'}, ["no column 'Town'", "[leads] ignore"]),
    "one of our names unmapped": (
        {"leads": GOOD.replace("City", "stage")},
        ["the column 'stage' has the name of one of ours", "under [leads.columns]"],
    ),
    "duplicate ids": (
        {"leads": GOOD + "1,2024-01-03T00:00:00Z,,Open,Lyon\n"},
        ["leads.csv, row 1: Id = '1'", "row 3: Id = '1'", 'duplicates = "last"'],
    ),
    "id missing": (
        {"leads": GOOD + ",2024-01-03T00:00:00Z,,Open,Lyon\n"},
        ["row 3", "lead_id", "is missing"],
    ),
    "outcome before creation": (
        {"leads": GOOD.replace("2024-02-01", "2023-02-01")},
        ["leads.csv, row 2: closed_at", "1 record ended before it began (2)", "outcome_before_creation"],
    ),
    "activity of an unknown record": (
        {"calls": CALLS + "".join(f"c{n},9,2024-01-05T00:00:00Z\n" for n in range(2, 9))},
        ["calls.csv, row 2: lead_id = '9'", "7 such rows in all", 'unknown_records = "skip"'],
    ),
    "unknown stage": (
        {"leads": GOOD.replace("Open", "Parked")},
        ["leads.csv, row 1: Status = 'Parked': is unknown to the mapping", "won, lost or open"],
    ),
    "stage in other capitals": (
        {"leads": GOOD.replace("Won", "won")},
        ["no row has Status = 'Won', but some have 'won'"],
    ),
    "no time zone": (
        {"leads": GOOD.replace("2024-01-01T00:00:00Z", "2024-01-01 00:00:00")},
        ["row 1: Created = '2024-01-01 00:00:00': names no time zone", 'timezone = "Europe/Paris"'],
    ),
    "zones mixed with none": (
        {
            "leads": GOOD.replace("2024-01-01T00:00:00Z", "2024-01-01 00:00:00"),
            "export_keys": 'timezone = "UTC"',
        },
        ["row 1", "while other values of the column do"],
    ),
    "an hour that comes twice": (
        {
            "leads": GOOD.replace("2024-01-01T00:00:00Z", "2024-10-27 02:30:00").replace(
                "2024-01-02T00:00:00Z", ""
            ),
            "export_keys": 'timezone = "Europe/Paris"',
        },
        ["'2024-10-27 02:30:00'", "show twice or skip", 'dst = "earlier"'],
    ),
    "an hour that is skipped": (
        {
            "leads": GOOD.replace("2024-01-01T00:00:00Z", "2024-03-31 02:30:00").replace(
                "2024-01-02T00:00:00Z", ""
            ),
            "export_keys": 'timezone = "Europe/Paris"',
        },
        ["'2024-03-31 02:30:00'", "show twice or skip"],
    ),
    "no moment": (
        {"leads": GOOD.replace("2024-01-01T00:00:00Z", "soon")},
        ["row 1: Created = 'soon': is no moment written as ISO 8601", "date_format"],
    ),
    "day before month": (
        {"leads": GOOD.replace("2024-01-01T00:00:00Z", "13/01/2024")},
        ["'13/01/2024': is no moment", "date_format"],
    ),
    "the year 1900": (
        {"leads": GOOD.replace("2024-01-01T", "1900-01-01T")},
        ["row 1", "created_at", "1900-01-01"],
    ),
    "the year 9999": (
        {"leads": GOOD.replace("2024-02-01T", "9999-12-31T")},
        ["row 2", "closed_at", "9999-12-31"],
    ),
    "no such file": (
        {"file": "lead.csv", "written_as": "leads.csv"},
        ["lead.csv: no such file; did you mean 'leads.csv'?"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_and_nothing_is_loaded(tmp_path: Path, case: str) -> None:
    """Every fault stops the whole import with a message that names place, value and remedy."""
    given, said = CASES[case]
    text, store = attempt(tmp_path, **given)  # type: ignore[arg-type]
    for part in said:
        assert part in text, text
    assert_untouched(store)


def test_a_parquet_file_cut_short_is_refused(tmp_path: Path) -> None:
    """Half a Parquet file is named as such."""
    whole = tmp_path / "whole.parquet"
    pa.parquet.write_table(pa.table({"Id": ["1"] * 1000}), whole)
    raw = whole.read_bytes()
    text, store = attempt(tmp_path, leads=raw[: len(raw) // 2], file="leads.parquet")
    assert "leads.parquet: not a whole Parquet file" in text
    assert "copy it again" in text
    assert_untouched(store)


def test_a_nested_parquet_column_is_refused(tmp_path: Path) -> None:
    """A list in a cell has no place in a table, and the column is named."""
    path = tmp_path / "nested.parquet"
    pa.parquet.write_table(pa.table({"Id": ["1"], "Tags": [["a", "b"]]}), path)
    text, _ = attempt(tmp_path, leads=path.read_bytes(), file="leads.parquet")
    assert "the column 'Tags' holds list" in text


def test_absurd_numbers_are_refused(tmp_path: Path) -> None:
    """An infinite amount, or one in words, is no amount."""
    data = tmp_path / "data"
    data.mkdir()
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        '[export]\nname = "x"\n[deals]\nfile = "d.csv"\ncolumns = { deal_id = "Id", amount = "V" }\n'
    )
    for value in ("inf", "1e999", "12 k€", "nan"):
        (data / "d.csv").write_text(f"Id,V\n1,{value}\n", encoding="utf-8")
        store = Store.open(f"sqlite:///{tmp_path / 'h.db'}", create=True)
        with pytest.raises(ExportError, match=r"d\.csv, row 1: V = .*is no number"):
            import_export(mapping, data, store, T)


def test_a_joined_file_with_a_key_twice_or_missing_is_refused(tmp_path: Path) -> None:
    """A join may neither multiply rows nor silently leave a required value empty."""
    data = tmp_path / "data"
    data.mkdir()
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        '[export]\nname = "x"\n[deals]\nfile = "d.csv"\ncolumns = { deal_id = "Id" }\n'
        '[[deals.join]]\nfile = "p.csv"\non = "Product"\ntake = { price = "Price" }\nrequired = true\n'
    )
    (data / "d.csv").write_text("Id,Product\n1,GTXPro\n")
    store = Store.open(f"sqlite:///{tmp_path / 'h.db'}", create=True)
    (data / "p.csv").write_text("Product,Price\nA,1\nA,2\n")
    with pytest.raises(ExportError, match=r"p\.csv, row 2: Product = 'A': comes more than once"):
        import_export(mapping, data, store, T)
    (data / "p.csv").write_text("Product,Price\nGTX Pro,1\n")
    with pytest.raises(
        ExportError, match=r"d\.csv, row 1: Product = 'GTXPro': is not among Product of p\.csv"
    ):
        import_export(mapping, data, store, T)


def test_activities_of_unknown_records_can_be_left_out(tmp_path: Path) -> None:
    """With unknown_records = "skip" the rest is loaded, and the report says what was left out."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "leads.csv").write_text(GOOD)
    (data / "calls.csv").write_text(CALLS + "c2,9,2024-01-06T00:00:00Z\n")
    keys = {"export_keys": "", "leads_keys": "", "activities_keys": 'unknown_records = "skip"'}
    (tmp_path / "m.toml").write_text(MAPPING.format(file="leads.csv", **keys))
    store = Store.open(f"sqlite:///{tmp_path / 'h.db'}", create=True)
    report = import_export(tmp_path / "m.toml", data, store, T)
    assert store.read().activities["activity_id"].tolist() == ["c1"]
    assert report.notices == ("calls.csv: 1 rows are about records that are not known (9); left out",)


def test_the_folder_of_the_data_must_exist(tmp_path: Path) -> None:
    """A wrong --data is said as such."""
    (tmp_path / "m.toml").write_text(
        MAPPING.format(file="l.csv", export_keys="", leads_keys="", activities_keys="")
    )
    store = Store.open(f"sqlite:///{tmp_path / 'h.db'}", create=True)
    with pytest.raises(ExportError, match="no such folder"):
        import_export(tmp_path / "m.toml", tmp_path / "nowhere", store, T)
