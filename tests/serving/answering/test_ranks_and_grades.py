"""Places among the store's records, looked up again only where they changed; grades by fixed cut-offs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.errors import StoreError
from serving.answering.grades import CUTOFFS, grade, grades
from serving.answering.ranks import PAUSE, Ranks, standing
from serving.expected import Floats

PROBABILITIES = st.floats(0, 1, allow_nan=False).map(lambda p: round(p, 2))


@given(st.lists(PROBABILITIES, max_size=20), PROBABILITIES)
def test_a_rank_counts_who_is_above(others: list[float], probability: float) -> None:
    """The rank is one more than the records above, the percentile the share at or below, itself included."""
    found = standing(np.sort(np.array(others, np.float64)), probability)
    assert found.rank == 1 + sum(other > probability for other in others)
    assert found.among == 1 + len(others)
    at_most = 1 + sum(other <= probability for other in others)
    assert found.percentile == pytest.approx(100 * at_most / found.among, abs=0.006)


@given(st.lists(PROBABILITIES, min_size=1, max_size=20), PROBABILITIES, st.data())
def test_a_record_takes_the_place_of_its_own_last_score(
    stored: list[float], probability: float, data: st.DataObject
) -> None:
    """A record among the stored ones is ranked among the others only."""
    own = data.draw(st.sampled_from(stored))
    rest = list(stored)
    rest.remove(own)
    found = standing(np.sort(np.array(stored)), probability, own)
    assert found == standing(np.sort(np.array(rest, np.float64)), probability)


@dataclass
class Source:
    """A store whose revision and probabilities a test sets, and which counts how often it was read."""

    revision: int = 1
    found: Floats = field(default_factory=lambda: np.array([0.1]))
    looks: int = 0
    reads: int = 0
    fails: bool = False
    now: float = 100.0

    def read(self, known: int | None) -> tuple[int, dict[str, Floats] | None]:
        """Give the revision, and the probabilities where it is another."""
        self.looks += 1
        if self.fails:
            raise StoreError("gone")
        if self.revision == known:
            return known, None
        self.reads += 1
        return self.revision, {"lead": self.found}


def test_ranks_are_looked_up_again_only_where_they_changed() -> None:
    """Within the pause nothing is asked; after it the revision; and only a new one is read."""

    async def run() -> None:
        source = Source()
        ranks = Ranks(source.read, lambda: source.now)
        await ranks.fresh()
        assert ranks.ordered("lead").tolist() == [0.1]
        assert ranks.ordered("deal").tolist() == []
        await ranks.fresh()
        assert (source.looks, source.reads) == (1, 1)
        source.now += PAUSE
        await ranks.fresh()
        await asyncio.sleep(0.05)
        assert (source.looks, source.reads) == (2, 1)
        source.revision, source.found = 2, np.array([0.1, 0.4])
        source.now += PAUSE
        await ranks.fresh()
        # The call itself did not wait; a later one sees it.
        await asyncio.sleep(0.05)
        assert ranks.ordered("lead").tolist() == [0.1, 0.4]

    asyncio.run(run())


def test_ranks_outlive_a_store_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """A look that fails leaves what was known, says so in the log, and is not repeated all the time."""

    async def run() -> None:
        source = Source(fails=True)
        ranks = Ranks(source.read, lambda: source.now)
        await ranks.fresh()
        assert ranks.ordered("lead").tolist() == []
        source.fails = False
        source.now += PAUSE
        await ranks.fresh()
        source.fails = True
        source.now += PAUSE
        await ranks.fresh()
        await asyncio.sleep(0.05)
        looks = source.looks
        await ranks.fresh()
        assert source.looks == looks
        source.now += PAUSE
        await ranks.fresh()
        await asyncio.sleep(0.05)
        assert ranks.ordered("lead").tolist() == [0.1]

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == ["ranks_not_read"] * 3


def test_grades_fall_with_the_probability() -> None:
    """Each cut-off belongs to the better grade, and many are graded as one is."""
    assert [grade(bound) for _, bound in CUTOFFS] == ["A", "B", "C"]
    some = np.array([0.0, 0.0999, 0.1, 0.2999, 0.3, 0.5999, 0.6, 1.0])
    assert grades(some) == [grade(p) for p in some.tolist()] == ["D", "D", "C", "C", "B", "B", "A", "A"]
