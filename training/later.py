"""The later window: what a model learned earlier is worth on what came after, and what that decides.

Everything is learned again from the history as it was known when the window opened, and judged on the
snapshots in the window. That decides how fast the past loses weight, how many rounds to boost, how much the
linear part counts, whether a calibration map helps, and whether there is any skill at all.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from crm.history import History
from crm.known import known_at
from features import learn_spec
from serving.calibration import Calibrator
from serving.linear import LinearPart
from serving.timing import HazardModel, Timing
from training.hazard import FittedHazard, choose_edges, fit_hazard
from training.labels import OPEN, WON, Outcomes, outcomes
from training.linear import complete_labels, fit_linear
from training.marginal import Marginal, count, won_within
from training.metrics import bootstrap_mean, log_losses
from training.person_periods import fade, period_weights, person_periods
from training.samples import Sample, choose_rows, draw_snapshots, make_sample
from training.settings import HazardSettings, TrainSettings
from training.skill import SURE, Skill, calibrate, level, skill_at_closing, skill_of

Floats = npt.NDArray[np.float64]

#: Closings that the window should hold where the history has enough of them.
_WINDOW_CLOSED = 150
#: Rounds after which half-lives are compared.
_SCREEN_ROUNDS = 30
#: Closings of the window below which it can prove nothing.
_FEWEST_CLOSED = 10


@dataclass(frozen=True)
class Window:
    """What was learned before a moment, and the snapshots after it to judge that on.

    Parameters
    ----------
    opened : Timestamp or None
        None for records without times, which are held out by their order.
    earlier, later : Sample
    """

    opened: pd.Timestamp | None
    earlier: Sample
    later: Sample


@dataclass(frozen=True)
class Verdict:
    """What the later window decided.

    Parameters
    ----------
    settings : HazardSettings
        With the half-life and the rounds chosen.
    linear_weight : float
    calibrator : Calibrator
    skill : Skill
    won : ndarray of bool, shape (n,)
        Whether each later snapshot was won before observation ended.
    probability, base : ndarray of shape (n,)
        What the model and the base rate gave for that.
    window : Window
    """

    settings: HazardSettings
    linear_weight: float
    calibrator: Calibrator
    skill: Skill
    won: npt.NDArray[np.bool_]
    probability: Floats
    base: Floats
    window: Window


def open_window(
    history: History,
    found: Outcomes,
    entity: str,
    until: pd.Timestamp,
    settings: TrainSettings,
    excluded: Collection[str],
) -> Window | None:
    """Choose the window so that it holds the last share of the closings, and learn as of its opening.

    Returns
    -------
    Window or None
        None where too little closed before it, or in it.
    """
    ended = found.ended[(found.events != OPEN) & ~found.untimed]
    if len(ended) < settings.min_closed:
        return None
    held = np.clip(_WINDOW_CLOSED / len(ended), settings.validation_share, 0.5)
    share = float(np.quantile(ended, 1.0 - held))
    first = float(ended.min())
    step = settings.every_days * 86_400e6
    now = until.value // 1000
    length = np.clip(now - share, 2 * step, max(2 * step, 0.4 * (now - first)))
    opened = until - pd.Timedelta(days=settings.every_days) * int(np.ceil(length / step))
    early = known_at(history, opened)
    found_early = outcomes(early, entity)
    spec = learn_spec(early, entity, exclude=excluded)
    before = draw_snapshots(early, entity, opened, settings)
    after = draw_snapshots(history, entity, until, settings, start=opened, at_most=settings.snapshots // 4)
    if len(before) == 0 or len(after) == 0 or not spec.names:
        return None
    earlier = make_sample(early, found_early, before, spec, opened, settings)
    earlier = earlier.with_features(earlier.varying())
    later = make_sample(history, found, after, earlier.matrix.spec, until, settings)
    closed = pd.Series(later.labels.events != OPEN).groupby(later.records).max().sum()
    enough = (earlier.labels.events != OPEN).sum() >= settings.min_closed and closed >= _FEWEST_CLOSED
    return Window(opened, earlier, later) if enough else None


def judge(
    window: Window, settings: TrainSettings, horizon: float | None, *, both_ends: bool, entity: str
) -> Verdict:
    """Learn before the window, look after it, and decide.

    Parameters
    ----------
    window : Window
    settings : TrainSettings
    horizon : float or None
        Days within which the outcome counts; None for ever.
    both_ends : bool
        Whether the history marks both wins and losses.
    entity : {"lead", "deal"}
    """
    earlier, later = window.earlier, window.later
    edges = choose_edges(earlier.labels, settings.hazard)
    lives = _half_lives(window, settings)
    if len(lives) > 1:
        screened = [_fit(earlier, later, edges, replace(life, most_rounds=_SCREEN_ROUNDS)) for life in lives]
        lives = [lives[int(np.argmin([fitted.loss for fitted in screened]))]]
    fitted = _fit(earlier, later, edges, lives[0])
    chosen = replace(lives[0], rounds=fitted.rounds)
    marginal = base_of(earlier, edges, chosen.half_life_days)
    timing = fitted.model.predict(later.x, threads=chosen.threads)
    ever = won_within(timing, horizon, marginal.settled)
    margins = _mixtures(window, fitted, ever, marginal, settings, horizon, chosen.half_life_days)
    observed = later.labels.observed[:, None]
    timed = _share_by(timing, observed, horizon)
    won = later.labels.events == WON
    # How often records are won drifts; what is chosen here must not be chosen for having guessed the drift.
    levelled = {weight: level(margin, timed, won, later.weights) for weight, margin in margins.items()}
    weight = _choose_weight(levelled, timed, won, later, settings)
    calibrator = calibrate(levelled[weight], timed, won, later, settings)
    probability = expit(margins[weight]) * timed
    flat = np.full(len(later), marginal.probability(horizon))
    base_timed = _share_by(_repeat(marginal.timing, len(later)), observed, horizon)
    if both_ends and entity == "deal":
        skill = skill_at_closing(later, timing, marginal, expit(margins[weight]), ever, settings)
    else:
        flat_level = level(logit(np.clip(flat, SURE, 1 - SURE)), base_timed, won, later.weights)
        gains = log_losses(won, expit(flat_level) * base_timed)
        gains = gains - log_losses(won, expit(levelled[weight]) * timed)
        skill = skill_of(gains, later, settings, "won before observation ended")
    base = flat * base_timed
    return Verdict(chosen, weight, calibrator, skill, won, probability, base, window)


def _choose_weight(
    margins: dict[float, Floats],
    timed: Floats,
    won: npt.NDArray[np.bool_],
    later: Sample,
    settings: TrainSettings,
) -> float:
    """Choose the linear part's weight; between equals the evenest mixture, which errs less elsewhere."""
    losses = {weight: log_losses(won, expit(margin) * timed) for weight, margin in margins.items()}
    best = min(losses, key=lambda w: float(np.average(losses[w], weights=later.weights)))

    def as_good(weight: float) -> bool:
        extra = losses[weight] - losses[best]
        return (
            bootstrap_mean(extra, later.records, settings.resamples, settings.seed, weights=later.weights)[1]
            <= 0.0
        )

    return min((w for w in margins if w == best or as_good(w)), key=lambda w: (abs(w - 0.5), w))


def base_of(sample: Sample, edges: tuple[float, ...], half_life_days: float | None) -> Marginal:
    """Count the base rate of a sample."""
    periods = person_periods(sample.labels, edges)
    weights = period_weights(sample.labels, periods, edges, half_life_days, sample.weights)
    return count(periods, edges, weights)


def fit_completed(
    sample: Sample,
    hazard: HazardModel,
    marginal: Marginal,
    settings: TrainSettings,
    horizon: float | None,
    half_life_days: float | None,
) -> LinearPart | None:
    """Fit the linear part to what happened, and to the hazard's conditional chance where nothing has yet."""
    timing = hazard.predict(sample.x, threads=settings.hazard.threads)
    target = complete_labels(sample.labels, timing, won_within(timing, horizon, marginal.settled), horizon)
    weights = fade(sample.weights, sample.labels.observed, half_life_days)
    return fit_linear(sample.x, target, sample.categorical, settings.linear_strength, weights)


def mixed_margin(ever: Floats, linear: Floats | None, weight: float) -> Floats:
    """Mix the hazard's probability and the linear part's margin, in log-odds."""
    hazard: Floats = logit(np.clip(ever, SURE, 1.0 - SURE))
    return hazard if linear is None else (1.0 - weight) * hazard + weight * linear


def _half_lives(window: Window, settings: TrainSettings) -> list[HazardSettings]:
    if window.opened is None:
        return [settings.hazard]
    span = float(window.earlier.labels.observed.max())
    lives = [None, *(max(share * span, 2 * settings.every_days) for share in settings.half_lives)]
    return [replace(settings.hazard, half_life_days=life) for life in lives]


def _fit(earlier: Sample, later: Sample, edges: tuple[float, ...], choice: HazardSettings) -> FittedHazard:
    return fit_hazard(
        earlier.x,
        earlier.labels,
        edges,
        choice,
        categorical=earlier.categorical,
        weights=earlier.weights,
        later=(later.x, later.labels, later.weights),
    )


def _mixtures(
    window: Window,
    fitted: FittedHazard,
    ever: Floats,
    marginal: Marginal,
    settings: TrainSettings,
    horizon: float | None,
    half_life_days: float | None,
) -> dict[float, Floats]:
    """Give the later snapshots' margins, by weight of the linear part."""
    rows = choose_rows(len(window.earlier), settings.linear_rows, settings.seed)
    part = fit_completed(window.earlier.take(rows), fitted.model, marginal, settings, horizon, half_life_days)
    linear = None if part is None else part.margin(window.later.x)
    shares = settings.linear_weights if linear is not None else (0.0,)
    return {share: mixed_margin(ever, linear, share) for share in shares}


def _share_by(timing: Timing, days: Floats, horizon: float | None) -> Floats:
    """Give P(won within ``days``, given that it is won within the horizon), shape (rows,)."""
    by = timing.won_share_by(days)[:, 0]
    if horizon is None:
        return by
    whole = np.maximum(timing.won_share_by(np.full_like(days, horizon))[:, 0], 1e-12)
    shares: Floats = by / whole
    return shares


def _repeat(timing: Timing, rows: int) -> Timing:
    return Timing(timing.edges_days, np.repeat(timing.won, rows, 0), np.repeat(timing.lost, rows, 0))
