"""The served model: where it is looked for, and what happens while it cannot be loaded."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import served_model
from serving.bundle import ModelBundle
from serving.served_model import BUILT_IN, ServedModel, location


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Undo the freezing of the collector, which is for a process that only serves."""
    yield
    gc.unfreeze()


def test_the_environment_names_the_bundle_else_it_is_the_one_built_in() -> None:
    """VIGIE_BUNDLE wins; without it, or empty, the bundle beside the packages is served."""
    assert location({"VIGIE_BUNDLE": "/data/best"}) == Path("/data/best")
    assert location({}) == location({"VIGIE_BUNDLE": ""}) == BUILT_IN
    assert BUILT_IN.name == "bundle"


def test_a_bundle_is_tried_again_until_it_loads(
    bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a bundle the log says which directory and what to do; once it is there it is served."""
    monkeypatch.setattr(served_model, "PAUSE", 0.01)
    served = ServedModel()

    async def run() -> None:
        loading = asyncio.create_task(served.load(tmp_path / "bundle"))
        await asyncio.sleep(0.1)
        assert served.bundle is None
        bundle.save(tmp_path / "bundle")
        await asyncio.wait_for(loading, 10)

    with caplog.at_level(logging.INFO, logger="vigie.model"):
        asyncio.run(run())
    assert served.bundle is not None
    assert served.bundle.version == bundle.version
    failures = [record.facts["message"] for record in caplog.records if record.message == "bundle_not_loaded"]  # type: ignore[attr-defined]
    assert failures
    assert str(tmp_path / "bundle") in failures[0]
    assert "vigie train" in failures[0]
