"""vigie import, simulate, doctor, upgrade: what they say, and what they leave where they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crm.store import Store

MAPPING = """
[export]
name = "small"
timezone = "UTC"

[deals]
file = "deals.csv"

[deals.columns]
deal_id = "id"
created_at = "created"
closed_at = "closed"
stage = "stage"

[deals.outcome]
column = "stage"
won = ["won"]
lost = ["lost"]
"""
FIRST = "id,created,closed,stage\n1,2024-01-02,2024-02-01,won\n2,2024-01-05,,talk\n"
SECOND = "id,created,closed,stage\n1,2024-01-02,2024-02-01,won\n2,2024-01-05,,offer\n3,2024-02-20,,talk\n"


@pytest.fixture
def export(tmp_path: Path) -> tuple[Path, Path]:
    """Give a mapping and the folder of a small export."""
    mapping, data = tmp_path / "small.toml", tmp_path / "data"
    mapping.write_text(MAPPING)
    data.mkdir()
    (data / "deals.csv").write_text(FIRST)
    return mapping, data


def import_(vigie: Any, export: tuple[Path, Path], store: Path, at: str = "2024-02-10") -> Any:
    mapping, data = export
    return vigie.ask("import", mapping, "--data", data, "--history", store, "--exported-at", at)


def test_an_export_is_loaded_and_counted(vigie: Any, export: tuple[Path, Path], tmp_path: Path) -> None:
    """The first import makes the store and says what is in it."""
    said = import_(vigie, export, tmp_path / "crm.sqlite")
    assert said["tables"]["deals"] == {"new": 2, "changed": 0, "unchanged": 0}
    assert said["exported_at"] == "2024-02-10T00:00:00+00:00"
    assert len(Store.open(str(tmp_path / "crm.sqlite")).read().deals) == 2


def test_a_later_export_becomes_changes(vigie: Any, export: tuple[Path, Path], tmp_path: Path) -> None:
    """What differs from the last export is a change, told in words."""
    import_(vigie, export, tmp_path / "crm.sqlite")
    mapping, data = export
    (data / "deals.csv").write_text(SECOND)
    said = vigie.say(
        "import", mapping, "--data", data, "--history", tmp_path / "crm.sqlite", "--exported-at", "2024-03-01"
    )
    assert "Since the export of 2024-02-10 00:00 UTC: 1 fields changed, 0 records gone" in said


def test_the_same_export_again_adds_nothing(vigie: Any, export: tuple[Path, Path], tmp_path: Path) -> None:
    """Loading twice is told as nothing new."""
    mapping, data = export
    again = ("import", mapping, "--data", data, "--history", tmp_path / "crm.sqlite")
    vigie.say(*again, "--exported-at", "2024-02-10")
    assert "Nothing new" in vigie.say(*again, "--exported-at", "2024-02-10")


def test_an_old_export_asks_for_its_moment(vigie: Any, export: tuple[Path, Path], tmp_path: Path) -> None:
    """Taken as of today, an export of long ago is told apart; with its moment it is not."""
    mapping, data = export
    new = ("import", mapping, "--data", data, "--history")
    assert "--exported-at" in vigie.say(*new, tmp_path / "today.sqlite")
    said = vigie.say(*new, tmp_path / "then.sqlite", "--exported-at", "2024-02-10")
    assert "--exported-at" not in said


def test_a_bad_export_leaves_no_store(vigie: Any, export: tuple[Path, Path], tmp_path: Path) -> None:
    """Where the first import fails, the store that it would have made is not there."""
    mapping, data = export
    (data / "deals.csv").write_text("id;created;closed;stage\n1;2024-01-02;;talk\n")
    store = tmp_path / "crm.sqlite"
    message = vigie.refusal("import", mapping, "--data", data, "--history", store)
    assert "deals.csv" in message
    assert not list(tmp_path.glob("crm.sqlite*"))


def test_a_bad_export_leaves_a_store_as_it_was(vigie: Any, export: tuple[Path, Path], tmp_path: Path) -> None:
    """Where a later import fails, the store keeps what it had."""
    store = tmp_path / "crm.sqlite"
    import_(vigie, export, store)
    before = Store.open(str(store)).read().deals
    mapping, data = export
    (data / "deals.csv").write_text(SECOND + "3,2024-02-20,,talk\n")
    assert "3" in vigie.refusal(
        "import", mapping, "--data", data, "--history", store, "--exported-at", "2024-03-01"
    )
    assert Store.open(str(store)).read().deals.equals(before)


def test_a_mapping_with_a_slip_is_refused(vigie: Any, export: tuple[Path, Path], tmp_path: Path) -> None:
    """The message names the file and the key."""
    mapping, data = export
    mapping.write_text(MAPPING.replace("[deals.outcome]", "[deals.outcom]"))
    message = vigie.refusal("import", mapping, "--data", data, "--history", tmp_path / "crm.sqlite")
    assert "small.toml" in message
    assert "outcom" in message
    assert not (tmp_path / "crm.sqlite").exists()


def test_an_export_without_its_zone_is_a_wrong_use(
    vigie: Any, export: tuple[Path, Path], tmp_path: Path
) -> None:
    """A moment that names no zone is refused with how to write it, and nothing is made."""
    mapping, data = export
    store = tmp_path / "crm.sqlite"
    asked = ("--history", store, "--exported-at", "2024-02-10T08:00")
    message = vigie.refusal("import", mapping, "--data", data, *asked, code=2)
    assert "names no time zone" in message
    assert "2024-02-10T08:00+00:00" in message
    assert not store.exists()


def test_doctor_says_what_a_history_can_support(
    vigie: Any, export: tuple[Path, Path], tmp_path: Path
) -> None:
    """Two deals are too few, in words and in JSON; the clock is that of the history, not today's."""
    store = tmp_path / "crm.sqlite"
    import_(vigie, export, store)
    assert "deals: 1 won" in vigie.say("doctor", "--history", store)
    said = vigie.ask("doctor", "--history", store)
    assert said["outcomes"]["deal"]["won"] == 1
    assert not any(model["can"] for model in said["models"])
    assert said["as_of"].startswith("2024-02-")


def test_doctor_looks_as_of_a_moment(vigie: Any, export: tuple[Path, Path], tmp_path: Path) -> None:
    """At a moment before the win, no deal is won."""
    store = tmp_path / "crm.sqlite"
    import_(vigie, export, store)
    assert vigie.ask("doctor", "--history", store, "--as-of", "2024-01-20")["outcomes"]["deal"]["won"] == 0


def test_a_store_that_is_not_there_is_named(vigie: Any, tmp_path: Path) -> None:
    """Every command that reads a history says which is missing and how to make it."""
    store = tmp_path / "none.sqlite"
    out = tmp_path / "scores.csv"
    for command in (("doctor",), ("train",), ("upgrade",), ("promote",)):
        message = vigie.refusal(*command, "--history", store)
        assert "none.sqlite does not exist" in message
        assert "vigie import" in message
    assert not store.exists()
    assert not out.exists()


def test_a_file_that_is_no_store_is_refused(vigie: Any, tmp_path: Path) -> None:
    """A spreadsheet given as a history is told apart from a store."""
    path = tmp_path / "crm.sqlite"
    path.write_text("id,created\n" * 100)
    assert "no history store" in vigie.refusal("doctor", "--history", path)
    assert path.read_text().startswith("id,created")


def test_upgrade_leaves_a_new_store_as_it_is(vigie: Any, company: Any) -> None:
    """A store of this version has the newest schema already."""
    assert "newest schema" in vigie.say("upgrade", "--history", company.history)


def test_simulated_records_do_not_mix_with_others(
    vigie: Any, export: tuple[Path, Path], tmp_path: Path
) -> None:
    """A store that holds a history is no place for a simulation."""
    store = tmp_path / "crm.sqlite"
    import_(vigie, export, store)
    assert "must not mix" in vigie.refusal("simulate", "--leads", 100, "--history", store)
    assert len(Store.open(str(store)).read().leads) == 0


def test_the_same_simulation_again_changes_nothing(vigie: Any, tmp_path: Path) -> None:
    """The same arguments give the same rows."""
    again = ("simulate", "--leads", 60, "--years", 1, "--history", tmp_path / "crm.sqlite")
    assert vigie.ask(*again)["tables"]["leads"]["new"] == 60
    assert vigie.ask(*again)["tables"]["leads"] == {"new": 0, "changed": 0, "unchanged": 60}


def test_a_simulation_too_small_leaves_no_store(vigie: Any, tmp_path: Path) -> None:
    """A refused size makes no file."""
    assert "50 or more" in vigie.refusal("simulate", "--leads", 3, "--history", tmp_path / "crm.sqlite")
    assert not (tmp_path / "crm.sqlite").exists()
