"""One simulated CRM: its history as exported at the end, and the truth about its open records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from crm.errors import InputError
from crm.history import History, utc
from crm.simulator.activities import make_activities
from crm.simulator.aftermath import Sales, make_orders, make_subscriptions, make_surveys, make_targets
from crm.simulator.calendar import WorkingDays
from crm.simulator.changes import make_fields
from crm.simulator.population import SECONDS, Population, draw_population
from crm.simulator.records import deal_products, make_accounts, make_deals, make_leads, make_users, team_names
from crm.simulator.timeline import Timeline, lay_out
from crm.simulator.truth import Truth
from crm.simulator.walk import Trails, Walk

LEAST_LEADS = 50
LEAST_YEARS = 0.5


@dataclass(frozen=True)
class Simulation:
    """A simulated CRM.

    Parameters
    ----------
    history : History
        What the CRM would export at the end.
    truth : Truth
        The true probabilities of its records, at any moment.
    """

    history: History
    truth: Truth


def simulate(
    n_leads: int, *, seed: int = 0, years: float = 3.0, end: datetime | str = "2025-01-01T00:00:00+00:00"
) -> Simulation:
    """Simulate a B2B CRM.

    The same arguments give the same tables. ``docs/simulator.md`` says how the records behave.

    Parameters
    ----------
    n_leads : int
        How many leads come in; at least 50.
    seed : int
    years : float
        How long before ``end`` the history begins, with nothing in it; at least 0.5.
    end : datetime or str
        The moment of the export, with a time zone; the history stops at the first instant of its day (UTC).

    Returns
    -------
    Simulation

    Raises
    ------
    InputError
        Where a size is too small.

    Examples
    --------
    >>> crm = simulate(500, seed=1)
    >>> len(crm.history.leads)
    500
    >>> open_leads = crm.history.leads["outcome"].isna()
    >>> p = crm.truth.lead_probability(
    ...     crm.history.leads["lead_id"][open_leads], "2025-01-01T00:00:00+00:00", horizon_days=90
    ... )
    >>> bool(((p > 0) & (p < 1)).all())
    True
    """
    if n_leads < LEAST_LEADS:
        raise InputError(
            f"simulate: n_leads = {n_leads}: too few to say anything; ask for {LEAST_LEADS} or more"
        )
    if years < LEAST_YEARS:
        raise InputError(f"simulate: years = {years}: too short for a sale; ask for {LEAST_YEARS} or more")
    stop = int(utc(end).floor("D").timestamp()) // SECONDS
    first = stop - round(years * 365.25)
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)]
    people = draw_population(streams[0], n_leads, first, stop)
    trails = Walk(people, WorkingDays.between(first, stop), streams[1]).run()
    timeline = lay_out(people, trails, stop * SECONDS, streams[2])
    return Simulation(_history(timeline, first, streams[3]), _truth(people, trails, timeline, first, stop))


def _history(timeline: Timeline, first: int, rng: np.random.Generator) -> History:
    fields = make_fields(timeline, rng)
    product = deal_products(timeline, rng)
    sales = Sales.of(timeline, product, fields.amount)
    users = make_users(timeline)
    orders, order_lines = make_orders(timeline, sales, rng)
    return History(
        users=users,
        accounts=make_accounts(timeline, rng),
        leads=make_leads(timeline, fields, rng),
        deals=make_deals(timeline, fields, product, rng),
        activities=make_activities(timeline, rng),
        changes=fields.changes,
        targets=make_targets(timeline, sales, first, team_names(users), rng),
        surveys=make_surveys(timeline, sales, rng),
        subscriptions=make_subscriptions(timeline, sales, rng),
        orders=orders,
        order_lines=order_lines,
    )


def _truth(people: Population, trails: Trails, timeline: Timeline, first: int, stop: int) -> Truth:
    states = trails.states
    order = np.lexsort((states["day"], states["case"]))
    return Truth(
        leads=pd.Series(np.arange(people.n_leads), index=pd.Index(timeline.lead_ids.to_pylist())),
        deals=pd.Series(timeline.deal_cases, index=pd.Index(timeline.deal_ids.to_pylist())),
        case=states["case"][order],
        day=states["day"][order],
        code=states["code"][order],
        first=first,
        stop=stop,
    )
