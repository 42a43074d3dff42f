"""Answer what is asked at the same moment in one go.

NumPy costs nearly as much for one record as for twenty. A question waits for no other: all that are there
when the event loop comes round are answered together, so that a lone one is answered at once and many at the
same time cost little more than one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from serving.answering.questions import Question, answer_questions
from serving.bundle import ModelBundle

#: Questions answered in one go at most, so that none waits long for others.
MOST: Final = 32

Answer = dict[str, Any]
Answering = Callable[[ModelBundle, Sequence[Question]], list[Answer]]

_LOG = logging.getLogger("vigie.scoring")


@dataclass
class Together:
    """Gathers the questions of one worker.

    Parameters
    ----------
    answering : callable
        Answers questions of one entity by one bundle.
    """

    answering: Answering = answer_questions
    _waiting: list[tuple[ModelBundle, Question, asyncio.Future[Answer]]] = field(default_factory=list)

    async def ask(self, bundle: ModelBundle, question: Question) -> Answer:
        """Answer a question together with those that are asked now.

        Parameters
        ----------
        bundle : ModelBundle
        question : Question
            Checked.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((bundle, question, answer))
        if len(self._waiting) == 1:
            # After everything that is ready now: it may ask too.
            loop.call_soon(self._answer)
        return await answer

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._answer)
        groups: dict[tuple[int, str], list[tuple[ModelBundle, Question, asyncio.Future[Answer]]]] = {}
        for one in waiting:
            if not one[2].done():
                groups.setdefault((id(one[0]), one[1].received.entity), []).append(one)
        for group in groups.values():
            self._answer_group(group)

    def _answer_group(self, group: list[tuple[ModelBundle, Question, asyncio.Future[Answer]]]) -> None:
        bundle = group[0][0]
        try:
            answers = self.answering(bundle, [question for _, question, _ in group])
        except Exception as error:
            if len(group) == 1:
                group[0][2].set_exception(error)
                return
            # Whatever it was, it is the matter of one of them only.
            _LOG.exception("answering_together_failed")
            for one in group:
                self._answer_group([one])
            return
        for (_, _, future), answer in zip(group, answers, strict=True):
            future.set_result(answer)
