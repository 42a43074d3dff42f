"""The scores that were kept over time, to be held against what came of their records."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import sqlalchemy as sa

from crm.moments import in_micros
from crm.store.service.engine import ServiceStore
from crm.store.service.layout import SCORE_LOG

#: Rows fetched at a time.
_AT_ONCE = 20_000


def kept_scores(address: str, entity: str, before: datetime) -> pd.DataFrame:
    """Give what the log says that was shown of leads or deals, without their reasons.

    The log holds a score where it moved or another model made it; what is not in it was as before.

    Parameters
    ----------
    address : str
        Of the store.
    entity : {"lead", "deal"}
    before : datetime
        With a zone. Only scores of earlier moments that were also made earlier.

    Returns
    -------
    DataFrame, shape (n_scores, 4)
        ``record_id``, ``as_of``, ``scored_at`` (datetime64[us, UTC]) and ``probability``, in the order of
        ``as_of`` and of their keeping.

    Raises
    ------
    StoreError
        Where the store cannot be read.
    """
    log = SCORE_LOG.c
    moment = in_micros(before)
    query = (
        sa.select(log.record_id, log.as_of, log.scored_at, log.probability)
        .where(log.entity == entity, log.as_of < moment, log.scored_at < moment)
        .order_by(log.as_of, log.position)
    )
    store = ServiceStore.open(address, pool_size=1)
    ids: list[str] = []
    numbers: list[np.ndarray] = []
    try:
        with store.reading() as connection:
            found = connection.execution_options(yield_per=_AT_ONCE).execute(query)
            for part in found.partitions():
                ids += [row[0] for row in part]
                numbers.append(np.array([row[1:] for row in part], "float64").reshape(-1, 3))
    finally:
        store.close()
    values = np.concatenate([np.zeros((0, 3)), *numbers])
    # Microseconds of today are exact in a double: below 2**53.
    moments = values[:, :2].astype("int64").astype("datetime64[us]")
    return pd.DataFrame(
        {
            "record_id": pd.Series(ids, dtype="str"),
            "as_of": pd.Series(moments[:, 0]).dt.tz_localize("UTC"),
            "scored_at": pd.Series(moments[:, 1]).dt.tz_localize("UTC"),
            "probability": values[:, 2],
        }
    )
