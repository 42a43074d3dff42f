"""The tables of users, accounts, leads and deals, with their attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from crm.schema import OUTCOMES
from crm.simulator import process
from crm.simulator.changes import DEAL_STAGE_NAMES, LEAD_STAGE_NAMES, Fields
from crm.simulator.columns import frame, id_words, moments, numbers, pick
from crm.simulator.population import COUNTRIES, INDUSTRIES, REGIONS, column, draw
from crm.simulator.timeline import Timeline

CURRENCY = "EUR"
# Words in one line each read better than lists of literals.
FIRST_NAMES = "Adèle Bruno Chloé David Elsa Farid Gina Hugo Inès Jules Karim Léa Marc Nora Omar Paul".split()  # noqa: SIM905
LAST_NAMES = "Martin Bernard Dubois Moreau Laurent Garcia Roux Keller Smith Nguyen Costa Weber".split()  # noqa: SIM905
COMPANY_STARTS = "Nor Bel Cal Dra Est Fer Gal Hel Ist Jor Kal Lum Mar Ner Ori Pal Ros Sol Tal Ver".split()  # noqa: SIM905
COMPANY_ENDS = "dis vane tec mont lys ria bergh nova lia port".split()  # noqa: SIM905
COMPANY_FORMS = ("SA", "SAS", "GmbH", "Ltd", "Inc", "BV")
PRODUCTS = ("Starter", "Team", "Suite", "Advisory")
#: Shares of the products by segment.
PRODUCT_SHARES = {
    "small": (0.60, 0.27, 0.05, 0.08),
    "mid": (0.20, 0.50, 0.18, 0.12),
    "enterprise": (0.05, 0.30, 0.45, 0.20),
}
#: The attribute that a rep fills only once a record is closed: it tells the outcome, and must be caught.
NOTES = (
    ("chose us for the price", "chose us for the fit", "renewed trust"),
    ("too expensive", "no budget", "no answer", "chose a competitor", "bad timing"),
)
NOTE_SHARE = 0.85
#: The attribute that reps keep overwriting without a trace: shares of cold, warm, hot by outcome and open.
RATINGS = ("cold", "warm", "hot")
RATING_SHARES = {"won": (0.03, 0.17, 0.80), "lost": (0.62, 0.30, 0.08), "open": (0.35, 0.45, 0.20)}
RATING_MISSING_SHARE = 0.1


def make_users(timeline: Timeline) -> pd.DataFrame:
    """Give the reps, then a manager for each team, then the head of sales."""
    people = timeline.people
    n_reps, n_teams = people.n_reps, int(people.team.max()) + 1
    team_region = np.zeros(n_teams, dtype=np.int64)
    team_region[people.team] = people.rep_region
    head = n_reps + n_teams
    team = np.concatenate([people.team, np.arange(n_teams), [-1]])
    names = [f"{REGIONS[r]} {number + 1}" for number, r in enumerate(team_region.tolist())]
    n = head + 1
    return frame(
        {
            "user_id": timeline.user_ids,
            "name": _joined(
                pick(FIRST_NAMES, np.arange(n) * 7 % len(FIRST_NAMES)),
                pick(LAST_NAMES, (np.arange(n) // len(FIRST_NAMES) + np.arange(n) * 5) % len(LAST_NAMES)),
            ),
            "team": pick(names, team),
            "manager_id": pick(
                timeline.user_ids, np.concatenate([n_reps + people.team, np.full(n_teams, head), [-1]])
            ),
            "region": pick(REGIONS, np.concatenate([people.rep_region, team_region, [-1]])),
        }
    )


def team_names(users: pd.DataFrame) -> list[str]:
    """Give the names of the teams, in their order."""
    return [str(name) for name in users["team"].dropna().unique()]


def _joined(*words: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(*words, pa.scalar(" ", type=pa.large_string()))


def make_accounts(timeline: Timeline, rng: np.random.Generator) -> pd.DataFrame:
    """Give the accounts, entered with their first lead."""
    people, n = timeline.people, timeline.people.n_accounts
    starts, ends = (
        pick(COMPANY_STARTS, _any(rng, COMPANY_STARTS, n)),
        pick(COMPANY_ENDS, _any(rng, COMPANY_ENDS, n)),
    )
    stem = pc.binary_join_element_wise(starts, ends, pa.scalar("", type=pa.large_string()))
    entered = people.recorded[people.first_case]
    country = people.account_country
    return frame(
        {
            "account_id": timeline.account_ids,
            "created_at": moments(entered),
            "recorded_at": moments(entered),
            "name": _joined(
                stem, id_words("", n, width=1 + len(str(n))), pick(COMPANY_FORMS, _any(rng, COMPANY_FORMS, n))
            ),
            "parent_id": pick(timeline.account_ids, people.account_parent),
            "gone_at": moments(np.full(n, -1)),
            "industry": pick(list(INDUSTRIES), people.account_industry),
            "segment": pick(list(process.SEGMENTS), people.account_segment),
            "n_employees": numbers(people.employees),
            "country": pick(list(COUNTRIES), country),
            "region": pick(REGIONS, column(COUNTRIES, 1).astype(np.int64)[country]),
        }
    )


def _any(rng: np.random.Generator, words: tuple[str, ...] | list[str], n: int) -> npt.NDArray[np.int64]:
    return rng.integers(0, len(words), n)


def _ends(timeline: Timeline, cases: npt.NDArray[Any]) -> dict[str, pa.Array | pd.Series]:
    is_closed = timeline.closed[cases] >= 0
    outcome = np.where(is_closed, np.where(timeline.trails.is_won[cases], 0, 1), -1)
    return {
        "outcome": pick(OUTCOMES, outcome),
        "closed_at": moments(timeline.closed[cases]),
        "closed_recorded_at": moments(timeline.closed_recorded[cases]),
        "sequence": numbers(np.full(len(cases), np.nan)),
        "gone_at": moments(np.full(len(cases), -1)),
    }


def _closing_note(timeline: Timeline, cases: npt.NDArray[Any], rng: np.random.Generator) -> pa.Array:
    won, lost = NOTES
    is_won = timeline.trails.is_won[cases]
    note = np.where(is_won, _any(rng, won, len(cases)), len(won) + _any(rng, lost, len(cases)))
    is_filled = (timeline.closed[cases] >= 0) & (rng.random(len(cases)) < NOTE_SHARE)
    return pick(won + lost, np.where(is_filled, note, -1))


def _rating(timeline: Timeline, cases: npt.NDArray[Any], rng: np.random.Generator) -> pa.Array:
    rating = draw(rng, RATING_SHARES["open"], len(cases))
    is_closed, is_won = timeline.closed[cases] >= 0, timeline.trails.is_won[cases]
    for rows, outcome in ((np.flatnonzero(is_won), "won"), (np.flatnonzero(is_closed & ~is_won), "lost")):
        rating[rows] = draw(rng, RATING_SHARES[outcome], len(rows))
    rating[rng.random(len(cases)) < RATING_MISSING_SHARE] = -1
    return pick(RATINGS, rating)


def make_leads(timeline: Timeline, fields: Fields, rng: np.random.Generator) -> pd.DataFrame:
    """Give the leads in the order of their recording."""
    people = timeline.people
    cases = np.arange(people.n_leads)
    account = people.account[cases]
    levels = [level for level in process.JOB_LEVELS if level]
    return frame(
        {
            "lead_id": timeline.lead_ids,
            "created_at": moments(people.created[cases]),
            "recorded_at": moments(people.recorded[cases]),
            "account_id": pick(timeline.account_ids, account),
            "owner_id": pick(timeline.user_ids, timeline.trails.owner[cases]),
            "source": pick(list(process.SOURCES), people.source[cases]),
            "stage": pick(LEAD_STAGE_NAMES, fields.lead_stage[cases]),
            **_ends(timeline, cases),
            "segment": pick(list(process.SEGMENTS), people.account_segment[account]),
            "industry": pick(list(INDUSTRIES), people.account_industry[account]),
            "country": pick(list(COUNTRIES), people.account_country[account]),
            "job_level": pick(levels, people.job[cases]),
            "fit_score": numbers(people.fit[cases]),
            "sales_rating": _rating(timeline, cases, rng),
            "closing_note": _closing_note(timeline, cases, rng),
        }
    )


def deal_products(timeline: Timeline, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw the product of each deal by the segment of its account."""
    segment = timeline.people.account_segment[timeline.people.account[timeline.deal_cases]]
    product = np.zeros(len(segment), dtype=np.int64)
    for number, shares in enumerate(PRODUCT_SHARES.values()):
        rows = np.flatnonzero(segment == number)
        product[rows] = draw(rng, shares, len(rows))
    return product


def make_deals(
    timeline: Timeline, fields: Fields, product: npt.NDArray[np.int64], rng: np.random.Generator
) -> pd.DataFrame:
    """Give the deals in the order of their opening."""
    people, cases = timeline.people, timeline.deal_cases
    account = people.account[cases]
    return frame(
        {
            "deal_id": timeline.deal_ids,
            "created_at": moments(timeline.opened[cases]),
            "recorded_at": moments(timeline.opened[cases]),
            "lead_id": pick(timeline.lead_ids, timeline.lead_of(cases)),
            "account_id": pick(timeline.account_ids, account),
            "owner_id": pick(timeline.user_ids, timeline.trails.owner[cases]),
            "source": pick([*process.SOURCES, process.DIRECT_SOURCE], people.source[cases]),
            "stage": pick(DEAL_STAGE_NAMES, fields.deal_stage[cases]),
            "amount": numbers(fields.amount[cases]),
            "currency": pick([CURRENCY], np.zeros(len(cases))),
            "expected_close_at": moments(fields.expected_close[cases]),
            **_ends(timeline, cases),
            "segment": pick(list(process.SEGMENTS), people.account_segment[account]),
            "industry": pick(list(INDUSTRIES), people.account_industry[account]),
            "country": pick(list(COUNTRIES), people.account_country[account]),
            "product": pick(PRODUCTS, product),
            "competitor": pick(list(process.COMPETITORS), people.competitor[cases]),
            "closing_note": _closing_note(timeline, cases, rng),
        }
    )
