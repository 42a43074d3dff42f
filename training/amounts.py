"""How a deal's amount changes by the time it is won, where the history shows that it does."""

from __future__ import annotations

import numpy as np
import pandas as pd

from serving.outcome_model import AmountModel
from training.labels import WON
from training.metrics import bootstrap_mean
from training.samples import Sample

#: Won snapshots with an amount below which nothing is said about change.
_FEWEST = 100


def fit_amount(sample: Sample, deals: pd.DataFrame) -> AmountModel | None:
    """Find the factor from the amount as of a snapshot to the amount of the sale.

    Parameters
    ----------
    sample : Sample
        Of deals.
    deals : DataFrame
        The canonical table: a won deal's amount is that of the sale.

    Returns
    -------
    AmountModel or None
        None where deals have no amount; the factor is 1 where no change is certain.
    """
    names = sample.matrix.names
    if "amount" not in names:
        return None
    then = sample.x[:, names.index("amount")]
    amounts = pd.Series(deals["amount"].to_numpy(), index=deals["deal_id"].to_numpy())
    final = amounts.reindex(sample.snapshots["record_id"]).to_numpy()
    rows = np.flatnonzero((sample.labels.events == WON) & (then > 0) & (final > 0))
    if len(rows) < _FEWEST:
        return AmountModel(1.0)
    ratios = np.log(final[rows] / then[rows])
    _, low, high = bootstrap_mean(ratios, sample.records[rows], 200, 7)
    if low <= 0.0 <= high:
        return AmountModel(1.0)
    return AmountModel(float(np.sum(final[rows]) / np.sum(then[rows])))
