"""What was sold, and when: the revenue that forecasts are judged by."""

from __future__ import annotations

import pandas as pd

from crm.history import History
from crm.money import Rates, in_currency


def sales(history: History, rates: Rates) -> pd.DataFrame:
    """Give what each deal won brought, by the day it was closed; an unknown amount brings nothing.

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
    won = history.deals[history.deals["outcome"].eq("won") & history.deals["closed_at"].notna()]
    amounts = in_currency(won["amount"], won["currency"], won["closed_at"], rates)
    return pd.DataFrame({"closed_at": won["closed_at"], "amount": amounts.fillna(0.0)})
