"""What the audit says: one finding a field, and what a model would have claimed without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["kept", "excluded", "kept by the user", "excluded by the user"]


@dataclass(frozen=True)
class Finding:
    """What was found about one field.

    Parameters
    ----------
    field : str
        As features name it: ``Tags``, ``account.industry``.
    verdict : {"kept", "excluded", "kept by the user", "excluded by the user"}
    rule : str
        Name of the rule that the field failed; empty where it failed none.
    reason : str
        In plain words.
    figures : mapping of str to float
        Rates are shares of one; a figure that could not be taken is not there.
    """

    field: str
    verdict: Verdict
    rule: str
    reason: str
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def excluded(self) -> bool:
        """Whether the field is left out."""
        return self.verdict.startswith("excluded")


@dataclass(frozen=True)
class Claimed:
    """What a quick model on the audited fields alone reaches on later records.

    Parameters
    ----------
    auc_all, auc_kept : float
        With every field, and without those left out.
    n_train, n_test : int
        Closed records, the earlier 70% and the later 30%.
    """

    auc_all: float
    auc_kept: float
    n_train: int
    n_test: int


@dataclass(frozen=True)
class Audit:
    """The findings about one kind of record.

    Parameters
    ----------
    entity : {"lead", "deal"}
    n_won, n_lost, n_open : int
        Records that the audit looked at.
    findings : tuple of Finding
        By name of the field.
    claimed : Claimed, optional
        None where too few records are closed, or all in one way.
    """

    entity: str
    n_won: int
    n_lost: int
    n_open: int
    findings: tuple[Finding, ...]
    claimed: Claimed | None

    @property
    def excluded(self) -> list[str]:
        """The names of the fields left out, for ``features.learn_spec``."""
        return [finding.field for finding in self.findings if finding.excluded]

    def to_json_dict(self) -> dict[str, Any]:
        """Give the audit as JSON values."""
        return asdict(self) | {
            "findings": [{**asdict(finding), "figures": dict(finding.figures)} for finding in self.findings],
            "excluded": self.excluded,
        }
