"""Score the batches of one worker: read them, look up what the store knows, answer together, write."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import anyio
import anyio.to_thread
import sqlalchemy as sa
from pydantic_core import to_json

from crm.errors import StoreError
from crm.store.service.revision import Part
from serving.answering.asking import Owners, Readable, ScoresOf, look_up
from serving.answering.inline import rows_sent
from serving.answering.questions import Question, answer_questions, check
from serving.answering.ranks import Ranks
from serving.answering.reading import Entity, Received, read_batch
from serving.answering.together import Answer, Together
from serving.bundle import ModelBundle

#: A larger body is answered in a thread, so that liveness is answered meanwhile; for a smaller one the thread
#: would cost more than it spares.
SMALL_BODY: Final = 64 * 1024
#: Scoring calls at once in threads; more would only wait for one another.
THREADS: Final = 2
#: Seconds for which a store that failed is left alone by calls that can do without it.
LEFT_ALONE: Final = 2.0
#: What the probability of a kind of record is called in an answer.
PROBABILITY_OF: Final[dict[Entity, str]] = {"lead": "propensity", "deal": "win_probability"}

_LOG = logging.getLogger("vigie.scoring")


@dataclass
class Scorer:
    """Scores batches.

    Parameters
    ----------
    store : Readable or None
        The history store, where there is one.
    scores_of : callable
        Reads last scores from it.
    ranks : Ranks or None
    is_local : bool
        Whether the store is read without a network; it is then read where the request is handled.
    told : callable or None
        Told the kind of record and the probabilities of each answer.
    """

    store: Readable | None = None
    scores_of: ScoresOf = field(default=lambda _connection, _entity, _ids: {})
    ranks: Ranks | None = None
    is_local: bool = True
    told: Callable[[str, Sequence[float]], None] | None = None
    _together: Together = field(default_factory=Together)
    _marks: itertools.count[int] = field(default_factory=itertools.count)
    _limiter: anyio.CapacityLimiter | None = None
    _alone_until: float = 0.0

    async def score(
        self,
        bundle: ModelBundle,
        entity: Entity,
        body: bytes,
        now: datetime,
        owners_of: Callable[[sa.Connection], Owners] = lambda _: None,
        saw: Callable[[Received], None] = lambda _: None,
        *,
        sees_all: bool = True,
    ) -> bytes:
        """Answer a body with JSON.

        Parameters
        ----------
        bundle : ModelBundle
        entity : {"lead", "deal"}
        body : bytes
        now : datetime
            In UTC.
        owners_of : callable
            Whose records the caller may see.
        saw : callable
            Told the batch once it is read.
        sees_all : bool
            Whether ``owners_of`` gives None; a caller of whom that must be asked is never answered without
            the store.

        Raises
        ------
        Refusal
            If the body as a whole cannot be used.
        StoreError
            If records are to be read from the store and cannot be.
        """
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(THREADS)
        if self.ranks is not None:
            await self.ranks.fresh()
        if len(body) > SMALL_BODY:
            return await anyio.to_thread.run_sync(
                self._score_alone, bundle, entity, body, now, owners_of, saw, sees_all, limiter=self._limiter
            )
        received = read_batch(body, entity, now, has_store=self.store is not None)
        check(bundle, received)
        saw(received)
        if self.store is None or self.is_local:
            question = self._question(bundle, received, owners_of, sees_all)
        else:
            question = await anyio.to_thread.run_sync(self._question, bundle, received, owners_of, sees_all)
        return self._written(entity, await self._together.ask(bundle, question))

    def _score_alone(
        self,
        bundle: ModelBundle,
        entity: Entity,
        body: bytes,
        now: datetime,
        owners_of: Callable[[sa.Connection], Owners],
        saw: Callable[[Received], None],
        sees_all: bool,
    ) -> bytes:
        received = read_batch(body, entity, now, has_store=self.store is not None)
        check(bundle, received)
        saw(received)
        question = self._question(bundle, received, owners_of, sees_all)
        return self._written(entity, answer_questions(bundle, [question])[0])

    def _written(self, entity: Entity, answer: Answer) -> bytes:
        if self.told is not None:
            name = PROBABILITY_OF[entity]
            self.told(entity, [one[name] for one in answer["scores"]])
        return to_json(answer)

    def _leave_alone(self) -> None:
        self._alone_until = time.monotonic() + LEFT_ALONE
        _LOG.warning("scoring_without_store")

    def _question(
        self,
        bundle: ModelBundle,
        received: Received,
        owners_of: Callable[[sa.Connection], Owners],
        sees_all: bool,
    ) -> Question:
        mark = next(self._marks)
        ordered = None if self.ranks is None else self.ranks.ordered(received.entity)
        must = received.needs_store or not sees_all
        if self.store is not None and (must or time.monotonic() >= self._alone_until):
            spec = bundle.models[received.entity].spec
            try:
                return look_up(received, spec, self.store, self.scores_of, owners_of, ordered, mark)
            except StoreError:
                if must:
                    raise
                self._leave_alone()
        return Question(received, rows_sent(received, mark), ordered=ordered)


def ranks_of(
    store: Readable,
    revision_of: Callable[[sa.Connection, Part], int],
    probabilities: Callable[[sa.Connection, str], Any],
) -> Ranks:
    """Give the ranks of a store's scores.

    Parameters
    ----------
    store : Readable
    revision_of : callable
        ``revision(connection, name)`` of the store.
    probabilities : callable
        ``probabilities(connection, entity)`` of the store: ascending.
    """

    def read(known: int | None) -> tuple[int, Mapping[str, Any] | None]:
        with store.reading() as connection:
            now = revision_of(connection, "scores")
            if now == known:
                return now, None
            return now, {entity: probabilities(connection, entity) for entity in ("lead", "deal")}

    return Ranks(read)
