"""NPS and CES, computed by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crm.history import History, utc
from crm.periods import parse_period
from crm.validation import validate_history
from features.kpis import measure_kpis
from features.kpis.surveys import net_promoters

MAY = parse_period("2025-05", "Europe/Paris")


def answers(kind: str, scores: list[float], when: str = "2025-05-10T00:00Z", **columns: object) -> History:
    """Give a history of answers to one kind of survey."""
    frame = pd.DataFrame({"score": scores, "kind": kind, "answered_at": when} | columns)
    return validate_history({"surveys": frame.assign(survey_id=[str(n) for n in range(len(frame))])})


def measured(known: History, name: str, as_of: str = "2025-07-01T00:00Z", **options: str) -> pd.DataFrame:
    """Measure one KPI over May 2025, by group."""
    return measure_kpis(known, [MAY], utc(as_of), names=[name], **options).set_index("group")


def test_nps_is_the_share_of_promoters_less_that_of_detractors() -> None:
    """9 and 10 against 0 to 6, 7 and 8 counting below the line only."""
    known = answers("nps", [10, 9, 9, 8, 7, 6, 0, 10])
    found = measured(known, "nps").loc["total"]
    assert (found["value"], found["numerator"], found["denominator"]) == (25, 2, 8)
    assert (found["unit"], found["note"]) == ("points", "4 promoters, 2 passives, 2 detractors")
    # Adjusted Wald of Rocks 2016: 4.75 up, 2.75 down, of 11.
    half = 1.959964 * np.sqrt(((7.5 / 11) - (2 / 11) ** 2) / 11)
    assert found["low"] == pytest.approx(100 * (2 / 11 - half))
    assert found["high"] == pytest.approx(100 * (2 / 11 + half))


def test_the_range_of_nps_holds_its_level() -> None:
    """Of 2,000 samples of 25 answers, 93 to 98% have the true score in their 95% range."""
    random = np.random.default_rng(2)
    counts = random.multinomial(25, [0.5, 0.3, 0.2], size=2000)
    ranges = [net_promoters(up, down, 25) for up, _, down in counts]
    assert 0.93 <= np.mean([found.low <= 30 <= found.high for found in ranges]) <= 0.98


def test_one_answer_and_none() -> None:
    """A single promoter is 100 within a wide range; without answers there is no score."""
    found = measured(answers("nps", [10]), "nps").loc["total"]
    assert (found["value"], found["high"]) == (100, 100)
    assert found["low"] < 0
    for name in ("nps", "ces"):
        none = measured(History(), name).loc["total"]
        assert np.isnan([none["value"], none["low"], none["high"]]).all()
    alone = measured(answers("ces", [4]), "ces").loc["total"]
    assert alone["value"] == 4
    assert np.isnan(alone["low"])


def test_ces_is_a_mean_with_students_range() -> None:
    """5, 6, 7 and 6: mean 6, standard error 0.408, t of three degrees of freedom 3.182; never above 7."""
    found = measured(answers("ces", [5, 6, 7, 6]), "ces").loc["total"]
    assert (found["value"], found["n"]) == (6, 4)
    assert found["low"] == pytest.approx(6 - 3.18245 * np.sqrt(2 / 3 / 4), abs=1e-4)
    assert found["high"] == 7


def test_answers_off_the_scale_are_left_out_and_told() -> None:
    """A 0 and an 8 on a scale from 1 to 7."""
    found = measured(answers("ces", [0, 5, 8]), "ces").loc["total"]
    assert (found["value"], found["note"]) == (5, "2 answers outside 1 to 7 do not count")


def test_the_month_ends_where_the_team_lives_and_late_answers_are_not_known_yet() -> None:
    """22:30 UTC on 31 May is June in Paris; what is recorded at as_of does not exist before."""
    known = answers("nps", [10], "2025-05-31T22:30Z")
    assert measured(known, "nps").loc["total", "denominator"] == 0
    late = answers("nps", [10], recorded_at="2025-06-02T00:00Z")
    assert measured(late, "nps", "2025-06-02T00:00Z").loc["total", "denominator"] == 0
    assert measured(late, "nps", "2025-06-02T00:00:01Z").loc["total", "denominator"] == 1


def test_groups_are_of_the_rep_concerned() -> None:
    """Each rep has the answers about them."""
    known = answers("nps", [10, 0, 10], user_id=["U1", "U2", "U1"])
    found = measured(known, "nps", by="owner")["value"]
    assert found.to_dict() == {"total": pytest.approx(100 / 3), "U1": 100, "U2": -100}
