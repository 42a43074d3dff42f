"""The notebooks: they run to their end, they only import, and they are stored as nobody has run them."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = ("01_history", "02_scores", "03_forecast", "04_peers")
#: Small enough for a minute in all: two cutoffs, which the last notebook takes up from the one before.
SIZE = {"VIGIE_LEADS": "600", "VIGIE_CUTOFFS": "2", "VIGIE_JOBS": "1"}
SETTINGS = """
every_days = 14
snapshots = 1500
half_lives = []
linear_weights = [0.5]
linear_rows = 600
resamples = 50
timing = {intervals = 8, rounds = 12}
distill = {rounds = 20, leaves = 7}

[hazard]
intervals = 8
learning_rate = 0.3
rounds = 12
fewest_rounds = 6
most_rounds = 12
rows_per_leaf = 20
"""
#: Runs before a notebook's own cells. A kernel's own shutdown warns of what is no fault of the notebook.
STRICT = """
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "For consistency across implementations", PendingDeprecationWarning)
"""
#: Pictures that each notebook draws of the simulated history, at least.
PICTURES = {"01_history": 5, "02_scores": 8, "03_forecast": 6, "04_peers": 8}
#: Beginnings of paths, and the like, that only one machine has.
MACHINE = re.compile(
    r"(?:^|[\s\"'(=])(?:~|/(?:home|root|work|Users|tmp|mnt|opt|var))/|[A-Z]:\\|file://|localhost"
)


def stored(name: str) -> Any:
    """Read a notebook."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def code_of(notebook: Any) -> list[str]:
    """Give the code of each cell as Python, with IPython's own commands as the calls they stand for."""
    transform = TransformerManager().transform_cell
    return [transform(cell.source) for cell in notebook.cells if cell.cell_type == "code"]


def definitions(code: str) -> list[str]:
    """Give what Python code defines: functions, classes, and functions without a name."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    return [type(node).__name__ for node in ast.walk(ast.parse(code)) if isinstance(node, kinds)]


def is_fresh(notebook: Any) -> bool:
    """Say whether a notebook holds no trace of having been run."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return not any(cell.outputs or cell.execution_count is not None or cell.metadata for cell in cells)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a kernel of this very Python, whatever kernels the machine knows."""
    path = tmp_path_factory.mktemp("jupyter")
    folder = path / "kernels" / "vigie-test"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Vigie's tests", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(path))
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        # A test may run inside a notebook's own environment, or beside other work on the same processors.
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield "vigie-test"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which all notebooks run, with a small simulated history to tell about."""
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "quick.toml").write_text(SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VIGIE_HISTORY", "VIGIE_BUNDLE", "VIGIE_RATES", "VIGIE_CURRENCY"):
            patch.delenv(name, raising=False)
        for name, value in (SIZE | {"VIGIE_CONFIG": "quick.toml", "VIGIE_WORK": "backtest"}).items():
            patch.setenv(name, value)
        yield folder


def run(notebook: Any, kernel: str, folder: Path) -> list[Any]:
    """Run a notebook with warnings as errors, and give the outputs of its cells."""
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    client = NotebookClient(
        notebook,
        timeout=300,
        startup_timeout=120,
        kernel_name=kernel,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_to_its_end(name: str, kernel: str, inputs: Path) -> None:
    """Each cell runs, nothing warns or complains, and every plot is there as a picture."""
    outputs = run(stored(name), kernel, inputs)
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    shown = [output.data for output in outputs if "data" in output]
    plots = ["image/png" in data for data in shown if data["text/plain"].startswith("<Figure")]
    assert all(plots)
    assert len(plots) >= PICTURES[name]


def test_a_warning_stops_a_notebook(kernel: str, inputs: Path) -> None:
    """The runs above would have failed had a cell warned."""
    warns = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("warnings.warn('beware')")])
    with pytest.raises(CellExecutionError, match="beware"):
        run(warns, kernel, inputs)


def test_every_notebook_is_known() -> None:
    """None is left out of these tests."""
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.ipynb"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_as_nobody_has_run_it(name: str) -> None:
    """No output, no execution count, no metadata of a cell; and valid, so that every Jupyter opens it."""
    notebook = stored(name)
    nbformat.validate(notebook)
    assert is_fresh(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_defines_nothing(name: str) -> None:
    """What is worth a name is in a room of the project, where it is tested."""
    assert [found for code in code_of(stored(name)) for found in definitions(code)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_names_no_machine(name: str) -> None:
    """It runs wherever the project is installed."""
    assert MACHINE.findall("\n".join(cell.source for cell in stored(name).cells)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_tells_a_story(name: str) -> None:
    """It begins with its title, and no two cells of code follow each other without a word."""
    kinds = [cell.cell_type for cell in stored(name).cells]
    assert stored(name).cells[0].source.startswith("# ")
    assert ("code", "code") not in set(pairwise(kinds))


def test_the_checks_find_what_they_forbid() -> None:
    """Definitions, paths of a machine and traces of a run are seen."""
    source = "%matplotlib inline\nclass A:\n    pass\ndef f(): ...\nkey = lambda x: x"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, execution_count=1)])
    assert sorted(definitions(code_of(notebook)[0])) == ["ClassDef", "FunctionDef", "Lambda"]
    assert not is_fresh(notebook)
    paths = ('open("/home/me/crm.csv")', "see ~/crm.csv", r"C:\crm.csv", "file:///crm.csv", "at /tmp/x")
    assert all(MACHINE.search(path) for path in paths)
    assert not MACHINE.search("https://example.org/home/ and docs/notebooks.md, 1/2")
