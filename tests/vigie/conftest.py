"""One small company, simulated, trained on once, and the command line to ask about it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from vigie.application import make_app

#: Learns little, and fast.
FAST = """
every_days = 14
snapshots = 3000
half_lives = []
linear_weights = [0.5]
resamples = 100

[hazard]
intervals = 6
learning_rate = 0.2
rounds = 10
fewest_rounds = 5
most_rounds = 15
rows_per_leaf = 30
threads = 1

[distill]
rounds = 20
leaves = 7
threads = 1
"""


class CommandLine:
    """The command line, in this process, as wide as a wide terminal and with no setting of a person."""

    def run(self, *arguments: object) -> Result:
        """Run a command."""
        environment = {
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "VIGIE_HISTORY": None,
            "VIGIE_BUNDLE": None,
            "VIGIE_DEBUG": None,
            "MLFLOW_TRACKING_URI": None,
        }
        return CliRunner().invoke(make_app(), [str(one) for one in arguments], env=environment)

    def say(self, *arguments: object) -> str:
        """Give what a command prints, which must end well, in one line."""
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return " ".join(result.stdout.split())

    def ask(self, *arguments: object) -> Any:
        """Give what a command answers with --json, which must end well."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def refusal(self, *arguments: object, code: int = 1) -> str:
        """Give the message of a command that must fail, on the standard error, without a trace."""
        result = self.run(*arguments)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        assert isinstance(result.exception, SystemExit)
        return " ".join(result.stderr.replace("│", " ").split())


@dataclass(frozen=True)
class Company:
    """A history, a configuration, a bundle trained on the first with the second, and what training said."""

    history: Path
    config: Path
    bundle: Path
    trained: dict[str, Any]


@pytest.fixture(scope="session")
def vigie() -> CommandLine:
    """Give the command line."""
    return CommandLine()


@pytest.fixture(scope="session")
def company(vigie: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Company:
    """Simulate and train, by the commands themselves."""
    folder = tmp_path_factory.mktemp("company")
    history, config, bundle = folder / "crm.sqlite", folder / "fast.toml", folder / "bundle"
    config.write_text(FAST)
    vigie.ask("simulate", "--leads", 400, "--years", 2, "--seed", 3, "--history", history)
    into = ("--history", history, "--bundle", bundle, "--config", config)
    asked = ("--observed-until", "2024-11-01", "--horizon-days", 60, "--no-track")
    return Company(history, config, bundle, vigie.ask("train", *into, *asked))


@pytest.fixture(scope="session")
def tiny(vigie: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a history of a company so young that it is too early to learn."""
    history = tmp_path_factory.mktemp("tiny") / "crm.sqlite"
    vigie.ask("simulate", "--leads", 50, "--years", 0.5, "--history", history)
    return history


@pytest.fixture
def own_bundle(company: Company, tmp_path: Path) -> Path:
    """Give a copy of the bundle that a test may spoil."""
    return Path(shutil.copytree(company.bundle, tmp_path / "own bundle"))
