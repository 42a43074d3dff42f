"""What build_features answers to questions at the edge, and to questions it cannot answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from crm.errors import InputError
from crm.history import History
from features import FeatureSpec, Snapshots, build_features, learn_spec, prepare, prepare_rows

Make = Callable[[int, int], History]
NOON = np.datetime64("2024-03-01T12:00:00", "us")


def asked(*records: str, as_of: str = "2024-12-01") -> pd.DataFrame:
    """Ask for records at one moment."""
    return pd.DataFrame(
        {"record_id": pd.Series(records, dtype="str"), "as_of": pd.Timestamp(as_of, tz="UTC")}
    )


def test_the_result_is_in_the_order_asked(random_history: Make) -> None:
    """Rows follow the snapshots, repeats included; values are a C-contiguous float64 matrix."""
    history = random_history(0, 20)
    spec = learn_spec(history, "deal")
    got = build_features(history, asked("d9", "d2", "d9", "d4"), spec)
    assert got.values.dtype == np.float64  # noqa: PD011
    assert got.values.flags.c_contiguous  # noqa: PD011
    frame = got.to_frame()
    pd.testing.assert_series_equal(frame.iloc[0], frame.iloc[2], check_names=False)
    alone = build_features(history, asked("d2"), spec).to_frame()
    pd.testing.assert_series_equal(frame.iloc[1], alone.iloc[0], check_names=False)


def test_a_record_not_there_is_a_marked_row(random_history: Make) -> None:
    """An unknown record, and one asked about before it existed, are rows of NaN that known marks."""
    history = random_history(0, 20)
    got = build_features(history, asked("d1", "nobody"), entity="deal")
    assert got.known.tolist() == [True, False]
    assert got.to_frame().iloc[1].isna().all()
    before = build_features(history, asked("d1", as_of="2023-01-01"), entity="deal")
    assert before.known.tolist() == [False]
    assert before.to_frame().isna().all(axis=None)


def test_a_record_is_known_strictly_after_it_was_recorded(random_history: Make) -> None:
    """At the very moment of recording the record does not exist yet; a microsecond later it does."""
    history = random_history(0, 20)
    recorded = history.deals["recorded_at"].iloc[3]
    moments = pd.DataFrame(
        {
            "record_id": history.deals["deal_id"].iloc[[3, 3]],
            "as_of": [recorded, recorded + pd.Timedelta(1, "us")],
        }
    )
    assert build_features(history, moments, entity="deal").known.tolist() == [False, True]


def test_no_snapshot_is_no_row(random_history: Make) -> None:
    """An empty question gives an empty matrix with all its columns."""
    history = random_history(0, 20)
    spec = learn_spec(history, "lead")
    got = build_features(history, asked(), spec)
    assert got.to_frame().shape == (0, len(spec.names))


def test_a_record_without_events_has_features(random_history: Make) -> None:
    """A deal that has only just come in counts zero, and what never happened is missing."""
    spec = learn_spec(random_history(0, 20), "deal")
    rows = [{"deal_id": "new", "recorded_at": NOON, "amount": 10.0, "source": "web"}]
    prepared = prepare_rows({"deals": rows}, spec)
    frame = build_features(prepared, Snapshots(["new"], np.array([NOON + np.timedelta64(1, "D")]))).to_frame()
    first = frame.iloc[0]
    assert first["age_days"] == 1.0
    assert first["count_event"] == first["pending"] == first["days_oldest_pending"] == 0.0
    assert np.isnan(first["days_since_event"])
    assert first["amount"] == 10.0


def test_moments_far_apart_do_not_overflow() -> None:
    """Events centuries apart, in thousands of records, are still told apart to the microsecond."""
    spec = FeatureSpec("lead", names=("count_event", "days_since_event"))
    count = 6000
    ids = [str(n) for n in range(count)]
    rows = [{"lead_id": n, "recorded_at": np.datetime64("1800-01-01", "us")} for n in ids]
    events = [
        {"lead_id": n, "kind": "call", "occurred_at": when, "recorded_at": when}
        for n in ids
        for when in (np.datetime64("1801-01-01", "us"), np.datetime64("2200-01-01", "us"))
    ]
    prepared = prepare_rows({"leads": rows, "activities": events}, spec)
    moments = np.where(
        np.arange(count) % 2, np.datetime64("2200-01-01", "us"), np.datetime64("2200-01-02", "us")
    )
    got = build_features(prepared, Snapshots(ids, moments)).to_frame()
    np.testing.assert_array_equal(got["count_event"], np.where(np.arange(count) % 2, 1, 2))
    assert got["days_since_event"].iloc[0] == 1.0


def test_two_records_of_one_id_are_refused() -> None:
    """A request with the same id twice names the table, the row and the id."""
    rows = [{"lead_id": "a", "recorded_at": NOON}, {"lead_id": "b", "recorded_at": NOON}] * 2
    with pytest.raises(InputError, match=r"leads, row 1: lead_id = 'a'.*an id of its own"):
        prepare_rows({"leads": rows}, FeatureSpec("lead"))


@pytest.mark.parametrize(
    ("snapshots", "message"),
    [
        (pd.DataFrame({"as_of": [pd.Timestamp("2024-01-01", tz="UTC")]}), "column 'record_id' is missing"),
        (pd.DataFrame({"record_id": ["d1"]}), "column 'as_of' is missing"),
        (pd.DataFrame({"record_id": ["d1"], "as_of": [pd.Timestamp("2024-01-01")]}), "needs a time zone"),
        (
            pd.DataFrame({"record_id": ["d1"], "as_of": pd.Series([pd.NaT]).dt.tz_localize("UTC")}),
            "as_of is empty in row 0",
        ),
    ],
)
def test_snapshots_that_cannot_be_read(random_history: Make, snapshots: pd.DataFrame, message: str) -> None:
    """Snapshots without a record, a moment or a zone are refused with what they need."""
    with pytest.raises(InputError, match=message):
        build_features(random_history(0, 10), snapshots, entity="deal")


def test_questions_that_contradict_themselves(random_history: Make) -> None:
    """No spec and no entity, a spec of another entity or of another history are refused."""
    history = random_history(0, 20)
    spec = learn_spec(history, "deal")
    with pytest.raises(InputError, match="neither spec nor entity"):
        build_features(history, asked("d1"))
    with pytest.raises(InputError, match="the spec is of 'deal'"):
        build_features(history, asked("d1"), spec, entity="lead")
    other = dataclasses.replace(spec, channels=())
    with pytest.raises(InputError, match="prepare"):
        build_features(prepare(history, spec), asked("d1"), other)


def test_a_model_of_a_newer_version_is_named(random_history: Make) -> None:
    """A spec with a feature that this version lacks says which, and to train again."""
    history = random_history(0, 20)
    spec = learn_spec(history, "deal")
    newer = dataclasses.replace(spec, names=(*spec.names, "days_since_moon_landing"))
    with pytest.raises(InputError, match=r"'days_since_moon_landing'.*train again"):
        build_features(history, asked("d1"), newer)


def test_a_rep_nobody_knows_has_the_company_s_rate(random_history: Make) -> None:
    """A new rep's win rate is the company's; a deal without a rep has none."""
    history = random_history(0, 40)
    spec = learn_spec(history, "deal")
    series = prepare(history, spec).series
    rows = [
        {"deal_id": n, "recorded_at": NOON, "owner_id": owner}
        for n, owner in (("x", "newcomer"), ("y", None))
    ]
    prepared = prepare_rows({"deals": rows}, spec, series=series)
    moment = np.datetime64("2024-12-01", "us")
    frame = build_features(prepared, Snapshots(["x", "y"], np.array([moment, moment]))).to_frame()
    closed = history.deals[history.deals["closed_recorded_at"].fillna(history.deals["closed_at"]).notna()]
    rate = ((closed["outcome"] == "won").sum() + 1) / (closed["outcome"].notna().sum() + 2)
    assert frame["rep_win_rate"].iloc[0] == pytest.approx(rate)
    assert frame["rep_open"].iloc[0] == 0
    assert frame[["rep_win_rate", "rep_open"]].iloc[1].isna().all()
