"""A bundle comes back exactly as it was saved, or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from crm.errors import BundleError
from crm.history import History
from features.matrix import build_features
from features.snapshots import weekly_snapshots
from serving.bundle import FORMAT, ModelBundle

UNTIL = datetime(2024, 9, 1, tzinfo=UTC)


@pytest.fixture
def saved(bundle: ModelBundle, tmp_path: Path) -> Path:
    """Save the bundle."""
    bundle.save(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_saved_and_loaded_predict_the_same(
    bundle: ModelBundle, saved: Path, history: History, entity: str
) -> None:
    """Margin, probability, contributions and timing are equal bit for bit after save and load."""
    loaded = ModelBundle.load(saved)
    before, after = bundle.models[entity], loaded.models[entity]
    x = build_features(history, weekly_snapshots(history, entity, UNTIL), before.spec).values
    np.testing.assert_array_equal(before.margin(x), after.margin(x))
    np.testing.assert_array_equal(before.probability(before.margin(x)), after.probability(after.margin(x)))
    np.testing.assert_array_equal(before.contributions(x), after.contributions(x))
    assert before.expected_margin == after.expected_margin
    if before.hazard is not None and after.hazard is not None:
        np.testing.assert_array_equal(before.hazard.predict(x).won, after.hazard.predict(x).won)


def test_everything_else_comes_back(bundle: ModelBundle, saved: Path) -> None:
    """Facts, specs, horizon and cross-record statistics come back; a figure that is not finite is null."""
    loaded = ModelBundle.load(saved)
    assert (loaded.name, loaded.version) == ("test", bundle.version)
    assert (loaded.created_at, loaded.trained_through) == (bundle.created_at, bundle.trained_through)
    assert loaded.audit == {"excluded": ["Tags"]}
    assert loaded.report == {"auc": 0.7, "undefined": None}
    for entity, model in bundle.models.items():
        assert loaded.models[entity].to_json_dict() == model.to_json_dict()
        for name, array in bundle.series[entity].to_arrays().items():
            np.testing.assert_array_equal(loaded.series[entity].to_arrays()[name], array)


def test_version_is_that_of_the_content(bundle: ModelBundle, saved: Path, tmp_path: Path) -> None:
    """The same content made later has the same version; another content has another."""
    later = dataclasses.replace(bundle, created_at=UNTIL)
    other = dataclasses.replace(bundle, config={"horizon_days": 60})
    assert later.version == bundle.version != other.version
    ModelBundle.load(saved).save(tmp_path / "again")
    assert ModelBundle.load(tmp_path / "again").version == bundle.version


def test_no_file_holds_a_pickled_object(saved: Path) -> None:
    """Text files are UTF-8, the arrays load without pickle, and nothing else is there."""
    for path in saved.iterdir():
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype != object for name in arrays.files)
        else:
            assert path.suffix in {".json", ".txt"}
            path.read_text("utf-8")


def test_saving_again_replaces_the_bundle_whole(bundle: ModelBundle, saved: Path) -> None:
    """A second save leaves only the second bundle, and no temporary directory beside it."""
    smaller = dataclasses.replace(bundle, models={"lead": bundle.models["lead"]}, series={})
    smaller.save(saved)
    assert set(ModelBundle.load(saved).models) == {"lead"}
    assert not (saved / "deal.json").exists()
    assert [path.name for path in saved.parent.iterdir()] == ["bundle"]


def test_a_failed_save_leaves_the_earlier_bundle(
    bundle: ModelBundle, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle of a save is a BundleError, and the earlier bundle still loads."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    other = dataclasses.replace(bundle, name="other")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match="No space left on device"):
        other.save(saved)
    assert ModelBundle.load(saved).name == "test"
    assert [path.name for path in saved.parent.iterdir()] == ["bundle"]


def test_a_directory_of_something_else_is_not_replaced(bundle: ModelBundle, tmp_path: Path) -> None:
    """Saving over a directory that is no bundle is refused, and the directory is left as it was."""
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(BundleError, match="choose another directory"):
        bundle.save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def _edit_manifest(saved: Path, **facts: object) -> None:
    path = saved / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def _cut(saved: Path) -> None:
    path = saved / "lead.booster.txt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _alter(saved: Path) -> None:
    path = saved / "deal.json"
    path.write_bytes(path.read_bytes().replace(b"0.9", b"0.8", 1))


def _swap_version(saved: Path) -> None:
    _edit_manifest(saved, version="0" * 16)


def _replace_by_file(saved: Path) -> None:
    shutil.rmtree(saved)
    saved.write_text("bundle")


BROKEN = {
    "cut in half": (_cut, "lead.booster.txt: .* it was cut"),
    "altered": (_alter, "deal.json: was changed"),
    "file missing": (lambda saved: (saved / "report.json").unlink(), "report.json: cannot be read"),
    "manifest missing": (lambda saved: (saved / "manifest.json").unlink(), "manifest.json: cannot be read"),
    "manifest cut": (lambda saved: os.truncate(saved / "manifest.json", 100), "is no manifest"),
    "manifest no JSON": (lambda saved: (saved / "manifest.json").write_text("{]"), "is no manifest"),
    "manifest another JSON": (lambda saved: (saved / "manifest.json").write_text("[1]"), "is no manifest"),
    "manifest altered": (_swap_version, "manifest.json: was changed"),
    "newer": (lambda saved: _edit_manifest(saved, format=FORMAT + 1), "upgrade Vigie"),
    "no directory": (_replace_by_file, "is no directory"),
    "not there": (shutil.rmtree, "is no directory"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_bundle_says_which_file_and_what_to_do(saved: Path, how: str) -> None:
    """Each way to break a bundle is refused with the file's name and a remedy."""
    spoil, message = BROKEN[how]
    spoil(saved)  # type: ignore[operator]
    with pytest.raises(BundleError, match=message) as caught:
        ModelBundle.load(saved)
    assert str(saved) in str(caught.value)
    assert any(word in str(caught.value) for word in ("copy it again", "upgrade", "give the one"))


def test_a_name_outside_the_bundle_is_not_read(bundle: ModelBundle, tmp_path: Path) -> None:
    """A manifest that names a file elsewhere is refused before that file is opened."""
    (tmp_path / "secret.txt").write_text("secret")
    sly = dataclasses.replace(bundle)
    sly.files["../secret.txt"] = b"secret"
    sly.save(tmp_path / "sly")
    with pytest.raises(BundleError, match="outside the bundle"):
        ModelBundle.load(tmp_path / "sly")


def test_parts_that_do_not_fit_are_refused(bundle: ModelBundle, tmp_path: Path) -> None:
    """A booster of other features than the spec's is refused when the bundle is loaded."""
    lead, deal = bundle.models["lead"], bundle.models["deal"]
    crossed = dataclasses.replace(lead, booster=deal.hazard.booster if deal.hazard else "", linear=None)
    dataclasses.replace(bundle, models={"lead": crossed}).save(tmp_path / "crossed")
    with pytest.raises(BundleError, match="train again"):
        ModelBundle.load(tmp_path / "crossed")
