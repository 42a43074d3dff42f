"""Work that was planned or started and is not yet done."""

from __future__ import annotations

import numpy as np

from features.columns import Floats
from features.entry import Entry, total_work, work
from features.moments import Moments

_KNOWN = "Plans and what fulfils them are events; only those known strictly before as_of are followed."


def pending(moments: Moments) -> Floats:
    """Work of each kind that is planned and not yet done or cancelled."""
    return moments.pending.astype(np.float64)


def started(moments: Moments) -> Floats:
    """Work of each kind that is started and not yet done or cancelled."""
    return moments.started.astype(np.float64)


def all_pending(moments: Moments) -> Floats:
    """Work of all kinds that is planned and not yet done or cancelled."""
    return np.asarray(moments.pending.sum(axis=1), np.float64)


def all_started(moments: Moments) -> Floats:
    """Work of all kinds that is started and not yet done or cancelled."""
    return np.asarray(moments.started.sum(axis=1), np.float64)


def oldest_pending(moments: Moments) -> Floats:
    """Days that the oldest planned work has waited; zero where none waits."""
    planned = moments.state("oldest", moments.layout.work)
    since = np.where(moments.pending > 0, planned, np.inf).min(axis=1)
    return np.where(np.isinf(since), 0.0, moments.days_since(since))


ENTRIES = (
    Entry(
        "pending_{work}",
        "work",
        pending,
        work,
        "count",
        "tasks",
        "Planned work of this kind that was neither done nor cancelled, first in first out.",
        "Planned and not yet done: {work}",
        "Prévu et pas encore fait : {work}",
        _KNOWN,
        True,
    ),
    Entry(
        "started_{work}",
        "work",
        started,
        work,
        "count",
        "tasks",
        "Work of this kind that was started and neither done nor cancelled.",
        "Started and not yet done: {work}",
        "Commencé et pas encore fait : {work}",
        _KNOWN,
        True,
    ),
    Entry(
        "pending",
        "work",
        all_pending,
        total_work,
        "count",
        "tasks",
        "Planned work of every kind that was neither done nor cancelled.",
        "Planned work not yet done",
        "Travail prévu et pas encore fait",
        _KNOWN,
        True,
    ),
    Entry(
        "started",
        "work",
        all_started,
        total_work,
        "count",
        "tasks",
        "Work of every kind that was started and neither done nor cancelled.",
        "Work started and not yet done",
        "Travail commencé et pas encore fait",
        _KNOWN,
        True,
    ),
    Entry(
        "days_oldest_pending",
        "work",
        oldest_pending,
        total_work,
        "days",
        "days",
        "Days that the oldest planned work has waited; zero where none waits.",
        "Wait of the oldest planned work",
        "Attente du plus ancien travail prévu",
        _KNOWN,
        True,
    ),
)
