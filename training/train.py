"""Training: from a history and a moment to a bundle and a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from crm.errors import NotEnoughData
from crm.history import History
from crm.known import known_at
from features import Series, prepare
from features.kpis.risk_limits import learn_risk_limits
from serving.bundle import ModelBundle
from serving.outcome_model import OutcomeModel
from training.audit import Audit, audit
from training.forecasting import learn_forecast
from training.labels import with_lead_outcome
from training.learning import learn
from training.rehearsed_hazards import HazardOfThen
from training.settings import TrainSettings

ENTITIES = ("lead", "deal")


@dataclass(frozen=True)
class Trained:
    """What training gives.

    Parameters
    ----------
    bundle : ModelBundle
        Holds the report and the audits, too.
    audits : dict of str to Audit
    """

    bundle: ModelBundle
    audits: dict[str, Audit]

    @property
    def report(self) -> dict[str, Any]:
        """The report, plain JSON: one section for each kind of record."""
        return dict(self.bundle.report)


def train(
    history: History,
    until: pd.Timestamp,
    settings: TrainSettings | None = None,
    *,
    created_at: pd.Timestamp | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train the models that a history supports, from what had been recorded by a moment.

    Parameters
    ----------
    history : History
    until : Timestamp with a time zone
        End of observation; nothing recorded at or after it is used.
    settings : TrainSettings, optional
    created_at : Timestamp, optional
        When the training was run; by default ``until``, so that a run can be repeated to the byte.
    say : callable
        Told what is being done.

    Raises
    ------
    NotEnoughData
        If the history holds neither a lead nor a deal by then.
    """
    settings = settings or TrainSettings()
    known = with_lead_outcome(known_at(history, until), settings.lead_outcome)
    models: dict[str, OutcomeModel] = {}
    sections: dict[str, Any] = {}
    audits: dict[str, Audit] = {}
    series: dict[str, Series] = {}
    hazards: tuple[HazardOfThen, ...] = ()
    for entity in ENTITIES:
        records = known.leads if entity == "lead" else known.deals
        if len(records) == 0:
            continue
        say(f"{entity}s: auditing fields for what they know of the outcome")
        audits[entity] = audit(known, entity, until, keep=settings.audit.keep, drop=settings.audit.drop)
        learned = learn(known, entity, until, settings, audits[entity].excluded, say)
        if learned is not None:
            models[entity], sections[entity] = learned.model, learned.section
            hazards = learned.hazards if entity == "deal" else hazards
            series[entity] = prepare(known, learned.model.spec).series
    if not models:
        raise NotEnoughData(
            f"the history holds no lead and no deal recorded before {until.isoformat()}; import an export, "
            "or train with a later --observed-until"
        )
    learned_forecast = None
    if "deal" in models:
        learned_forecast = learn_forecast(known, models["deal"], until, settings.seed, say, hazards)
    bundle = ModelBundle(
        models=models,
        created_at=(created_at or until).to_pydatetime(),
        trained_through=until.to_pydatetime(),
        audit={entity: found.to_json_dict() for entity, found in audits.items()},
        report={"trained_through": until.isoformat(), "span": _span(known), "models": sections},
        config=settings.to_json_dict(),
        series=series,
        forecast=learned_forecast,
        risks=learn_risk_limits(known, until) if "deal" in models else None,
    )
    return Trained(bundle, audits)


def _span(history: History) -> dict[str, Any]:
    starts = [frame["created_at"].min() for frame in (history.leads, history.deals) if len(frame)]
    known = [start for start in starts if not pd.isna(start)]
    return {
        "from": min(known).isoformat() if known else None,
        **{name: len(frame) for name, frame in history.frames().items() if len(frame)},
    }
