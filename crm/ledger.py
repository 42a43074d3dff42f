"""One entry of the forecast ledger: what was forecast for one period, and the deals behind it.

Money is in whole cents of the entry's currency, so that an entry reads back as it was and its parts add up:
the mean is closed plus open plus new, the groups add up to the total, the deals to what is closed and open.
An entry is named after its content, so that the same forecast kept twice is one entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import InputError, StoreError, shorten
from crm.groups import TOTAL
from crm.history import utc
from crm.moments import in_micros

#: The ledger's own version, kept with each entry. One of a newer format is refused; how one of an older
#: format is read stands in :mod:`crm.store.forecasts`, and never changes.
FORMAT = 1
#: Levels of the quantiles that are kept of each group's revenue.
QUANTILE_LEVELS: NDArray[np.float64] = np.arange(1, 100) / 100
#: Figures of a row that are always there, in cents.
FIGURES = ("closed", "open", "new", "mean", "median", "low", "high")
#: Figures that stand beside the forecast where there are any, in cents.
BESIDE = ("stage_weighted", "run_rate", "series", "quota", "commit")
#: Columns of a row of an entry, and their dtypes.
ROW_DTYPES = {
    "group": "str",
    **{f"{name}_cents": "int64" for name in FIGURES},
    **{f"{name}_cents": "Int64" for name in BESIDE},
}
#: Columns of a deal behind an entry, and their dtypes.
DEAL_DTYPES = {
    "deal_id": "str",
    "group": "str",
    "owner_id": "str",
    "state": "str",
    "stage": "str",
    "amount": "float64",
    "expected_amount": "float64",
    "win_probability": "float64",
    "in_period": "float64",
    "mean_cents": "int64",
}
STATES = ("won", "open")
#: The most that an entry can hold, in cents: a double still counts single cents there.
MOST_CENTS = 2**53
_ID_LETTERS = 32


@dataclass(frozen=True, eq=False)
class LedgerEntry:
    """A forecast of one period as it was made; :meth:`of` makes one, the store gives those it keeps.

    Parameters
    ----------
    made_at : Timestamp
        When it was made, on the clock.
    as_of : Timestamp
        What was known before this moment went into it.
    period_start, period_end : Timestamp
        The period, half-open.
    period : str
        The period's name.
    by : str, optional
        What the rows are grouped by; None where there is only the total.
    level : float
        Share of outcomes that ``low`` to ``high`` is to hold.
    currency : str
        Of all money; empty where the history names none.
    model_version : str
    seed : int
    rows : DataFrame, shape (n_groups, n_columns)
        One row a group, ``total`` first, with the columns of :data:`ROW_DTYPES`.
    quantiles : ndarray of int64, shape (n_groups, 99)
        Of each group's revenue at :data:`QUANTILE_LEVELS`, in cents.
    deals : DataFrame, optional, shape (n_deals, n_columns)
        The deals behind it by id, with the columns of :data:`DEAL_DTYPES`; None where they were not read.
    n_deals : int
        How many there were.
    entry_id : str
        Named after everything but ``made_at``.
    format : int
    """

    made_at: pd.Timestamp
    as_of: pd.Timestamp
    period_start: pd.Timestamp
    period_end: pd.Timestamp
    period: str
    by: str | None
    level: float
    currency: str
    model_version: str
    seed: int
    rows: pd.DataFrame
    quantiles: NDArray[np.int64]
    deals: pd.DataFrame | None
    n_deals: int
    entry_id: str
    format: int = field(default=FORMAT)

    @classmethod
    def of(
        cls,
        *,
        made_at: pd.Timestamp,
        as_of: pd.Timestamp,
        period_start: pd.Timestamp,
        period_end: pd.Timestamp,
        period: str,
        by: str | None,
        level: float,
        currency: str,
        model_version: str,
        seed: int,
        rows: pd.DataFrame,
        quantiles: NDArray[np.int64],
        deals: pd.DataFrame,
    ) -> LedgerEntry:
        """Make an entry, and name it after its content.

        Raises
        ------
        InputError
            Where its figures do not add up, or a deal comes twice; says which.
        """
        behind = _typed(deals, DEAL_DTYPES)
        entry = cls(
            made_at=utc(made_at),
            as_of=utc(as_of),
            period_start=utc(period_start),
            period_end=utc(period_end),
            period=period,
            by=by,
            level=float(level),
            currency=currency,
            model_version=model_version,
            seed=int(seed),
            rows=_typed(rows, ROW_DTYPES),
            quantiles=np.asarray(quantiles, dtype="int64"),
            deals=behind.sort_values("deal_id", kind="stable", ignore_index=True),
            n_deals=len(behind),
            entry_id="",
        )
        _check(entry)
        return replace(entry, entry_id=_digest(entry))

    @property
    def groups(self) -> list[str]:
        """The groups, ``total`` first."""
        return list(self.rows["group"])

    @property
    def total(self) -> pd.Series:
        """The row of all deals."""
        return self.rows.iloc[0]

    @property
    def asked(self) -> str:
        """What it is a forecast of, in words, for messages."""
        by = "" if self.by is None else f" by {self.by}"
        return f"{self.period}{by} as of {self.as_of:%Y-%m-%d %H:%M}"

    def whole_deals(self) -> pd.DataFrame:
        """Give the deals behind it.

        Raises
        ------
        StoreError
            Where they were not read, or some are no longer there.
        """
        if self.deals is None:
            raise StoreError(
                f"forecast {self.entry_id[:12]} ({self.asked}) was read without its deals; "
                "read it with with_deals=True"
            )
        if len(self.deals) != self.n_deals:
            raise StoreError(
                f"forecast {self.entry_id[:12]} ({self.asked}) was kept with {self.n_deals} deals, but the "
                f"ledger holds {len(self.deals)} of them: the others were removed since, so its parts no "
                "longer add up; choose another entry"
            )
        return self.deals


def _typed(frame: pd.DataFrame, dtypes: dict[str, str]) -> pd.DataFrame:
    missing = [name for name in dtypes if name not in frame.columns]
    if missing:
        raise InputError(f"a forecast to keep has no column {missing[0]!r}; it needs {', '.join(dtypes)}")
    return frame[list(dtypes)].astype(dtypes).reset_index(drop=True)


def _check(entry: LedgerEntry) -> None:
    for problem in _problems(entry):
        raise InputError(f"the forecast of {entry.asked} cannot be kept: {problem}")


def _problems(entry: LedgerEntry) -> Iterator[str]:
    """Say what keeps the figures from adding up."""
    rows, deals = entry.rows, entry.whole_deals()
    if entry.period_end <= entry.period_start:
        yield "its period ends before it starts"
    if not 0 < entry.level < 1:
        yield f"its level {entry.level} is no share between 0 and 1"
    if rows.empty or rows["group"].iloc[0] != TOTAL:
        yield f"its first row must be the group {TOTAL!r}"
    if entry.quantiles.shape != (len(rows), len(QUANTILE_LEVELS)):
        yield f"{len(QUANTILE_LEVELS)} quantiles a group are needed, not an array of {entry.quantiles.shape}"
    for name in rows["group"][rows["group"].isna() | rows["group"].duplicated()]:
        yield f"group {shorten(name)!r} comes twice, or has no name"
    off = rows["closed_cents"] + rows["open_cents"] + rows["new_cents"] != rows["mean_cents"]
    for name in rows["group"][off]:
        yield f"the mean of {shorten(name)!r} is not what is closed, open and new together"
    for name in ("closed", "open", "new"):
        column = rows[f"{name}_cents"]
        if len(rows) > 1 and column.iloc[1:].sum() != column.iloc[0]:
            yield f"the groups' {name} do not add up to the total's"
    yield from _problems_of_deals(rows, deals)


def _problems_of_deals(rows: pd.DataFrame, deals: pd.DataFrame) -> Iterator[str]:
    for name in deals["deal_id"][deals["deal_id"].isna() | deals["deal_id"].duplicated()]:
        yield f"deal {shorten(name)!r} comes twice, or has no id"
    for state in deals["state"][~deals["state"].isin(STATES)]:
        yield f"a deal's state is {shorten(state)!r}, not one of {', '.join(STATES)}"
    for group in deals["group"][~deals["group"].isin(rows["group"])]:
        yield f"a deal is in the group {shorten(group)!r}, which has no row"
    for state, name in (("won", "closed"), ("open", "open")):
        found = deals[deals["state"] == state].groupby("group")["mean_cents"].sum()
        sums = found.reindex(rows["group"], fill_value=0)
        if len(rows) > 1:
            sums.iloc[0] = found.sum()
        off = sums.to_numpy() != rows[f"{name}_cents"].to_numpy()
        # The groups before the total, which is off wherever one of them is.
        for group in rows["group"][off].iloc[::-1]:
            yield (
                f"the deals of {shorten(group)!r} that are {state} add up to {sums[group]} cents, "
                f"not to its {name}"
            )


def _digest(entry: LedgerEntry) -> str:
    """Give the name of an entry: a digest of all that it says, not of when it was said."""
    digest = hashlib.sha256()
    moments = [in_micros(moment) for moment in (entry.as_of, entry.period_start, entry.period_end)]
    heading = [entry.format, *moments, entry.period, entry.by, entry.level.hex(), entry.currency]
    digest.update(repr([*heading, entry.model_version, entry.seed, entry.n_deals]).encode())
    digest.update(entry.quantiles.astype("<i8").tobytes())
    for frame in (entry.rows, entry.whole_deals()):
        for name, column in frame.items():
            digest.update(f"\n{name}\n".encode())
            digest.update(_content(column))
    return digest.hexdigest()[:_ID_LETTERS]


def _content(column: pd.Series) -> bytes:
    """Give a column as bytes that differ where its values do."""
    missing = column.isna().to_numpy()
    if isinstance(column.dtype, pd.StringDtype):
        texts = [text.encode() for text in column.fillna("").tolist()]
        lengths = np.array([len(text) for text in texts], dtype="<i8")
        return missing.tobytes() + lengths.tobytes() + b"".join(texts)
    kind = "<f8" if column.dtype == "float64" else "<i8"
    filled = np.where(missing, 0, column.to_numpy(dtype=kind, na_value=0))
    return missing.tobytes() + filled.astype(kind).tobytes()
