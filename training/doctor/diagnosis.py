"""One look at a history: what it holds, what it can support, what to look into, what it lacks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from crm.history import History, utc
from crm.known import known_at
from training.doctor.clock import find_clock_oddities
from training.doctor.finding import Finding
from training.doctor.gaps import find_gaps
from training.doctor.holdings import TableFacts, count_tables, span
from training.doctor.readiness import Readiness, Sizes, judge_models, measure
from training.doctor.records import find_doubles, find_incomplete_deals
from training.doctor.wishes import Wish, learn_specs, wish, wish_for_reports
from training.doctor.words import tell
from training.settings import TrainSettings


@dataclass(frozen=True)
class Diagnosis:
    """What a history holds and can support.

    Parameters
    ----------
    as_of : Timestamp
        When it was looked at.
    first, last : Timestamp or None
        The span: first and last moment before ``as_of`` at which anything happened.
    tables : dict of str to TableFacts
        Everything in the store, whenever it was recorded.
    sizes : dict of str to Sizes
        Outcomes of leads and deals, as known at ``as_of``.
    models : tuple of Readiness
        The three models.
    features : dict of str to int
        Features that leads and deals have, before the leakage audit.
    findings : tuple of Finding
        What to look into.
    wishes : tuple of Wish
        What the export lacks.
    """

    as_of: pd.Timestamp
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    tables: dict[str, TableFacts]
    sizes: dict[str, Sizes]
    models: tuple[Readiness, ...]
    features: dict[str, int]
    findings: tuple[Finding, ...]
    wishes: tuple[Wish, ...]

    def to_json_dict(self) -> dict[str, Any]:
        """Give everything as plain JSON values; moments as ISO 8601."""
        tables = {
            name: {
                "n": facts.n,
                "first": _iso(facts.first),
                "last": _iso(facts.last),
                "fill_rate": {field: facts.fill_rate(field) for field in facts.filled} if facts.n else {},
            }
            for name, facts in self.tables.items()
        }
        return {
            "as_of": self.as_of.isoformat(),
            "span": {"first": _iso(self.first), "last": _iso(self.last)},
            "tables": tables,
            "outcomes": {entity: asdict(sizes) for entity, sizes in self.sizes.items()},
            "models": [_listed(asdict(model)) for model in self.models],
            "features": dict(self.features),
            "findings": [_listed(asdict(finding)) for finding in self.findings],
            "wishes": [_listed(asdict(one)) for one in self.wishes],
        }

    def lines(self) -> list[str]:
        """Tell an administrator, in plain words, one line of text each."""
        return tell(self)


def diagnose(history: History, as_of: datetime, settings: TrainSettings | None = None) -> Diagnosis:
    """Look at a history: what it holds, which models it can train, what is odd in it and what it lacks.

    Parameters
    ----------
    history : History
        Whole, as the store gives it.
    as_of : datetime with a time zone
        Now, or the moment until which training would observe.
    settings : TrainSettings, optional
        For the numbers of outcomes that training asks for.

    Raises
    ------
    ValueError
        Where ``as_of`` has no time zone.

    Examples
    --------
    >>> found = diagnose(History(), pd.Timestamp("2024-01-01", tz="UTC"))
    >>> [model.can for model in found.models]
    [False, False, False]
    """
    moment = utc(as_of)
    settings = settings or TrainSettings()
    known = known_at(history, moment)
    tables = count_tables(history)
    first, last = span(history, moment)
    sizes = {entity: measure(known, entity, moment, settings.every_days) for entity in ("lead", "deal")}
    specs = learn_specs(known)
    wishes = [one for entity, spec in specs.items() for one in wish(known, entity, spec, tables)]
    findings = [
        *find_clock_oddities(history, moment),
        *find_gaps(history, moment),
        *find_doubles(history),
        *find_incomplete_deals(known),
    ]
    return Diagnosis(
        as_of=moment,
        first=first,
        last=last,
        tables=tables,
        sizes=sizes,
        models=judge_models(sizes["lead"], sizes["deal"], settings),
        features={entity: len(spec.names) for entity, spec in specs.items()},
        findings=tuple(findings),
        wishes=(*wishes, *(wish_for_reports(tables) if specs else ())),
    )


def _iso(moment: pd.Timestamp | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _listed(values: dict[str, Any]) -> dict[str, Any]:
    """Give tuples as lists, as JSON would read them back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
