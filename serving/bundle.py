"""The model bundle: everything needed to score, as a directory of text, JSON and plain arrays.

    manifest.json       format, version, created_at, and size and SHA-256 of every other file
    bundle.json         name, trained_through, configuration
    audit.json          what the leakage audit found
    report.json         how good the models were, beside their baselines
    forecast.json       what replayed forecasts taught, where there are deals
    risks.json          what won deals were like, where there are deals
    lead.json           the model of leads: spec, linear part, calibrator, horizon (deal.json likewise)
    lead.booster.txt    LightGBM's own text
    lead.hazard.txt     LightGBM's own text
    series.npz          statistics that cross records, as of ``trained_through``; no pickled object

``version`` is a hash of all files but the manifest: the same content is the same version.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crm.errors import BundleError, VigieError
from features import Series
from features.kpis.risk_limits import RiskLimits
from serving.exchange import exchange
from serving.forecast_model import ForecastModel
from serving.outcome_model import ENTITIES, OutcomeModel

#: Format that this version writes; a reader refuses a newer one.
FORMAT = 1

_REMEDY = "copy it again from where it was trained, or run vigie train"


@dataclass(frozen=True)
class ModelBundle:
    """Models of leads and deals, with all that is needed to score and to say what they are.

    Parameters
    ----------
    models : mapping of {"lead", "deal"} to OutcomeModel
        At least one.
    created_at, trained_through : datetime
        With a time zone. ``trained_through`` is the end of what training observed.
    name : str
    audit, report, config : mapping
        Plain JSON; a number that is not finite becomes null.
    series : mapping of {"lead", "deal"} to Series
        Statistics that cross records (a rep's workload and outcomes, an account's deals), for records that
        are scored without the history they belong to.
    forecast : ForecastModel, optional
        None where the models know nothing of deals.
    risks : RiskLimits, optional
        What open deals are held against to tell those at risk; None where the history had no deals.
    """

    models: Mapping[str, OutcomeModel]
    created_at: datetime
    trained_through: datetime
    name: str = "vigie"
    audit: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    forecast: ForecastModel | None = None
    risks: RiskLimits | None = None

    def __post_init__(self) -> None:
        if not self.models or any(key not in ENTITIES or m.entity != key for key, m in self.models.items()):
            raise BundleError(f"bundle: models = {sorted(self.models)}: one of lead and deal, or both")
        for moment in (self.created_at, self.trained_through):
            if moment.tzinfo is None:
                raise BundleError(f"bundle: {moment} names no time zone")

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The content of every file but the manifest, by name."""
        files = {
            "bundle.json": _to_json(
                {
                    "name": self.name,
                    "trained_through": self.trained_through.isoformat(),
                    "models": sorted(self.models),
                    "config": self.config,
                }
            ),
            "audit.json": _to_json(self.audit),
            "report.json": _to_json(self.report),
        }
        for entity, model in self.models.items():
            files[f"{entity}.json"] = _to_json(model.to_json_dict())
            if model.booster:
                files[f"{entity}.booster.txt"] = model.booster.encode()
            if model.hazard is not None:
                files[f"{entity}.hazard.txt"] = model.hazard.booster.encode()
        if self.forecast is not None:
            files["forecast.json"] = _to_json(self.forecast.to_json_dict())
        if self.risks is not None:
            files["risks.json"] = _to_json(self.risks.to_json_dict())
        if self.series:
            buffer = io.BytesIO()
            arrays = {
                f"{entity}.{name}": array
                for entity, series in sorted(self.series.items())
                for name, array in sorted(series.to_arrays().items())
            }
            np.savez_compressed(buffer, allow_pickle=False, **arrays)
            files["series.npz"] = buffer.getvalue()
        return files

    @cached_property
    def version(self) -> str:
        """The first 16 characters of the content's SHA-256."""
        return _version({name: _sha256(content) for name, content in self.files.items()})

    def save(self, directory: Path) -> None:
        """Write the bundle; the directory is there whole, or as it was before.

        Parameters
        ----------
        directory : Path
            Replaced where it is an earlier bundle.

        Raises
        ------
        BundleError
            Where something else is there already, or it cannot be written.
        """
        directory = directory.absolute()
        check_place(directory)
        manifest = {
            "format": FORMAT,
            "version": self.version,
            "created_at": self.created_at.isoformat(),
            "files": {
                name: {"bytes": len(content), "sha256": _sha256(content)}
                for name, content in sorted(self.files.items())
            },
        }
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
            try:
                for name, content in {**self.files, "manifest.json": _to_json(_sealed(manifest))}.items():
                    _write(fresh / name, content)
                fresh.chmod(0o755)
                _swap(fresh, directory)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        except OSError as error:
            raise BundleError(f"{directory}: cannot be written ({error.strerror or error})") from error

    @classmethod
    def load(cls, directory: Path) -> ModelBundle:
        """Read a bundle, and prove that it is the one that was written.

        Raises
        ------
        BundleError
            Naming the file and the remedy, where one is missing, cut, altered, or of a newer format.
        """
        manifest = _read_manifest(directory)
        files = {name: _read_checked(directory / name, facts) for name, facts in manifest["files"].items()}
        try:
            about = json.loads(files["bundle.json"])
            models = {
                entity: OutcomeModel.from_json_dict(
                    json.loads(files[f"{entity}.json"]),
                    files.get(f"{entity}.booster.txt", b"").decode(),
                    files.get(f"{entity}.hazard.txt", b"").decode(),
                ).warm()
                for entity in about["models"]
            }
            return cls(
                models=models,
                created_at=datetime.fromisoformat(manifest["created_at"]),
                trained_through=datetime.fromisoformat(about["trained_through"]),
                name=about["name"],
                audit=json.loads(files["audit.json"]),
                report=json.loads(files["report.json"]),
                config=about["config"],
                series=_read_series(files.get("series.npz")),
                forecast=_read_forecast(files.get("forecast.json")),
                risks=_read_risks(files.get("risks.json")),
            )
        except VigieError as error:
            raise BundleError(f"{directory}: {error}") from error
        except (KeyError, TypeError, ValueError, IndexError, zipfile.BadZipFile) as error:
            raise BundleError(
                f"{directory}: holds no bundle that this version can read ({error!r}); {_REMEDY}"
            ) from error


def check_place(directory: Path) -> None:
    """Refuse a directory that a bundle would be written over, unless it is an earlier bundle.

    Raises
    ------
    BundleError
    """
    free = not directory.exists() or (directory.is_dir() and not any(directory.iterdir()))
    if not free and not (directory / "manifest.json").is_file():
        raise BundleError(f"{directory}: holds something that is no bundle; choose another directory")


def version_in(directory: Path) -> str | None:
    """Give the version of the bundle in a directory, without reading it; None where there is none."""
    try:
        version: str = _read_manifest(directory)["version"]
    except BundleError:
        return None
    return version


def _to_json(value: Any) -> bytes:
    return (json.dumps(_plain(value), ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def _plain(value: Any) -> Any:
    """Give a value as JSON can hold it; what is not finite has no place there."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _version(digests: Mapping[str, str]) -> str:
    return _sha256("\n".join(f"{name} {digests[name]}" for name in sorted(digests)).encode())[:16]


def _sealed(manifest: dict[str, Any]) -> dict[str, Any]:
    """Add a digest of the manifest itself, so that a cut or edited one is noticed too."""
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    return {**body, "sha256": _sha256(_to_json(body))}


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _swap(fresh: Path, directory: Path) -> None:
    """Put the new directory in place of the old, in one step where the system has one.

    Where it has none, a crash between the two renames leaves the old beside.
    """
    if directory.exists() and exchange(fresh, directory):
        return
    old = directory.with_name(f".{directory.name}-old-{fresh.name[-8:]}")
    if directory.exists():
        directory.rename(old)
    try:
        fresh.rename(directory)
    except OSError:
        if old.exists():
            old.rename(directory)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / "manifest.json"
    if not directory.is_dir():
        raise BundleError(f"{directory}: is no directory; give the one that vigie train wrote")
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] > FORMAT:
            raise BundleError(
                f"{path}: format = {manifest['format']}, this version reads up to {FORMAT}; upgrade Vigie, "
                "or train with this version"
            )
        sealed = _sealed(manifest)["sha256"] == manifest["sha256"]
        digests = {str(name): str(facts["sha256"]) for name, facts in manifest["files"].items()}
        if not sealed or _version(digests) != manifest["version"]:
            raise BundleError(f"{path}: was changed after it was written; {_REMEDY}")
        if any(Path(name).name != name for name in digests):
            raise BundleError(f"{path}: names a file outside the bundle; {_REMEDY}")
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error}); {_REMEDY}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: is no manifest of a bundle ({error!r}); {_REMEDY}") from error
    return dict(manifest)


def _read_checked(path: Path, facts: Mapping[str, Any]) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error}); {_REMEDY}") from error
    if len(content) != facts["bytes"]:
        raise BundleError(f"{path}: {len(content)} bytes instead of {facts['bytes']}, it was cut; {_REMEDY}")
    if _sha256(content) != facts["sha256"]:
        raise BundleError(f"{path}: was changed after it was written; {_REMEDY}")
    return content


def _read_forecast(content: bytes | None) -> ForecastModel | None:
    return None if content is None else ForecastModel.from_json_dict(json.loads(content))


def _read_risks(content: bytes | None) -> RiskLimits | None:
    return None if content is None else RiskLimits.from_json_dict(json.loads(content))


def _read_series(content: bytes | None) -> dict[str, Series]:
    if content is None:
        return {}
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        for key in file.files:
            entity, _, name = key.partition(".")
            arrays.setdefault(entity, {})[name] = file[key]
    return {entity: Series.from_arrays(mine) for entity, mine in arrays.items()}
