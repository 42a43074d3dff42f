"""Amounts in one currency: the month's rate, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crm.errors import InputError
from crm.history import History
from crm.money import Rates, in_currency, reporting_currency
from crm.validation import validate_history

RATES = Rates("EUR", {("2026-03", "USD"): 0.92, ("2026-04", "USD"): 0.95, ("2026-03", "GBP"): 1.15})


def moments(*texts: str | None) -> pd.Series:
    """Give moments as the history holds them."""
    return pd.Series(pd.to_datetime(list(texts), utc=True)).dt.as_unit("us")


def texts(*values: str | None) -> pd.Series:
    """Give text as the history holds it."""
    return pd.Series(list(values), dtype="str")


def written(folder: Path, text: str) -> Path:
    """Write a file of rates."""
    path = folder / "rates.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_amount_takes_the_rate_of_its_month() -> None:
    """The reporting currency and a row without a currency stay; others are multiplied; missing stays so."""
    amounts = pd.Series([100.0, 100.0, 100.0, 100.0, np.nan], index=[9, 8, 7, 6, 5])
    found = in_currency(
        amounts,
        texts("USD", "usd ", "EUR", None, "CHF").set_axis(amounts.index),
        moments("2026-03-31T23:59Z", "2026-04-01T00:00Z", None, None, None).set_axis(amounts.index),
        RATES,
    )
    assert found.round(9).tolist()[:4] == [92, 95, 100, 100]
    assert np.isnan(found[5])
    assert found.index.tolist() == [9, 8, 7, 6, 5]


def test_months_begin_in_the_zone() -> None:
    """Half past eleven of 31 March in UTC is April in Paris, and takes April's rate."""
    late = moments("2026-03-31T23:30Z")
    assert in_currency(pd.Series([100.0]), texts("USD"), late, RATES, "Europe/Paris").round(9).tolist() == [
        95
    ]


def test_a_missing_rate_is_named() -> None:
    """The message names each currency and month, and where to add them."""
    with pytest.raises(InputError, match="no rate for CHF in 2026-03, GBP in 2026-04: add it to the rates"):
        in_currency(
            pd.Series([1.0, 2.0, 3.0]),
            texts("CHF", "GBP", "USD"),
            moments("2026-03-01T00:00Z", "2026-04-01T00:00Z", "2026-04-01T00:00Z"),
            RATES,
        )


def test_an_amount_without_a_time_has_no_rate() -> None:
    """A foreign amount of an unknown month cannot be converted, and says so."""
    with pytest.raises(InputError, match="an amount in USD has no time"):
        in_currency(pd.Series([1.0]), texts("USD"), moments(None), RATES)


def test_without_rates_one_currency_stays_as_it_is() -> None:
    """Rows that name none count as that one; a second one asks for rates, unless it has no amount."""
    when = moments("2026-03-01T00:00Z", None, None)
    amounts = pd.Series([1.0, 2.0, np.nan])
    same = in_currency(amounts, texts("EUR", None, "USD"), when, Rates.none())
    pd.testing.assert_series_equal(same, amounts)
    with pytest.raises(InputError, match=r"several currencies \(EUR, USD\): give --rates FILE"):
        in_currency(amounts.fillna(3.0), texts("EUR", None, "USD"), when, Rates.none())


def test_nothing_converts_to_nothing() -> None:
    """No row needs no rate."""
    empty = in_currency(pd.Series([], dtype=float), texts(), moments(), RATES)
    assert empty.empty
    assert empty.dtype == "float64"


def test_rates_are_read_from_a_file(tmp_path: Path) -> None:
    """Spaces, case and a byte order mark do not matter; a row said twice alike is one."""
    path = written(
        tmp_path, "\ufeffmonth,currency, rate\n2026-03, usd,0.92\n2026-03,USD,0.92\n2026-03,EUR,1\n"
    )
    rates = Rates.read(path, "eur")
    assert rates.currency == "EUR"
    assert rates.rate("2026-03", "USD") == 0.92
    assert rates.rate("2026-03", "EUR") == 1
    assert np.isnan(rates.rate("2026-04", "USD"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("month,currency\n2026-03,USD\n", "lacks the column rate"),
        ("", "cannot be read as CSV"),
        ("month,currency,rate\n2026-13,USD,1\n", "line 2: month = '2026-13'"),
        ("month,currency,rate\n2026-03,,1\n", "currency = '': empty"),
        ("month,currency,rate\n2026-03,USD,0\n", "rate = '0': no rate"),
        ("month,currency,rate\n2026-03,USD,-1\n", "rate = '-1': no rate"),
        ("month,currency,rate\n2026-03,USD,inf\n", "rate = 'inf': no rate"),
        ('month,currency,rate\n2026-03,USD,"0,92"\n', "rate = '0,92': no rate"),
        ("month,currency,rate\n2026-03,EUR,1.1\n", "EUR is what is reported in"),
        ("month,currency,rate\n2026-03,USD,1\n2026-03,usd,2\n", "line 3: rate = '2': a second rate of USD"),
    ],
)
def test_rates_that_cannot_be_used_are_refused(tmp_path: Path, text: str, said: str) -> None:
    """Each fault names file, line, column and value."""
    with pytest.raises(InputError) as caught:
        Rates.read(written(tmp_path, text), "EUR")
    assert said in str(caught.value)
    assert "rates.csv" in str(caught.value)


def test_a_file_that_is_not_there_and_a_currency_that_is_none(tmp_path: Path) -> None:
    """Both are said in words."""
    with pytest.raises(InputError, match=r"missing\.csv cannot be read"):
        Rates.read(tmp_path / "missing.csv", "EUR")
    with pytest.raises(InputError, match="'euros' is no ISO 4217 code"):
        Rates.read(tmp_path / "missing.csv", "euros")


def test_the_reporting_currency_is_the_rates_else_the_only_one() -> None:
    """None is named, one is named, or rates say it; two need rates."""
    assert reporting_currency(History(), Rates.none()) == ""
    deals = {"deal_id": ["D1", "D2"], "recorded_at": ["2026-01-01T00:00Z"] * 2, "amount": [1.0, 2.0]}
    one = validate_history({"deals": pd.DataFrame(deals | {"currency": ["usd", None]})})
    two = validate_history({"deals": pd.DataFrame(deals | {"currency": ["USD", "EUR"]})})
    assert reporting_currency(one, Rates.none()) == "USD"
    assert reporting_currency(two, RATES) == "EUR"
    with pytest.raises(InputError, match="EUR, USD"):
        reporting_currency(two, Rates.none())
