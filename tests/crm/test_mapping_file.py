"""The mapping file is read strictly, and each slip of the pen is refused with its remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crm.errors import MappingError
from crm.mapping import load_mapping

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

LEADS = """
[export]
name = "crm"
timezone = "Europe/Paris"

[leads]
file = "leads.csv"

[leads.columns]
lead_id = "Id"
created_at = "Created"

[leads.outcome]
column = "Status"
won = ["Converted"]
lost = ["Dead"]
"""

EVENTS = """
[export]
name = "log"

[events]
file = "log.csv"
entity = "deal"
record = "case"
time = "at"
activity = "what"
status = "state"
statuses = { COMPLETE = "done" }

[events.outcomes]
won = ["SIGNED"]

[events.stages]
stage = ["A_*"]

[[events.work]]
match = ["W_*"]
channel = "call"
direction = "out"
"""


def load(tmp_path: Path, text: str):
    path = tmp_path / "m.toml"
    path.write_text(text, encoding="utf-8")
    return load_mapping(path)


@pytest.mark.parametrize("name", ["bpic2012", "olist", "x_education", "maven_crm"])
def test_every_example_is_a_valid_mapping(name: str) -> None:
    """The mappings that the documentation points to can be read, and are named after their file."""
    assert load_mapping(EXAMPLES / f"{name}.toml").name == name


def test_what_the_documentation_shows_is_a_valid_mapping(tmp_path: Path) -> None:
    """Every piece of TOML on the page can be read, and those that make whole sections load as they stand."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "import.md").read_text(encoding="utf-8"), re.S)
    assert len(blocks) >= 6
    export, deals, join, before, changes, leads, events = blocks
    mapping = load(tmp_path, "\n".join((export, deals, join, before, changes, events)))
    assert [table.table for table in mapping.tables] == ["deals", "changes"]
    assert mapping.tables[0].before_close["amount"].changes_when == "won"
    assert mapping.events[0].stages == {"stage": ("A_*",), "offer_stage": ("O_*",)}
    assert (
        load(tmp_path, export + '[leads]\nfile = "l.csv"\n' + leads).tables[0].columns["sequence"]
        == "Lead Number"
    )


def test_a_table_takes_the_options_of_the_export_and_may_override_them(tmp_path: Path) -> None:
    """What [export] says of files holds for each table, unless the table says otherwise."""
    text = LEADS + '\n[users]\nfile = "u.csv"\ndelimiter = ";"\ncolumns = { user_id = "Id" }\n'
    tables = {table.table: table for table in load(tmp_path, text).tables}
    assert tables["leads"].options.timezone == tables["users"].options.timezone == "Europe/Paris"
    assert (tables["leads"].options.delimiter, tables["users"].options.delimiter) == (",", ";")


def test_a_table_may_come_from_several_files(tmp_path: Path) -> None:
    """Calls and emails in two files are two [[activities]] sections."""
    part = (
        "\n[[activities]]\n"
        + 'file = "{0}.csv"\nconstants = {{ kind = "{0}" }}\ncolumns = {{ occurred_at = "At" }}\n'
    )
    mapping = load(tmp_path, LEADS + part.format("call") + part.format("email"))
    assert [table.file for table in mapping.tables] == ["leads.csv", "call.csv", "email.csv"]


def test_an_event_mapping_carries_its_lists(tmp_path: Path) -> None:
    """Outcomes, tracks of stages, statuses and kinds of work are read as they are written."""
    (events,) = load(tmp_path, EVENTS).events
    assert (events.won, events.stages, dict(events.statuses)) == (
        ("SIGNED",),
        {"stage": ("A_*",)},
        {"COMPLETE": "done"},
    )
    assert (events.work[0].match, events.work[0].channel, events.work[0].direction) == (
        ("W_*",),
        "call",
        "out",
    )


def test_the_digest_changes_with_the_file(tmp_path: Path) -> None:
    """Two mappings that differ in a comment have different digests, and the same file the same one."""
    first = load(tmp_path, LEADS).digest
    assert load(tmp_path, LEADS).digest == first
    assert load(tmp_path, LEADS + "# note\n").digest != first


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'timezone = "Europe/Paris"',
            'time_zone = "Europe/Paris"',
            "time_zone: no such key; did you mean 'timezone'?",
        ),
        ('timezone = "Europe/Paris"', 'timezone = "Paris"', "no IANA zone"),
        ('timezone = "Europe/Paris"', 'encoding = "utf-88"', "'utf-88' is unknown"),
        ('timezone = "Europe/Paris"', 'delimiter = "||"', "not one character"),
        ('timezone = "Europe/Paris"', "nulls = [1]", "write it in quotes"),
        ('timezone = "Europe/Paris"', 'dst = "latest"', "did you mean 'later'?"),
        ('name = "crm"', "", 'missing; add name = "text"'),
        ('name = "crm"', "name = 3", "not of the right type"),
        ('file = "leads.csv"', "", "file: missing"),
        ('file = "leads.csv"', 'file = "leads.csv"\nfull = "yes"', "write full = true or false"),
        ('file = "leads.csv"', 'file = "leads.csv"\ngone_limit = 3', "not between 0 and 1"),
        ('file = "leads.csv"', 'file = "leads.csv"\noutcome_from = "orders"', 'write "deals" or "leads"'),
        ('lead_id = "Id"', 'leadid = "Id"', "did you mean 'lead_id'?"),
        ('lead_id = "Id"', "", "columns.lead_id: missing"),
        ('lead_id = "Id"', 'lead_id = "Id"\noutcome = "Status"', "is given under outcome too"),
        ('won = ["Converted"]', 'won = ["Dead"]', "'Dead' is listed twice"),
        ('won = ["Converted"]\nlost = ["Dead"]', "", "won: missing"),
        ('column = "Status"', "", "column: missing"),
        ("[leads.columns]", "[lead]\nx = 1\n[leads.columns]", "lead: no such key; did you mean 'leads'?"),
        ("[leads.columns]", '[leads.attributes]\nsource = "Src"\n[leads.columns]', "is a canonical column"),
        (
            "[leads.columns]",
            '[leads.before_close]\nstage = { value = "New", column = "S" }\n[leads.columns]',
            "either",
        ),
        ("[leads.columns]", '[[leads.join]]\nfile = "a.csv"\non = "Id"\n[leads.columns]', "take: missing"),
    ],
)
def test_a_slip_is_named_with_its_remedy(tmp_path: Path, old: str, new: str, said: str) -> None:
    """Unknown, missing and mistyped keys are refused; the message names the key and what to write."""
    assert old in LEADS
    with pytest.raises(MappingError) as caught:
        load(tmp_path, LEADS.replace(old, new, 1))
    assert said in str(caught.value)
    assert str(caught.value).startswith("m.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('entity = "deal"', 'entity = "deals"', "did you mean 'deal'?"),
        ('COMPLETE = "done"', 'COMPLETE = "finished"', "'finished' is not one of"),
        ('status = "state"\n', "", "status: missing"),
        ('direction = "out"', 'direction = "outbound"', 'write "in" or "out"'),
        ("[events.outcomes]", 'columns = { stage = "S" }\n[events.outcomes]', "comes from the events"),
        ('match = ["W_*"]', "", "match: missing"),
    ],
)
def test_a_slip_in_an_event_mapping_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    """The section of an event log is as strict as those of tables."""
    assert old in EVENTS
    with pytest.raises(MappingError) as caught:
        load(tmp_path, EVENTS.replace(old, new, 1))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"[export", "not valid TOML"),
        ("[export]\nname = 'é'".encode("latin-1"), "not UTF-8 at byte 17"),
        (b"", "no [export] section"),
        (b"[export]\nname = 'x'\n", "no table"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, raw: bytes, said: str) -> None:
    """Broken TOML, another encoding and an empty file each get a message of their own."""
    path = tmp_path / "m.toml"
    path.write_bytes(raw)
    with pytest.raises(MappingError) as caught:
        load_mapping(path)
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is said, not traced back."""
    with pytest.raises(MappingError, match=r"nowhere\.toml: cannot be read"):
        load_mapping(tmp_path / "nowhere.toml")
