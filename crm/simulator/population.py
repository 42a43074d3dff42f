"""Who is there before anything happens: reps, accounts, and the leads and deals to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crm.simulator import process
from crm.simulator.calendar import Ints, arrival_days, weekday

REGIONS = ("France", "Europe", "Americas")
#: Country: share and region.
COUNTRIES = {
    "FR": (0.38, 0),
    "BE": (0.08, 1),
    "DE": (0.14, 1),
    "ES": (0.08, 1),
    "GB": (0.12, 1),
    "US": (0.15, 2),
    "CA": (0.05, 2),
}
INDUSTRIES = {
    "software": 0.2,
    "manufacturing": 0.2,
    "retail": 0.15,
    "health": 0.12,
    "finance": 0.12,
    "logistics": 0.09,
    "public sector": 0.07,
    "energy": 0.05,
}
LEADS_PER_REP_YEAR = 250
LEAST_REPS = 12
REPS_PER_TEAM = 8
LEAVERS_SHARE = 0.08
DIRECT_SHARE = 0.04
NEW_ACCOUNT_SHARE = 0.65
SUBSIDIARY_SHARE = 0.06
#: Sources in which nobody acts at a weekend; their leads of those days came by the web form.
WEEKDAY_SOURCES = ("cold list", "event", "partner")
LATE_SHARE = 0.6  # of the leads of an event, whose list is typed in some days later
#: Standard deviation of the logarithm of a deal's amount within its segment.
AMOUNT_SPREAD = 0.6
NEVER = int(np.iinfo(np.int32).max)
SECONDS = 86_400


@dataclass(frozen=True)
class Population:
    """Every rep, account and case (leads first, then deals without a lead), and what is fixed about each.

    Categories are positions in the tables of :mod:`crm.simulator.process` and of this module, in their
    order; -1 is a missing value. Arrays of reps have shape (n_reps,), of accounts (n_accounts,), of cases
    (n_cases,).

    Parameters
    ----------
    n_leads : int
    skill : ndarray
        Effect of each rep, in tenths of a logit.
    team, rep_region : ndarray
    leaves_on : ndarray
        Day on which the rep leaves; ``NEVER`` for most.
    peer : ndarray
        The rep of equal skill who takes over.
    account_country, account_industry, account_segment, employees, account_parent : ndarray
    first_case : ndarray
        The case with which the account came in.
    created, recorded : ndarray
        Moments, in seconds since 1970; ``recorded_day`` is the day of the second.
    account, first_owner, source, engagement, job, deal_offset, competitor, first_due : ndarray
    fit : ndarray
        Marketing fit score, NaN where missing.
    amount : ndarray
        Of the deal at birth, should there be one.
    quality : ndarray
        Sum of the effects known at birth but those of the rep, the queue and earlier purchases.
    """

    n_leads: int
    skill: Ints
    team: Ints
    rep_region: Ints
    leaves_on: Ints
    peer: Ints
    account_country: Ints
    account_industry: Ints
    account_segment: Ints
    employees: npt.NDArray[np.float64]
    account_parent: Ints
    first_case: Ints
    created: Ints
    recorded: Ints
    recorded_day: Ints
    account: Ints
    first_owner: Ints
    source: Ints
    engagement: Ints
    job: Ints
    fit: npt.NDArray[np.float64]
    quality: Ints
    amount: npt.NDArray[np.float64]
    competitor: Ints
    deal_offset: Ints
    first_due: Ints

    @property
    def n_cases(self) -> int:
        """How many leads, and deals without a lead, there are."""
        return len(self.account)

    @property
    def n_accounts(self) -> int:
        """How many accounts there are."""
        return len(self.account_country)

    @property
    def n_reps(self) -> int:
        """How many reps there are, those who leave included."""
        return len(self.skill)


def column(table: Mapping[str, Any], position: int) -> npt.NDArray[Any]:
    """Give one figure of every row of a table of effects."""
    return np.array([row[position] for row in table.values()])


def draw(rng: np.random.Generator, shares: npt.ArrayLike, n: int) -> Ints:
    """Draw ``n`` positions by their shares."""
    edges = np.cumsum(np.asarray(shares, dtype=np.float64))
    return np.searchsorted(edges / edges[-1], rng.random(n), side="right").astype(np.int64)


def draw_population(rng: np.random.Generator, n_leads: int, first: int, stop: int) -> Population:
    """Draw the population of the days from ``first`` to before ``stop``."""
    reps = _draw_reps(rng, n_leads, first, stop)
    cases = _draw_arrivals(rng, n_leads, first, stop)
    n = len(cases["created"])
    is_lead = np.arange(n) < n_leads
    accounts = _draw_accounts(rng, cases["recorded"], is_lead)
    account = accounts.pop("account")

    segment = accounts["account_segment"][account]
    job = np.where(is_lead, draw(rng, column(process.JOB_LEVELS, 0), n), -1)
    fit = np.where(is_lead, np.round(100 * rng.beta(2.2, 2.2, n)), np.nan)
    fit[rng.random(n) < process.FIT_MISSING_SHARE] = np.nan
    source_effect = np.append(column(process.SOURCES, 1), process.DIRECT_EFFECT)
    quality = source_effect[cases["source"]] + column(process.SEGMENTS, 1)[segment]
    lead_effects = column(process.JOB_LEVELS, 1)[job] + process.fit_effect(fit)
    quality = quality + np.where(is_lead, lead_effects, 0)
    # "" stands for a missing job level, with its own effect; its position is the last.
    job[job == len(process.JOB_LEVELS) - 1] = -1

    median = column(process.SEGMENTS, 2)[segment]
    amount = np.rint(median * np.exp(AMOUNT_SPREAD * rng.standard_normal(n)))
    size = np.digitize(np.log(amount / median) / AMOUNT_SPREAD, process.SIZE_CUTS)
    competitor = draw(rng, column(process.COMPETITORS, 0), n)
    offset = np.array(process.SIZE_EFFECTS)[size] + column(process.COMPETITORS, 1)[competitor]
    weeks, shares = zip(*process.FIRST_DUE, strict=True)
    region = column(COUNTRIES, 1)[accounts["account_country"][account]]
    return Population(
        n_leads=n_leads,
        **reps,
        **accounts,
        **cases,
        recorded_day=cases["recorded"] // SECONDS,
        account=account,
        first_owner=_assign(rng, region, reps["rep_region"]),
        job=job,
        fit=fit,
        quality=quality,
        amount=amount,
        competitor=competitor,
        deal_offset=offset,
        first_due=np.array(weeks)[draw(rng, shares, n)],
    )


def _draw_reps(rng: np.random.Generator, n_leads: int, first: int, stop: int) -> dict[str, Any]:
    years = (stop - first) / 365.25
    n = max(LEAST_REPS, round(n_leads / years / LEADS_PER_REP_YEAR))
    region_shares = np.bincount(
        column(COUNTRIES, 1).astype(np.int64), column(COUNTRIES, 0), minlength=len(REGIONS)
    )
    quota = np.maximum(np.floor(region_shares * n), 2).astype(np.int64)
    quota[0] += n - quota.sum()
    region = np.repeat(np.arange(len(REGIONS)), quota)
    position = np.arange(n) - np.concatenate([[0], np.cumsum(quota)[:-1]])[region]
    teams_before = np.concatenate([[0], np.cumsum(-(-quota // REPS_PER_TEAM))[:-1]])
    team = teams_before[region] + position // REPS_PER_TEAM

    tier = rng.permutation(np.arange(n) % len(process.SKILLS))
    leaves_on = np.full(n, NEVER, dtype=np.int64)
    peer = np.arange(n)
    n_leavers = max(1, round(LEAVERS_SHARE * n))
    leavers = rng.permutation(n)[:n_leavers]
    for skill in range(len(process.SKILLS)):
        members = np.flatnonzero(tier == skill)
        # Somebody of equal skill must be left to take over.
        stayers = members[~np.isin(members, leavers)]
        stayers = stayers if len(stayers) else members[:1]
        following = np.searchsorted(stayers, members, side="right") % len(stayers)
        peer[members] = stayers[following]
        gone = members[~np.isin(members, stayers)]
        leaves_on[gone] = rng.integers(first + (stop - first) // 4, stop - (stop - first) // 8, len(gone))
    skill_of = np.array(process.SKILLS)[tier]
    return {"skill": skill_of, "team": team, "rep_region": region, "leaves_on": leaves_on, "peer": peer}


def _draw_arrivals(rng: np.random.Generator, n_leads: int, first: int, stop: int) -> dict[str, Any]:
    names = list(process.SOURCES)
    day = arrival_days(rng, n_leads, first, stop)
    source = draw(rng, column(process.SOURCES, 0), n_leads)
    at_weekend = weekday(day) >= 5
    source[at_weekend & np.isin(source, [names.index(s) for s in WEEKDAY_SOURCES])] = names.index("web form")
    created = day * SECONDS + rng.integers(7 * 3600, 20 * 3600, n_leads)
    late = (source == names.index("event")) & (rng.random(n_leads) < LATE_SHARE)
    recorded_day = day + np.where(late, rng.integers(1, 5, n_leads), 0)
    typed_in = late & (recorded_day < stop)
    recorded = np.where(
        typed_in, recorded_day * SECONDS + rng.integers(8 * 3600, 18 * 3600, n_leads), created
    )
    order = np.argsort(recorded, kind="stable")
    engagement = column(process.SOURCES, 2)[source] * 2 + 1

    n_direct = round(DIRECT_SHARE * n_leads)
    direct_day = arrival_days(rng, n_direct, first + (stop - first) // 12, stop)
    direct_day = direct_day - np.maximum(weekday(direct_day) - 4, 0)
    moment = np.sort(direct_day * SECONDS + rng.integers(8 * 3600, 18 * 3600, n_direct))
    return {
        "created": np.concatenate([created[order], moment]),
        "recorded": np.concatenate([recorded[order], moment]),
        "source": np.concatenate([source[order], np.full(n_direct, len(names))]),
        "engagement": np.concatenate([engagement[order], np.full(n_direct, 3)]),
    }


def _draw_accounts(
    rng: np.random.Generator, recorded: Ints, is_lead: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    n_leads = int(is_lead.sum())
    is_new = rng.random(n_leads) < NEW_ACCOUNT_SHARE
    is_new[0] = True
    known = np.cumsum(is_new)
    account = np.where(is_new, known - 1, (rng.random(n_leads) * known).astype(np.int64))
    first_case = np.flatnonzero(is_new)
    # A deal without a lead is with a company that is already there.
    there = np.maximum(np.searchsorted(recorded[first_case], recorded[n_leads:]), 1)
    direct = (rng.random(len(there)) * there).astype(np.int64)

    n = len(first_case)
    segment = draw(rng, column(process.SEGMENTS, 0), n)
    least, most = column(process.SEGMENTS, 3)[segment], column(process.SEGMENTS, 4)[segment]
    employees = np.floor(least * (most / least) ** rng.random(n)).astype(np.float64)
    employees[rng.random(n) < 0.15] = np.nan
    industry = draw(rng, np.array(list(INDUSTRIES.values())), n)
    industry[rng.random(n) < 0.10] = -1
    is_child = rng.random(n) < SUBSIDIARY_SHARE
    is_child[0] = False
    parent = np.where(is_child, (rng.random(n) * np.arange(n)).astype(np.int64), -1)
    return {
        "account": np.concatenate([account, direct]),
        "first_case": first_case,
        "account_country": draw(rng, column(COUNTRIES, 0), n),
        "account_industry": industry,
        "account_segment": segment,
        "employees": employees,
        "account_parent": parent,
    }


def _assign(rng: np.random.Generator, region: Ints, rep_region: Ints) -> Ints:
    """Give each case a rep of its region; some reps are given more than others."""
    owner = np.zeros(len(region), dtype=np.int64)
    weights = np.exp(0.3 * rng.standard_normal(len(rep_region)))
    for r in range(len(REGIONS)):
        reps = np.flatnonzero(rep_region == r)
        cases = np.flatnonzero(region == r)
        owner[cases] = reps[draw(rng, weights[reps], len(cases))]
    return owner
