"""How much is in progress: beyond what a worker can do in good time, a request is refused at once."""

from __future__ import annotations

from serving.http.problems import OVERLOADED, Refusal

#: Bytes of a body that count as one more unit of work.
UNIT = 32 * 1024


class Admission:
    """Counts the work in progress in one worker.

    Requests beyond the limit are told so before anything is read or computed, so that those within it are
    answered as fast under overload as at the limit.

    Parameters
    ----------
    limit : int
        In units: one a request, and one more for each 32 kB of its body.
    """

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        # A body as large as allowed must find room beside small ones, or it would wait for ever.
        self._largest = max(1, limit // 4)
        self.in_progress = 0

    def enter(self, size: int = 0) -> int:
        """Take a request in.

        Parameters
        ----------
        size : int
            Bytes of its body, as announced.

        Returns
        -------
        int
            Its units, to be given to :meth:`leave`.

        Raises
        ------
        Refusal
            503 where too much is in progress.
        """
        units = min(1 + size // UNIT, self._largest)
        if self.in_progress + units > self._limit:
            raise Refusal(OVERLOADED)
        self.in_progress += units
        return units

    def leave(self, units: int) -> None:
        """Let a request go."""
        self.in_progress -= units
