"""Which records are open at a moment, and the weekly moments to look at them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from crm.errors import InputError
from crm.history import History
from features import open_at, weekly_snapshots

Make = Callable[[int, int], History]
UNTIL = pd.Timestamp("2024-04-01", tz="UTC")


def is_open(row: pd.Series, moment: pd.Timestamp) -> bool:
    """Say whether a record was open, as docs/architecture.md defines it."""
    if not row["recorded_at"] < moment:
        return False
    if not pd.isna(row["outcome"]):
        closed = row["closed_at"] if pd.isna(row["closed_recorded_at"]) else row["closed_recorded_at"]
        if pd.isna(closed) or max(closed, row["recorded_at"]) < moment:
            return False
    return pd.isna(row["gone_at"]) or row["gone_at"] >= moment


@pytest.mark.parametrize("entity", ["deal", "lead"])
def test_open_records_follow_the_definition(random_history: Make, entity: str) -> None:
    """At many moments, the records open are those that the definition, applied row by row, finds."""
    history = random_history(3, 40)
    frame = history.frames()[f"{entity}s"]
    for day in range(0, 170, 3):
        moment = pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(days=day)
        want = [row[f"{entity}_id"] for _, row in frame.iterrows() if is_open(row, moment)]
        assert open_at(history, entity, moment).tolist() == want


@pytest.mark.parametrize(
    "start", [None, pd.Timestamp("2024-02-19", tz="UTC"), pd.Timestamp("2024-02-20", tz="UTC")]
)
def test_weekly_snapshots_are_the_records_open_each_week(
    random_history: Make, start: pd.Timestamp | None
) -> None:
    """The snapshots are exactly the open records of each week back from the cutoff, none before the start."""
    history = random_history(4, 40)
    want = {
        (record, UNTIL - pd.Timedelta(days=7 * back))
        for back in range(140)
        if start is None or UNTIL - pd.Timedelta(days=7 * back) >= start
        for record in open_at(history, "deal", UNTIL - pd.Timedelta(days=7 * back)).tolist()
    }
    got = weekly_snapshots(history, "deal", UNTIL, start=start)
    assert set(got.itertuples(index=False, name=None)) == want
    assert len(got) == len(want)
    assert str(got["as_of"].dtype) == "datetime64[us, UTC]"
    assert str(got["record_id"].dtype) == "str"


def test_moments_keep_their_distance_over_a_change_of_clocks(random_history: Make) -> None:
    """Snapshots lie whole weeks apart in UTC, whatever zone the cutoff is written in."""
    history = random_history(4, 40)
    here = UNTIL.tz_convert("Europe/Paris")
    pd.testing.assert_frame_equal(
        weekly_snapshots(history, "lead", here), weekly_snapshots(history, "lead", UNTIL)
    )


def test_another_distance_is_possible(random_history: Make) -> None:
    """Daily snapshots of a record are a day apart."""
    got = weekly_snapshots(random_history(4, 10), "deal", UNTIL, every=timedelta(days=1))
    apart = got.groupby("record_id")["as_of"].diff().dropna().unique()
    assert [pd.Timedelta(step) for step in apart] == [pd.Timedelta(days=-1)]


def test_a_moment_needs_a_zone(random_history: Make) -> None:
    """A cutoff without a time zone is refused with what to write instead."""
    with pytest.raises(InputError, match=r"names no time zone; write for example .*\+00:00"):
        open_at(random_history(4, 10), "deal", datetime(2024, 4, 1))  # noqa: DTZ001


def test_a_distance_is_positive(random_history: Make) -> None:
    """Snapshots zero days apart are refused."""
    with pytest.raises(InputError, match="positive distance"):
        weekly_snapshots(random_history(4, 10), "deal", UNTIL, every=timedelta(0))


def test_only_leads_and_deals_have_snapshots(random_history: Make) -> None:
    """An entity that has no features is refused by name."""
    with pytest.raises(InputError, match="entity = 'account'"):
        open_at(random_history(4, 10), "account", UNTIL)


def test_an_empty_history_has_no_snapshot() -> None:
    """A history without records gives an empty table of the right types."""
    got = weekly_snapshots(History(), "deal", datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=2))))
    assert len(got) == 0
    assert list(got.columns) == ["record_id", "as_of"]
    assert open_at(History(), "lead", UNTIL).dtype.kind == "U"
    assert np.issubdtype(got["as_of"].dt.tz_localize(None).dtype, np.datetime64)
