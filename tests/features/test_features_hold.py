"""What holds for features of any history: no look ahead, alone as in a batch, in any order."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import features.matrix
from crm.history import History
from features import (
    FeatureSpec,
    Series,
    Snapshots,
    build_features,
    learn_spec,
    prepare,
    prepare_rows,
)

Draw = Callable[[History, str, int, int], pd.DataFrame]
Make = Callable[[int, int], History]

SIZE = 14
seeds = st.integers(0, 11)
entities = st.sampled_from(["deal", "lead"])
few = settings(max_examples=12, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def learned(random_history: Make) -> Callable[[int, str], tuple[History, FeatureSpec]]:
    """Give a random history with the spec learned from it, each made once."""

    @cache
    def make(seed: int, entity: str) -> tuple[History, FeatureSpec]:
        history = random_history(seed, SIZE)
        return history, learn_spec(history, entity)

    return make


Learned = Callable[[int, str], tuple[History, FeatureSpec]]


def known_by(history: History, moment: pd.Timestamp) -> History:
    """Give the history as an export of a moment would have it: in pandas, apart from the kernel."""
    frames = dict(history.frames())
    activities = frames["activities"]
    known = activities[["occurred_at", "recorded_at"]].max(axis=1)
    frames["activities"] = activities[known < moment]
    changes = frames["changes"].copy()
    changes["known"] = changes[["changed_at", "recorded_at"]].max(axis=1)
    changes["number"] = changes["change_id"].astype("int64")
    changes = changes.sort_values(["known", "changed_at", "number"])
    for table, entity in (("accounts", "account"), ("leads", "lead"), ("deals", "deal")):
        frame = frames[table].copy()
        for (record, field), steps in changes[changes["entity"] == entity].groupby(["record_id", "field"]):
            past = steps[steps["known"] < moment]
            text = past["new_value"].iloc[-1] if len(past) else steps["old_value"].iloc[0]
            row = frame[f"{entity}_id"] == record
            if frame[field].dtype.kind == "f":
                frame.loc[row, field] = np.nan if pd.isna(text) else float(text)
            elif field == "expected_close_at":
                frame.loc[row, field] = pd.Timestamp(text)
            else:
                frame.loc[row, field] = text
        frame = frame[frame["recorded_at"] < moment]
        if "outcome" in frame:
            closed = frame["closed_recorded_at"].fillna(frame["closed_at"])
            later = frame["outcome"].notna() & (frame[["recorded_at"]].assign(c=closed).max(axis=1) >= moment)
            later &= closed.notna()
            frame.loc[later, "outcome"] = None
            frame.loc[later, ["closed_at", "closed_recorded_at"]] = pd.NaT
        frame.loc[frame["gone_at"] >= moment, "gone_at"] = pd.NaT
        frames[table] = frame
    frames["changes"] = changes[changes["known"] < moment].drop(columns=["known", "number"])
    return History.of({name: frame.reset_index(drop=True) for name, frame in frames.items()})


@few
@given(seed=seeds, entity=entities, days=st.integers(20, 130))
def test_nothing_recorded_later_changes_a_feature(
    learned: Learned, random_snapshots: Draw, seed: int, entity: str, days: int
) -> None:
    """Features up to a moment are the same from the export of that moment as from today's history."""
    history, spec = learned(seed, entity)
    moment = pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(days=days)
    snapshots = random_snapshots(history, entity, seed, 4)
    snapshots["as_of"] = snapshots["as_of"].where(snapshots["as_of"] <= moment, moment)
    then = build_features(known_by(history, moment), snapshots, spec)
    now = build_features(history, snapshots, spec)
    np.testing.assert_array_equal(now.known, then.known)
    np.testing.assert_array_equal(now.values, then.values)


def rows_of(history: History, entity: str, record: str) -> History:
    """Give only the rows that belong to one record, its lead, its account, and a lead's deals."""
    frames = dict(history.frames())
    changes = frames["changes"]
    table = frames[f"{entity}s"]
    own = {entity: {record}}
    for field in ("lead_id", "account_id"):
        ids = set(table.loc[table[f"{entity}_id"] == record, field].dropna())
        mine = (changes["entity"] == entity) & (changes["record_id"] == record) & (changes["field"] == field)
        ids |= set(changes.loc[mine, "old_value"].dropna()) | set(changes.loc[mine, "new_value"].dropna())
        own[field.removesuffix("_id")] = own.get(field.removesuffix("_id"), set()) | ids
    if entity == "lead":
        own["lead"] = {record}
        deals = frames["deals"]
        moved = changes[(changes["entity"] == "deal") & (changes["field"] == "lead_id")]
        touched = (moved[["old_value", "new_value"]] == record).any(axis=1)
        own["deal"] = set(deals.loc[deals["lead_id"] == record, "deal_id"]) | set(
            moved.loc[touched, "record_id"]
        )
    for name in ("account", "lead", "deal"):
        frame = frames[f"{name}s"]
        frames[f"{name}s"] = frame[frame[f"{name}_id"].isin(own.get(name, set()))]
    kept = pd.Series(False, index=changes.index)
    for name, ids in own.items():
        kept |= (changes["entity"] == name) & changes["record_id"].isin(ids)
    frames["changes"] = changes[kept]
    activities = frames["activities"]
    mine = activities[f"{entity}_id"].isin(own[entity])
    frames["activities"] = activities[mine | activities["lead_id"].isin(own.get("lead", set()))]
    return History.of({name: frame.reset_index(drop=True) for name, frame in frames.items()})


@few
@given(seed=seeds, entity=entities)
def test_one_record_alone_is_as_in_a_batch(
    learned: Learned, random_snapshots: Draw, seed: int, entity: str
) -> None:
    """A history of one record's rows, with the series saved and read back, gives exactly the batch's rows."""
    history, spec = learned(seed, entity)
    whole = prepare(history, spec)
    series = Series.from_arrays(whole.series.to_arrays())
    snapshots = random_snapshots(history, entity, seed, 3)
    batch = build_features(whole, snapshots)
    for record in history.frames()[f"{entity}s"][f"{entity}_id"].iloc[:5]:
        rows = np.flatnonzero(snapshots["record_id"] == record)
        alone = prepare(rows_of(history, entity, record), spec, series=series)
        got = build_features(alone, snapshots.iloc[rows])
        np.testing.assert_array_equal(got.values, batch.values[rows])  # noqa: PD011


@few
@given(seed=seeds, entity=entities)
def test_plain_rows_are_as_frames(learned: Learned, random_snapshots: Draw, seed: int, entity: str) -> None:
    """A request's rows, prepared without pandas, give exactly what the DataFrames give."""
    history, spec = learned(seed, entity)
    tables = {
        name: [
            {key: None if pd.isna(cell) else cell for key, cell in row.items()}
            for row in frame.to_dict("records")
        ]
        for name, frame in history.frames().items()
    }
    snapshots = random_snapshots(history, entity, seed, 2)
    plain = Snapshots(snapshots["record_id"].tolist(), snapshots["as_of"].to_numpy(dtype="datetime64[us]"))
    got = build_features(prepare_rows(tables, spec), plain)
    np.testing.assert_array_equal(got.values, build_features(history, snapshots, spec).values)


@few
@given(seed=seeds, entity=entities, shuffle=st.integers(1, 5))
def test_the_order_of_rows_changes_nothing(
    learned: Learned, random_snapshots: Draw, seed: int, entity: str, shuffle: int
) -> None:
    """A history with its rows in another order gives the same spec and the same features."""
    history, spec = learned(seed, entity)
    mixed = History.of(
        {
            name: frame.sample(frac=1.0, random_state=shuffle).reset_index(drop=True)
            for name, frame in history.frames().items()
        }
    )
    assert learn_spec(mixed, entity) == spec
    snapshots = random_snapshots(history, entity, seed, 3)
    again = build_features(mixed, snapshots, spec)
    np.testing.assert_array_equal(again.values, build_features(history, snapshots, spec).values)


@few
@given(seed=seeds, entity=entities)
def test_each_snapshot_is_as_in_any_batch(
    learned: Learned, random_snapshots: Draw, seed: int, entity: str
) -> None:
    """Batches of any size, one snapshot at a time, and a history prepared once or each time agree."""
    history, spec = learned(seed, entity)
    prepared = prepare(history, spec)
    snapshots = random_snapshots(history, entity, seed, 3)
    whole = build_features(prepared, snapshots).values  # noqa: PD011
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features.matrix, "BATCH_SNAPSHOTS", 3)
        patch.setattr(features.matrix, "BATCH_EVENTS", 20)
        np.testing.assert_array_equal(build_features(history, snapshots, spec).values, whole)
    for row in range(0, len(snapshots), 5):
        one = build_features(prepared, snapshots.iloc[[row]])
        np.testing.assert_array_equal(one.values[0], whole[row])  # noqa: PD011


def test_a_field_s_value_holds_until_it_is_known_to_change(learned: Learned) -> None:
    """At the moment a change is recorded the old stage still shows; a microsecond later the new one does."""
    history, spec = learned(1, "deal")
    changes = history.changes
    steps = changes[(changes["entity"] == "deal") & (changes["field"] == "stage")]
    known = steps[["changed_at", "recorded_at"]].max(axis=1)
    levels = spec.levels_of("stage")
    assert levels is not None
    checked = 0
    for record, rows in steps.groupby("record_id"):
        times = known.loc[rows.index]
        if times.duplicated().any() or not times.is_monotonic_increasing:
            continue
        for index, step in product(rows.index, [pd.Timedelta(0), pd.Timedelta(microseconds=1)]):
            moment = pd.DataFrame({"record_id": [record], "as_of": [times[index] + step]})
            got = build_features(history, moment, spec)
            if not got.known[0]:
                continue
            text = rows.loc[index, "new_value" if step else "old_value"]
            assert got.to_frame()["stage"].iloc[0] == levels.codes()[text]
            checked += 1
    assert checked > 5


def test_zones_are_moments(learned: Learned, random_snapshots: Draw) -> None:
    """The same moments written in a zone with summer time give the same features."""
    history, spec = learned(2, "deal")
    snapshots = random_snapshots(history, "deal", 2, 5)
    paris = snapshots.assign(as_of=snapshots["as_of"].dt.tz_convert("Europe/Paris"))
    before, after = (build_features(history, s, spec).values for s in (snapshots, paris))  # noqa: PD011
    np.testing.assert_array_equal(before, after)
