"""The doctor: what a history holds, what it can support, and what would make it support more."""

from training.doctor.diagnosis import Diagnosis, diagnose
from training.doctor.finding import Finding
from training.doctor.holdings import TableFacts
from training.doctor.readiness import Readiness
from training.doctor.wishes import Wish

__all__ = ["Diagnosis", "Finding", "Readiness", "TableFacts", "Wish", "diagnose"]
