"""How counts follow the calendar: what is found, and that nothing is found where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from serving.calendar_effects import fit_beat
from serving.rhythm import PARTS, kinds_of

YEARS = np.arange(19_000, 19_000 + 3 * 365)


def test_a_push_at_the_end_of_quarters_is_found() -> None:
    """Twice as many closings in a quarter's last two weeks: they get about twice the others' factor."""
    pushed = kinds_of(YEARS)["quarter_weeks"] < 2
    seen = np.random.default_rng(1).poisson(np.where(pushed, 8.0, 4.0)).astype(np.float64)
    beat = fit_beat(seen, np.full(len(YEARS), seen.mean()), int(YEARS[0]))
    factor = beat.by_day(YEARS)
    assert factor[pushed].mean() / factor[~pushed].mean() == pytest.approx(2.0, rel=0.1)


def test_an_even_calendar_stays_even() -> None:
    """Where all days are alike, every kind of day has a factor near 1, though chance makes them differ."""
    seen = np.random.default_rng(2).poisson(4.0, len(YEARS)).astype(np.float64)
    beat = fit_beat(seen, np.full(len(YEARS), seen.mean()), int(YEARS[0]))
    for part in PARTS:
        assert np.log(getattr(beat, part)) == pytest.approx(0.0, abs=0.08), part
    assert beat.by_day(YEARS).std() < 0.06


def test_growth_is_not_taken_for_a_season() -> None:
    """What is expected of each day is taken out: a tenfold growth that was expected leaves no season."""
    expected = np.geomspace(1.0, 10.0, len(YEARS))
    seen = np.random.default_rng(3).poisson(expected).astype(np.float64)
    beat = fit_beat(seen, expected, int(YEARS[0]))
    assert np.log(beat.months) == pytest.approx(0.0, abs=0.06)


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (100, {"weekdays"}),
        (200, {"weekdays", "month_weeks"}),
        (600, set(PARTS)),
    ],
)
def test_a_part_of_the_calendar_is_told_from_several_of_its_turns(days: int, told: set[str]) -> None:
    """A busy spring is not expected to come back, nor is the end of the one quarter that was seen."""
    seen = np.where(np.arange(days) % 91 < 30, 9.0, 3.0) + YEARS[:days] % 2
    beat = fit_beat(seen, np.full(days, seen.mean()), int(YEARS[0]))
    assert {part for part, size in PARTS.items() if getattr(beat, part) != (1.0,) * size} == told
