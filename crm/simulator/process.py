"""The law that simulated leads and deals follow: states, chances per working day, effects of attributes.

A record is a Markov chain that moves once every working day. Its whole state is written in the history:

- the *stage*;
- the *engagement*, 0 to 2: one up on a day on which the prospect acts, one down on each Monday that follows
  a week without; and whether the prospect has acted since Monday (true at birth);
- a lead's *age*: Mondays since it entered its stage, at most 4;
- a deal's *due* week: 0 overdue, 1 expected to close this week, 2 the next, …; and its *pushes*, at most 2.

Every chance also depends on the record's *quality*, a whole number of tenths of a logit that is the sum of
the effects below, and on the calendar class of the day. Nothing is latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crm.simulator.calendar import N_CLASSES

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]

LEAD_STAGES = ("new", "contacted", "qualified")
DEAL_STAGES = ("discovery", "demo", "proposal", "negotiation")

Q_MIN, Q_MAX = -30, 30
N_Q = Q_MAX - Q_MIN + 1
N_LEVELS = 3
N_ENGAGEMENT = 2 * N_LEVELS  # level * 2 + acted since Monday
N_AGES = 5
N_DUE = 9
N_PUSHES = 3
LEAD_SHAPE = (N_Q, len(LEAD_STAGES), N_ENGAGEMENT, N_AGES)
DEAL_SHAPE = (N_Q, len(DEAL_STAGES), N_ENGAGEMENT, N_DUE, N_PUSHES)

# Effects on quality, in tenths of a logit.
SOURCES = {
    # source: (share, effect, engagement at birth)
    "web form": (0.26, 2, 1),
    "paid search": (0.18, -4, 1),
    "cold list": (0.18, -9, 0),
    "event": (0.14, 0, 0),
    "webinar": (0.10, 2, 1),
    "partner": (0.08, 5, 0),
    "referral": (0.06, 8, 1),
}
#: Source, and its effect, of deals that came without a lead.
DIRECT_SOURCE, DIRECT_EFFECT = "existing customer", 4
SEGMENTS = {
    # segment: (share of accounts, effect, median amount, least and most employees)
    "small": (0.55, 1, 6_000, 5, 50),
    "mid": (0.33, 2, 24_000, 50, 500),
    "enterprise": (0.12, -2, 90_000, 500, 20_000),
}
JOB_LEVELS = {
    # level: (share, effect); "" is a missing value
    "staff": (0.30, -4),
    "manager": (0.30, 0),
    "director": (0.18, 3),
    "c level": (0.10, 4),
    "": (0.12, -2),
}
FIT_MISSING_SHARE, FIT_MISSING_EFFECT = 0.08, -2
SKILLS = (-6, -3, 0, 3, 6)
BUSY_RATIO, BUSY_EFFECT = 1.3, -3
IDLE_RATIO, IDLE_EFFECT = 0.7, 1
RETURNING_EFFECT = 5

# What a deal adds to its lead's quality, known once the deal is open: size for its segment, competitor.
SIZE_CUTS = (-0.6, 0.8)  # of the standard normal behind the amount
SIZE_SHARES = (0.27425312, 0.51389126, 0.21185540)
SIZE_EFFECTS = (2, 0, -3)
COMPETITORS = {
    # competitor: (share, effect)
    "none": (0.62, 1),
    "Halcyon": (0.25, -3),
    "Brightdesk": (0.13, -1),
}
# Weeks until the expected close, this week being 1, at birth and after a push.
FIRST_DUE = ((3, 0.10), (4, 0.15), (5, 0.20), (6, 0.20), (7, 0.20), (8, 0.15))
PUSHED_DUE = ((3, 0.30), (4, 0.30), (5, 0.25), (6, 0.15))


def fit_effect(score: Floats) -> npt.NDArray[np.int64]:
    """Give the effect of a marketing fit score from 0 to 100, NaN where it is missing.

    Examples
    --------
    >>> fit_effect(np.array([0.0, 50.0, 100.0, np.nan]))
    array([-8,  0,  8, -2])
    """
    effect = np.where(np.isnan(score), FIT_MISSING_EFFECT, np.rint((score - 50.0) / 50.0 * 8))
    return effect.astype(np.int64)


def deal_offsets() -> list[tuple[int, float]]:
    """Give what a deal may add to its lead's quality, with the chance of each."""
    return [
        (size + effect, p_size * p_competitor)
        for size, p_size in zip(SIZE_EFFECTS, SIZE_SHARES, strict=True)
        for p_competitor, effect in COMPETITORS.values()
    ]


def due_shares(shares: tuple[tuple[int, float], ...]) -> Floats:
    """Give the chance of each due week, shape (N_DUE,)."""
    p = np.zeros(N_DUE)
    for week, share in shares:
        p[week] = share
    return p


def clip_quality(quality: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Keep a quality within the grid."""
    return np.clip(quality, Q_MIN, Q_MAX)


@dataclass(frozen=True)
class Chances:
    """Chances per working day by state after Monday's count; one more leading axis, the calendar class.

    Parameters
    ----------
    exit_good : ndarray, shape (N_CLASSES, *states)
        A lead becomes a deal; a deal is won.
    exit_lost, advance, back : ndarray, the same shape
        Lost; one stage forward; one stage back. What remains to 1 is the chance to stay.
    """

    exit_good: Floats
    exit_lost: Floats
    advance: Floats
    back: Floats


def _quality(n_axes: int) -> Floats:
    tenths = np.arange(Q_MIN, Q_MAX + 1) / 10
    return tenths.reshape(1, N_Q, *([1] * n_axes))


def _by(values: tuple[float, ...], axis: int, n_axes: int) -> Floats:
    """Lay values along one axis of the states (quality is axis 0), calendar class first."""
    shape = [1] * (n_axes + 2)
    shape[axis + 1] = len(values)
    return np.array(values, dtype=np.float64).reshape(shape)


def _by_engagement(values: tuple[float, float, float], n_axes: int) -> Floats:
    return _by(tuple(v for v in values for _ in range(2)), 2, n_axes)


def _by_class(push: float, slow: float, n_axes: int) -> Floats:
    return np.array([0.0, push, slow, push + slow]).reshape(N_CLASSES, *([1] * (n_axes + 1)))


def _shares(logits: tuple[Floats, Floats, Floats, Floats]) -> Chances:
    odds = np.broadcast_arrays(*(np.exp(logit) for logit in logits))
    total = 1.0 + odds[0] + odds[1] + odds[2] + odds[3]
    return Chances(*(odd / total for odd in odds))


_NEVER = -np.inf


def lead_chances() -> Chances:
    """Give the chances of leads, shape (N_CLASSES, *LEAD_SHAPE)."""
    q, n = _quality(3), 3
    slow = _by_class(0.0, -0.6, n)
    convert = (
        _by((_NEVER, _NEVER, -3.1), 1, n) + 0.6 * q + _by_engagement((-0.6, 0.0, 0.5), n) + slow
        + _by((0.0, 0.1, 0.0, -0.2, -0.5), 3, n)
    )  # fmt: skip
    lost = (
        _by((-3.9, -3.7, -4.0), 1, n) - 0.5 * q + _by_engagement((0.5, 0.0, -0.6), n) + slow
        + _by((-1.2, -0.3, 0.0, 0.2, 0.3), 3, n)
    )  # fmt: skip
    advance = (
        _by((-2.2, -3.1, _NEVER), 1, n) + 0.5 * q + _by_engagement((-0.4, 0.1, 0.6), n) + slow
        + _by((0.3, 0.2, 0.0, -0.3, -0.6), 3, n)
    )  # fmt: skip
    back = _by((_NEVER, _NEVER, -4.8), 1, n) + _by_engagement((0.4, 0.0, -0.3), n)
    return _shares((convert, lost, advance, back))


def deal_chances() -> Chances:
    """Give the chances of deals, shape (N_CLASSES, *DEAL_SHAPE)."""
    q, n = _quality(4), 4
    slow = _by_class(0.0, -0.6, n)
    win = (
        _by((_NEVER, -6.9, -5.9, -4.65), 1, n) + 0.6 * q + _by_engagement((-0.8, 0.0, 0.5), n)
        + _by_class(0.7, -0.5, n) + _by((-0.2, 0.5, 0.2, 0, 0, 0, 0, 0, 0), 3, n)
        + _by((0.1, -0.2, -0.5), 4, n)
    )  # fmt: skip
    lost = (
        _by((-4.1, -4.1, -4.0, -3.8), 1, n) - 0.5 * q + _by_engagement((0.7, 0.0, -0.5), n)
        + _by_class(0.1, -0.6, n) + _by((0.8, 0.3, 0, 0, 0, 0, 0, -0.2, -0.3), 3, n)
        + _by((0.0, 0.3, 0.6), 4, n)
    )  # fmt: skip
    advance = (
        _by((-2.4, -2.5, -2.6, _NEVER), 1, n) + 0.2 * q + _by_engagement((-0.5, 0.1, 0.5), n) + slow
        + _by_class(0.2, 0.0, n)
    )  # fmt: skip
    back = _by((_NEVER, -4.6, -4.4, -4.2), 1, n) + _by_engagement((0.4, 0.0, -0.3), n)
    return _shares((win, lost, advance, back))


def inbound_chance(factor: float) -> Floats:
    """Give the chance that the prospect acts on a working day, shape (N_CLASSES, N_Q, N_ENGAGEMENT)."""
    level = np.repeat(np.array([-3.3, -2.2, -1.2]), 2).reshape(1, 1, N_ENGAGEMENT)
    quality = (np.arange(Q_MIN, Q_MAX + 1) / 10).reshape(1, N_Q, 1)
    calendar = np.array([0.0, 0.1, -0.5, -0.4]).reshape(N_CLASSES, 1, 1)
    logit = level + 0.25 * quality + calendar + np.log(factor)
    return np.asarray(1.0 / (1.0 + np.exp(-logit)), dtype=np.float64)


#: How much more often the prospect of a deal acts than that of a lead, as a factor of the odds.
LEAD_INBOUND, DEAL_INBOUND = 1.0, 1.5
#: Chance per working day that the close date is pushed, by due week.
PUSH_CHANCE = np.array([0.25, 0.06, 0, 0, 0, 0, 0, 0, 0])

#: Where each engagement goes on a Monday, and when the prospect acts.
MONDAY_ENGAGEMENT = np.array([0, 0, 0, 2, 2, 4])
ACTED_ENGAGEMENT = np.array([3, 3, 5, 5, 5, 5])


def monday_age() -> npt.NDArray[np.int64]:
    """Give where each age goes on a Monday."""
    return np.minimum(np.arange(N_AGES) + 1, N_AGES - 1)


def monday_due() -> npt.NDArray[np.int64]:
    """Give where each due week goes on a Monday."""
    return np.maximum(np.arange(N_DUE) - 1, 0)
