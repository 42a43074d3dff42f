"""The cache of figures: one making for all who ask, nothing kept that failed, old and many let go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from serving.answering.figure_cache import FigureCache


class Maker:
    """Counts how often an answer is made."""

    def __init__(self, fails: int = 0) -> None:
        self.made = 0
        self._fails = fails

    async def __call__(self) -> int:
        self.made += 1
        await asyncio.sleep(0.01)
        if self.made <= self._fails:
            raise ValueError("not yet")
        return self.made


def run(do: Callable[[], Awaitable[None]]) -> None:
    """Run an async test."""

    async def inner() -> None:
        await do()

    asyncio.run(inner())


def test_who_asks_at_once_shares_one_answer() -> None:
    """Ten callers with one question cost one making."""

    async def do() -> None:
        cache, make = FigureCache(), Maker()
        answers = await asyncio.gather(*(cache.get("q", make, 0.0) for _ in range(10)))
        assert answers == [1] * 10 and make.made == 1
        assert await cache.get("other", make, 0.0) == 2

    run(do)


def test_an_answer_grows_old() -> None:
    """After its seconds it is made anew, not before."""

    async def do() -> None:
        cache, make = FigureCache(seconds=10), Maker()
        assert [await cache.get("q", make, now) for now in (0.0, 9.0, 11.0)] == [1, 1, 2]

    run(do)


def test_a_failure_is_told_and_not_kept() -> None:
    """All who waited get the error; who asks next gets the answer."""

    async def do() -> None:
        cache, make = FigureCache(), Maker(fails=1)
        found = await asyncio.gather(*(cache.get("q", make, 0.0) for _ in range(2)), return_exceptions=True)
        assert all(isinstance(one, ValueError) for one in found)
        assert len(cache) == 0
        assert await cache.get("q", make, 0.0) == 2

    run(do)


def test_who_gives_up_does_not_stop_the_others() -> None:
    """A caller whose deadline passes leaves the making to those who still wait."""

    async def do() -> None:
        cache, make = FigureCache(), Maker()
        patient = asyncio.ensure_future(cache.get("q", make, 0.0))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await cache.get("q", make, 0.0)
        assert await patient == 1 and make.made == 1

    run(do)


def test_the_least_lately_asked_goes_first() -> None:
    """No more than so many are kept."""

    async def do() -> None:
        cache, make = FigureCache(most=2), Maker()
        for key in ("a", "b", "a", "c"):
            await cache.get(key, make, 0.0)
        assert make.made == 3 and len(cache) == 2
        assert await cache.get("a", make, 0.0) == 1
        assert await cache.get("b", make, 0.0) == 4

    run(do)
