"""From a batch to a question: what the store knows of its records, as far as the caller may see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

from crm.errors import shorten
from crm.moments import in_micros
from features.spec import FeatureSpec
from serving.answering.inline import rows_sent
from serving.answering.questions import Earlier, Question
from serving.answering.reading import Received
from serving.answering.record_rows import RecordRows, laid_on, sent_rows
from serving.answering.schemas import RecordError
from serving.answering.stored_rows import StoredRows
from serving.expected import Floats
from serving.http.problems import Fault

#: Whose records may be seen; None for all.
Owners = frozenset[str] | None


class Readable(Protocol):
    """A store that gives one consistent view of itself."""

    def reading(self) -> AbstractContextManager[sa.Connection]: ...


class Last(Earlier, Protocol):
    """A stored score, and whose record it is of."""

    @property
    def owner_id(self) -> str | None: ...


#: Gives the last scores of records: ``scores_of(connection, entity, ids)``.
ScoresOf = Callable[[sa.Connection, str, Iterable[str]], dict[str, Any]]


def look_up(
    received: Received,
    spec: FeatureSpec,
    store: Readable,
    scores_of: ScoresOf,
    owners_of: Callable[[sa.Connection], Owners],
    ordered: Floats | None,
    mark: int = 0,
) -> Question:
    """Give the question that a batch is, with what the store has of its records.

    Parameters
    ----------
    received : Received
    spec : FeatureSpec
    store : Readable
    scores_of : callable
    owners_of : callable
        Whose records the caller may see.
    ordered : ndarray or None
        Probabilities of the store's open records, ascending.
    mark : int
        Tells the batch from others that are answered together with it.

    Raises
    ------
    StoreError
        Where the store cannot be read.
    """
    key = f"{received.entity}_id"
    as_of = in_micros(received.as_of)
    ids = [record[key] for record in received.records]
    with store.reading() as connection:
        owners = owners_of(connection)
        last: dict[str, Last] = scores_of(connection, received.entity, ids)
        wanted = [one for one, origin in zip(ids, received.origins, strict=True) if origin != "sent"]
        stored = StoredRows(connection, spec, as_of).read(wanted) if wanted else {}
    if owners is not None:
        received = _without_foreign(received, owners)
        last = {name: score for name, score in last.items() if score.owner_id in owners}
        stored = {name: rows for name, rows in stored.items() if rows.record["owner_id"] in owners}
    if not wanted:
        return Question(received, rows_sent(received, mark), last, ordered)
    rows: list[RecordRows | None] = []
    for place, (record, origin) in enumerate(zip(received.records, received.origins, strict=True)):
        found = stored.get(record[key])
        if origin == "sent" or (found is None and "created_at" in record):
            # What the store does not have yet can still be scored as it was sent.
            rows.append(sent_rows(record, received.entity, f"\0{mark}\0{place}", as_of))
        elif origin == "both" and found is not None:
            rows.append(laid_on(found, record, received.entity, as_of))
        else:
            rows.append(found)
    return Question(received, rows, last, ordered)


def _without_foreign(received: Received, owners: frozenset[str]) -> Received:
    """Take out the records that are said to be another rep's: their reasons would tell of that rep."""
    kept = []
    errors = list(received.errors)
    for place, record in enumerate(received.records):
        said = {record.get("owner_id")} | {
            change.get(side)
            for change in record.get("changes", ())
            if change["field"] == "owner_id"
            for side in ("old_value", "new_value")
        }
        foreign = sorted(one for one in said if one is not None and one not in owners)
        if not foreign:
            kept.append(place)
            continue
        fault = Fault(
            field="owner_id",
            code="not_yours",
            value=shorten(foreign[0]),
            remedy="this key scores only the records of its own reps",
        )
        name = record[f"{received.entity}_id"]
        index = received.places[place]
        errors.append(RecordError(index=index, id=name, code="invalid_record", faults=[fault]))
    return received.only(kept, errors)
