"""What was sold, and when: the revenue that forecasts are judged by."""

from __future__ import annotations

import pandas as pd

from crm.history import History
from crm.money import Rates, in_currency


def sales(history: History, rates: Rates) -> pd.DataFrame:
    """Give what each deal won brought, and when it was closed; an unknown amount brings nothing.

    Where the export does not say when it was closed, it was when the CRM knew, as for the forecast.

    Parameters
    ----------
    history : History
    rates : Rates

    Returns
    -------
    DataFrame
        ``closed_at`` and ``amount`` in the reporting currency, with the index of the deals.

    Raises
    ------
    InputError
        Where amounts are in several currencies and a rate is missing.
    """
    deals = history.deals
    sold_at = deals["closed_at"].fillna(deals["closed_recorded_at"])
    won = deals[deals["outcome"].eq("won") & sold_at.notna()]
    amounts = in_currency(won["amount"], won["currency"], sold_at[won.index], rates)
    return pd.DataFrame({"closed_at": sold_at[won.index], "amount": amounts.fillna(0.0)})
