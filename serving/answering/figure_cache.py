"""Figures that were computed already: the same question of the same history has one answer, made once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

#: Answers kept, and seconds after which one is made anew: what "now" means moves on.
MOST, SECONDS = 256, 600.0


class FigureCache:
    """Answers by question, the least lately asked going first.

    Whoever asks while an answer is being made waits for that one. An answer that fails is not kept.

    Parameters
    ----------
    most : int
    seconds : float
    """

    def __init__(self, most: int = MOST, seconds: float = SECONDS) -> None:
        self._most, self._seconds = most, seconds
        self._kept: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Any]], now: float) -> Any:
        """Give the answer to a question; make it where it is not there or too old.

        Parameters
        ----------
        key : hashable
            All that the answer depends on.
        make : function that gives an awaitable
        now : float
            In seconds, of any clock that does not go back.
        """
        began, task = self._kept.get(key, (0.0, None))
        if task is None or task.cancelled() or now - began > self._seconds:
            task = asyncio.ensure_future(_made(make))
            self._kept[key] = (now, task)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        try:
            # Who gives up waiting does not stop it for the others.
            return await asyncio.shield(task)
        except BaseException:
            if task.done() and self._kept.get(key, (0.0, None))[1] is task:
                del self._kept[key]
            raise


async def _made(make: Callable[[], Awaitable[Any]]) -> Any:
    return await make()
