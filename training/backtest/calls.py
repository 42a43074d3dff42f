"""The share of wins that a rep reaches by calling the best-scored so many at each cutoff."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.backtest.probabilities import VIGIE
from training.backtest.resampling import Resamples

Floats = npt.NDArray[np.float64]

RANDOM, NEWEST = "random", "newest_first"
_NOBODY = "(none)"


def share_in_top(table: pd.DataFrame, score: Floats, k: int) -> Floats:
    """Give each row's chance to be among the ``k`` best-scored of its rep and cutoff, ties drawn by lot.

    Parameters
    ----------
    table : DataFrame, n rows
        With ``cutoff`` and ``owner_id``; records without an owner share one list.
    score : ndarray of shape (n,)
        Higher first; one that is missing comes last.
    k : int

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> table = pd.DataFrame({"cutoff": [0, 0, 0], "owner_id": ["a", "a", "a"]})
    >>> share_in_top(table, np.array([0.9, 0.5, 0.5]), 2).tolist()
    [1.0, 0.5, 0.5]
    """
    lists = pd.DataFrame(
        {
            "cutoff": table["cutoff"].to_numpy(),
            "owner": table["owner_id"].astype("str").fillna(_NOBODY).to_numpy(),
            "score": np.where(np.isnan(score), -np.inf, score),
        }
    )
    ranks = lists.groupby(["cutoff", "owner"], sort=False)["score"]
    above = ranks.rank(method="min", ascending=False).to_numpy() - 1.0
    tied = ranks.rank(method="max", ascending=False).to_numpy() - above
    chance: Floats = np.clip((k - above) / tied, 0.0, 1.0)
    return chance


def reach(judged: pd.DataFrame, entity: str, calls: tuple[int, ...], resamples: int, seed: int) -> list[Any]:
    """Give the share of the wins that were among the called, by how the called are chosen.

    Parameters
    ----------
    judged : DataFrame
        Rows with an answer, of all cutoffs.
    entity : {"lead", "deal"}
    calls : tuple of int
        How many records each rep calls at each cutoff.
    resamples, seed : int

    Returns
    -------
    list of dict
        Plain JSON: ``k``, ``called`` (share of all rows), and by ``vigie``, ``random`` and ``newest_first``
        the share of wins with its interval by record.
    """
    records = pd.factorize(judged[f"{entity}_id"])[0].astype("int64")
    won = judged["is_won"].to_numpy(np.float64)
    if won.sum() == 0:
        return []
    created = judged["created_at"].astype("int64").where(judged["created_at"].notna()).to_numpy(np.float64)
    orders = {VIGIE: judged[VIGIE].to_numpy(np.float64), RANDOM: np.zeros(len(judged)), NEWEST: created}
    drawn = Resamples(records, resamples, seed)
    rows = []
    for k in calls:
        inside = {name: share_in_top(judged, order, k) for name, order in orders.items()}
        reached = np.column_stack([won * chance for chance in inside.values()])
        found = drawn.ratios(reached, np.repeat(won[:, None], len(inside), axis=1))
        shares = {name: one.to_json_dict() for name, one in zip(inside, found, strict=True)}
        rows.append({"k": k, "called": float(inside[RANDOM].mean()), **shares})
    return rows
