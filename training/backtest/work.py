"""What is already done: the files of finished cutoffs, each whole or not there.

A file's name holds a digest of everything that decides its content: the history as it was known at the
cutoff, the settings, the code and the libraries that compute. So a run that was stopped goes on where it
was, a history that has grown since only adds cutoffs, and nothing out of date is ever taken up.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crm.errors import BundleError, VigieError
from crm.history import History
from serving.bundle import ModelBundle
from training.backtest.prediction import Predictions
from training.digests import digest_history

#: Raised whenever what these files hold changes.
FORMAT = 1
#: Rooms whose code decides what is said at a cutoff.
_ROOMS = ("crm", "features", "serving", "training")
#: Parts of them that only judge, show or log.
_BESIDE = ("training/backtest", "training/plots.py", "training/tracking.py", "training/report_text.py")
_SAYS = ("prediction.py", "peers.py", "settings.py")
_LIBRARIES = ("lightgbm", "numpy", "pandas", "scikit-learn", "scipy", "statsmodels")
#: Settings that decide only how what was said is judged.
_JUDGING = ("calls", "resamples")
_LENGTH = 24


def digest(value: Any) -> str:
    """Give a digest of plain JSON.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_LENGTH]


@lru_cache(maxsize=1)
def digest_code() -> str:
    """Give a digest of the code that decides what is said at a cutoff, and of the libraries it uses."""
    root = Path(__file__).resolve().parents[2]
    found = hashlib.sha256(f"{FORMAT} {[(name, version(name)) for name in _LIBRARIES]}".encode())
    for path in sorted(path for room in _ROOMS for path in (root / room).rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(_BESIDE) or path.name in _SAYS:
            found.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:_LENGTH]


@dataclass(frozen=True)
class Work:
    """The directory of finished cutoffs.

    Parameters
    ----------
    directory : Path
    code : str
        Digest of the code that says; taken once, so that all processes of a run use the same keys whatever
        is done to the files meanwhile.
    """

    directory: Path
    code: str = field(default_factory=digest_code)

    def prepare(self) -> None:
        """Make the directory, and take away what a run that was killed left half written.

        Raises
        ------
        VigieError
            If it cannot be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for left in self.directory.glob(".*"):
                shutil.rmtree(left)
        except OSError as error:
            raise VigieError(
                f"{self.directory}: cannot be written ({error.strerror or error}); choose another --out"
            ) from error

    def bundle(self, cutoff: pd.Timestamp, key: str) -> ModelBundle | None:
        """Give the bundle trained until a cutoff; None where it is not there, or not whole."""
        path = self._bundle_path(cutoff, key)
        try:
            return ModelBundle.load(path) if path.exists() else None
        except BundleError:
            shutil.rmtree(path)
            return None

    def keep_bundle(self, cutoff: pd.Timestamp, key: str, bundle: ModelBundle) -> None:
        """Write the bundle trained until a cutoff."""
        bundle.save(self._bundle_path(cutoff, key))

    def has_predictions(self, cutoff: pd.Timestamp, key: str) -> bool:
        """Say whether a cutoff is done."""
        return self._path(cutoff, key).exists()

    def keep_predictions(self, key: str, made: Predictions) -> None:
        """Write what was said at a cutoff: the directory is there whole, or not at all."""
        final = self._path(made.cutoff, key)
        fresh = Path(tempfile.mkdtemp(prefix=".", dir=self.directory))
        for name in ("deals", "leads", "forecasts"):
            getattr(made, name).to_parquet(fresh / f"{name}.parquet")
        np.save(fresh / "draws.npy", made.draws, allow_pickle=False)
        (fresh / "facts.json").write_text(json.dumps(made.facts, sort_keys=True), encoding="utf-8")
        for path in fresh.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if final.exists():
            # Another run was faster, with the same content.
            shutil.rmtree(fresh)
        else:
            fresh.rename(final)

    def predictions(self, cutoff: pd.Timestamp, key: str) -> Predictions:
        """Read what was said at a cutoff."""
        path = self._path(cutoff, key)
        tables = {name: pd.read_parquet(path / f"{name}.parquet") for name in ("deals", "leads", "forecasts")}
        facts = json.loads((path / "facts.json").read_text(encoding="utf-8"))
        draws = np.load(path / "draws.npy", allow_pickle=False)
        return Predictions(cutoff, tables["deals"], tables["leads"], tables["forecasts"], draws, facts)

    def keep_only(self, used: Collection[tuple[pd.Timestamp, str, str]]) -> None:
        """Take away what a finished run did not use: (cutoff, key of the bundle, key of what was said)."""
        kept = {self._path(cutoff, said) for cutoff, _, said in used}
        kept |= {self._bundle_path(cutoff, trained) for cutoff, trained, _ in used}
        for path in self.directory.iterdir():
            if path not in kept:
                shutil.rmtree(path)

    def _path(self, cutoff: pd.Timestamp, key: str) -> Path:
        return self.directory / f"{cutoff:%Y%m%dT%H%M%S}-{key}"

    def _bundle_path(self, cutoff: pd.Timestamp, key: str) -> Path:
        return self.directory / f"{cutoff:%Y%m%dT%H%M%S}-{key}.bundle"


def keys(known: History, cutoff: pd.Timestamp, settings: Mapping[str, Any], code: str) -> tuple[str, str]:
    """Give the keys of a cutoff's bundle and of what is said with it.

    Parameters
    ----------
    known : History
        As known at the cutoff.
    cutoff : Timestamp
    settings : mapping
        A backtest's, as plain JSON.
    code : str
        A digest of the code.

    Returns
    -------
    trained, said : str
    """
    whole = {
        "tables": digest_history(known),
        "facts": dict(known.facts),
        "cutoff": cutoff.isoformat(),
        "code": code,
    }
    decisive = {name: value for name, value in settings.items() if name not in _JUDGING}
    return digest(whole | {"train": settings["train"]}), digest(whole | {"settings": decisive})
