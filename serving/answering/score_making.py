"""From rows of stored records to the scores that are kept of them, with what moved each since its last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from crm.moments import MISSING, in_micros
from crm.store.service.scores import StoredScore
from features import prepare_rows
from serving.answering.assessing import Assessed, assess
from serving.answering.grades import grades
from serving.answering.receipts import VALID_FOR, input_hash
from serving.answering.record_rows import RecordRows, Tables
from serving.answering.risk_signs import plain_signs
from serving.bundle import ModelBundle
from serving.expected import Floats, Ints
from serving.outcome_model import OutcomeModel
from serving.reasons import strongest
from serving.scoring import not_shown

#: Reasons stored of each sign, for a score and for its change.
REASONS: Final = 5
CHANGE_REASONS: Final = 3

#: A feature, its number, and its effect in probability.
Effect = tuple[str, float, float]


@dataclass(frozen=True)
class ScoreMaker:
    """Scores records as of one moment by one model.

    Parameters
    ----------
    bundle : ModelBundle
    model : OutcomeModel
        Of the bundle.
    as_of, now : datetime
        In UTC.
    """

    bundle: ModelBundle
    model: OutcomeModel
    as_of: datetime
    now: datetime

    def make(self, rows: Sequence[RecordRows], last: Mapping[str, StoredScore]) -> list[StoredScore]:
        """Give the scores of those records that were open then.

        Parameters
        ----------
        rows : sequence of RecordRows
            Of different records.
        last : mapping of str to StoredScore
            The last score of each that has one, of this moment or an earlier one.
        """
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
        if score is None:
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


def _known(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None


def _moment(moment: np.datetime64) -> datetime | None:
    found: datetime | None = moment.astype("datetime64[us]").item()
    return None if found is None else found.replace(tzinfo=UTC)
