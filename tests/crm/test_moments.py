"""Moments as microseconds: one value and a column agree, and what is missing stays what the caller says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from crm.errors import InputError
from crm.moments import MISSING, NEVER, column_in_micros, in_micros


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2024, 3, 1, 12, 0, 0, 5, tzinfo=UTC),
        datetime(2024, 3, 1, 14, 0, 0, 5, tzinfo=timezone(timedelta(hours=2))),
        datetime(2024, 3, 1, 12, 0, 0, 5),  # noqa: DTZ001 - one without a zone is the case
        np.datetime64("2024-03-01T12:00:00.000005"),
        pd.Timestamp("2024-03-01T12:00:00.000005", tz="UTC"),
        "2024-03-01T13:00:00.000005+01:00",
    ],
)
def test_every_form_of_a_moment_is_the_same_number(moment: object) -> None:
    """However a moment is written, it is the same count of microseconds."""
    assert in_micros(moment) == 1_709_294_400_000_005


@pytest.mark.parametrize("moment", [None, pd.NaT])
def test_no_moment_is_missing(moment: object) -> None:
    """None and NaT come before every moment."""
    assert in_micros(moment) == MISSING < in_micros("0001-01-01T00:00:00+00:00")


@pytest.mark.parametrize("moment", [7.5, "yesterday"])
def test_what_is_no_moment_is_refused(moment: object) -> None:
    """The message names the value."""
    with pytest.raises(InputError, match=f"{moment}"):
        in_micros(moment)


def test_a_column_agrees_with_its_values_whatever_its_unit() -> None:
    """A column in nanoseconds or microseconds gives the numbers of its values, and the asked one for none."""
    texts = ["1969-12-31T23:59:59.999999+00:00", None, "2024-03-01T12:00:00.000005+00:00"]
    for unit in ("ns", "us"):
        column = pd.Series(pd.to_datetime(texts, format="ISO8601", utc=True)).dt.as_unit(unit)
        assert column_in_micros(column).tolist() == [in_micros(text) for text in texts]
        assert column_in_micros(column, missing=NEVER).tolist() == [-1, NEVER, 1_709_294_400_000_005]
