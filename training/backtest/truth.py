"""What happened after each cutoff, as known at the end of observation, beside what had been said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from crm.history import History
from training.backtest.peers import BASELINES
from training.backtest.probabilities import VIGIE, Judged
from training.labels import LOST, OPEN, WON, Labels, label, outcomes

_NOTHING_FOLLOWED: dict[str, pd.Series] = {
    "outcome": pd.Series([], dtype="str"),
    "days": pd.Series([], dtype="float64"),
    "observed_days": pd.Series([], dtype="float64"),
    "is_judged": pd.Series([], dtype="bool"),
    "is_won": pd.Series([], dtype="bool"),
}
_NAMES = {OPEN: "open", WON: "won", LOST: "lost"}


@dataclass(frozen=True)
class Followed:
    """Everything that was said of one kind of record, with what followed.

    Parameters
    ----------
    entity : {"lead", "deal"}
    table : DataFrame
        One row a record and cutoff: what was said, then ``outcome`` (``won``, ``lost`` or ``open`` at the end
        of observation), ``days`` until then, ``observed_days``, ``is_judged`` and ``is_won``.
    definition : str
        What counts as won.
    """

    entity: str
    table: pd.DataFrame
    definition: str

    @property
    def judged(self) -> pd.DataFrame:
        """The rows that have an answer."""
        return self.table[self.table["is_judged"]].reset_index(drop=True)


def follow(history: History, entity: str, said: pd.DataFrame, end: pd.Timestamp) -> Followed:
    """Put what happened beside what was said.

    A deal has an answer where it closed before the end of observation. A lead has one where it was watched
    for its whole horizon after the cutoff, whatever became of it: as all leads of a cutoff are watched for
    the same time, no weights for censoring are needed; leads that vanished from the CRM sooner are left out.
    A lead without a horizon has one where it closed.

    Parameters
    ----------
    history : History
        As known at ``end``.
    entity : {"lead", "deal"}
    said : DataFrame
        As :class:`training.backtest.prediction.Predictions` holds it, of all cutoffs.
    end : Timestamp
        End of observation.
    """
    found = outcomes(history, entity)
    if len(said) == 0:
        return Followed(entity, said.assign(**_NOTHING_FOLLOWED), found.definition)
    labels = label(found, said[f"{entity}_id"], said["cutoff"], end)
    judged, won = _answers(labels, said)
    table = said.assign(
        outcome=pd.Series([_NAMES[int(event)] for event in labels.events], dtype="str"),
        days=labels.durations,
        observed_days=labels.observed,
        is_judged=judged,
        is_won=won,
    )
    return Followed(entity, table, found.definition)


def judged_rows(table: pd.DataFrame, entity: str) -> Judged:
    """Give rows with an answer as measures take them."""
    records = pd.factorize(table[f"{entity}_id"])[0].astype("int64")
    answers = {name: table[name].to_numpy(np.float64) for name in (VIGIE, *BASELINES)}
    return Judged(table["is_won"].to_numpy(bool), records, answers)


def _answers(labels: Labels, said: pd.DataFrame) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    horizon = said["horizon_days"].to_numpy() if "horizon_days" in said else np.full(len(said), np.nan)
    forever = np.isnan(horizon)
    won = (labels.events == WON) & (forever | (labels.durations <= horizon))
    judged = np.where(forever, labels.events != OPEN, labels.observed >= horizon)
    return judged & said["vigie"].notna().to_numpy(), won
