"""The history, the bundle and what was made of them, kept in the process that computes figures.

That process lives as long as somebody asks. As long as the store says that nothing came in, its history is
read once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import pandas as pd

from crm.history import History, utc
from crm.money import Rates
from crm.observed import last_recorded
from crm.store import Store
from features import Prepared
from features.prepared import prepare
from serving.bundle import ModelBundle
from serving.scoring import model_of


@dataclass(frozen=True)
class Source:
    """What figures are made from.

    Parameters
    ----------
    history : str
        The address of the store; it may hold a password and is in no message.
    revision : int
        Of the history in it; another one is read anew.
    bundle : str
        The directory of the model bundle.
    version : str
        Of the bundle that is served.
    """

    history: str
    revision: int
    bundle: str = ""
    version: str = ""

    def read(self) -> History:
        """Give the whole history."""
        return _history(self.history, self.revision)

    def models(self) -> ModelBundle:
        """Give the bundle; it may be another version than was served a moment ago, and says so itself."""
        return _bundle(self.bundle, self.version)

    def deals_prepared(self) -> Prepared:
        """Give the history made ready for the model of deals."""
        return _deals(self)

    def moment(self, as_of: datetime | None, now: datetime) -> pd.Timestamp:
        """Give the moment asked for; else just after the last thing that the history records."""
        return utc(as_of) if as_of is not None else last_recorded(self.read(), utc(now))


def rates_of(path: str | None, currency: str | None) -> Rates:
    """Give the rates of the service's settings; none where it has none."""
    return Rates.read(Path(path), currency) if path and currency else Rates.none()


@lru_cache(maxsize=1)
def _history(address: str, revision: int) -> History:
    return Store.open(address).read()


@lru_cache(maxsize=1)
def _bundle(directory: str, version: str) -> ModelBundle:
    return ModelBundle.load(Path(directory))


@lru_cache(maxsize=1)
def _deals(source: Source) -> Prepared:
    return prepare(source.read(), model_of(source.models(), "deal").spec)
