"""The training's configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm.errors import InputError
from training.settings import TrainSettings, read_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "train.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_changes_what_it_names_and_no_more(tmp_path: Path) -> None:
    """Named settings are read, nested ones too; the others keep their defaults."""
    got = read_settings(
        write(tmp_path, 'horizon_days = 60\n[hazard]\nrounds = 50\n[audit]\nkeep = ["Tags"]\n')
    )
    assert got.horizon_days == 60.0 and got.hazard.rounds == 50 and got.audit.keep == ("Tags",)
    assert got.hazard.leaves == TrainSettings().hazard.leaves


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("horizon_day = 60", "did you mean horizon_days"),
        ('horizon_days = "60"', "must be a number"),
        ("hazard = 3", "wrong type"),
        (
            'lead_outcome = "orders"',
            r"toml: setting lead_outcome = 'orders': write one of auto, deals",
        ),
        ("lead_outcome = 1", "lead_outcome = 1: has the wrong type"),
        ("horizon_days = ", "cannot be read as TOML"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(tmp_path: Path, text: str, says: str) -> None:
    """The message names the setting and what to write."""
    with pytest.raises(InputError, match=says):
        read_settings(write(tmp_path, text))


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(InputError, match=r"none\.toml"):
        read_settings(tmp_path / "none.toml")


def test_every_setting_is_plain_json() -> None:
    """What is logged is the whole configuration."""
    logged = TrainSettings().to_json_dict()
    assert logged["hazard"]["leaves"] == 7 and logged["audit"]["keep"] == ()
