"""Score records that come with the request, where there is no store."""

from __future__ import annotations

from typing import Any

from crm.moments import in_micros
from serving.answering.questions import Question, answer_questions, check, facts
from serving.answering.reading import Received
from serving.answering.record_rows import RecordRows, sent_rows
from serving.bundle import ModelBundle

__all__ = ["facts", "rows_sent", "score_inline"]


def score_inline(bundle: ModelBundle, received: Received) -> dict[str, Any]:
    """Score the records of a batch.

    Parameters
    ----------
    bundle : ModelBundle
    received : Received
        Of records that were sent whole.

    Returns
    -------
    dict
        As :class:`serving.answering.schemas.LeadAnswer` or ``DealAnswer`` describes.

    Raises
    ------
    Refusal
        If the bundle has no model of that entity, or is not of the version asked for.
    """
    check(bundle, received)
    return answer_questions(bundle, [Question(received, rows_sent(received))])[0]


def rows_sent(received: Received, mark: int = 0) -> list[RecordRows]:
    """Give the records of a batch as rows, each with a name that no CRM's record can have.

    Parameters
    ----------
    received : Received
    mark : int
        Tells the batch from others that are answered together with it.
    """
    as_of = in_micros(received.as_of)
    return [
        sent_rows(record, received.entity, f"\0{mark}\0{place}", as_of)
        for place, record in enumerate(received.records)
    ]
