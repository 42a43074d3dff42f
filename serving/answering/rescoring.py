"""Score open records of the store into the store: in chunks, each of them one transaction, to be begun again.

A run that was cut goes on where it stopped, for what was scored lately enough by the same model is left as it
is. Memory holds one chunk, however many records there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
import sqlalchemy as sa

from crm.moments import MISSING, in_micros
from crm.store.service.engine import ServiceStore
from crm.store.service.models import keep_model
from crm.store.service.records import open_ids
from crm.store.service.scores import StoredScore, drop_scores, keep_scores, scores_of
from features import prepare_rows
from serving.answering.assessing import Assessed, assess
from serving.answering.grades import Grade, grade, grades
from serving.answering.receipts import VALID_FOR, input_hash
from serving.answering.record_rows import RecordRows, Tables
from serving.answering.risk_signs import plain_signs
from serving.answering.stored_rows import StoredRows
from serving.bundle import ModelBundle
from serving.expected import Floats, Ints
from serving.outcome_model import OutcomeModel
from serving.reasons import strongest
from serving.scoring import model_of, not_shown

#: Records of one transaction.
CHUNK: Final = 5000
#: Reasons stored of each sign, for a score and for its change.
REASONS: Final = 5
CHANGE_REASONS: Final = 3
#: A probability that moved by less has not changed.
SMALLEST_CHANGE: Final = 0.0005

#: A feature, its number, and its effect in probability.
Effect = tuple[str, float, float]


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


@dataclass
class RescoreReport:
    """What a rescoring did.

    Parameters
    ----------
    n_scored : int
        Scores kept.
    n_current : int
        Records left as they were, scored lately by the same model.
    n_dropped : int
        Scores of records that are no longer open.
    n_changed : int
        Scores that are new, or moved by at least :data:`SMALLEST_CHANGE`.
    """

    n_scored: int = 0
    n_current: int = 0
    n_dropped: int = 0
    n_changed: int = 0


def rescore(
    store: ServiceStore,
    bundle: ModelBundle,
    entity: str,
    ids: Sequence[str] | None,
    as_of: datetime,
    now: datetime,
    *,
    current_from: datetime | None = None,
    chunk: int = CHUNK,
    on_changes: OnChanges | None = None,
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
    chunk : int
        Records of one transaction.
    on_changes : callable, optional
        Told the changes of each chunk in its transaction.
    progress : callable, optional
        Told the report after each chunk.

    Raises
    ------
    BundleError
        If the bundle has no model of that entity.
    StoreError
        Where the store cannot be read or written; what was committed before stays.
    """
    run = _Run(store, bundle, model_of(bundle, entity), as_of.astimezone(UTC), now, current_from, on_changes)
    run.begin()
    for some in _chunks(store, entity, ids, chunk):
        run.score(some)
        if progress is not None:
            progress(run.report)
    return run.report


def _chunks(
    store: ServiceStore, entity: str, ids: Sequence[str] | None, chunk: int
) -> Iterator[Sequence[str]]:
    if ids is not None:
        for first in range(0, len(ids), chunk):
            yield ids[first : first + chunk]
        return
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
    on_changes: OnChanges | None
    report: RescoreReport = field(default_factory=RescoreReport)

    def begin(self) -> None:
        """Keep what is needed to put the reasons into words later, whatever model is served then."""
        specs = {one: model.spec.to_json_dict() for one, model in self.bundle.models.items()}
        card = {
            "name": self.bundle.name,
            "trained_through": self.bundle.trained_through.isoformat(),
            "created_at": self.bundle.created_at.isoformat(),
        }
        with self.store.writing() as connection:
            keep_model(connection, self.bundle.version, card, specs)

    def score(self, ids: Sequence[str]) -> None:
        """Score one chunk and keep it, all or nothing."""
        entity = self.model.entity
        with self.store.reading() as connection:
            last = scores_of(connection, entity, ids)
            due = [name for name in ids if not self._is_current(last.get(name))]
            rows = StoredRows(connection, self.model.spec, in_micros(self.as_of)).read(due)
        self.report.n_current += len(ids) - len(due)
        if not due:
            return
        scores = self._scores(list(rows.values()), last)
        kept = {score.record_id for score in scores}
        gone = [name for name in due if name not in kept and name in last]
        changes = [change for score in scores if (change := _changed(score, last.get(score.record_id)))]
        with self.store.writing() as connection:
            keep_scores(connection, scores)
            if gone:
                drop_scores(connection, entity, gone)
            if changes and self.on_changes is not None:
                self.on_changes(connection, changes)
        self.report.n_scored += len(scores)
        self.report.n_dropped += len(gone)
        self.report.n_changed += len(changes)

    def _is_current(self, score: StoredScore | None) -> bool:
        return (
            score is not None
            and self.current_from is not None
            and score.model_version == self.bundle.version
            and self.current_from <= score.as_of <= self.as_of
        )

    def _scores(self, rows: Sequence[RecordRows], last: dict[str, StoredScore]) -> list[StoredScore]:
        model, micros = self.model, in_micros(self.as_of)
        tables = Tables(model.entity)
        for one in rows:
            tables.add(one)
        if not tables.names:
            return []
        series = self.bundle.series.get(model.entity)
        prepared = prepare_rows(tables.rows, model.spec, series=series)
        before = [self._before(last.get(name)) for name in tables.names]
        found = assess(
            model,
            prepared,
            tables.names,
            np.full(len(rows), micros),
            before=np.array([MISSING if one is None else in_micros(one[0]) for one in before], np.int64),
            helps=False,
            closes=model.entity == "deal",
        )
        reasons = _Effects.of(model, found.x, found.values, found.effects, found, REASONS)
        again = found.before
        moved_values = found.values[again.rows] - again.values
        moved = _Effects.of(
            model,
            found.x[again.rows],
            moved_values,
            found.groups.effects(moved_values),
            found,
            CHANGE_REASONS,
        )
        change_of = dict(zip(again.rows.tolist(), moved.named, strict=True))
        return [
            self._stored(rows[at], found, row, before[at], reasons, change_of.get(row, ()), graded)
            for row, (at, graded) in enumerate(
                zip(found.rows.tolist(), grades(found.probability), strict=True)
            )
        ]

    def _before(self, score: StoredScore | None) -> tuple[datetime, float] | None:
        """Give the moment and probability to compare with: of the last score of an earlier moment."""
        if score is None or score.as_of > self.as_of:
            return None
        if score.as_of < self.as_of:
            return score.as_of, score.probability
        if score.previous_as_of is None or score.previous_probability is None:
            return None
        return score.previous_as_of, score.previous_probability

    def _stored(
        self,
        rows: RecordRows,
        found: Assessed,
        row: int,
        before: tuple[datetime, float] | None,
        reasons: _Effects,
        change: tuple[Effect, ...],
        graded: str,
    ) -> StoredScore:
        model, micros = self.model, in_micros(self.as_of)
        probability = float(found.probability[row])
        amount = _known(found.amount[row])
        expected = _known(found.expected_amount[row])
        risks: tuple[dict[str, object], ...] = ()
        said = ""
        if model.entity == "deal":
            signs = plain_signs(self.bundle.risks, rows, micros)
            risks = signs.plain
            said = f"{float(found.expected_amount[row])!r}\0{signs.facts}"
        first, median, final = (_moment(close[row]) for close in found.closes)
        return StoredScore(
            entity=model.entity,
            record_id=rows.record_id,
            as_of=self.as_of,
            scored_at=self.now,
            model_version=self.bundle.version,
            probability=probability,
            base_probability=found.base,
            grade=graded,
            close_p10=first,
            close_p50=median,
            close_p90=final,
            expected_amount=expected,
            expected_value=None if expected is None else probability * expected,
            reasons=reasons.named[row],
            other_effects=reasons.others[row],
            previous_probability=None if before is None else before[1],
            previous_as_of=None if before is None else before[0],
            change_reasons=change,
            risks=risks,
            valid_until=self.as_of + VALID_FOR,
            input_hash=input_hash(model.entity, rows.record_id, micros, found.x[row], said),
            owner_id=rows.record.get("owner_id"),
            stage=rows.record.get("stage"),
            amount=amount if model.entity == "deal" else None,
        )


@dataclass(frozen=True)
class _Effects:
    """The strongest effects of some records, and what all others sum to."""

    named: list[tuple[Effect, ...]]
    others: list[float]

    @classmethod
    def of(
        cls, model: OutcomeModel, x: Floats, values: Floats, effects: Floats, found: Assessed, top: int
    ) -> _Effects:
        raising, lowering = strongest(effects, top)
        names = model.spec.names
        parts = []
        for chosen, sign in ((raising, 1.0), (lowering, -1.0)):
            columns = found.groups.shown(values, chosen, sign)
            rows: Ints = np.arange(len(chosen))[:, None]
            parts.append((columns.tolist(), x[rows, columns].tolist(), effects[rows, chosen].tolist()))
        named = [
            tuple(
                (names[column], number, effect)
                for columns, numbers, sizes in ((part[0][row], part[1][row], part[2][row]) for part in parts)
                for column, number, effect in zip(columns, numbers, sizes, strict=True)
                if column >= 0
            )
            for row in range(len(x))
        ]
        return cls(named, not_shown(effects, raising, lowering).tolist())


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


def _known(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None


def _moment(moment: np.datetime64) -> datetime | None:
    found: datetime | None = moment.astype("datetime64[us]").item()
    return None if found is None else found.replace(tzinfo=UTC)
