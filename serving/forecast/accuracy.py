"""How right the forecasts in the ledger were: each beside what came, pooled by horizon and by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import InputError, NotEnoughData
from crm.groups import TOTAL, group_of
from crm.history import History, utc
from crm.known import known_at
from crm.ledger import BESIDE, QUANTILE_LEVELS, LedgerEntry
from crm.money import Rates, in_currency, reporting_currency
from serving.forecast.widening import PastErrors

#: Point forecasts that stand beside an entry's mean. A quota is a goal and no forecast.
RIVALS: Final = tuple(name for name in BESIDE if name != "quota")
#: From when a forecast was made to the end of its period: at most so many days, and the bucket's name.
HORIZONS: Final = (
    (7.0, "1 week"),
    (14.0, "2 weeks"),
    (31.0, "1 month"),
    (92.0, "1 quarter"),
    (184.0, "half a year"),
    (366.0, "1 year"),
    (float("inf"), "more than a year"),
)
_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True, eq=False)
class Accuracy:
    """How right forecasts were; money in units of the currency.

    Parameters
    ----------
    as_of : Timestamp
        What came is as known then.
    currency : str
    forecasts : DataFrame, shape (n_entries * n_groups, n_columns)
        One row a forecast and group, of periods that ended: ``entry_id``, ``made_at``, ``as_of``,
        ``period``, ``period_start``, ``period_end``, ``by``, ``model_version``, ``horizon``, ``level``,
        ``group``, ``mean``, ``low``, ``high``, ``actual``, ``error`` (mean less actual), ``held`` (whether
        ``low`` to ``high`` held it), ``position`` (share of the kept quantiles below it), ``pinball`` (mean
        over the kept quantiles) and ``crps``, the rivals of :data:`RIVALS` where there were any,
        ``is_counted`` and ``is_replayed``.
    by_horizon : DataFrame
        The counted totals pooled by ``horizon``, and all of them in the row ``all``: ``n_forecasts``,
        ``n_periods``, ``wape``, ``bias``, ``coverage`` beside its ``level``, ``pinball``, ``crps``; of each
        rival ``n_<rival>``, ``wape_<rival>`` and ``wape_beside_<rival>``, ours of the same forecasts.
    by_group : DataFrame
        The counted rows of groups pooled by ``by`` and ``group``, with the same columns.
    n_pending : int
        Entries whose period had not ended.
    """

    as_of: pd.Timestamp
    currency: str
    forecasts: pd.DataFrame
    by_horizon: pd.DataFrame
    by_group: pd.DataFrame
    n_pending: int

    @property
    def counted(self) -> pd.DataFrame:
        """The counted totals, in the order of their periods' ends."""
        return self.forecasts[self.forecasts["is_counted"] & (self.forecasts["group"] == TOTAL)]

    @property
    def n_replayed(self) -> int:
        """Of the counted totals, those that were made only after their period had ended."""
        return int(self.counted["is_replayed"].sum())

    def past_errors(self) -> PastErrors:
        """Give where what came fell in what was forecast, for the ranges of the next forecast."""
        counted = self.counted
        days = (counted["period_end"] - counted["as_of"]).dt.total_seconds() / _DAY.total_seconds()
        return PastErrors(tuple(days.tolist()), tuple(counted["position"].tolist()))


def forecast_accuracy(
    entries: Sequence[LedgerEntry], history: History, as_of: pd.Timestamp, rates: Rates | None = None
) -> Accuracy:
    """Compare forecasts of periods that ended with the amount of the deals won in them.

    Of several forecasts of the same period as of the same moment, the one made first counts: a later one may
    have been made because the first was wrong. WAPE is the sum of absolute errors over the sum of what came,
    bias the sum of errors over it. CRPS is twice the mean pinball loss over the 99 kept quantiles (F. Laio
    and S. Tamea, Verification tools for probabilistic forecasts, HESS 11, 2007); for a rival, which is one
    number, it would be its absolute error.

    Parameters
    ----------
    entries : sequence of LedgerEntry
        Deals are not needed.
    history : History
    as_of : Timestamp with a time zone
        A period counts if it ended by then; what came is as known then.
    rates : Rates, optional

    Raises
    ------
    InputError
        Where the entries are in several currencies, or not in that of the history.
    NotEnoughData
        Where none of the periods had ended.
    """
    moment = utc(as_of)
    ended = [entry for entry in entries if entry.period_end <= moment]
    if not ended:
        raise NotEnoughData(_nothing_ended(entries, moment))
    given = rates if rates is not None else Rates.none()
    currency = _one_currency(ended)
    known = known_at(history, moment)
    there = reporting_currency(known, given)
    if there != currency:
        raise InputError(
            f"the forecasts are in {currency or 'no named currency'} and the history's amounts in "
            f"{there or 'none that is named'}; give --rates and --currency {currency or 'CODE'}"
        )
    table = _judged(ended, _Sales(known, given))
    is_total = table["group"] == TOTAL
    totals, groups = (table[table["is_counted"] & mine] for mine in (is_total, ~is_total))
    return Accuracy(
        as_of=moment,
        currency=currency,
        forecasts=table,
        by_horizon=pooled_by_horizon(totals),
        by_group=_pooled(groups, ["by", "group"]),
        n_pending=len(entries) - len(ended),
    )


def past_errors(
    entries: Sequence[LedgerEntry], history: History, as_of: pd.Timestamp, rates: Rates | None = None
) -> PastErrors | None:
    """Give how the entries in the history's currency came out, for the ranges of the next forecast.

    None where none of their periods had ended. Parameters are those of :func:`forecast_accuracy`.
    """
    given = rates if rates is not None else Rates.none()
    currency = reporting_currency(history, given)
    mine = [entry for entry in entries if entry.currency == currency]
    try:
        return forecast_accuracy(mine, history, as_of, given).past_errors()
    except NotEnoughData:
        return None


def horizon_name(as_of: pd.Timestamp, period_end: pd.Timestamp) -> str:
    """Give the bucket of the time from a forecast to the end of its period.

    Examples
    --------
    >>> monday = pd.Timestamp("2026-09-07", tz="UTC")
    >>> horizon_name(monday, monday + pd.Timedelta(days=7))
    '1 week'
    """
    days = (period_end - as_of) / _DAY
    return next(name for most, name in HORIZONS if days <= most)


class _Sales:
    """What was sold, by time and by group."""

    def __init__(self, known: History, rates: Rates) -> None:
        deals = known.deals
        sold_at = deals["closed_at"].fillna(deals["closed_recorded_at"])
        won = deals[(deals["outcome"] == "won") & sold_at.notna()]
        self._known, self._won, self._sold_at = known, won, sold_at[won.index]
        self._amount = in_currency(won["amount"], won["currency"], self._sold_at, rates).fillna(0.0)
        self._groups: dict[str, pd.Series] = {}

    def of(self, entry: LedgerEntry) -> NDArray[np.float64]:
        """Give what came in the entry's period, in each of its groups."""
        inside = (self._sold_at >= entry.period_start) & (self._sold_at < entry.period_end)
        amount = self._amount[inside]
        found = np.full(len(entry.rows), amount.sum())
        if entry.by is not None and len(entry.rows) > 1:
            if entry.by not in self._groups:
                self._groups[entry.by] = group_of(self._known, self._won, entry.by)
            sums = amount.groupby(self._groups[entry.by][inside]).sum()
            found[1:] = sums.reindex(entry.groups[1:], fill_value=0.0)
        return found


def _judged(entries: list[LedgerEntry], sales: _Sales) -> pd.DataFrame:
    """Put what came beside what was forecast, one row a forecast and group."""
    frames = []
    for entry in sorted(entries, key=lambda entry: (entry.period_end, entry.as_of, entry.made_at)):
        actual = sales.of(entry)
        figures = entry.rows.drop(columns="group").astype("Float64") / 100
        figures = figures.astype("float64").rename(columns=lambda name: str(name).removesuffix("_cents"))
        pinball = _pinball(entry.quantiles / 100, actual)
        frames.append(
            pd.DataFrame(
                {
                    "entry_id": entry.entry_id,
                    "made_at": entry.made_at,
                    "as_of": entry.as_of,
                    "period": entry.period,
                    "period_start": entry.period_start,
                    "period_end": entry.period_end,
                    "by": entry.by if entry.by is not None else "",
                    "model_version": entry.model_version,
                    "horizon": horizon_name(entry.as_of, entry.period_end),
                    "level": entry.level,
                    "group": entry.rows["group"],
                    **{name: figures[name] for name in ("mean", "low", "high")},
                    "actual": actual,
                    "error": figures["mean"] - actual,
                    "held": (figures["low"] <= actual) & (actual <= figures["high"]),
                    "position": _position(entry.quantiles / 100, actual),
                    "pinball": pinball,
                    "crps": 2 * pinball,
                    **{name: figures[name] for name in RIVALS},
                    "is_replayed": entry.made_at >= entry.period_end,
                }
            )
        )
    table = pd.concat(frames, ignore_index=True)
    # A group of the same name in two groupings is two groups; the total is the same in all of them.
    same = table.assign(by=table["by"].where(table["group"] != TOTAL, ""))
    question = ["as_of", "period_start", "period_end", "by", "group"]
    first = same.sort_values("made_at", kind="stable").drop_duplicates(question).index
    return table.assign(is_counted=table.index.isin(first))


def _pinball(quantiles: NDArray[np.float64], actual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the mean pinball loss of each row's quantiles."""
    above = actual[:, None] - quantiles
    losses = np.maximum(QUANTILE_LEVELS * above, (QUANTILE_LEVELS - 1) * above)
    return np.asarray(losses.mean(axis=1))


def _position(quantiles: NDArray[np.float64], actual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the level at which each row's quantiles reach what came, in the middle of those that equal it."""
    below = (quantiles < actual[:, None]).mean(axis=1)
    up_to = (quantiles <= actual[:, None]).mean(axis=1)
    return np.asarray((below + up_to) / 2)


def pooled_by_horizon(totals: pd.DataFrame) -> pd.DataFrame:
    """Give the measures of counted rows of :attr:`Accuracy.forecasts` by horizon, and of them all."""
    pooled = _pooled(totals, ["horizon"])
    order = [name for _, name in HORIZONS]
    pooled = pooled.sort_values("horizon", key=lambda names: names.map(order.index), ignore_index=True)
    return pd.concat([pooled, _pooled(totals.assign(horizon="all"), ["horizon"])], ignore_index=True)


def _pooled(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Give the pooled measures of the rows of each key."""
    columns = [*keys, *_measures(rows)]
    found = []
    for key, some in rows.groupby(keys, sort=True):
        names = key if isinstance(key, tuple) else (key,)
        found.append({**dict(zip(keys, names, strict=True)), **_measures(some)})
    return pd.DataFrame(found, columns=columns)


def _measures(rows: pd.DataFrame) -> dict[str, float]:
    error, actual = rows["error"], rows["actual"]
    found: dict[str, float] = {
        "n_forecasts": len(rows),
        "n_periods": len(rows[["period_start", "period_end"]].drop_duplicates()),
        "wape": _share(error.abs().sum(), actual.abs().sum()),
        "bias": _share(error.sum(), actual.abs().sum()),
        "coverage": float(rows["held"].mean()) if len(rows) else float("nan"),
        "level": float(rows["level"].mean()),
        "pinball": float(rows["pinball"].mean()),
        "crps": float(rows["crps"].mean()),
    }
    for rival in RIVALS:
        both = rows[rows[rival].notna()]
        came = both["actual"].abs().sum()
        found[f"n_{rival}"] = len(both)
        found[f"wape_{rival}"] = _share((both[rival] - both["actual"]).abs().sum(), came)
        found[f"wape_beside_{rival}"] = _share(both["error"].abs().sum(), came)
    return found


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _one_currency(entries: list[LedgerEntry]) -> str:
    currencies = sorted({entry.currency for entry in entries})
    if len(currencies) > 1:
        named = " and ".join(currency or "no named currency" for currency in currencies)
        raise InputError(f"the forecasts are in {named}, which cannot be pooled; choose one with --currency")
    return currencies[0]


def _nothing_ended(entries: Sequence[LedgerEntry], as_of: pd.Timestamp) -> str:
    if not entries:
        return "the ledger holds no such forecast yet; keep one with vigie forecast --keep"
    first = min(entry.period_end for entry in entries)
    return (
        f"none of the {len(entries)} forecasts is of a period that ended by {as_of:%Y-%m-%d %H:%M} UTC; "
        f"the first ends at {first:%Y-%m-%d %H:%M} UTC"
    )
