"""The audit: every field without history judged, the user's word last."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from crm.errors import InputError, shorten
from crm.history import History
from crm.schema import TABLE_OF
from training.audit.alone import suspect_alone
from training.audit.cases import Cases, counts, gather
from training.audit.claims import claim
from training.audit.closing import suspect_closing
from training.audit.evidence import Evidence, Suspicion, collect
from training.audit.findings import Audit, Finding, Verdict
from training.audit.limits import Limits
from training.audit.mirror import suspect_mirrors
from training.audit.together import suspect_batches, suspect_nested, suspect_twins


def audit(
    history: History,
    entity: str,
    as_of: pd.Timestamp,
    *,
    keep: Collection[str] = (),
    drop: Collection[str] = (),
    limits: Limits | None = None,
) -> Audit:
    """Find the fields without history that the outcome fills in or changes.

    Parameters
    ----------
    history : History
        As it was known at ``as_of`` (:func:`crm.known.known_at`).
    entity : {"lead", "deal"}
    as_of : Timestamp
        The moment of the audit, with a time zone.
    keep, drop : collection of str
        Fields that the user keeps or leaves out whatever is found.
    limits : Limits, optional
        From where on a field is left out.

    Returns
    -------
    Audit
        One finding a field: attributes, canonical columns that become features, the account's
        (``account.industry``) and for deals the lead's (``lead.source``). A field with a history is judged
        only where most records closed before its first known change.

    Raises
    ------
    InputError
        Where ``keep`` or ``drop`` names a field that no table has, or both name one.
    ValueError
        Where ``as_of`` has no time zone.
    """
    if as_of.tz is None:
        raise ValueError(f"{as_of} names no time zone; write for example {as_of}+00:00")
    _check_names(history, keep, drop)
    limits = limits or Limits()
    cases = gather(history, entity)
    fields = collect(cases, limits)
    caught = _suspicions(history, entity, as_of, cases, fields, limits)
    findings = [_finding(found, caught.get(found.name), cases, keep, drop, limits) for found in fields]
    # A field with a history is not judged, yet the user may leave it out.
    findings += [
        Finding(name, "excluded by the user", "", "has a history and was not judged")
        for name in set(drop) - set(cases.columns)
        if _is_of(history, entity, name)
    ]
    findings.sort(key=lambda finding: finding.field)
    excluded = {finding.field for finding in findings if finding.excluded}
    return Audit(entity, *counts(cases.events), tuple(findings), claim(cases, excluded))


def _suspicions(
    history: History,
    entity: str,
    as_of: pd.Timestamp,
    cases: Cases,
    fields: Sequence[Evidence],
    limits: Limits,
) -> dict[str, Suspicion]:
    alone = {
        found.name: suspect_closing(found, cases, limits) or suspect_alone(found, limits) for found in fields
    }
    by_outcome = {name: suspicion for name, suspicion in alone.items() if suspicion}
    nested = suspect_nested(fields, by_outcome, limits)
    others = (
        suspect_mirrors(history, entity, as_of, cases, fields, limits)
        | suspect_twins(fields, by_outcome, limits)
        | suspect_batches(fields, limits)
    )
    return others | nested | by_outcome


def _finding(
    found: Evidence,
    suspicion: Suspicion | None,
    cases: Cases,
    keep: Collection[str],
    drop: Collection[str],
    limits: Limits,
) -> Finding:
    if suspicion:
        rule, reason = suspicion
    else:
        rule, reason = "", _innocence(found, cases, limits)
    verdict: Verdict = "excluded" if suspicion else "kept"
    if found.name in keep:
        verdict = "kept by the user"
    elif found.name in drop:
        verdict = "excluded by the user"
    return Finding(found.name, verdict, rule, reason, dict(found.figures))


def _innocence(found: Evidence, cases: Cases, limits: Limits) -> str:
    n_won, n_lost, n_open = int(found.won.sum()), int(found.lost.sum()), int(found.is_open.sum())
    both_outcomes = min(n_won, n_lost) >= limits.least
    both_states = min(n_won + n_lost, n_open) >= limits.least
    if not both_outcomes and not both_states:
        return (
            f"too few records to tell ({n_won} won, {n_lost} lost, {n_open} open; "
            f"{limits.least} are needed of two of them)"
        )
    parts = []
    if both_outcomes:
        parts.append(
            f"filled for {found.figures['filled_won']:.0%} of the won and "
            f"{found.figures['filled_lost']:.0%} of the lost records, "
            f"alone takes away {max(found.skill.gain, 0):.0%} of the uncertainty"
        )
    if both_states:
        parts.append("looks the same on closed and on open records of equal age, as far as chance allows")
    if both_outcomes and not np.any(cases.events == 0):
        parts.append("no open record to compare with")
    return "; ".join(parts)


def _check_names(history: History, keep: Collection[str], drop: Collection[str]) -> None:
    both = sorted(set(keep) & set(drop))
    if both:
        raise InputError(f"audit: {shorten(both[0])!r} stands in both keep and drop; take it out of one")
    for option, names in (("keep", keep), ("drop", drop)):
        for name in sorted(names):
            if not any(_is_of(history, entity, name) for entity in ("lead", "deal")):
                raise InputError(
                    f"audit: {option} names {shorten(name)!r}, which no lead, deal or account has; "
                    "write the column as the mapping names it, or account.<column>"
                )


def _is_of(history: History, entity: str, name: str) -> bool:
    """Say whether a record of this kind has the field, as a column or in its changes."""
    owner, _, column = name.rpartition(".")
    if owner not in ("account", "lead", "deal"):
        owner, column = entity, name
    changes = history.changes
    return column in getattr(history, TABLE_OF[owner].name) or bool(
        ((changes["entity"] == owner) & (changes["field"] == column)).any()
    )
