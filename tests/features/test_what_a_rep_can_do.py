"""What a rep could do: the features are those of a record with which it was done."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crm.history import History
from crm.moments import in_micros
from crm.simulator import simulate
from features import Snapshots, build_features, learn_spec, open_at, prepare
from features.actions import Action, actions_of, with_actions
from features.catalogue import features_of
from features.matrix import build_rows
from features.spec import FeatureSpec

AS_OF = pd.Timestamp("2024-09-01", tz="UTC")
MOMENT = in_micros(AS_OF.to_pydatetime())


@pytest.fixture(scope="module")
def history() -> History:
    """Give a small company."""
    return simulate(400, seed=3).history


def done_by_hand(history: History, spec: FeatureSpec, action: Action, ids: list[str]) -> History:
    """Give the history as if an action had been recorded of each record just before."""
    kind = spec.kinds[action.kind].name
    just_before = AS_OF - pd.Timedelta(microseconds=1)
    rows = pd.DataFrame(
        {
            "activity_id": [f"new-{name}" for name in ids],
            f"{spec.entity}_id": ids,
            "kind": kind,
            "channel": spec.channels[action.channel] if action.channel >= 0 else None,
            "direction": "out" if action.direction >= 0 else None,
            "status": "scheduled" if action.is_plan else "done",
            "occurred_at": just_before,
            "recorded_at": just_before,
        }
    ).reindex(columns=history.activities.columns)
    activities = pd.concat(
        [history.activities, rows.astype(history.activities.dtypes.to_dict())], ignore_index=True
    )
    return History.of({**history.frames(), "activities": activities})


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_an_action_is_one_more_event(history: History, entity: str) -> None:
    """After each action, every feature is what the kernel makes of a history in which it was recorded."""
    spec = learn_spec(history, entity)
    ids = open_at(history, entity, AS_OF)[:15].tolist()
    prepared, actions = prepare(history, spec), actions_of(spec)
    rank = np.array([prepared.records.rank_of[name] for name in ids])
    as_of = np.full(len(ids), MOMENT)
    more, places = with_actions(prepared, rank, as_of, actions)
    assert len(actions) >= 4
    assert any(action.is_plan for action in actions)
    for column, action in enumerate(actions):
        whole = prepare(done_by_hand(history, spec, action, ids), spec)
        asked = Snapshots(ids, as_of.view("datetime64[us]"))
        expected = build_features(whole, asked).values  # noqa: PD011
        found = build_rows(more, places[:, column], as_of, spec).values  # noqa: PD011
        np.testing.assert_array_equal(found, expected, err_msg=action.name)


@pytest.mark.parametrize("entity", ["lead", "deal"])
def test_an_action_changes_actionable_features_only(history: History, entity: str) -> None:
    """What an action changes is said to be actionable in the catalogue, and it changes something."""
    spec = learn_spec(history, entity)
    features = features_of(spec)
    ids = open_at(history, entity, AS_OF)[:15].tolist()
    prepared, actions = prepare(history, spec), actions_of(spec)
    rank, as_of = np.array([prepared.records.rank_of[name] for name in ids]), np.full(len(ids), MOMENT)
    more, places = with_actions(prepared, rank, as_of, actions)
    before = build_rows(more, rank, as_of, spec).values  # noqa: PD011
    for column, action in enumerate(actions):
        after = build_rows(more, places[:, column], as_of, spec).values  # noqa: PD011
        differs = (after != before) & ~(np.isnan(after) & np.isnan(before))
        changed = [name for name, some in zip(spec.names, differs.any(axis=0), strict=True) if some]
        assert changed, action.name
        assert [name for name in changed if not features[name].entry.actionable] == []


def test_records_that_are_there_stay_as_they_are(history: History) -> None:
    """Adding what could be done changes no feature of the records themselves."""
    spec = learn_spec(history, "deal")
    ids = open_at(history, "deal", AS_OF)[:15].tolist()
    prepared = prepare(history, spec)
    rank, as_of = np.array([prepared.records.rank_of[name] for name in ids]), np.full(len(ids), MOMENT)
    more, _ = with_actions(prepared, rank, as_of, actions_of(spec))
    plain = build_rows(prepared, rank, as_of, spec).values  # noqa: PD011
    np.testing.assert_array_equal(build_rows(more, rank, as_of, spec).values, plain)


def test_a_spec_without_our_acts_has_no_actions() -> None:
    """A history that does not tell what we do ourselves gives nothing to advise."""
    assert actions_of(FeatureSpec("lead")) == ()


def test_acts_survive_saving() -> None:
    """A spec read back knows the same acts and hashes the same."""
    spec = learn_spec(simulate(200, seed=1).history, "lead")
    again = FeatureSpec.from_json_dict(spec.to_json_dict())
    assert spec.acts
    assert again == spec
    assert hash(again) == hash(spec)
