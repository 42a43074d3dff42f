"""The linear part: transforms, exact contributions, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.errors import BundleError
from serving.linear import LinearPart, Term

PART = LinearPart(
    (
        Term(0, "log1p", 0.8, mean=1.0, scale=2.0, fill=3.0, center=0.1),
        Term(1, "identity", -0.5, mean=4.0, scale=0.5),
        Term(2, "level", 1.5, level=0.0, center=0.4),
        Term(2, "level", -0.7, level=2.0, center=0.2),
        Term(1, "missing", 0.3, center=0.05),
        Term(0, "at_least", 0.9, level=1.0, center=0.5),
        Term(0, "at_least", -0.4, level=2.0),
        Term(0, "identity", 0.01, fill=1.0),
    ),
    intercept=-1.25,
)
VALUES = st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.sampled_from([0.0, 1.0, 2.0]))
ROWS = st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=20)


def test_each_transform_by_hand() -> None:
    """One row worked out by hand: log of a negative number, a missing number, a level."""
    x = np.array([[-(np.e - 1), np.nan, 2.0]])
    by_hand = -1.25 + 0.8 * (-1 - 1) / 2 - 0.5 * (0 - 4) / 0.5 + 0 - 0.7 + 0.3 - 0.01 * (np.e - 1)
    assert PART.margin(x)[0] == pytest.approx(by_hand)


@given(ROWS)
def test_contributions_sum_to_the_margin(rows: list[tuple[float, float, float]]) -> None:
    """Expected margin and contributions sum to the margin; the levels of a category are one feature."""
    x = np.array(rows)
    parts = PART.contributions(x)
    assert parts.shape == x.shape
    np.testing.assert_allclose(PART.expected + parts.sum(axis=1), PART.margin(x), rtol=1e-12, atol=1e-9)


@given(ROWS)
def test_parts_are_the_terms_one_by_one(rows: list[tuple[float, float, float]]) -> None:
    """Tables and slopes add up to what each term gives alone, at every bound and between."""
    x = np.array([*rows, (1.0, 0.0, 2.0), (np.nextafter(2.0, 0), np.nan, np.nextafter(2.0, 3)), (2, 1, 0)])
    by_term = np.zeros(x.shape)
    for place, term in enumerate(PART.terms):
        by_term[:, term.feature] += term.coefficient * (PART.standardised(x)[:, place] - term.center)
    np.testing.assert_allclose(PART.contributions(x), by_term, rtol=1e-13, atol=1e-12)


@given(ROWS)
def test_a_row_is_the_same_alone(rows: list[tuple[float, float, float]]) -> None:
    """A row's margin and contributions are equal bit for bit alone and in a batch."""
    x = np.array(rows)
    np.testing.assert_array_equal(PART.margin(x)[-1:], PART.margin(x[-1:]))
    np.testing.assert_array_equal(PART.contributions(x)[-1:], PART.contributions(x[-1:]))
    many = np.tile(x, (300, 1))
    np.testing.assert_array_equal(PART.margin(many)[-1:], PART.margin(x[-1:]))
    np.testing.assert_array_equal(PART.contributions(many)[-1:], PART.contributions(x[-1:]))


def test_an_infinite_value_counts_as_missing() -> None:
    """A text such as 1e400 reads as an infinity, which must not become the margin."""
    endless, unknown = np.array([[np.inf, -np.inf, 1.0]]), np.array([[np.nan, np.nan, 1.0]])
    np.testing.assert_array_equal(PART.margin(endless), PART.margin(unknown))
    np.testing.assert_array_equal(PART.contributions(endless), PART.contributions(unknown))


def test_json_gives_the_same_part() -> None:
    """Through JSON and back, the part is equal."""
    assert LinearPart.from_json_dict(json.loads(json.dumps(PART.to_json_dict()))) == PART


@pytest.mark.parametrize(
    "term", [{"scale": 0.0}, {"coefficient": float("inf")}, {"transform": "sqrt"}, {"feature": -1}]
)
def test_bad_terms_are_refused(term: dict[str, object]) -> None:
    """A scale of 0, a number that is not finite, an unknown transform and a negative column are refused."""
    arguments = {"feature": 0, "transform": "identity", "coefficient": 1.0} | term
    with pytest.raises(BundleError, match="linear part"):
        Term(**arguments)  # type: ignore[arg-type]
