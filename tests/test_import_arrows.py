"""The arrows between the rooms: crm ← features ← serving ← training ← vigie, held by reading every import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Each room may import itself and those before it.
ROOMS = ("crm", "features", "serving", "training", "vigie")
#: The only modules that may import a library, wherever in the module.
KEEPERS = {"mlflow": {"training/tracking.py"}, "bentoml": {"serving/service.py"}, "typer": None}
#: Where the clock may be read: the command line, and the service.
EDGES = {"vigie/moments.py", "serving/service.py"}
_CLOCK = {"now", "utcnow", "today"}
_TIME = {"time", "time_ns", "localtime", "gmtime"}


def modules() -> list[str]:
    """Give every module of the rooms, as a path from the root."""
    return [
        path.relative_to(ROOT).as_posix() for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))
    ]


def tree_of(module: str) -> ast.Module:
    """Read a module."""
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[str]:
    """Give the first part of every name that a module imports, at its head or in a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports would hide which room is meant"
            yield str(node.module).partition(".")[0]


def clock_readings(tree: ast.AST) -> Iterator[int]:
    """Give the lines that read the clock or today's date."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner = node.func.value
        is_time = isinstance(owner, ast.Name) and owner.id == "time" and node.func.attr in _TIME
        if node.func.attr in _CLOCK or is_time:
            yield node.lineno


@pytest.mark.parametrize("module", modules())
def test_a_room_imports_only_itself_and_the_rooms_before_it(module: str) -> None:
    """No import points against the arrows, not even one inside a function or for types only."""
    room = module.partition("/")[0]
    later = set(ROOMS[ROOMS.index(room) + 1 :])
    assert not later & set(imports(tree_of(module)))


@pytest.mark.parametrize("library", sorted(KEEPERS))
def test_a_library_has_one_keeper(library: str) -> None:
    """MLflow, BentoML and Typer are imported only where they are kept."""
    found = {module for module in modules() if library in imports(tree_of(module))}
    kept = KEEPERS[library]
    assert found == kept if kept is not None else all(module.startswith("vigie/") for module in found)


def test_the_clock_is_read_only_at_the_edges() -> None:
    """Everywhere else a moment is an argument."""
    assert {module for module in modules() if any(clock_readings(tree_of(module)))} == EDGES


def test_the_walk_sees_what_it_forbids() -> None:
    """Imports in functions and readings of the clock in any spelling are found."""
    source = "def f():\n    import mlflow.pyfunc\n    from vigie import x\n    pd.Timestamp.now(time.time())"
    assert set(imports(ast.parse(source))) == {"mlflow", "vigie"}
    assert len(list(clock_readings(ast.parse(source)))) == 2
