"""The range of a forecast: every deal's fate drawn together, under a shock that all of them share.

A deal is won in a period when its exponential waiting time, of the rate that its chance asks for, falls in
it; a shock makes all waits longer or shorter. Deals to come are a compound Poisson number of sales drawn from
past ones. A deal's draws are the same whatever the deals are grouped by, so groups add up to the total.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Deals whose fates are drawn together, so that memory stays flat.
CHUNK = 512
#: Threads that draw; what they draw does not depend on their number.
THREADS = 2
#: Chances at which a deal's wait would be infinitely short are cut here.
_NEARLY_SURE = 1.0 - 1e-9
#: New sales drawn in one period at most; beyond, each stands for several.
_MOST_SALES = 4_000_000


@dataclass(frozen=True)
class OpenPart:
    """Open deals in one period.

    Parameters
    ----------
    before, by_end : ndarray of shape (m,)
        P(won before the period starts) and P(won by its end).
    """

    before: Floats
    by_end: Floats


@dataclass(frozen=True)
class NewPart:
    """New deals in one period: expected number of sales, and expected revenue."""

    wins: float
    revenue: float


def draw_open(
    parts: list[OpenPart],
    amount: Floats,
    group: Ints,
    n_groups: int,
    shocks: Floats,
    spread: float,
    seed: int,
) -> Floats:
    """Draw what open deals bring.

    Parameters
    ----------
    parts : list of OpenPart
        One a period, each of m deals.
    amount : ndarray of shape (m,)
        Expected of each sale.
    group : ndarray of int, shape (m,)
        From 0 to ``n_groups - 1``.
    n_groups : int
    shocks : ndarray of shape (periods, draws)
        Factors on all rates.
    spread : float
        Standard deviation of the log of a sale's amount against what is expected.
    seed : int

    Returns
    -------
    ndarray of shape (periods, n_groups, draws)
    """
    n_draws = shocks.shape[1]
    rates = [(_rate(part.before), _rate(part.by_end)) for part in parts]
    firsts = range(0, len(amount), CHUNK)
    streams = np.random.SeedSequence(seed).spawn(max(len(firsts), 1))

    def draw(number: int) -> Floats:
        rows = slice(firsts[number], firsts[number] + CHUNK)
        rng = np.random.default_rng(streams[number])
        waits = rng.standard_exponential((len(amount[rows]), n_draws), dtype=np.float32)
        # One row a group, so that a product of matrices sums each group's sales.
        belongs = np.zeros((n_groups, len(waits)))
        belongs[group[rows], np.arange(len(waits))] = amount[rows]
        sold = [
            _within(waits, begin[rows], end[rows], factors)
            for (begin, end), factors in zip(rates, shocks, strict=True)
        ]
        size = None if spread == 0.0 else _sizes(np.logical_or.reduce(sold), spread, rng)
        found = np.empty((len(parts), n_groups, n_draws))
        for place, won in enumerate(sold):
            found[place] = belongs @ (won.astype(np.float64) if size is None else won * size)
        return found

    drawn = np.zeros((len(parts), n_groups, n_draws))
    with ThreadPoolExecutor(THREADS) as pool:
        # In the order of the deals, so that the sums do not depend on who was ready first.
        for found in pool.map(draw, range(len(firsts))):
            drawn += found
    return drawn


def _within(waits: NDArray[np.float32], begin: Floats, end: Floats, shocks: Floats) -> NDArray[np.bool_]:
    """Say which waits end in a period, shape (deals, draws)."""
    factor = shocks.astype(np.float32)[None, :]
    won: NDArray[np.bool_] = waits < end[:, None].astype(np.float32) * factor
    if (begin > 0).any():
        won &= waits >= begin[:, None].astype(np.float32) * factor
    return won


def _sizes(sold: NDArray[np.bool_], spread: float, rng: np.random.Generator) -> Floats:
    """Draw what each sale brings against what was expected of it; only sales need one."""
    size = np.zeros(sold.shape)
    noise = rng.standard_normal(int(sold.sum()), dtype=np.float32)
    size[sold] = np.exp(np.float32(spread) * noise - np.float32(spread**2 / 2))
    return size


def draw_new(
    parts: list[NewPart],
    amounts: Floats,
    weights: Floats,
    group: Ints,
    shares: Floats,
    n_groups: int,
    shocks: Floats,
    seed: int,
) -> Floats:
    """Draw what deals to come bring.

    Parameters
    ----------
    parts : list of NewPart
    amounts, weights : ndarray of shape (s,)
        Past sales, from which amounts are drawn.
    group, shares : ndarray of shape (n,)
        Group of each known deal, and its share of what is to come.
    n_groups : int
    shocks : ndarray of shape (periods, draws)
    seed : int

    Returns
    -------
    ndarray of shape (periods, n_groups, draws)
    """
    n_draws = shocks.shape[1]
    drawn = np.zeros((len(parts), n_groups, n_draws))
    if not len(amounts):
        return drawn
    known = np.cumsum(shares) / shares.sum()
    sizes = (
        amounts / np.average(amounts, weights=weights) if np.average(amounts, weights=weights) > 0 else None
    )
    picked = np.cumsum(weights) / weights.sum()
    for place, (part, stream) in enumerate(
        zip(parts, np.random.SeedSequence(seed).spawn(len(parts)), strict=True)
    ):
        if part.wins <= 0.0 or part.revenue == 0.0:
            continue
        rng = np.random.default_rng(stream)
        lump = max(1.0, part.wins * n_draws / _MOST_SALES)
        numbers = rng.poisson(part.wins / lump * shocks[place])
        total = int(numbers.sum())
        draw = np.repeat(np.arange(n_draws), numbers)
        size = np.ones(total) if sizes is None else sizes[_pick(picked, rng, total)]
        whose = group[_pick(known, rng, total)]
        money = size * (lump * part.revenue / part.wins)
        drawn[place] = np.bincount(whose * n_draws + draw, money, minlength=n_groups * n_draws).reshape(
            n_groups, n_draws
        )
    return drawn


def common_shocks(spreads: Floats, n_draws: int, seed: int) -> Floats:
    """Draw the factors that all deals share, one good or bad time for all periods of a draw.

    Parameters
    ----------
    spreads : ndarray of shape (periods,)
        Standard deviations of the log.
    n_draws, seed : int

    Returns
    -------
    ndarray of shape (periods, draws)
        With a mean of 1.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    half = rng.standard_normal(-(-n_draws // 2))
    # In pairs of opposite sign, so that the mean holds with few draws.
    common = np.concatenate([half, -half])[:n_draws]
    factors: Floats = np.exp(spreads[:, None] * common[None, :] - spreads[:, None] ** 2 / 2.0)
    return factors


def centre(drawn: Floats, mean: Floats) -> Floats:
    """Scale the draws of each period to its expected total, which the shock and the sampling move a little.

    Parameters
    ----------
    drawn : ndarray of shape (periods, groups, draws)
    mean : ndarray of shape (periods,)
    """
    total = drawn.sum(axis=1).mean(axis=1)
    scale = np.divide(mean, total, out=np.ones(len(mean)), where=np.abs(total) > 0)
    scaled: Floats = drawn * scale[:, None, None]
    return scaled


def _rate(chance: Floats) -> Floats:
    rate: Floats = -np.log1p(-np.minimum(chance, _NEARLY_SURE))
    return rate


def _pick(cumulative: Floats, rng: np.random.Generator, size: int) -> Ints:
    places: Ints = np.searchsorted(cumulative, rng.random(size), side="right")
    return np.minimum(places, len(cumulative) - 1)
