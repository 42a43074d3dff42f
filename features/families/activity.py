"""Recency, counts and trend of events, activities, directions and channels; and of each kind of event."""

from __future__ import annotations

import numpy as np

from features.columns import Floats
from features.entry import Entry, broad, broad_trends, broad_windows, kinds, once, some_directions
from features.moments import Moments
from features.spec import WINDOWS

_EVENTS = "Only events known strictly before as_of are counted, each from when the CRM knew it."


def days_since(moments: Moments) -> Floats:
    """Days since the last event of each broad group."""
    return moments.days_since(moments.last_time(moments.layout.broad))


def counts(moments: Moments) -> Floats:
    """Number of events of each broad group, ever."""
    return moments.count(moments.layout.broad).astype(np.float64)


def counts_in_windows(moments: Moments) -> Floats:
    """Number of events of each broad group in each window, the windows varying slowest."""
    counted = [moments.count(moments.layout.broad, days) for days in WINDOWS]
    return np.concatenate(counted, axis=1).astype(np.float64)


def count_last_day(moments: Moments) -> Floats:
    """Number of events in the last day."""
    return moments.count(slice(0, 1), 1)[:, 0].astype(np.float64)


def trends(moments: Moments) -> Floats:
    """Events in the last 7 days above a week's share of the last 30."""
    part = slice(0, 2 + len(moments.spec.directions))
    return moments.count(part, 7) - moments.count(part, 30) * (7.0 / 30.0)


def count_of_kinds(moments: Moments) -> Floats:
    """Number of events of each kind, ever."""
    return moments.count(moments.layout.kind).astype(np.float64)


def days_since_kinds(moments: Moments) -> Floats:
    """Days since the last event of each kind."""
    return moments.days_since(moments.last_time(moments.layout.kind))


def days_to_first_of_kinds(moments: Moments) -> Floats:
    """Days from creation to the first event of each kind."""
    return moments.days_after_birth(moments.first_time(moments.layout.kind))


def first_response(moments: Moments) -> Floats:
    """Days from creation to our first action."""
    part = moments.layout.direction
    out = moments.spec.directions.index("out")
    place = slice(part.start + out, part.start + out + 1)
    return moments.days_after_birth(moments.first_time(place)[:, 0])


def unanswered(moments: Moments) -> Floats:
    """Days since the prospect last acted, where we have not acted since; else zero."""
    part = moments.layout.direction
    last = moments.last_time(part)
    came = last[:, moments.spec.directions.index("in")]
    went = last[:, moments.spec.directions.index("out")]
    waits = np.isfinite(came) & ~(went >= came)
    return np.where(waits, moments.days_since(came), 0.0)


def users(moments: Moments) -> Floats:
    """Number of distinct users who worked on the record."""
    return moments.count(moments.layout.newcomer)[:, 0].astype(np.float64)


ENTRIES = (
    Entry(
        "days_since_{group}",
        "recency",
        days_since,
        broad,
        "days",
        "days",
        "Days since the last event of the group; missing where there was none.",
        "Days since the last: {group}",
        "Jours depuis le dernier : {group}",
        _EVENTS,
        True,
    ),
    Entry(
        "count_{group}",
        "counts",
        counts,
        broad,
        "count",
        "events",
        "Number of events of the group since the record exists.",
        "Number of {group}",
        "Nombre : {group}",
        _EVENTS,
        True,
    ),
    Entry(
        "count_{group}_{window}d",
        "counts",
        counts_in_windows,
        broad_windows,
        "count",
        "events",
        "Number of events of the group in the window that ends at as_of.",
        "Number of {group} in the last {window} days",
        "Nombre sur les {window} derniers jours : {group}",
        _EVENTS,
        True,
    ),
    Entry(
        "count_event_1d",
        "counts",
        count_last_day,
        once(),
        "count",
        "events",
        "Number of events in the day that ends at as_of.",
        "Number of events in the last day",
        "Nombre d’événements du dernier jour",
        _EVENTS,
        True,
    ),
    Entry(
        "trend_{group}",
        "trend",
        trends,
        broad_trends,
        "number",
        "events per week",
        "Events of the group in the last 7 days, less 7/30 of those in the last 30.",
        "Trend of {group}: this week against the month",
        "Tendance sur la semaine par rapport au mois : {group}",
        _EVENTS,
        True,
    ),
    Entry(
        "count_{kind}",
        "kinds",
        count_of_kinds,
        kinds,
        "count",
        "events",
        "Number of events of this kind since the record exists.",
        "Number of: {kind}",
        "Nombre : {kind}",
        _EVENTS,
        True,
    ),
    Entry(
        "days_since_{kind}",
        "kinds",
        days_since_kinds,
        kinds,
        "days",
        "days",
        "Days since the last event of this kind; missing where there was none.",
        "Days since the last: {kind}",
        "Jours depuis le dernier : {kind}",
        _EVENTS,
        True,
    ),
    Entry(
        "days_to_first_{kind}",
        "speed",
        days_to_first_of_kinds,
        kinds,
        "days",
        "days",
        "Days from the record's creation to its first event of this kind; missing where there was none.",
        "Days from creation to the first: {kind}",
        "Jours de la création au premier : {kind}",
        _EVENTS,
        True,
    ),
    Entry(
        "first_response_days",
        "response",
        first_response,
        some_directions("out"),
        "days",
        "days",
        "Days from the record's creation to our first action; missing until then, negative if before.",
        "Time to our first action",
        "Délai de notre première action",
        _EVENTS,
        True,
    ),
    Entry(
        "days_unanswered",
        "response",
        unanswered,
        some_directions("in", "out"),
        "days",
        "days",
        "Days since the prospect last acted, where we have not acted since; else zero.",
        "Time the prospect has waited for our answer",
        "Temps d’attente du prospect sans réponse",
        _EVENTS,
        True,
    ),
    Entry(
        "users",
        "people",
        users,
        once("user_id"),
        "count",
        "people",
        "Number of distinct users who did something with the record.",
        "Number of colleagues involved",
        "Nombre de collègues impliqués",
        _EVENTS,
        True,
    ),
)
