"""What follows a sale: subscriptions and churn, orders and their lines, surveys; and the quotas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.simulator.calendar import Ints, quarter_end, weekday
from crm.simulator.columns import frame, id_words, moments, numbers, pick
from crm.simulator.population import SECONDS
from crm.simulator.records import CURRENCY, PRODUCTS
from crm.simulator.timeline import HOUR, Timeline, within_day

MONTH = 30 * SECONDS
#: Chance to end the contract in a month, by segment.
CHURN = (0.028, 0.016, 0.008)
ADVISORY = PRODUCTS.index("Advisory")
#: Further orders a year of a customer.
REORDERS_PER_YEAR = 1.2
EXTRAS = ("Onboarding", "Premium support", "Training day", "Connector", "Extra seats", "Audit")
#: Chance that each extra joins an order, by the product it goes with: Suite buyers take support and audits.
BASKET = {
    "Starter": (0.30, 0.05, 0.10, 0.08, 0.15, 0.01),
    "Team": (0.45, 0.25, 0.20, 0.25, 0.30, 0.03),
    "Suite": (0.60, 0.65, 0.35, 0.45, 0.20, 0.30),
    "Advisory": (0.05, 0.05, 0.40, 0.05, 0.02, 0.45),
}
EXTRA_SHARE = 0.08  # of the order's amount, each
NPS_SHARE, CES_SHARE = 0.45, 0.12
#: Quotas are set above what an average quarter brings.
QUOTA_STRETCH = 1.1


@dataclass(frozen=True)
class Sales:
    """Deals won: positions among the deals, their cases, products, amounts and moments."""

    deal: Ints
    case: Ints
    product: Ints
    amount: npt.NDArray[np.float64]
    closed: Ints
    recorded: Ints

    @classmethod
    def of(cls, timeline: Timeline, product: Ints, amount: npt.NDArray[np.float64]) -> Sales:
        """Take the deals won; ``amount`` is by case."""
        deal = np.flatnonzero(timeline.trails.is_won[timeline.deal_cases])
        case = timeline.deal_cases[deal]
        return cls(
            deal, case, product[deal], amount[case], timeline.closed[case], timeline.closed_recorded[case]
        )


def _contract_ends(timeline: Timeline, sales: Sales, started: Ints, rng: np.random.Generator) -> Ints:
    segment = timeline.people.account_segment[timeline.people.account[sales.case]]
    months = rng.geometric(np.array(CHURN)[segment]) + 2
    return started + months * MONTH


def make_subscriptions(timeline: Timeline, sales: Sales, rng: np.random.Generator) -> pd.DataFrame:
    """Give the contracts begun by the end; a contract that ends later is running."""
    day = sales.closed // SECONDS + rng.integers(1, 16, len(sales.deal))
    started = day * SECONDS
    ended = _contract_ends(timeline, sales, started, rng)
    end_recorded = ended + rng.integers(0, 5 * SECONDS, len(ended))
    rows = np.flatnonzero((sales.product != ADVISORY) & (started < timeline.stop))
    ended = np.where(end_recorded < timeline.stop, ended, -1)[rows]
    case = sales.case[rows]
    return frame(
        {
            "subscription_id": id_words("S", len(rows)),
            "account_id": pick(timeline.account_ids, timeline.people.account[case]),
            "deal_id": pick(timeline.deal_ids, sales.deal[rows]),
            "product": pick(PRODUCTS, sales.product[rows]),
            "started_at": moments(started[rows]),
            "ended_at": moments(ended),
            "monthly_amount": numbers(np.round(sales.amount[rows] / 12, 2)),
            "currency": pick([CURRENCY], np.zeros(len(rows))),
            "recorded_at": moments(started[rows]),
            "ended_recorded_at": moments(np.where(ended >= 0, end_recorded[rows], -1)),
        }
    )


def make_orders(
    timeline: Timeline, sales: Sales, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give the orders and their lines: one for each deal won, and what customers order later."""
    n = len(sales.deal)
    years = np.maximum(timeline.stop - sales.closed, 0) / (365.25 * SECONDS)
    n_more = rng.poisson(REORDERS_PER_YEAR * years)
    sale = np.concatenate([np.arange(n), np.repeat(np.arange(n), n_more)])
    is_first = np.arange(len(sale)) < n
    later = sales.closed[sale] + (rng.random(len(sale)) * years[sale] * 365.25 * SECONDS).astype(np.int64)
    later_day = later // SECONDS
    later_day -= np.maximum(weekday(later_day) - 4, 0)
    later = np.maximum(within_day(rng, later_day, 9, 17), sales.recorded[sale])
    ordered = np.where(is_first, sales.recorded[sale], later)
    amount = np.where(
        is_first, sales.amount[sale], np.rint(sales.amount[sale] * (0.05 + 0.2 * rng.random(len(sale))))
    )
    order = np.argsort(ordered, kind="stable")
    order = order[ordered[order] < timeline.stop]
    sale, is_first, ordered, amount = sale[order], is_first[order], ordered[order], amount[order]
    amount = np.maximum(amount, 1.0)

    ids = id_words("O", len(sale), width=8)
    case = sales.case[sale]
    orders = frame(
        {
            "order_id": ids,
            "account_id": pick(timeline.account_ids, timeline.people.account[case]),
            "deal_id": pick(timeline.deal_ids, np.where(is_first, sales.deal[sale], -1)),
            "user_id": pick(timeline.user_ids, timeline.trails.owner[case]),
            "ordered_at": moments(ordered),
            "amount": numbers(amount),
            "currency": pick([CURRENCY], np.zeros(len(sale))),
            "recorded_at": moments(ordered),
        }
    )
    return orders, _lines(ids, sales.product[sale], amount, rng)


def _lines(
    ids: Any, product: Ints, amount: npt.NDArray[np.float64], rng: np.random.Generator
) -> pd.DataFrame:
    chances = np.array(list(BASKET.values()))[product]
    order, extra = np.nonzero(rng.random(chances.shape) < chances)
    extra_amount = np.round(EXTRA_SHARE * amount[order], 2)
    rest = np.round(amount - np.bincount(order, extra_amount, minlength=len(amount)), 2)
    line_order = np.concatenate([np.arange(len(amount)), order])
    what = np.concatenate([product, len(PRODUCTS) + extra])
    money = np.concatenate([rest, extra_amount])
    quantity = np.where(what < len(PRODUCTS), rng.integers(1, 6, len(what)), 1)
    sort = np.argsort(line_order, kind="stable")
    return frame(
        {
            "order_line_id": id_words("N", len(sort), width=9),
            "order_id": pick(ids, line_order[sort]),
            "product": pick((*PRODUCTS, *EXTRAS), what[sort]),
            "quantity": numbers(quantity[sort]),
            "amount": numbers(money[sort]),
        }
    )


def make_surveys(timeline: Timeline, sales: Sales, rng: np.random.Generator) -> pd.DataFrame:
    """Give the answers: NPS some weeks after a sale, CES soon after the end of a deal, won or lost."""
    people = timeline.people
    skill = people.skill[timeline.trails.owner] / 10
    buyers = sales.case[rng.random(len(sales.case)) < NPS_SHARE]
    nps = np.clip(np.rint(7.6 + skill[buyers] + 1.9 * rng.standard_normal(len(buyers))), 0, 10)
    nps_at = timeline.closed_recorded[buyers] + rng.integers(25 * SECONDS, 60 * SECONDS, len(buyers))

    ended = timeline.deal_cases[timeline.closed[timeline.deal_cases] >= 0]
    asked = ended[rng.random(len(ended)) < CES_SHARE]
    is_won = timeline.trails.is_won[asked]
    ces = np.clip(np.rint(4.3 + 0.9 * is_won + skill[asked] + 1.2 * rng.standard_normal(len(asked))), 1, 7)
    ces_at = timeline.closed_recorded[asked] + rng.integers(4 * HOUR, 7 * SECONDS, len(asked))

    case, at = np.concatenate([buyers, asked]), np.concatenate([nps_at, ces_at])
    order = np.argsort(at, kind="stable")
    order = order[at[order] < timeline.stop]
    case = case[order]
    return frame(
        {
            "survey_id": id_words("V", len(order)),
            "kind": pick(("nps", "ces"), (order >= len(buyers)).astype(np.int64)),
            "account_id": pick(timeline.account_ids, people.account[case]),
            "lead_id": pick(timeline.lead_ids, timeline.lead_of(case)),
            "deal_id": pick(timeline.deal_ids, timeline.deal_of[case]),
            "user_id": pick(timeline.user_ids, timeline.trails.owner[case]),
            "score": numbers(np.concatenate([nps, ces])[order]),
            "answered_at": moments(at[order]),
            "recorded_at": moments(at[order]),
        }
    )


def make_targets(
    timeline: Timeline, sales: Sales, first_day: int, teams: list[str], rng: np.random.Generator
) -> pd.DataFrame:
    """Give the quarterly revenue quotas of reps and teams, set ten days before each quarter begins."""
    people = timeline.people
    starts = _quarters(first_day, timeline.stop // SECONDS)
    ends = quarter_end(starts)
    n_quarters = max((timeline.stop / SECONDS - first_day) / 91.3, 1.0)
    usual = QUOTA_STRETCH * sales.amount.sum() / n_quarters / people.n_reps
    growth = 1 + 0.02 * np.arange(len(starts))
    noise = rng.uniform(0.8, 1.2, people.n_reps)
    quota = np.maximum(np.round(usual * growth[:, None] * noise[None, :], -2), 100.0)
    is_there = people.leaves_on[None, :] > starts[:, None]
    quarter, rep = np.nonzero(is_there)
    team_quota = np.zeros((len(starts), len(teams)))
    np.add.at(team_quota, (quarter, people.team[rep]), quota[quarter, rep])
    team_quarter, team = np.nonzero(team_quota)

    when = np.concatenate([quarter, team_quarter])
    is_team = np.arange(len(when)) >= len(quarter)
    ids = [*timeline.user_ids.to_pylist(), *teams]
    whose = np.concatenate([rep, len(timeline.user_ids) + team])
    return frame(
        {
            "target_id": id_words("T", len(when)),
            "kpi": pick(["revenue"], np.zeros(len(when))),
            "scope": pick(("user", "team"), is_team.astype(np.int64)),
            "scope_id": pick(ids, whose),
            "period_start": moments(starts[when] * SECONDS),
            "period_end": moments(ends[when] * SECONDS),
            "value": numbers(np.concatenate([quota[quarter, rep], team_quota[team_quarter, team]])),
            "recorded_at": moments((starts[when] - 10) * SECONDS),
        }
    )


def _quarters(first_day: int, stop_day: int) -> Ints:
    """Give the first day of each quarter that begins before the stop, from the one of the first day."""
    starts = [int(quarter_end(np.array([first_day - 92]))[0])]
    if starts[0] > first_day:
        starts = [int(quarter_end(np.array([first_day - 184]))[0])]
    while (following := int(quarter_end(np.array(starts[-1:]))[0])) < stop_day:
        starts.append(following)
    return np.array(starts, dtype=np.int64)
