"""Amounts in one reporting currency, at the rate that the user gives for each month."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from crm.errors import InputError, Problem, list_problems, shorten
from crm.history import History

_COLUMNS = ("month", "currency", "rate")
_GIVE = "give --rates FILE with the columns month,currency,rate, and --currency CODE to report in"
#: The tables whose rows carry an amount, and the column that holds it.
_AMOUNTS = (("deals", "amount"), ("orders", "amount"), ("subscriptions", "monthly_amount"))


@dataclass(frozen=True)
class Rates:
    """What one unit of each currency is worth in the reporting currency, month by month.

    Parameters
    ----------
    currency : str
        ISO 4217 code of the reporting currency; empty where no rates are given.
    by_month : mapping of (str, str) to float
        Units of the reporting currency for one unit of the currency, by month (``2026-03``) and currency.
    source : str
        Where they were read, for messages.

    Examples
    --------
    >>> rates = Rates("EUR", {("2026-03", "USD"): 0.92})
    >>> rates.rate("2026-03", "USD"), rates.rate("2026-03", "EUR")
    (0.92, 1.0)
    """

    currency: str = ""
    by_month: Mapping[tuple[str, str], float] = field(default_factory=lambda: MappingProxyType({}))
    source: str = "the rates"

    @classmethod
    def none(cls) -> Rates:
        """Give no rates: amounts stay as they are, all in one currency."""
        return cls()

    @classmethod
    def read(cls, path: Path | str, currency: str) -> Rates:
        """Read a CSV file with the columns ``month`` (2026-03), ``currency`` and ``rate``.

        Parameters
        ----------
        path : Path or str
            One row is one currency in one month: one unit of it is ``rate`` units of the reporting currency.
        currency : str
            ISO 4217 code of the reporting currency, which needs no rows.

        Raises
        ------
        InputError
            Where the file cannot be read, lacks a column, or holds a row that cannot be used; names each.
        """
        code = _code(currency)
        if not re.fullmatch("[A-Z]{3}", code):
            raise InputError(f"currency {shorten(currency)!r} is no ISO 4217 code: give one such as EUR")
        path = Path(path)
        try:
            rows = pd.read_csv(path, dtype="str", encoding="utf-8-sig", skipinitialspace=True)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as CSV ({error}): {_GIVE}") from error
        missing = [name for name in _COLUMNS if name not in rows.columns]
        if missing:
            raise InputError(f"{path} lacks the column {', '.join(missing)}: {_GIVE}")
        return cls(code, MappingProxyType(_read_rows(path, rows, code)), str(path))

    def rate(self, month: str, currency: str) -> float:
        """Give the rate of a currency in a month (``2026-03``); NaN where there is none."""
        if currency == self.currency:
            return 1.0
        return self.by_month.get((month, currency), float("nan"))


def _read_rows(path: Path, rows: pd.DataFrame, reporting: str) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    problems: list[Problem] = []
    for line, (month, currency, text) in enumerate(rows[list(_COLUMNS)].fillna("").to_numpy(), start=2):
        where, month, code = f"{path}, line {line}", month.strip(), _code(currency)
        try:
            rate = float(text)
        except ValueError:
            rate = float("nan")
        if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
            problems.append(Problem(where, "month", shorten(month), "no month; write it as 2026-03"))
        elif not code:
            problems.append(Problem(where, "currency", "", "empty; write the code, such as USD"))
        elif not (np.isfinite(rate) and rate > 0):
            problems.append(Problem(where, "rate", shorten(text), "no rate; write a number above 0"))
        elif code == reporting and rate != 1:
            problems.append(
                Problem(where, "rate", shorten(text), f"{code} is what is reported in: 1, or no row")
            )
        elif found.get((month, code), rate) != rate:
            problems.append(
                Problem(where, "rate", shorten(text), f"a second rate of {code} in {month}; keep one")
            )
        else:
            found[month, code] = rate
    if problems:
        raise InputError(f"the rates cannot be used:\n{list_problems(problems)}")
    return found


def in_currency(
    amounts: pd.Series, currencies: pd.Series, moments: pd.Series, rates: Rates, zone: str = "UTC"
) -> pd.Series:
    """Give amounts in the reporting currency, each at the rate of its moment's month.

    Parameters
    ----------
    amounts : Series of float64, shape (n_rows,)
        What is missing stays so, and needs no rate.
    currencies : Series of str, shape (n_rows,)
        ISO 4217 codes; an amount without one is in the reporting currency.
    moments : Series of datetime64[us, UTC], shape (n_rows,)
        When each amount counts.
    rates : Rates
        Where none are given, every amount must be in one currency and stays as it is.
    zone : str
        The IANA time zone in which months begin.

    Returns
    -------
    Series of float64, shape (n_rows,)

    Raises
    ------
    InputError
        Where a rate is missing, naming currency and month; or there are several currencies and no rates.

    Examples
    --------
    >>> day = pd.Series(pd.to_datetime(["2026-03-09T00:00Z"]))
    >>> in_currency(pd.Series([100.0]), pd.Series(["USD"]), day, Rates("EUR", {("2026-03", "USD"): 0.92}))
    0    92.0
    dtype: float64
    >>> in_currency(pd.Series([100.0]), pd.Series(["CHF"]), day, Rates("EUR", {("2026-03", "USD"): 0.92}))
    Traceback (most recent call last):
        ...
    crm.errors.InputError: no rate for CHF in 2026-03: add it to the rates, one row a month and currency
    """
    if not rates.currency:
        _one_currency(currencies[amounts.notna()])
        return amounts.astype("float64")
    codes, names = pd.factorize(currencies)
    # An amount whose row names no currency is in the reporting one.
    known = np.array([_code(name) or rates.currency for name in names] + [rates.currency], dtype=object)[
        codes
    ]
    foreign = amounts.notna().to_numpy() & (known != rates.currency)
    if not foreign.any():
        return amounts.astype("float64")
    months = moments[foreign].dt.tz_convert(zone).dt.strftime("%Y-%m")
    pairs, which = np.unique(
        np.array([months.fillna("").to_numpy(dtype=object), known[foreign]]).astype(str),
        axis=1,
        return_inverse=True,
    )
    found = np.array([rates.rate(month, code) for month, code in pairs.T])
    _check_found(pairs, found, rates)
    converted = amounts.to_numpy(dtype="float64", copy=True)
    converted[foreign] *= found[which.ravel()]
    return pd.Series(converted, index=amounts.index, name=amounts.name)


def _check_found(pairs: np.ndarray, found: np.ndarray, rates: Rates) -> None:
    missing = pairs[:, np.isnan(found)].T
    if not len(missing):
        return
    untimed = [code for month, code in missing if not month]
    if untimed:
        raise InputError(
            f"an amount in {untimed[0]} has no time, so no month's rate fits it: "
            f"give its record a time, or its amount in {rates.currency}"
        )
    listed = ", ".join(f"{code} in {month}" for month, code in missing[:5])
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    raise InputError(f"no rate for {listed}{more}: add it to {rates.source}, one row a month and currency")


def reporting_currency(history: History, rates: Rates) -> str:
    """Give the currency of every amount: that of the rates, else the only one of the history.

    Returns
    -------
    str
        ISO 4217 code; empty where the history names none.

    Raises
    ------
    InputError
        Where the history has amounts in several currencies, and there are no rates.
    """
    if rates.currency:
        return rates.currency
    frames = history.frames()
    named = [
        frames[table].loc[frames[table][column].notna(), "currency"].drop_duplicates()
        for table, column in _AMOUNTS
    ]
    return _one_currency(pd.concat(named))


def _one_currency(currencies: pd.Series) -> str:
    codes = sorted({_code(value) for value in currencies.dropna().unique()} - {""})
    if len(codes) > 1:
        raise InputError(f"amounts are in several currencies ({', '.join(codes[:8])}): {_GIVE}")
    return codes[0] if codes else ""


def _code(text: object) -> str:
    return str(text).strip().upper()
