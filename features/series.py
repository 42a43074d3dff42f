"""What crosses records, as step functions of time: a rep's open records and outcomes, an account's deals.

Computed once over the whole history and looked up as of any moment, so that one record, or one partition of
them, needs no other record's rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.moments import MISSING, NEVER
from crm.schema import TABLE_OF
from features.columns import Bools, Coded, Ints, Source
from features.records import Changes, Links, Records, linked_keys, links, read_changes, read_records

#: Columns of every step function.
OPEN, WON, LOST = 0, 1, 2


@dataclass(frozen=True)
class Steps:
    """Counts by key that step at moments.

    Parameters
    ----------
    keys : dict of str to int
    moments : array of int, shape (m,)
        The distinct moments, ascending.
    places : array of int, shape (n,)
        ``key * (m + 1) + moment``, ascending; one number orders both.
    counts : array of int, shape (n + 1, 3)
        Open, won and lost, summed up to and including each step; the first row is zero.
    starts : array of int, shape (k + 1,)
        Where each key's steps begin.
    """

    keys: dict[str, int]
    moments: Ints
    places: Ints
    counts: Ints
    starts: Ints

    def at(self, keys: Ints, as_of: Ints) -> Ints:
        """Give the counts of keys strictly before moments; zero for key -1.

        Returns
        -------
        array of int, shape (n, 3)
        """
        moment = self.moments.searchsorted(as_of)
        place = self.places.searchsorted(keys * (len(self.moments) + 1) + moment)
        counts = self.counts[place] - self.counts[self.starts[keys]]
        counts[keys < 0] = 0
        return counts


def steps(keys: dict[str, int], key: Ints, moment: Ints, delta: Ints) -> Steps:
    """Sum changes of counts, shape (n, 3), by key and moment."""
    moments, place = np.unique(moment, return_inverse=True)
    place = key * (len(moments) + 1) + place
    order = np.argsort(place, kind="stable")
    counts = np.zeros((len(order) + 1, 3), np.int64)
    np.cumsum(delta[order], axis=0, out=counts[1:])
    places = place[order]
    starts = np.searchsorted(places, np.arange(len(keys) + 1) * (len(moments) + 1))
    return Steps(keys, moments, places, counts, starts)


@dataclass(frozen=True)
class Series:
    """Everything that crosses records, for the features of one entity.

    Parameters
    ----------
    owners : Steps
        Open records of the entity, and outcomes, by rep.
    overall : Steps
        The same of the whole company, under the one key ``""``.
    accounts : Steps
        Deals by account.
    members : array of uint64
        Hashes of the ids counted, ascending, so that a record is not counted as its own neighbour.
    """

    owners: Steps
    overall: Steps
    accounts: Steps
    members: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))

    def counted(self, ids: list[str]) -> Bools:
        """Say which records the series counted."""
        if len(self.members) == 0 or len(ids) == 0:
            return np.zeros(len(ids), np.bool_)
        hashes = _hashes(ids)
        place = np.minimum(np.searchsorted(self.members, hashes), len(self.members) - 1)
        return np.asarray(self.members[place] == hashes, np.bool_)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give the series as named arrays of integers and texts; :meth:`from_arrays` gives it back."""
        arrays: dict[str, NDArray[Any]] = {"members": self.members}
        for name in ("owners", "overall", "accounts"):
            one: Steps = getattr(self, name)
            arrays[f"{name}.keys"] = np.array(list(one.keys), dtype=np.str_)
            for part in ("moments", "places", "counts", "starts"):
                arrays[f"{name}.{part}"] = getattr(one, part)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Series:
        """Read a series back; KeyError where an array is missing."""

        def read(name: str) -> Steps:
            keys = {str(key): code for code, key in enumerate(arrays[f"{name}.keys"].tolist())}
            return Steps(
                keys, *(arrays[f"{name}.{part}"] for part in ("moments", "places", "counts", "starts"))
            )

        return cls(read("owners"), read("overall"), read("accounts"), arrays["members"])


def _hashes(ids: list[str]) -> NDArray[np.uint64]:
    return pd.util.hash_array(np.array(ids, dtype=object), categorize=False)


def build_series(source: Source, entity: str, outcomes_of: str) -> Series:
    """Compute the series of one entity from a whole history.

    Parameters
    ----------
    source : Source
    entity : {"lead", "deal"}
        Whose open records are a rep's workload.
    outcomes_of : {"lead", "deal"}
        Whose outcomes make a rep's win rate.
    """
    records = read_records(source, entity)
    changes = read_changes(source, entity, records.rank_of)
    owner = source.text(TABLE_OF[entity].name, "owner_id")
    judged, judged_changes, judged_owner = records, changes, owner
    if outcomes_of != entity:
        judged = read_records(source, outcomes_of)
        judged_changes = read_changes(source, outcomes_of, judged.rank_of)
        judged_owner = source.text(TABLE_OF[outcomes_of].name, "owner_id")
    owners = linked_keys(owner, changes.of("owner_id"))
    for text in linked_keys(judged_owner, judged_changes.of("owner_id")):
        owners.setdefault(text, len(owners))
    held = links(owner, changes.of("owner_id"), owners)
    judged_held = links(judged_owner, judged_changes.of("owner_id"), owners)
    everyone = Links(
        np.arange(len(judged.ids)),
        np.zeros(len(judged.ids), np.int64),
        np.full(len(judged.ids), MISSING),
        np.full(len(judged.ids), NEVER),
    )
    return Series(
        steps(owners, *_joined(_open(records, held), _outcomes(judged, judged_held))),
        steps({"": 0}, *_outcomes(judged, everyone)),
        _account_steps(source, entity, records, changes),
        np.sort(_hashes(records.ids)),
    )


def _account_steps(source: Source, entity: str, records: Records, changes: Changes) -> Steps:
    if entity != "deal":
        records = read_records(source, "deal")
        changes = read_changes(source, "deal", records.rank_of)
    account: Coded = source.text("deals", "account_id")
    keys = linked_keys(account, changes.of("account_id"))
    held = links(account, changes.of("account_id"), keys)
    return steps(keys, *_joined(_open(records, held), _outcomes(records, held)))


_Deltas = tuple[Ints, Ints, Ints]


def _open(records: Records, held: Links) -> _Deltas:
    """Give +1 when a record comes to a key and -1 when it leaves or ends."""
    since = np.maximum(held.since, records.recorded[held.rank])
    until = np.minimum(held.until, records.ended[held.rank])
    real = since < until
    ends = real & (until < NEVER)
    key = np.concatenate([held.other[real], held.other[ends]])
    delta = np.zeros((len(key), 3), np.int64)
    delta[: real.sum(), OPEN] = 1
    delta[real.sum() :, OPEN] = -1
    return key, np.concatenate([since[real], until[ends]]), delta


def _outcomes(records: Records, held: Links) -> _Deltas:
    """Give +1 won or lost to the key that held the record when its outcome was recorded."""
    closed = records.closed[held.rank]
    timed = (closed != MISSING) & (closed != NEVER) & (held.since <= closed) & (closed < held.until)
    won = records.won[held.rank][timed]
    delta = np.zeros((len(won), 3), np.int64)
    delta[:, WON] = won == 1
    delta[:, LOST] = won == 0
    return held.other[timed], closed[timed], delta


def _joined(first: _Deltas, second: _Deltas) -> _Deltas:
    return (
        np.concatenate([first[0], second[0]]),
        np.concatenate([first[1], second[1]]),
        np.concatenate([first[2], second[2]]),
    )
