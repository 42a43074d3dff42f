"""What is done each night beside scoring: the forecasts that are kept, and whether data still come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd

from crm.history import History
from crm.money import Rates
from crm.observed import last_recorded
from crm.periods import Period, next_period, split
from crm.store import Store
from features.prepared import prepare
from serving.bundle import ModelBundle
from serving.forecast import forecast
from serving.forecast.accuracy import past_errors
from serving.forecast.ledger_entry import entries_of
from serving.scoring import model_of

#: Share of outcomes that the kept ranges are to hold.
LEVEL: Final = 0.8


@dataclass(frozen=True)
class Freshness:
    """When something was last recorded.

    Parameters
    ----------
    last : Timestamp
        Just after the last thing recorded before now.
    hours : float
        Since then.
    limit : float
        More hours than these are too many.
    """

    last: pd.Timestamp
    hours: float
    limit: float

    @property
    def is_stale(self) -> bool:
        """Whether data seem to come in no more."""
        return self.hours > self.limit


@dataclass(frozen=True)
class KeptForecasts:
    """What was kept in the ledger.

    Parameters
    ----------
    as_of : Timestamp
    periods : tuple of str
    groupings : tuple of str
        ``total``, ``owner`` and, where reps have teams, ``team``.
    n_new, n_there : int
        Entries that are new, and that were there already.
    """

    as_of: pd.Timestamp
    periods: tuple[str, ...]
    groupings: tuple[str, ...]
    n_new: int
    n_there: int


def freshness_of(history: History, now: pd.Timestamp, limit_hours: float) -> Freshness:
    """Say how long ago something was last recorded.

    Raises
    ------
    NotEnoughData
        Where the history holds nothing.
    """
    last = last_recorded(history, now)
    return Freshness(last, max(0.0, (now - last) / pd.Timedelta(hours=1)), limit_hours)


def nightly_periods(moment: pd.Timestamp, zone: str, fiscal_start: int) -> list[Period]:
    """Give the month and the quarter that run at a moment, and the next of each.

    Examples
    --------
    >>> moment = pd.Timestamp("2026-11-30T23:30:00Z")
    >>> [one.name for one in nightly_periods(moment, "UTC", 1)]
    ['2026-11', '2026-12', '2026-Q4', '2027-Q1']
    >>> [one.name for one in nightly_periods(moment, "Europe/Paris", 4)][:2]
    ['2026-12', '2027-01']
    """
    ahead = next_period("1Y", moment)
    return [one for unit in ("month", "quarter") for one in split(ahead, unit, zone, fiscal_start)[:2]]


def keep_forecasts(
    store: Store,
    bundle: ModelBundle,
    history: History,
    fresh: Freshness,
    now: pd.Timestamp,
    *,
    rates: Rates,
    zone: str,
    fiscal_start: int,
) -> KeptForecasts:
    """Forecast this and the next month and quarter in total, by owner and by team, and keep that.

    They are made as of just after the last thing recorded, so that the same again adds nothing. Where data
    are stale, the periods are those that ran when they ended.

    Parameters
    ----------
    store : Store
        Whose ledger keeps them.
    bundle : ModelBundle
    history : History
        Of the same store.
    fresh : Freshness
    now : Timestamp with a time zone
    rates : Rates
    zone : str
        The IANA time zone in which days begin.
    fiscal_start : int

    Raises
    ------
    VigieError
        As :func:`serving.forecast.forecast`.
    """
    as_of = fresh.last
    periods = nightly_periods(as_of if fresh.is_stale else now, zone, fiscal_start)
    groupings: list[str | None] = [None, "owner"]
    if history.users["team"].notna().any():
        groupings.append("team")
    errors = past_errors(store.forecasts(as_of_before=as_of), history, as_of, rates)
    prepared = prepare(history, model_of(bundle, "deal").spec)
    kept = []
    for by in groupings:
        made = forecast(
            bundle,
            history,
            as_of,
            periods,
            prepared=prepared,
            by=by,
            level=LEVEL,
            rates=rates,
            zone=zone,
            past_errors=errors,
        )
        kept += [store.keep_forecast(entry) for entry in entries_of(made, now)]
    names = tuple("total" if by is None else by for by in groupings)
    return KeptForecasts(as_of, tuple(one.name for one in periods), names, sum(kept), len(kept) - sum(kept))
