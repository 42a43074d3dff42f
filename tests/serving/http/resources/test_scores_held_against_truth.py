"""Past scores beside what came of them, counted by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from crm.history import History
from crm.known import known_at
from crm.validation import validate_history
from serving.answering.track_record import ScoreRecord, score_record

AS_OF = pd.Timestamp("2026-07-01", tz="UTC")


def day(number: int) -> pd.Timestamp:
    """Give a day of 2026, from 0."""
    return pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=number)


def history() -> History:
    """Give deals W (won, day 50), L (lost, day 60), O (open), and leads A (its deal won, day 40) and B."""
    deals = pd.DataFrame(
        {
            "deal_id": ["W", "L", "O", "DA"],
            "lead_id": [None, None, None, "A"],
            "created_at": [day(0)] * 4,
            "outcome": ["won", "lost", None, "won"],
            "closed_at": [day(50), day(60), None, day(40)],
        }
    )
    leads = pd.DataFrame({"lead_id": ["A", "B"], "created_at": [day(0)] * 2})
    return validate_history({"deals": deals, "leads": leads})


def log(*rows: tuple[str, int, float]) -> pd.DataFrame:
    """Give kept scores: record, day, probability; scored an hour after their as_of."""
    frame = pd.DataFrame(rows, columns=["record_id", "day", "probability"])
    as_of = pd.Series([day(int(one)) for one in frame["day"]], dtype="datetime64[us, UTC]")
    return frame.assign(as_of=as_of, scored_at=as_of + pd.Timedelta(hours=1))


def judged(
    entity: str, kept: pd.DataFrame, as_of: pd.Timestamp = AS_OF, horizon: float | None = None
) -> ScoreRecord:
    """Hold scores against the history as known then."""
    return score_record(kept, known_at(history(), as_of), entity, as_of, horizon)


def test_deals_are_judged_when_closed_and_open_ones_wait() -> None:
    """Won and lost count in their bands, an open deal is pending and never lost."""
    found = judged("deal", log(("W", 10, 0.75), ("L", 10, 0.72), ("O", 10, 0.74)))
    band = found.bands.loc[7]
    assert (band["low"], band["n"], band["n_came"], band["n_pending"]) == (0.7, 2, 1, 1)
    assert band["shown"] == pytest.approx(0.735) and band["came"] == 0.5
    assert 0 < band["came_low"] < 0.5 < band["came_high"] < 1
    assert (found.n_records, found.n_pending) == (2, 1)
    assert found.brier == pytest.approx((0.25**2 + 0.72**2) / 2)
    assert found.brier_of_share == pytest.approx(0.25)


def test_a_record_counts_once_a_band() -> None:
    """A score that is kept each night counts as one; a move to another band counts there too."""
    nights = [("W", number, 0.55) for number in range(10)] + [("W", 20, 0.95)]
    found = judged("deal", log(*nights))
    assert found.bands["n"].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 1]


def test_the_ends_of_the_bands_are_in_one_band_each() -> None:
    """0 is in the first band, 0.1 in the second, 1 in the last."""
    found = judged("deal", log(("W", 1, 0.0), ("L", 1, 0.1), ("DA", 1, 1.0)))
    assert [place for place, n in enumerate(found.bands["n"]) if n] == [0, 1, 9]


def test_leads_are_judged_by_their_horizon() -> None:
    """A lead bought within the horizon came; after the horizon it did not; a younger score is pending."""
    kept = log(("A", 1, 0.3), ("B", 1, 0.4), ("B", 170, 0.6))
    found = judged("lead", kept, horizon=90)
    assert (found.n_records, found.n_pending) == (2, 1)
    assert found.bands.loc[3, "n_came"] == 1 and found.bands.loc[4, "n_came"] == 0
    late = judged("lead", log(("A", 1, 0.3)), horizon=30)
    assert late.n_records == 1 and late.bands["n_came"].sum() == 0


def test_what_came_later_is_not_known_yet() -> None:
    """As of a day before the end of a deal it is pending, and scores made later do not count."""
    kept = log(("W", 10, 0.75), ("W", 55, 0.2))
    found = judged("deal", kept, day(45))
    assert (found.n_records, found.n_pending) == (0, 1)
    assert math.isnan(found.brier)


def test_a_score_made_when_the_end_was_known_is_counted_apart() -> None:
    """A replay as of the past shows the method and is no record that was kept at the time."""
    kept = log(("W", 10, 0.75))
    replay = kept.assign(scored_at=day(100))
    assert judged("deal", kept).n_after_the_fact == 0
    assert judged("deal", replay).n_after_the_fact == 1


def test_records_that_are_no_longer_there_say_nothing() -> None:
    """A forgotten record's score is left out, and no score at all is an empty table."""
    assert judged("deal", log(("forgotten", 10, 0.5))).n_records == 0
    assert judged("deal", log(("W", 10, 0.5)).iloc[:0]).bands["n"].sum() == 0
