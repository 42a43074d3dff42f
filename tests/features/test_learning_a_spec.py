"""What a history teaches about its features, and what is left out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from crm.errors import InputError
from crm.history import History
from features import (
    FeatureSpec,
    Snapshots,
    build_features,
    categorical_names,
    learn_spec,
    prepare,
    prepare_rows,
)
from features.learning import MAX_FEATURES
from features.spec import SPEC_VERSION

Make = Callable[[int, int], History]
LATE = np.datetime64("2024-12-01", "us")


def with_attribute(history: History, name: str, values: list[str | float | None]) -> History:
    """Give a history whose deals have one attribute more."""
    dtype = "float64" if isinstance(values[0], float) else "str"
    deals = history.deals.assign(**{name: pd.Series(values, dtype=dtype)})
    return dataclasses.replace(history, deals=deals)


@pytest.mark.parametrize("entity", ["deal", "lead"])
def test_a_spec_survives_json(random_history: Make, entity: str) -> None:
    """A spec written as JSON text and read back is the same spec."""
    spec = learn_spec(random_history(0, 20), entity)
    assert FeatureSpec.from_json_dict(json.loads(json.dumps(spec.to_json_dict()))) == spec


def test_a_newer_spec_is_refused(random_history: Make) -> None:
    """A spec of a later version says that it is newer and what to do."""
    data = {**learn_spec(random_history(0, 20), "deal").to_json_dict(), "version": SPEC_VERSION + 1}
    with pytest.raises(InputError, match="upgrade Vigie or train again"):
        FeatureSpec.from_json_dict(data)


def test_a_spec_of_nonsense_is_refused() -> None:
    """JSON that is no spec raises the error that callers catch."""
    with pytest.raises(InputError, match="train again"):
        FeatureSpec.from_json_dict({"version": 1, "kinds": [1, 2]})


def test_the_number_of_features_is_bounded(random_history: Make) -> None:
    """A history with dozens of kinds of activity keeps the most frequent and stays within the bound."""
    history = random_history(1, 60)
    kinds = pd.Series([f"kind {n % 30}" for n in range(len(history.activities))], dtype="str")
    activities = history.activities.assign(kind=kinds, status="done")
    history = dataclasses.replace(history, activities=activities)
    spec = learn_spec(history, "lead")
    assert 100 < len(spec.names) <= MAX_FEATURES


def test_free_text_and_ids_are_no_attributes(random_history: Make) -> None:
    """A column with a different text on almost every record is left out; one of few levels stays."""
    history = random_history(2, 80)
    history = with_attribute(history, "note", [f"call back {n}" for n in range(80)])
    history = with_attribute(history, "region", ["north", "south"] * 40)
    fields = learn_spec(history, "deal").fields
    assert "note" not in fields
    assert "region" in fields


def test_rare_levels_share_one_code(random_history: Make) -> None:
    """Levels seen too seldom read as other; a level never seen is missing."""
    history = with_attribute(
        random_history(2, 80), "region", ["north"] * 50 + ["south"] * 28 + ["islands", "alps"]
    )
    spec = learn_spec(history, "deal")
    levels = spec.levels_of("region")
    assert levels is not None
    assert levels.levels == ("north", "south")
    assert set(levels.rare) == {"islands", "alps"}
    rows = [
        {"deal_id": str(n), "recorded_at": LATE - 5, "region": r}
        for n, r in enumerate(["alps", "moon", "south"])
    ]
    got = build_features(prepare_rows({"deals": rows}, spec), Snapshots(["0", "1", "2"], np.full(3, LATE)))
    np.testing.assert_array_equal(got.to_frame()["attribute_region"], [2.0, np.nan, 1.0])
    assert "attribute_region" in got.categorical == categorical_names(spec)


def test_an_excluded_field_leaves_no_trace(random_history: Make) -> None:
    """Excluding a field removes its attribute, its kinds of event, and its changes from every count."""
    history = random_history(3, 40)
    spec = learn_spec(history, "deal", exclude=["rating", "amount", "lead.rating"])
    assert not [name for name in spec.names if "rating" in name or "amount" in name]
    assert {"rating", "amount"} <= set(spec.excluded)
    changes = history.changes
    without = changes[~((changes["entity"] == "deal") & changes["field"].isin(["rating", "amount"]))]
    less = dataclasses.replace(history, changes=without.reset_index(drop=True))
    asked = Snapshots(history.deals["deal_id"].tolist(), np.full(40, LATE))
    np.testing.assert_array_equal(
        build_features(prepare(history, spec), asked).to_frame(),
        build_features(prepare(less, spec), asked).to_frame(),
    )


def test_a_single_feature_can_be_excluded(random_history: Make) -> None:
    """Excluding a feature by its name removes that one only."""
    history = random_history(3, 40)
    every, fewer = learn_spec(history, "deal"), learn_spec(history, "deal", exclude=["age_days"])
    assert set(every.names) - set(fewer.names) == {"age_days"}


def test_what_comes_with_the_end_is_no_kind(random_history: Make) -> None:
    """A stage that records reach only as they close is never seen of an open one and gets no feature."""
    history = random_history(4, 40)
    closed = history.deals[history.deals["closed_at"].notna()]
    recorded = closed["closed_recorded_at"].fillna(closed["closed_at"])
    ends = pd.DataFrame(
        {
            "change_id": [f"9{n:05}" for n in range(len(closed))],
            "entity": "deal",
            "record_id": closed["deal_id"].to_numpy(),
            "field": "stage",
            "old_value": "proposal",
            "new_value": "finished",
            "user_id": None,
            "changed_at": recorded.to_numpy(),
            "recorded_at": recorded.to_numpy(),
        }
    ).astype(history.changes.dtypes.to_dict())
    assert len(ends) > 15
    told = dataclasses.replace(history, changes=pd.concat([history.changes, ends], ignore_index=True))
    assert not [name for name in learn_spec(told, "deal").names if "finished" in name]


def test_a_small_history_has_few_features() -> None:
    """Three deals without events have an age and a calendar, and nothing that they cannot fill."""
    rows = pd.DataFrame({"deal_id": ["1", "2", "3"]})
    deals = rows.reindex(columns=list(History().deals.columns)).astype(History().deals.dtypes.to_dict())
    deals["recorded_at"] = pd.Timestamp("2024-01-01", tz="UTC")
    spec = learn_spec(History.of({"deals": deals}), "deal")
    assert "age_days" in spec.names
    assert len(spec.names) < 20


def test_some_features_can_be_kept(random_history: Make) -> None:
    """A spec cut to some features builds exactly those columns of the whole matrix."""
    history = random_history(5, 30)
    spec = learn_spec(history, "lead")
    some = spec.keep(["pending", "age_days", spec.names[-1], "count_event_30d"])
    asked = Snapshots(history.leads["lead_id"].tolist(), np.full(30, LATE))
    whole = build_features(prepare(history, spec), asked).to_frame()
    got = build_features(prepare(history, some), asked).to_frame()
    assert list(got.columns) == [name for name in spec.names if name in some.names]
    pd.testing.assert_frame_equal(got, whole[list(some.names)])
    with pytest.raises(InputError, match="'nothing' is not in the spec"):
        spec.keep(["nothing"])
