"""The command line as a whole: help, exit codes, what is printed where, and how fast it begins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import training.report_text
from crm.errors import StoreError
from crm.store import Store

#: Every command, with what it needs to get as far as its help.
COMMANDS = [
    ["import"], ["doctor"], ["upgrade"], ["simulate"], ["train"], ["report"], ["promote"], ["backtest"],
    ["serve"], ["demo"], ["score"], ["score", "leads"], ["score", "deals"], ["forecast"],
    ["ledger"], ["ledger", "list"], ["ledger", "show"], ["ledger", "moved"], ["ledger", "accuracy"],
]  # fmt: skip
#: Libraries that take long to load, and that help needs none of.
SLOW = ("pandas", "numpy", "mlflow", "lightgbm", "bentoml", "sqlalchemy", "sklearn", "scipy")


def process(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does, in a process of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "vigie", *arguments],
        cwd=cwd,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(vigie: Any, command: list[str]) -> None:
    """Help says what a command does; each that does something shows how it is written."""
    said = vigie.say(*command, "--help")
    assert f"Usage: vigie {' '.join(command)}" in said
    if command not in (["score"], ["ledger"]):
        assert said.count(f"vigie {' '.join(command)}") >= 2


def test_help_loads_no_slow_library(tmp_path: Path) -> None:
    """The command line begins without the libraries that learn, store or serve."""
    code = "import sys; from vigie.application import make_app; make_app(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert not {name.partition(".")[0] for name in loaded.stdout.split()} & set(SLOW)


def test_version_is_told(vigie: Any) -> None:
    """--version gives the installed version."""
    assert vigie.say("--version").startswith("vigie 0.")


@pytest.mark.parametrize(
    "arguments", [["fly"], ["train", "--fast"], ["score", "leads"], ["serve", "--port", "0"]]
)
def test_a_wrong_use_ends_with_2(vigie: Any, arguments: list[str]) -> None:
    """Unknown commands and options, missing and impossible values."""
    assert vigie.refusal(*arguments, code=2)


def test_what_can_be_expected_to_fail_ends_with_1_and_one_message(tmp_path: Path) -> None:
    """In a process of its own: nothing on the standard output, no trace, exit code 1."""
    done = process("report", "--bundle", "none", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: none")
    assert done.stderr.count("\n") == 1


def test_environment_names_history_and_bundle(company: Any, tmp_path: Path) -> None:
    """VIGIE_HISTORY and VIGIE_BUNDLE stand in for the options; the answer alone is on the standard output."""
    places = {"VIGIE_HISTORY": str(company.history), "VIGIE_BUNDLE": str(company.bundle)}
    asked = ("score", "deals", "--as-of", "2024-11-15", "--out", "deals.csv", "--json")
    done = process(*asked, cwd=tmp_path, **places)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
    assert "… reading" in done.stderr
    assert (tmp_path / "deals.csv").exists()


def test_a_fault_of_ours_is_one_line(vigie: Any, company: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody expected names its kind and how to see the whole trace."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(training.report_text, "render_report", fail)
    message = vigie.refusal("report", "--bundle", company.bundle)
    assert message.startswith("Unexpected error: ZeroDivisionError: division by zero")
    assert "vigie --debug" in message
    shown = vigie.run("--debug", "report", "--bundle", company.bundle)
    assert isinstance(shown.exception, ZeroDivisionError)


def test_debug_shows_an_expected_error_too(vigie: Any, tmp_path: Path) -> None:
    """With --debug the error itself comes out, for whoever looks for its cause."""
    shown = vigie.run("--debug", "doctor", "--history", tmp_path / "none.sqlite")
    assert isinstance(shown.exception, StoreError)


def test_too_little_memory_is_told(vigie: Any, company: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running out of memory is no riddle."""

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Store, "read", fail)
    assert "not enough memory" in vigie.refusal("doctor", "--history", company.history)


def test_a_password_is_never_shown(vigie: Any) -> None:
    """A database that cannot be reached is named without its password."""
    message = vigie.refusal("doctor", "--history", "postgresql://ann:s3cret@127.0.0.1:1/crm")
    assert "127.0.0.1" in message
    assert "s3cret" not in message
