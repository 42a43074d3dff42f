"""vigie import, simulate, upgrade and doctor: what they say, and what they leave when they fail."""

from __future__ import annotations
