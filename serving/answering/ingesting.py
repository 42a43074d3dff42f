"""Take in a batch that was read: the history, what is to be rescored, and the answer, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from crm.ingesting.ingest import Ingested, Refused, ingest
from crm.store.service.jobs import enqueue
from crm.store.service.moments import to_moment
from crm.store.service.revision import raise_revision
from crm.store.service.scores import drop_scores
from serving.answering.ingest_reading import NAMES, ReadBatch
from serving.answering.ingest_schemas import Counts, IngestAnswer, IngestError, Rescoring
from serving.http.problems import Fault

#: The kind of job that scores the records which it names, by entity.
RESCORE = "rescore"


def take_in(
    connection: sa.Connection, read: ReadBatch, *, source: str, clock: Callable[[], datetime]
) -> IngestAnswer:
    """Take in what a batch holds, and say what became of it.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In a transaction that may write; nothing is committed.
    read : ReadBatch
    source : str
        For the store's list of loads.
    clock : function that gives a datetime
        Asked when no other writes any more.
    """
    done = ingest(connection, read.records, source=source, clock=clock)
    learned_at = to_moment(done.learned)
    rescoring = _follow(connection, done, learned_at) if done.is_change else Rescoring(leads=0, deals=0)
    errors = [*read.errors, *(_error(refused) for refused in done.refused)]
    errors.sort(key=lambda error: (NAMES.index(error.table), error.index))
    return IngestAnswer(
        learned_at=learned_at,
        tables={
            name: Counts(new=counts.new, changed=counts.changed, unchanged=counts.unchanged)
            for name in NAMES
            if (counts := done.counts.get(name)) is not None
        },
        errors=errors,
        notices=done.notices,
        rescoring=rescoring,
    )


def _follow(connection: sa.Connection, done: Ingested, now: datetime) -> Rescoring:
    """Let what is kept of the records that changed be made anew, or go where they ended."""
    raise_revision(connection, "history")
    still_open, ended = done.touched.open_and_closed(connection)
    for entity, ids in ended.items():
        if ids:
            drop_scores(connection, entity, ids)
    if any(still_open.values()):
        enqueue(connection, RESCORE, still_open, now)
    return Rescoring(leads=len(still_open["lead"]), deals=len(still_open["deal"]))


def _error(refused: Refused) -> IngestError:
    fault = Fault(field=refused.field, code="conflict", value=refused.value, remedy=refused.remedy)
    return IngestError.model_validate(
        {
            "table": refused.table,
            "index": refused.index,
            "id": refused.record_id,
            "code": "conflict",
            "faults": [fault],
        }
    )
