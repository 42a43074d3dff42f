"""Several cutoffs at a time: as many processes as the cores and the memory allow."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from pathlib import Path

import pandas as pd

from crm.errors import VigieError
from crm.history import History
from training.backtest.one_cutoff import Done, go_back
from training.backtest.prediction import Forecaster
from training.backtest.settings import BacktestSettings
from training.backtest.work import Work

#: What a process needs beside its history: the libraries, and a training's tables in times of its history.
_LIBRARIES_BYTES = 450 << 20
_TIMES_HISTORY = 6
#: Share of the available memory that is used.
_SHARE = 0.8

_Task = tuple[History, BacktestSettings, Work, Forecaster | None]


def go_back_to_all(
    history: History,
    cutoffs: Sequence[pd.Timestamp],
    settings: BacktestSettings,
    work: Work,
    forecaster: Forecaster | None,
    jobs: int,
    finished: Callable[[Done], None],
) -> list[Done]:
    """Go back to every cutoff, the latest first, for it takes longest and needs most memory.

    Parameters
    ----------
    history : History
    cutoffs : sequence of Timestamp
    settings : BacktestSettings
    work : Work
    forecaster : callable, optional
        A function of a module, where there is more than one job.
    jobs : int
        Processes at most; with one, everything is done in this one.
    finished : callable
        Told of each cutoff when it is done.

    Returns
    -------
    list of Done
        In the order of time.

    Raises
    ------
    VigieError
        If a process was ended from outside; what is done is kept.
    """
    latest_first = sorted(cutoffs, reverse=True)
    found: Iterator[Done]
    if min(jobs, len(cutoffs)) <= 1:
        found = (go_back(history, cutoff, settings, work, forecaster) for cutoff in latest_first)
    else:
        found = _in_processes(history, latest_first, settings, work, forecaster, min(jobs, len(cutoffs)))
    done = []
    for one in found:
        finished(one)
        done.append(one)
    return sorted(done, key=lambda one: one.cutoff)


def allowed(jobs: int, running: int, available: int, one_needs: int) -> int:
    """Give how many processes may run at once, those that run already among them; at least one.

    Parameters
    ----------
    jobs, running : int
    available : int
        Bytes that are free now, beside what the running ones hold.
    one_needs : int
        Bytes that a process is expected to hold at most.

    Examples
    --------
    >>> allowed(8, 0, 10 << 30, 2 << 30), allowed(8, 3, 1 << 30, 2 << 30), allowed(8, 0, 0, 2 << 30)
    (4, 3, 1)
    """
    more = int(_SHARE * available / max(one_needs, 1))
    return max(1, min(jobs, running + more))


def estimate(history: History) -> int:
    """Give the bytes that a process is expected to need, before one has been seen."""
    tables = sum(int(frame.memory_usage(deep=True).sum()) for frame in history.frames().values())
    return _LIBRARIES_BYTES + _TIMES_HISTORY * tables


def available_memory() -> int:
    """Give the bytes that processes may still take; as much as there is where the system does not say."""
    meminfo = Path("/proc/meminfo")
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if meminfo.exists():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    return min(free, _left_in_group())


def _left_in_group() -> int:
    """Give what the container that this process may run in still allows; what only caches files is free."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text("ascii")) for name in ("max", "current"))
        facts = (group / "memory.stat").read_text("ascii").split()
        cached = int(facts[facts.index("inactive_file") + 1])
        return max(limit - used + cached, 0)
    except (OSError, ValueError):
        return 1 << 62


def _in_processes(
    history: History,
    cutoffs: Sequence[pd.Timestamp],
    settings: BacktestSettings,
    work: Work,
    forecaster: Forecaster | None,
    jobs: int,
) -> Iterator[Done]:
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=((history, settings, work, forecaster),),
    )
    one_needs, seen, left, running = estimate(history), 0, list(cutoffs), set[Future[Done]]()
    try:
        while left or running:
            room = allowed(jobs, len(running), available_memory(), one_needs)
            while left and len(running) < room:
                running.add(pool.submit(_one, left.pop(0)))
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                done = future.result()
                seen = one_needs = max(seen, done.peak_bytes)
                yield done
    except BrokenProcessPool as error:
        raise VigieError(
            "a process of the backtest was ended from outside, most likely because memory ran out; what is "
            "done is kept: run the same command again with --jobs 1, or give the machine more memory"
        ) from error
    except BaseException:
        # Also when interrupted: nobody waits for cutoffs that nobody wants any more.
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


#: What a process of the pool works on; set once, when it begins, for a pool can only pass it so.
_task: _Task | None = None


def _begin(task: _Task) -> None:
    """Hold the history once a process; end with the process that asked, however that one ends."""
    global _task
    _task = task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked_by = multiprocessing.parent_process()
    if asked_by is not None:
        threading.Thread(target=_end_with, args=(asked_by.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)


def _one(cutoff: pd.Timestamp) -> Done:
    if _task is None:
        raise RuntimeError("the process was not given its task")
    history, settings, work, forecaster = _task
    return go_back(history, cutoff, settings, work, forecaster)
