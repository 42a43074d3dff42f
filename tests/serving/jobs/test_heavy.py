"""Heavy work: it runs in a child, one by one, and whatever happens to the child the next call is answered."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import pytest

from crm.errors import InputError, StoreError
from crm.periods import parse_period
from crm.store import Store
from serving.http.problems import OVERLOADED, TOO_SLOW, Refusal
from serving.jobs.heavy import Heavy, HeavyFailed


def with_heavy(use: Callable[[Heavy], Awaitable[Any]], **settings: Any) -> Any:
    """Use a child, and end it."""

    async def run() -> Any:
        heavy = Heavy(**settings)
        try:
            return await use(heavy)
        finally:
            pid = heavy.pid
            await heavy.close()
            assert pid is None or not psutil.pid_exists(pid)

    return asyncio.run(run())


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        await asyncio.sleep(0.01)


def test_calls_run_in_one_child_that_stands_back() -> None:
    """Two calls are answered by the same process, which is not this one and has a lower priority."""

    async def use(heavy: Heavy) -> None:
        pids = await asyncio.gather(heavy.run(os.getpid), heavy.run(os.getpid))
        assert pids[0] == pids[1] == heavy.pid != os.getpid()
        assert await heavy.run(os.nice, 0) == os.nice(0) + 5
        assert await heavy.run(math.factorial, 2000) == math.factorial(2000)
        assert len(await heavy.run(bytes, 5_000_000)) == 5_000_000

    with_heavy(use)


def test_the_event_loop_goes_on_meanwhile() -> None:
    """While the child works, the loop comes round as often as ever."""

    async def use(heavy: Heavy) -> int:
        await heavy.run(os.getpid)
        call = asyncio.create_task(heavy.run(time.sleep, 0.4))
        rounds = 0
        while not call.done():
            await asyncio.sleep(0.01)
            rounds += 1
        return rounds

    assert with_heavy(use) > 15


def test_errors_come_back_as_they_were_raised() -> None:
    """An error meant for the caller keeps its type and words; any other says only what kind it was."""

    async def use(heavy: Heavy) -> None:
        with pytest.raises(InputError, match="2026-X"):
            await heavy.run(parse_period, "2026-X")
        with pytest.raises(StoreError, match=r"nowhere\.db"):
            await heavy.run(Store.open, "/nowhere/nowhere.db")
        with pytest.raises(HeavyFailed, match="ValueError") as failed:
            await heavy.run(int, "Jane Doe")
        assert "Jane" not in str(failed.value)
        with pytest.raises(HeavyFailed):
            # A generator cannot be sent back.
            await heavy.run(iter, [1].__iter__)
        assert await heavy.run(abs, -3) == 3

    with_heavy(use)


def test_a_killed_child_fails_its_call_only() -> None:
    """The call that ran is refused with 503 and may be asked again; the next has a new child."""

    async def use(heavy: Heavy) -> None:
        first = await heavy.run(os.getpid)
        call = asyncio.create_task(heavy.run(time.sleep, 60))
        waiting = asyncio.create_task(heavy.run(os.getpid))
        await asyncio.sleep(0.05)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(Refusal) as refused:
            await call
        assert refused.value.kind == OVERLOADED
        assert refused.value.response().headers["retry-after"] == "2"
        assert await waiting == heavy.pid != first

    with_heavy(use)


def test_a_child_killed_between_calls_is_not_noticed() -> None:
    """A child that died while nobody asked is replaced without a refusal."""

    async def use(heavy: Heavy) -> None:
        first = await heavy.run(os.getpid)
        os.kill(first, signal.SIGKILL)
        await until(lambda: heavy._child is None or heavy._child.process.returncode is not None)
        assert await heavy.run(os.getpid) != first

    with_heavy(use)


def test_more_than_may_wait_are_refused_at_once() -> None:
    """One runs and two wait; the next is refused without waiting, and one that gave up makes room."""

    async def use(heavy: Heavy) -> None:
        await heavy.run(os.getpid)
        calls = [asyncio.create_task(heavy.run(time.sleep, 0.3)) for _ in range(3)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        with pytest.raises(Refusal) as refused:
            await heavy.run(os.getpid)
        assert refused.value.kind == OVERLOADED
        assert time.monotonic() - began < 0.1
        calls[2].cancel()
        await asyncio.sleep(0.05)
        assert await heavy.run(abs, -1) == 1
        await asyncio.gather(*calls[:2])

    with_heavy(use, most_waiting=2)


def test_who_gives_up_leaves_the_child_to_others() -> None:
    """A call that nobody waits for any more ends by itself, and the next answer is the next call's."""

    async def use(heavy: Heavy) -> None:
        pid = await heavy.run(os.getpid)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(heavy.run(time.sleep, 0.3), 0.05)
        assert await heavy.run(abs, -7) == 7
        assert heavy.pid == pid
        assert heavy.n_calls == 0

    with_heavy(use)


def test_a_call_that_does_not_end_is_ended() -> None:
    """After the longest time the child is killed, the caller told, and the next call has another."""

    async def use(heavy: Heavy) -> None:
        first = await heavy.run(os.getpid)
        with pytest.raises(Refusal) as refused:
            await heavy.run(time.sleep, 60)
        assert refused.value.kind == TOO_SLOW
        assert not psutil.pid_exists(first)
        assert await heavy.run(abs, -7) == 7

    with_heavy(use, most_seconds=0.3)


def test_an_idle_child_ends_and_another_begins() -> None:
    """When nobody asks for the idle time no process is left; asking again starts one."""

    async def use(heavy: Heavy) -> None:
        first = await heavy.run(os.getpid)
        await until(lambda: not psutil.pid_exists(first))
        assert heavy.pid is None
        assert await heavy.run(os.getpid) != first

    with_heavy(use, idle_seconds=0.1)


def test_the_child_ends_with_its_parent() -> None:
    """A parent that is killed leaves no child, even one in the middle of a call."""
    program = (
        "import asyncio, os, time\n"
        "from serving.jobs.heavy import Heavy\n"
        "async def run():\n"
        "    heavy = Heavy()\n"
        "    print(await heavy.run(os.getpid), flush=True)\n"
        "    await heavy.run(time.sleep, 60)\n"
        "asyncio.run(run())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    asyncio.run(until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"))
