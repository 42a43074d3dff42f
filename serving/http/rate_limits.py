"""How often a key may call: a bucket of tokens for each, refilled steadily."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.http.problems import TOO_MANY, Refusal


class RateLimits:
    """Token buckets by key; a key that was never seen has a full one.

    Parameters
    ----------
    per_second : float
        Tokens that come in; 0 for no limit.
    burst : float
        Tokens that a bucket holds.
    clock : callable
        Seconds that never go back.
    """

    def __init__(
        self, per_second: float = 100.0, burst: float = 200.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = max(1.0, burst)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key_id: str) -> None:
        """Take one token.

        Raises
        ------
        Refusal
            429, saying after how many seconds there is one again.
        """
        if not self._per_second:
            return
        now = self._clock()
        tokens, then = self._buckets.get(key_id, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        if tokens < 1:
            self._buckets[key_id] = (tokens, now)
            raise Refusal(TOO_MANY, retry_after=(1 - tokens) / self._per_second)
        self._buckets[key_id] = (tokens - 1, now)
