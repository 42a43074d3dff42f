"""The served model: where it is looked for, what happens while it cannot be loaded, and how it changes."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import weakref
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from crm.errors import BundleError
from serving import served_model
from serving.answering.inline import score_inline
from serving.answering.reading import read_batch
from serving.bundle import ModelBundle
from serving.probing import probe
from serving.served_model import BUILT_IN, ServedModel, location


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Undo the freezing of the collector, which is for a process that only serves."""
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_model, "PAUSE", 0.01)
    monkeypatch.setattr(served_model, "PATIENCE", 5)


@pytest.fixture
def place(bundle: ModelBundle, tmp_path: Path) -> Path:
    """Give a directory with the bundle in it."""
    bundle.save(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def newer(bundle: ModelBundle) -> ModelBundle:
    """Give a bundle with other content."""
    return replace(bundle, trained_through=bundle.trained_through + timedelta(days=7))


def while_served(place: Path, use: Callable[[ServedModel], Awaitable[None]]) -> None:
    """Serve a directory while something is done."""

    async def run() -> None:
        served = ServedModel()
        serving = asyncio.create_task(served.serve(place))
        await until(lambda: served.bundle is not None)
        await use(served)
        serving.cancel()

    asyncio.run(run())


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def version_of(served: ServedModel) -> str:
    """Give the version that is served."""
    assert served.bundle is not None
    return served.bundle.version


def test_the_environment_names_the_bundle_else_it_is_the_one_built_in() -> None:
    """VIGIE_BUNDLE wins; without it, or empty, the bundle beside the packages is served."""
    assert location({"VIGIE_BUNDLE": "/data/best"}) == Path("/data/best")
    assert location({}) == location({"VIGIE_BUNDLE": ""}) == BUILT_IN
    assert BUILT_IN.name == "bundle"


def test_a_bundle_is_tried_again_until_it_loads(
    bundle: ModelBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a bundle the log says once which directory and what to do; once it is there it is served."""
    served = ServedModel()

    async def run() -> None:
        loading = asyncio.create_task(served.load(tmp_path / "bundle"))
        await asyncio.sleep(0.1)
        assert served.bundle is None
        bundle.save(tmp_path / "bundle")
        await asyncio.wait_for(loading, 10)

    with caplog.at_level(logging.INFO, logger="vigie.model"):
        asyncio.run(run())
    assert version_of(served) == bundle.version
    failures = [record.facts["message"] for record in caplog.records if record.message == "bundle_not_loaded"]  # type: ignore[attr-defined]
    assert len(failures) == 1
    assert str(tmp_path / "bundle") in failures[0]
    assert "vigie train" in failures[0]
    assert served.facts() == {"served": bundle.version, "refused": None}


def test_another_bundle_in_its_place_is_served(place: Path, newer: ModelBundle) -> None:
    """A bundle saved over the old one is served without a restart, and listeners are told of each once."""

    async def use(served: ServedModel) -> None:
        told: list[str] = []
        served.tell(lambda bundle: told.append(bundle.version))
        newer.save(place)
        await until(lambda: version_of(served) == newer.version)
        await asyncio.sleep(0.05)
        assert told == [newer.version]

    while_served(place, use)


def test_there_is_a_model_at_every_moment_of_many_changes(
    place: Path, bundle: ModelBundle, newer: ModelBundle, caplog: pytest.LogCaptureFixture
) -> None:
    """While two bundles take turns every answer is one's or the other's, and no half of each is noticed."""

    async def use(served: ServedModel) -> None:
        seen: set[str] = set()
        for turn in (newer, bundle) * 5:
            saving = asyncio.create_task(asyncio.to_thread(turn.save, place))
            while not saving.done() or version_of(served) != turn.version:
                seen.add(version_of(served))
                await asyncio.sleep(0.001)
        assert seen == {bundle.version, newer.version}

    while_served(place, use)
    assert not [record for record in caplog.records if record.message == "bundle_not_loaded"]


def test_a_damaged_file_keeps_the_old_model_until_it_is_put_right(
    place: Path, bundle: ModelBundle, newer: ModelBundle, caplog: pytest.LogCaptureFixture
) -> None:
    """A cut model file is named in log and facts, the old model answers on; whole again it is served."""

    async def use(served: ServedModel) -> None:
        staged = place.with_name("staged")
        newer.save(staged)
        whole = (staged / "deal.booster.txt").read_bytes()
        (staged / "deal.booster.txt").write_bytes(whole[:-100])
        place.rename(place.with_name("old"))
        staged.rename(place)
        await until(lambda: served.refused is not None)
        await asyncio.sleep(0.1)
        assert version_of(served) == bundle.version
        assert "deal.booster.txt" in str(served.facts()["refused"])
        errors = [one for one in caplog.records if one.message == "bundle_not_loaded"]
        assert [one.facts["served"] for one in errors] == [bundle.version]  # type: ignore[attr-defined]
        (place / "deal.booster.txt").write_bytes(whole)
        await until(lambda: version_of(served) == newer.version)
        assert served.refused is None

    while_served(place, use)


def test_a_directory_that_is_gone_changes_nothing(place: Path, bundle: ModelBundle) -> None:
    """Where the whole directory is taken away, what was loaded answers on."""

    async def use(served: ServedModel) -> None:
        place.rename(place.with_name("elsewhere"))
        await until(lambda: served.refused is not None)
        assert version_of(served) == bundle.version
        place.with_name("elsewhere").rename(place)
        await until(lambda: served.refused is None)

    while_served(place, use)


def test_a_bundle_that_loads_but_cannot_answer_is_refused(place: Path, newer: ModelBundle) -> None:
    """One with a feature that this version does not know fails the probe, and never answers anybody."""
    lead = newer.models["lead"]
    broken = replace(lead, spec=replace(lead.spec, names=(*lead.spec.names[:-1], "astrology")))
    bad = replace(newer, models={**newer.models, "lead": broken})

    async def use(served: ServedModel) -> None:
        before = served.bundle
        bad.save(place)
        await until(lambda: served.refused is not None)
        assert served.bundle is before
        assert "'astrology'" in str(served.facts()["refused"])
        assert "its model of leads cannot answer" in str(served.facts()["refused"])

    while_served(place, use)


def test_a_bundle_that_scores_less_is_refused(place: Path, newer: ModelBundle) -> None:
    """One without a model of leads does not take the place of one that has it; alone it would do."""
    less = replace(newer, models={"deal": newer.models["deal"]})

    async def use(served: ServedModel) -> None:
        less.save(place)
        await until(lambda: served.refused is not None)
        assert "no model of leads" in str(served.facts()["refused"])
        assert served.bundle is not None and "lead" in served.bundle.models

    while_served(place, use)
    probe(less)
    with pytest.raises(BundleError, match="no model of leads"):
        probe(less, newer)


def test_what_was_served_before_leaves_memory(place: Path, newer: ModelBundle) -> None:
    """After a change nothing holds the old bundle, not even the frozen part of the collector."""

    async def use(served: ServedModel) -> None:
        old = weakref.ref(served.bundle)
        body = json.dumps({"deals": [{"deal_id": "1", "created_at": "2024-06-01T00:00:00Z"}]}).encode()
        assert served.bundle is not None
        score_inline(served.bundle, read_batch(body, "deal", newer.created_at))
        newer.save(place)
        await until(lambda: version_of(served) == newer.version)
        await until(lambda: old() is None, 2)

    while_served(place, use)
