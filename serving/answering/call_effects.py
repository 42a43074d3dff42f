"""What a contact, and a week of silence, are associated with: asked of the model, by days since the last one.

The models do not say what a call causes. They can be asked twice more about the same open record: as if it
were contacted at this moment, and as it will be a week later if nothing happens until then. Both answers,
less the score of now, are averaged in log-odds (the mean of the middle 80%) over records that have been
silent for about as long. So the call list needs no model when it is read, and one odd record does not lead
it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import VigieError
from crm.history import History
from crm.known import closing_time, known_at
from crm.schema import TABLES
from features import open_at
from serving.answering.kept_history import Source
from serving.bundle import ModelBundle
from serving.scoring import score

Floats = NDArray[np.float64]

#: Ends of the stretches of silence, in days; beyond the last, and never contacted, are two more.
SILENCE: Final = (1.0, 3.0, 7.0, 14.0, 30.0, 60.0, 120.0)
#: Days that a record is left alone when it is not called.
WAIT_DAYS: Final = 7.0
#: Open records of a kind that the model is asked about, and how many make an average of their own.
ASKED, FEWEST = 1500, 15
#: Probabilities are held this far from 0 and 1, where log-odds end.
CLEAR: Final = 1e-4
#: A typical sale is taken from the last so many days.
_RECENT = pd.Timedelta(days=365)


@dataclass(frozen=True)
class SilenceEffects:
    """What the model says of one kind of record, one number a stretch of silence.

    Parameters
    ----------
    contact, wait : tuple of float, of length len(SILENCE) + 2
        Change of the log-odds with one contact now, and with a week of silence.
    n : tuple of int
        Records behind each.
    kind, channel : str or None
        The contact that reps make most; None where the history names none, and ``contact`` is then 0.
    """

    contact: tuple[float, ...]
    wait: tuple[float, ...]
    n: tuple[int, ...]
    kind: str | None
    channel: str | None


@dataclass(frozen=True)
class CallEffects:
    """What the call list is ranked with.

    Parameters
    ----------
    model_version : str
    as_of : datetime
    by_entity : dict of str to SilenceEffects
        Kinds of record that the bundle scores and the history has open.
    typical_sale : float or None
        The mean amount of the sales of the last year, for leads and for deals without an amount.
    """

    model_version: str
    as_of: datetime
    by_entity: dict[str, SilenceEffects]
    typical_sale: float | None


def call_effects(source: Source, as_of: datetime | None, now: datetime) -> CallEffects:
    """Ask the model; see the module.

    Parameters
    ----------
    source : Source
    as_of : datetime or None
        Just after the last thing recorded, where it is not given.
    now : datetime
    """
    moment = source.moment(as_of, now)
    known, bundle = known_at(source.read(), moment), source.models()
    by_entity = {}
    for entity in sorted(bundle.models):
        try:
            found = silence_effects(bundle, known, moment, entity)
        except VigieError:
            # A model that knows too little to score has nothing to say of calls either.
            found = None
        if found is not None:
            by_entity[entity] = found
    return CallEffects(bundle.version, moment.to_pydatetime(), by_entity, _typical_sale(known, moment))


def silence_effects(
    bundle: ModelBundle, known: History, as_of: pd.Timestamp, entity: str
) -> SilenceEffects | None:
    """Ask the model about one kind of record; None where none is open.

    Parameters
    ----------
    bundle : ModelBundle
    known : History
        As known at ``as_of``, so that a week later nothing has happened in it.
    as_of : Timestamp
    entity : {"lead", "deal"}
    """
    every = sorted(open_at(known, entity, as_of))
    # Ids say nothing of a record, so every so-manieth of them is a fair sample, and always the same.
    asked = every[:: max(1, -(-len(every) // ASKED))]
    if not asked:
        return None
    contacts = contacts_of(known.activities, entity)
    kind, channel, user = _usual(contacts)
    later = as_of + pd.Timedelta(days=WAIT_DAYS)
    just_after = as_of + pd.Timedelta(seconds=1)
    odds = _log_odds(bundle, known, asked, entity, as_of)
    wait = _log_odds(bundle, known, asked, entity, later) - odds
    contact = np.zeros(len(asked))
    if kind is not None:
        called = _with_contact(known, asked, entity, as_of, kind, channel, user)
        contact = _log_odds(bundle, called, asked, entity, just_after) - odds
    last = contacts.groupby(f"{entity}_id")["occurred_at"].max().reindex(asked)
    places = silence_place((as_of - last).dt.total_seconds().to_numpy("float64") / 86_400)
    n = np.bincount(places[np.isfinite(odds)], minlength=len(SILENCE) + 2)
    return SilenceEffects(
        _averages(contact, places), _averages(wait, places), tuple(n.tolist()), kind, channel
    )


def silence_place(days: Floats) -> NDArray[np.int64]:
    """Give the stretch of silence of each record; NaN days for one that was never contacted.

    Examples
    --------
    >>> silence_place(np.array([0.5, 1.0, 400.0, np.nan])).tolist()
    [0, 1, 7, 8]
    """
    places = np.searchsorted(SILENCE, np.nan_to_num(days), side="right").astype(np.int64)
    return np.where(np.isnan(days), len(SILENCE) + 1, places)


def contacts_of(activities: pd.DataFrame, entity: str) -> pd.DataFrame:
    """Give what we did with records: done, and of direction out, or by a rep where no direction is given."""
    ours = (activities["direction"] == "out") | (
        activities["direction"].isna() & activities["user_id"].notna()
    )
    return activities[ours & (activities["status"] == "done") & activities[f"{entity}_id"].notna()]


def _usual(contacts: pd.DataFrame) -> tuple[str | None, str | None, str | None]:
    """Give kind and channel of the contact made most, and somebody who made it."""
    if contacts.empty:
        return None, None, None
    pairs = contacts[["kind", "channel"]].fillna("")
    counts = pairs.groupby(["kind", "channel"], as_index=False).size()
    most = counts.sort_values(["size", "kind", "channel"], ascending=[False, True, True]).iloc[0]
    kind, channel = str(most["kind"]), str(most["channel"])
    users = contacts["user_id"][(pairs["kind"] == kind) & (pairs["channel"] == channel)].dropna()
    return kind, channel or None, str(users.iloc[0]) if len(users) else None


def _with_contact(
    known: History,
    asked: list[str],
    entity: str,
    as_of: pd.Timestamp,
    kind: str,
    channel: str | None,
    user: str | None,
) -> History:
    records = getattr(known, f"{entity}s").set_index(f"{entity}_id")
    made = pd.DataFrame(
        {
            "activity_id": [f"\0contact-{place}" for place in range(len(asked))],
            f"{entity}_id": asked,
            "kind": kind,
            "channel": channel,
            "direction": "out",
            "status": "done",
            "user_id": records["owner_id"].reindex(asked).fillna(user or pd.NA).to_numpy(),
            "occurred_at": as_of,
            "recorded_at": as_of,
        }
    ).reindex(columns=list(TABLES["activities"].names))
    whole = pd.concat([known.activities, made.astype(known.activities.dtypes)], ignore_index=True)
    return replace(known, activities=whole)


def _log_odds(
    bundle: ModelBundle, history: History, asked: list[str], entity: str, moment: pd.Timestamp
) -> Floats:
    snapshots = pd.DataFrame({"record_id": asked, "as_of": moment})
    found = score(bundle, history, snapshots, entity, top=0).probability
    return log_odds(found)


def log_odds(probability: Floats) -> Floats:
    """Give the log-odds of probabilities, held clear of 0 and 1."""
    clear = np.clip(probability, CLEAR, 1.0 - CLEAR)
    found: Floats = np.log(clear / (1.0 - clear))
    return found


def _averages(changes: Floats, places: NDArray[np.int64]) -> tuple[float, ...]:
    """Give the average of each stretch of silence; that of all where it has few records."""
    usable = np.isfinite(changes)
    whole = _middle(changes[usable])
    found = []
    for place in range(len(SILENCE) + 2):
        mine = changes[usable & (places == place)]
        found.append(_middle(mine) if len(mine) >= FEWEST else whole)
    return tuple(found)


def _middle(values: Floats) -> float:
    """Give the mean of the middle 80%; 0 of none."""
    cut = len(values) // 10
    inner = np.sort(values)[cut : len(values) - cut]
    return float(inner.mean()) if len(inner) else 0.0


def _typical_sale(known: History, moment: pd.Timestamp) -> float | None:
    won = known.deals[(known.deals["outcome"] == "won") & (known.deals["amount"] > 0)]
    recent = won[closing_time(won) >= moment - _RECENT]
    amounts = (recent if len(recent) else won)["amount"]
    return float(amounts.mean()) if len(amounts) else None
