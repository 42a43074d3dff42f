"""Answering: the model bundle, scores with reasons, and the service that gives them over HTTP."""

from serving.bundle import ModelBundle
from serving.calibration import Calibrator
from serving.expected import Chances, deal_chances
from serving.linear import LinearPart, Term
from serving.outcome_model import AmountModel, OutcomeModel
from serving.reasons import Effects, explain
from serving.scoring import Reason, Scores, score
from serving.timing import HazardModel, Timing

__all__ = [
    "AmountModel",
    "Calibrator",
    "Chances",
    "Effects",
    "HazardModel",
    "LinearPart",
    "ModelBundle",
    "OutcomeModel",
    "Reason",
    "Scores",
    "Term",
    "Timing",
    "deal_chances",
    "explain",
    "score",
]
