"""Score open records of the store into the store: in chunks, each of them one transaction, to be begun again.

A run that was cut goes on where it stopped, for what was scored lately enough by the same model is left as
it is. Memory holds one chunk, however many records there are. What ended or was forgotten between its reading
and the keeping of its score has no score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from crm.moments import in_micros
from crm.store.service.engine import ServiceStore
from crm.store.service.models import keep_model
from crm.store.service.records import held_open, open_ids, scored_but_not_open
from crm.store.service.scores import StoredScore, drop_scores, keep_scores, scores_of
from serving.answering.grades import Grade, grade
from serving.answering.score_making import ScoreMaker
from serving.answering.stored_rows import StoredRows
from serving.bundle import ModelBundle
from serving.outcome_model import OutcomeModel
from serving.scoring import model_of

#: Records of one transaction.
CHUNK: Final = 2000
#: A probability that moved by less has not changed.
SMALLEST_CHANGE: Final = 0.0005

#: A score of a moment so far ahead of now was made by a clock that was wrong, and gives way.
AHEAD: Final = timedelta(hours=2)


@dataclass(frozen=True)
class ScoreChange:
    """A score that is new, or differs from the last.

    Parameters
    ----------
    entity, record_id : str
    owner_id : str or None
    as_of : datetime
    model_version : str
    before, after : float or None
        Probabilities; None before the first score.
    grade_before, grade_after : str or None
    """

    entity: str
    record_id: str
    owner_id: str | None
    as_of: datetime
    model_version: str
    before: float | None
    after: float
    grade_before: Grade | None
    grade_after: Grade


#: Told what changed, in the transaction that keeps it.
OnChanges = Callable[[sa.Connection, Sequence[ScoreChange]], None]
#: Called first in each transaction that writes; what it raises undoes the transaction and ends the run.
Guard = Callable[[sa.Connection], None]


@dataclass
class RescoreReport:
    """What a rescoring did.

    Parameters
    ----------
    n_scored : int
        Scores kept.
    n_current : int
        Records left as they were: scored lately by the same model, or as of a later moment.
    n_dropped : int
        Scores of records that are no longer open.
    n_changed : int
        Scores that are new, or moved by at least :data:`SMALLEST_CHANGE`.
    """

    n_scored: int = 0
    n_current: int = 0
    n_dropped: int = 0
    n_changed: int = 0

    def add(self, other: RescoreReport) -> None:
        """Count what another did, too."""
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def rescore(
    store: ServiceStore,
    bundle: ModelBundle,
    entity: str,
    ids: Sequence[str] | None,
    as_of: datetime,
    now: datetime,
    *,
    current_from: datetime | None = None,
    made_from: datetime | None = None,
    again: bool = False,
    chunk: int = CHUNK,
    on_changes: OnChanges | None = None,
    guard: Guard | None = None,
    progress: Callable[[RescoreReport], None] | None = None,
) -> RescoreReport:
    """Score records of the store as of a moment, and keep the scores.

    Parameters
    ----------
    store : ServiceStore
    bundle : ModelBundle
    entity : {"lead", "deal"}
    ids : sequence of str or None
        The records; None for all that are open.
    as_of, now : datetime
        With a zone.
    current_from : datetime, optional
        Records that this model scored as of this moment or later are left as they are.
    made_from : datetime, optional
        But not those whose score was made before this moment.
    again : bool
        Whether to score also what has a score of a later moment, which is then gone.
    chunk : int
        Records of one transaction.
    on_changes : callable, optional
        Told the changes of each chunk in its transaction.
    guard : callable, optional
        Says by raising that this may not write any more.
    progress : callable, optional
        Told the report after each chunk.

    Raises
    ------
    BundleError
        If the bundle has no model of that entity.
    StoreError
        Where the store cannot be read or written; what was committed before stays.
    """
    model = model_of(bundle, entity)
    run = _Run(
        store, bundle, model, as_of.astimezone(UTC), now, current_from, made_from, again, on_changes, guard
    )
    run.begin()
    parts = open_parts(store, entity, chunk) if ids is None else _parts(ids, chunk)
    for some in parts:
        run.score(some)
        if progress is not None:
            progress(run.report)
    if ids is None:
        run.report.n_dropped += drop_ended(store, entity, guard)
    return run.report


def drop_ended(store: ServiceStore, entity: str, guard: Guard | None = None) -> int:
    """Take away the scores of records that are not open any more, and give how many there were."""
    n = 0
    while True:
        with store.reading() as connection:
            ended = scored_but_not_open(connection, entity, CHUNK)
        if not ended:
            return n
        with store.writing() as connection:
            if guard is not None:
                guard(connection)
            still = held_open(connection, entity, ended)
            n += drop_scores(connection, entity, [name for name in ended if name not in still])


def _parts(ids: Sequence[str], chunk: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(ids), chunk):
        yield ids[first : first + chunk]


def open_parts(store: ServiceStore, entity: str, chunk: int) -> Iterator[Sequence[str]]:
    """Give the ids of all open leads or deals, so many at a time."""
    after: str | None = None
    while True:
        with store.reading() as connection:
            some = open_ids(connection, entity, after, chunk)
        if some:
            yield some
            after = some[-1]
        if len(some) < chunk:
            return


@dataclass
class _Run:
    """One rescoring: what all its chunks have in common."""

    store: ServiceStore
    bundle: ModelBundle
    model: OutcomeModel
    as_of: datetime
    now: datetime
    current_from: datetime | None
    made_from: datetime | None
    again: bool
    on_changes: OnChanges | None
    guard: Guard | None
    report: RescoreReport = field(default_factory=RescoreReport)

    def begin(self) -> None:
        """Keep what is needed to put the reasons into words later, whatever model is served then."""
        specs = {one: model.spec.to_json_dict() for one, model in self.bundle.models.items()}
        card = {
            "name": self.bundle.name,
            "trained_through": self.bundle.trained_through.isoformat(),
            "created_at": self.bundle.created_at.isoformat(),
        }
        with self._writing() as connection:
            keep_model(connection, self.bundle.version, card, specs)

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self.store.writing() as connection:
            if self.guard is not None:
                self.guard(connection)
            yield connection

    def score(self, ids: Sequence[str]) -> None:
        """Score one chunk and keep it, all or nothing."""
        entity = self.model.entity
        with self.store.reading() as connection:
            last = scores_of(connection, entity, ids)
            latest = self.as_of if self.again else max(self.now, self.as_of) + AHEAD
            ahead = [name for name, score in last.items() if score.as_of > latest]
            for name in ahead:
                del last[name]
            due = [name for name in ids if not self._is_current(last.get(name))]
            rows = StoredRows(connection, self.model.spec, in_micros(self.as_of)).read(due)
        self.report.n_current += len(ids) - len(due)
        if not due:
            return
        maker = ScoreMaker(self.bundle, self.model, self.as_of, self.now)
        scores = maker.make([rows[name] for name in due if name in rows], last)
        with self._writing() as connection:
            still = held_open(connection, entity, [score.record_id for score in scores])
            scores = [score for score in scores if score.record_id in still]
            gone = [name for name in due if name not in still and name in last]
            if gone or ahead:
                drop_scores(connection, entity, [*gone, *ahead])
            keep_scores(connection, scores)
            changes = [change for score in scores if (change := _changed(score, last.get(score.record_id)))]
            if changes and self.on_changes is not None:
                self.on_changes(connection, changes)
        self.report.n_scored += len(scores)
        self.report.n_dropped += len(gone)
        self.report.n_changed += len(changes)

    def _is_current(self, score: StoredScore | None) -> bool:
        if score is None or score.as_of > self.as_of:
            return score is not None
        return (
            self.current_from is not None
            and score.model_version == self.bundle.version
            and self.current_from <= score.as_of
            and (self.made_from is None or self.made_from <= score.scored_at)
        )


def _changed(score: StoredScore, last: StoredScore | None) -> ScoreChange | None:
    if last is not None and abs(score.probability - last.probability) < SMALLEST_CHANGE:
        return None
    return ScoreChange(
        entity=score.entity,
        record_id=score.record_id,
        owner_id=score.owner_id,
        as_of=score.as_of,
        model_version=score.model_version,
        before=None if last is None else last.probability,
        after=score.probability,
        grade_before=None if last is None else grade(last.probability),
        grade_after=grade(score.probability),
    )
