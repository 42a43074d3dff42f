"""A seeded simulator of a believable B2B CRM whose true probabilities are known.

``docs/simulator.md`` tells how its records behave and what is dirty in it on purpose.
"""

from crm.simulator.simulation import Simulation, simulate
from crm.simulator.truth import Truth

__all__ = ["Simulation", "Truth", "simulate"]
