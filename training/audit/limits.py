"""From where on a field counts as filled in by the outcome."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a field must show to be left out: an effect this large, beyond what chance explains.

    An attribute that was known when the record came in rarely explains a fifth of the uncertainty of the
    outcome; one that was written after it explains a third and more. The limits stand in that gap.

    Parameters
    ----------
    z : float
        Standard errors of every bound; 3 is one false alarm in a thousand looks.
    least : int
        Records that each compared group must have.
    fill_odds, fill_odds_bound : float
        Odds ratio of being filled, one outcome against the other: as seen, and at the near end of its bounds.
    gain, gain_bound : float
        Share of the outcome's log loss that the field alone takes away: as seen, and its lower bound.
    stating_gain, stating_odds, stating_share : float
        A smaller gain suffices where some levels raise and others lower the odds of winning this many times,
        and hold this share of the won and of the lost records.
    state_share, state_ratio : float
        Share of records in levels that the other state, open or closed, hardly has at equal age: at most this
        ratio of what would be expected.
    nested_share, nested_gain : float
        Share of a field's records that must have the caught field too, and what it must tell of the outcome.
    twin_shared, twin_equal, twin_differ, twin_gain : float
        Two fields with one vocabulary: share of records in common levels, equal, different; and what the
        difference must tell of the outcome.
    batch_full, batch_empty : float
        Fill rates of a stretch that one process wrote, and of one that it did not.
    same_moment : float
        Share of closed records whose expected closing is the day on which they closed.
    mirrors : float
        Share of records whose value is the kind of their last activity.
    """

    z: float = 3.0
    least: int = 20
    fill_odds: float = 15.0
    fill_odds_bound: float = 4.0
    gain: float = 0.30
    gain_bound: float = 0.10
    stating_gain: float = 0.20
    stating_odds: float = 10.0
    stating_share: float = 0.05
    state_share: float = 0.25
    state_ratio: float = 0.1
    nested_share: float = 0.97
    nested_gain: float = 0.03
    twin_shared: float = 0.6
    twin_equal: float = 0.4
    twin_differ: float = 0.05
    twin_gain: float = 0.02
    batch_full: float = 0.9
    batch_empty: float = 0.1
    same_moment: float = 0.5
    mirrors: float = 0.6
