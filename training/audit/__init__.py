"""Whether an attribute without history was filled in by the outcome: the leakage audit.

``docs/audit.md`` tells what it looks at, what it cannot know and how to overrule it.
"""

from training.audit.findings import Audit, Claimed, Finding
from training.audit.judgement import audit
from training.audit.limits import Limits

__all__ = ["Audit", "Claimed", "Finding", "Limits", "audit"]
