"""Forecasts as answers: the command's numbers, in the groups that the caller may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pandas as pd

from crm.asked_periods import forecast_periods
from crm.groups import TOTAL
from crm.history import History
from crm.ledger import LedgerEntry
from crm.money import Rates
from crm.periods import Period
from crm.store import Store
from serving.answering.kept_history import Source, rates_of
from serving.answering.plain_rows import plain, plain_rows
from serving.answering.scope import Scope, total_of
from serving.forecast import Forecast, PastErrors, forecast
from serving.forecast.accuracy import past_errors
from serving.forecast.ledger_facts import largest_deals
from serving.forecast.rows import range_names

#: The figures of a row, in order. Those of a range are called low, median and high whatever its level.
FIGURES: Final = (
    "closed",
    "open",
    "new",
    "mean",
    "low",
    "median",
    "high",
    "stage_weighted",
    "run_rate",
    "series",
    "commit",
    "quota",
    "attainment",
    "pipeline",
    "coverage",
    "coverage_needed",
    "open_low",
    "open_median",
    "open_high",
    "new_low",
    "new_median",
    "new_high",
)
_DEAL = (
    "deal_id",
    "group",
    "owner_id",
    "state",
    "stage",
    "amount",
    "expected_amount",
    "win_probability",
    "in_period",
    "mean",
)


@dataclass(frozen=True)
class ForecastQuestion:
    """What is to be forecast.

    Parameters
    ----------
    periods : tuple of str
    days : (str or None, str or None)
    spans : tuple of str
        As :func:`crm.asked_periods.forecast_periods` reads them.
    by : str or None
    as_of : datetime or None
        Just after the last thing recorded, where it is not given.
    now : datetime
    level : float
    n_deals : int
        So many of the deals behind each period.
    scope : Scope
    zone : str
    fiscal_start : int
    rates, currency : str or None
        Of the service's settings.
    """

    periods: tuple[str, ...]
    days: tuple[str | None, str | None]
    spans: tuple[str, ...]
    by: str | None
    as_of: datetime | None
    now: datetime
    level: float
    n_deals: int
    scope: Scope
    zone: str = "UTC"
    fiscal_start: int = 1
    rates: str | None = None
    currency: str | None = None


def forecast_figures(source: Source, asked: ForecastQuestion) -> dict[str, Any]:
    """Forecast, as ``vigie forecast`` does, and give the groups that may be seen.

    Raises
    ------
    VigieError
        As :func:`serving.forecast.forecast` and :meth:`serving.answering.scope.Scope.groups`.
    """
    history = source.read()
    moment = source.moment(asked.as_of, asked.now)
    periods = forecast_periods(asked.periods, asked.days, asked.spans, moment, asked.zone, asked.fiscal_start)
    seen = asked.scope.groups(history, asked.by)
    maker = _Maker(source, asked, moment, periods)
    if seen is None:
        return _answer(maker.made(history, asked.by), asked)
    total = total_of(asked.scope, history, moment)
    whole = maker.made(total.history, total.by)
    parts = None if asked.by is None else whole
    if asked.by is not None and (asked.by != total.by or total.history.users is not history.users):
        parts = maker.made(history, asked.by)
    rows = [_renamed(whole.rows, total.group)]
    deals = _renamed(whole.deals, total.group)
    if parts is not None:
        rows.append(parts.rows[parts.rows["group"].isin(seen)])
        deals = parts.deals[parts.deals["group"].isin(seen)]
    return _answer(whole, asked, pd.concat(rows), deals)


class _Maker:
    """Makes the forecasts of one question, that differ in their grouping alone."""

    def __init__(
        self, source: Source, asked: ForecastQuestion, moment: pd.Timestamp, periods: Sequence[Period]
    ) -> None:
        self._source, self._asked, self._moment, self._periods = source, asked, moment, periods
        self._rates: Rates = rates_of(asked.rates, asked.currency)
        entries = Store.open(source.history).forecasts(as_of_before=moment)
        self._past: PastErrors | None = past_errors(entries, source.read(), moment, self._rates)

    def made(self, history: History, by: str | None) -> Forecast:
        return forecast(
            self._source.models(),
            history,
            self._moment,
            self._periods,
            prepared=self._source.deals_prepared(),
            by=by,
            level=self._asked.level,
            rates=self._rates,
            zone=self._asked.zone,
            past_errors=self._past,
        )


def _renamed(frame: pd.DataFrame, group: str) -> pd.DataFrame:
    return frame[frame["group"] == group].assign(group=TOTAL)


def _answer(
    found: Forecast,
    asked: ForecastQuestion,
    rows: pd.DataFrame | None = None,
    deals: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Give a forecast as plain values; for a scope without the notes, which could name others' deals."""
    is_all = asked.scope.is_all
    rows = found.rows if rows is None else rows
    deals = found.deals if deals is None else deals
    return {
        "as_of": plain(found.as_of),
        "by": asked.by,
        "level": found.level,
        "currency": found.currency,
        "model_version": found.model_version,
        "scope": "all" if is_all else "own",
        "notes": list(found.notes) if is_all else [],
        "periods": [
            {
                "name": period.name,
                "start": plain(period.start),
                "end": plain(period.end),
                "origin": "computed",
                "entry_id": None,
                "rows": _rows(_of(rows, period), found.level),
                "deals": _deals(_of(deals, period), asked.n_deals),
            }
            for period in found.periods
        ],
    }


def _of(frame: pd.DataFrame, period: Period) -> pd.DataFrame:
    return frame[(frame["period_start"] == period.start) & (frame["period_end"] == period.end)]


def _rows(rows: pd.DataFrame, level: float) -> list[dict[str, Any]]:
    ends = dict(zip(range_names(level), ("low", "median", "high"), strict=True))
    names = {"open_mean": "open", "new_mean": "new"}
    names |= {f"{part}{end}": f"{part}{name}" for part in ("", "open_", "new_") for end, name in ends.items()}
    return plain_rows(rows.rename(columns=names)[["group", *FIGURES]])


def _deals(deals: pd.DataFrame, n_deals: int) -> list[dict[str, Any]]:
    order = deals["mean_cents"].abs().sort_values(ascending=False, kind="stable").index
    largest = deals.loc[order].head(n_deals)
    return plain_rows(largest.assign(mean=largest["mean_cents"] / 100.0)[list(_DEAL)])


def from_ledger(
    entries: Sequence[LedgerEntry],
    by: str | None,
    scope: Scope,
    group: str,
    seen: frozenset[str] | None,
    n_deals: int,
) -> dict[str, Any]:
    """Give kept forecasts, one a period, as :func:`forecast_figures` gives those it makes.

    Parameters
    ----------
    entries : sequence of LedgerEntry
        Of one moment, level, currency and model; with their deals where some are asked for.
    by : str or None
    scope : Scope
    group : str
        The one that is the total of the scope.
    seen : frozenset of str, or None
        The groups that may be seen; None for all.
    n_deals : int
    """
    first = entries[0]
    return {
        "as_of": plain(first.as_of),
        "by": by,
        "level": first.level,
        "currency": first.currency,
        "model_version": first.model_version,
        "scope": "all" if scope.is_all else "own",
        "notes": [],
        "periods": [_kept(entry, by, group, seen, n_deals) for entry in entries],
    }


def _kept(
    entry: LedgerEntry, by: str | None, group: str, seen: frozenset[str] | None, n_deals: int
) -> dict[str, Any]:
    cents = entry.rows.set_index("group").astype("Float64").astype("float64") / 100.0
    figures = cents.rename(columns=lambda name: str(name).removesuffix("_cents"))
    total = figures.loc[[group]].rename(index={group: TOTAL})
    groups = figures.drop(index=TOTAL) if by is not None else figures.iloc[:0]
    rows = pd.concat([total, groups if seen is None else groups[groups.index.isin(list(seen))]])
    rows["attainment"] = rows["mean"] / rows["quota"].where(rows["quota"] > 0)
    deals: list[dict[str, Any]] = []
    if n_deals:
        behind = largest_deals(entry, entry.n_deals)
        if seen is not None:
            behind = behind[behind["group"].isin(list(seen if by is not None else {group}))]
        shown = behind if by is not None else behind.assign(group=TOTAL)
        deals = plain_rows(
            shown.head(n_deals).assign(mean=shown["mean_cents"].head(n_deals) / 100.0)[list(_DEAL)]
        )
    return {
        "name": entry.period,
        "start": plain(entry.period_start),
        "end": plain(entry.period_end),
        "origin": "ledger",
        "entry_id": entry.entry_id,
        "rows": plain_rows(rows.rename_axis("group").reset_index().reindex(columns=["group", *FIGURES])),
        "deals": deals,
    }
