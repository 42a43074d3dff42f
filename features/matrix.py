"""Build features: the one way from a history and moments to a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crm.errors import InputError
from crm.history import History
from features.catalogue import features_of
from features.columns import Bools, Floats, Ints
from features.entry import Entry
from features.layout import Layout
from features.learning import learn_spec
from features.moments import Moments
from features.prepared import Prepared, prepare
from features.spec import FeatureSpec

#: Snapshots and events of one batch, so that its arrays stay in the processor's cache.
BATCH_SNAPSHOTS = 2048
BATCH_EVENTS = 16_384


class Snapshots(NamedTuple):
    """Records and moments, without pandas.

    Parameters
    ----------
    record_id : sequence of str, length n
    as_of : array of datetime64[us], shape (n,)
        In UTC.
    """

    record_id: Sequence[str]
    as_of: NDArray[np.datetime64]


@dataclass(frozen=True)
class FeatureMatrix:
    """Features of snapshots.

    Parameters
    ----------
    values : array of float, shape (n, k)
        One row a snapshot, in the order asked for; NaN for missing; categories as codes of their levels.
    known : array of bool, shape (n,)
        Whether the record existed, strictly before ``as_of``; a row that did not is all NaN.
    spec : FeatureSpec
    """

    values: Floats
    known: Bools
    spec: FeatureSpec

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.spec.names

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the columns that hold codes of levels."""
        return categorical_names(self.spec)

    def to_frame(self) -> pd.DataFrame:
        """Give the values as a table."""
        return pd.DataFrame(self.values, columns=list(self.names))


def categorical_names(spec: FeatureSpec) -> tuple[str, ...]:
    """Give the names of a spec's features that are codes of levels."""
    features = features_of(spec)
    return tuple(name for name in spec.names if features[name].entry.kind == "category")


def build_features(
    history: History | Prepared,
    snapshots: pd.DataFrame | Snapshots,
    spec: FeatureSpec | None = None,
    *,
    entity: str | None = None,
) -> FeatureMatrix:
    """Build the features of records at moments, from what was known strictly before.

    Parameters
    ----------
    history : History or Prepared
        A history is made ready for this call only; use :func:`features.prepare` to build more than once.
    snapshots : DataFrame or Snapshots
        ``record_id`` (str) and ``as_of`` (datetime64[us, UTC]), one row a snapshot, in any order.
    spec : FeatureSpec, optional
        By default the prepared history's, or what :func:`features.learn_spec` learns from the history.
    entity : {"lead", "deal"}, optional
        Whose features, where no spec says it.

    Returns
    -------
    FeatureMatrix
        A record that the history does not hold, or did not yet hold, is a row of NaN that ``known`` marks.

    Raises
    ------
    InputError
        If neither a spec nor an entity is given, they differ, a column is missing, or the spec names a
        feature that this version does not have.
    """
    if isinstance(history, Prepared):
        prepared = history
        spec = prepared.spec if spec is None else spec
        if spec is not prepared.spec and spec.keep(()) != prepared.spec.keep(()):
            raise InputError(
                "spec: differs from the one the history was prepared for; call prepare(history, spec) again"
            )
    else:
        if spec is None:
            if entity is None:
                raise InputError(
                    "build_features: neither spec nor entity is given; pass entity='deal' or 'lead'"
                )
            spec = learn_spec(history, entity)
        prepared = prepare(history, spec)
    if entity is not None and entity != spec.entity:
        raise InputError(f"entity = {entity!r}: the spec is of {spec.entity!r}; pass that, or leave it out")
    rank, as_of = _read(snapshots, prepared)
    return build_rows(prepared, rank, as_of, spec)


def build_rows(prepared: Prepared, rank: Ints, as_of: Ints, spec: FeatureSpec) -> FeatureMatrix:
    """Build the features of records by their places, as :func:`build_features` does by their ids.

    Parameters
    ----------
    prepared : Prepared
    rank : array of int, shape (n,)
        Places among ``prepared.records``; -1 for a record that is not there.
    as_of : array of int, shape (n,)
        Microseconds since 1970.
    spec : FeatureSpec
        The prepared history's, or one that differs in ``names`` only.
    """
    plan = _plan(spec)
    values = np.empty((len(rank), len(spec.names)))
    known = rank >= 0
    known[known] = prepared.records.recorded[rank[known]] < as_of[known]
    if not known.all():
        values[~known] = np.nan
    rows = np.flatnonzero(known)
    if len(rows) > 1:
        rows = rows[np.lexsort((as_of[rows], rank[rows]))]
    layout = _layout(spec)
    for part in _batches(prepared, rank[rows]):
        some = rows[part]
        moments = Moments(prepared, layout, rank[some], as_of[some])
        block = np.empty((len(some), len(spec.names)))
        for entry, source, target in plan:
            column = entry.compute(moments)
            if column.ndim == 1:
                block[:, target] = column[:, None]
            elif source is None:
                block[:, target] = column
            else:
                block[:, target] = column[:, source]
        values[some] = block
    return FeatureMatrix(values, known, spec)


@lru_cache(maxsize=64)
def _layout(spec: FeatureSpec) -> Layout:
    return Layout.of(spec)


def _read(snapshots: pd.DataFrame | Snapshots, prepared: Prepared) -> tuple[Ints, Ints]:
    """Give each snapshot's record and moment."""
    rank_of = prepared.records.rank_of
    if isinstance(snapshots, Snapshots):
        rank = np.array([rank_of.get(record, -1) for record in snapshots.record_id], np.int64)
        return rank, np.asarray(snapshots.as_of, "datetime64[us]").view(np.int64)
    for column in ("record_id", "as_of"):
        if column not in snapshots.columns:
            raise InputError(f"snapshots: column {column!r} is missing; they need record_id and as_of")
    moments = snapshots["as_of"]
    if not isinstance(moments.dtype, pd.DatetimeTZDtype):
        raise InputError(f"snapshots: as_of = {moments.dtype}: a moment needs a time zone; make it UTC")
    codes, levels = pd.factorize(snapshots["record_id"])
    table = np.array([*(rank_of.get(record, -1) for record in levels.tolist()), -1], np.int64)
    as_of = moments.to_numpy(dtype="datetime64[us]")
    if np.isnat(as_of).any():
        raise InputError(f"snapshots: as_of is empty in row {int(np.isnat(as_of).argmax())}; give a moment")
    return table[codes], as_of.view(np.int64)


_Step = tuple[Entry, Ints | None, slice | Ints]


@lru_cache(maxsize=64)
def _plan(spec: FeatureSpec) -> list[_Step]:
    """Give the entries to compute, and which of their columns go where."""
    places = {name: place for place, name in enumerate(spec.names)}
    features = features_of(spec)
    unknown = [name for name in spec.names if name not in features]
    if unknown:
        raise InputError(
            f"feature {unknown[0]!r}: this version of Vigie has no such feature; train again or use the "
            "version that made the model"
        )
    found: dict[str, tuple[Entry, list[str]]] = {}
    for name, one in features.items():
        found.setdefault(one.entry.name, (one.entry, []))[1].append(name)
    plan: list[_Step] = []
    for entry, names in found.values():
        kept = [(source, places[name]) for source, name in enumerate(names) if name in places]
        if not kept:
            continue
        source = np.array([s for s, _ in kept], np.int64)
        target = np.array([t for _, t in kept], np.int64)
        whole = len(kept) == len(names)
        run = bool((np.diff(target) == 1).all())
        plan.append(
            (
                entry,
                None if whole else source,
                slice(int(target[0]), int(target[-1]) + 1) if run else target,
            )
        )
    return plan


def _batches(prepared: Prepared, rank: Ints) -> Iterator[slice]:
    """Cut sorted snapshots into batches of bounded size."""
    if len(rank) < 2:
        yield from [slice(0, 1)] * len(rank)
        return
    starts = prepared.events.starts
    first = np.append(True, rank[1:] != rank[:-1])
    events = np.where(first, starts[rank + 1] - starts[rank], 0)
    # Positions are searched by one 64-bit number for record, field and time, which bounds the records.
    span = (prepared.last_time - prepared.first_time + 2) * max(1, len(prepared.fields.tracked))
    size = max(1, min(BATCH_SNAPSHOTS, 2**62 // span))
    batch = np.maximum.accumulate(np.cumsum(events) // BATCH_EVENTS)
    edges = np.flatnonzero(np.append(True, batch[1:] != batch[:-1]))
    for low, high in zip(edges, np.append(edges[1:], len(rank)), strict=True):
        for start in range(int(low), int(high), size):
            yield slice(start, min(start + size, int(high)))
