"""Some records of a history made ready without the rest: the same features, from fewer rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.history import History
from features import FeatureSpec, build_features, learn_spec, prepare, prepare_records

Draw = Callable[[History, str, int, int], pd.DataFrame]
Make = Callable[[int, int], History]
Learned = Callable[[int, str], tuple[History, FeatureSpec]]

SIZE = 14


@pytest.fixture(scope="module")
def learned(random_history: Make) -> Learned:
    """Give a random history with the spec learned from it, each made once."""

    @cache
    def make(seed: int, entity: str) -> tuple[History, FeatureSpec]:
        history = random_history(seed, SIZE)
        return history, learn_spec(history, entity)

    return make


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 11),
    entity=st.sampled_from(["deal", "lead"]),
    chosen=st.sets(st.integers(0, SIZE - 1), max_size=7),
)
def test_features_are_those_of_the_whole_history(
    learned: Learned, random_snapshots: Draw, seed: int, entity: str, chosen: set[int]
) -> None:
    """Any few records, whatever they were once linked to, have the very features the whole history gives."""
    history, spec = learned(seed, entity)
    snapshots = random_snapshots(history, entity, seed, 3)
    ids = history.frames()[f"{entity}s"][f"{entity}_id"].iloc[sorted(chosen)].tolist()
    asked = snapshots[snapshots["record_id"].isin(ids)]
    some = build_features(prepare_records(history, spec, ids), asked)
    whole = build_features(prepare(history, spec), asked)
    np.testing.assert_array_equal(some.values, whole.values)
    np.testing.assert_array_equal(some.known, whole.known)


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_other_records_are_not_made_ready(learned: Learned, entity: str) -> None:
    """Only the records asked for are there, with fewer events; one the history lacks is left out."""
    history, spec = learned(1, entity)
    whole = prepare(history, spec)
    first = whole.records.ids[3]
    some = prepare_records(history, spec, [first, "nobody"])
    assert some.records.ids == [first]
    assert 0 < len(some.events.time) < len(whole.events.time)


def test_most_records_are_made_ready_with_the_rest(learned: Learned) -> None:
    """Where most records are asked for, cutting their rows out would cost more than it spares."""
    history, spec = learned(1, "deal")
    ids = history.deals["deal_id"].tolist()
    assert prepare_records(history, spec, ids[:-1]).records.ids == ids


def test_texts_may_be_python_s_own(learned: Learned, random_snapshots: Draw) -> None:
    """Without Arrow, as in the bento, the rows cut out are the same."""
    history, spec = learned(2, "deal")
    own = pd.StringDtype("python", na_value=np.nan)
    plain = History.of(
        {
            name: frame.astype({c: own for c, dtype in frame.dtypes.items() if dtype == "str"})
            for name, frame in history.frames().items()
        }
    )
    assert plain.deals["deal_id"].dtype.storage == "python"  # type: ignore[union-attr]
    ids = history.deals["deal_id"].iloc[:5].tolist()
    asked = random_snapshots(history, "deal", 2, 3)
    asked = asked[asked["record_id"].isin(ids)]
    np.testing.assert_array_equal(
        build_features(prepare_records(plain, spec, ids), asked).values,
        build_features(prepare_records(history, spec, ids), asked).values,
    )
