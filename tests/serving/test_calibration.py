"""The calibrator is monotone, within 0 and 1, and refuses what is not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.errors import BundleError
from serving.calibration import Calibrator

CALIBRATORS = [
    Calibrator(),
    Calibrator("platt", slope=0.7, offset=-0.3),
    Calibrator("isotonic", knots=((-2.0, 0.0), (-1.0, 0.2), (0.5, 0.2), (3.0, 0.9))),
]


@pytest.mark.parametrize("calibrator", CALIBRATORS, ids=lambda c: c.kind)
@given(margins=st.lists(st.floats(-40, 40), min_size=2))
def test_ranking_is_kept(calibrator: Calibrator, margins: list[float]) -> None:
    """A higher margin never gets a lower probability, and all lie within 0 and 1."""
    p = calibrator.probability(np.sort(np.array(margins)))
    assert (np.diff(p) >= 0).all()
    assert ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize("calibrator", CALIBRATORS, ids=lambda c: c.kind)
def test_json_gives_the_same_map(calibrator: Calibrator) -> None:
    """Through JSON and back, every probability is equal bit for bit."""
    margins = np.linspace(-5, 5, 101)
    again = Calibrator.from_json_dict(json.loads(json.dumps(calibrator.to_json_dict())))
    np.testing.assert_array_equal(calibrator.probability(margins), again.probability(margins))


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "beta"},
        {"kind": "platt", "slope": 0.0},
        {"kind": "platt", "slope": -1.0},
        {"kind": "platt", "offset": float("nan")},
        {"kind": "isotonic"},
        {"kind": "isotonic", "knots": ((0.0, 0.5), (1.0, 0.4))},
        {"kind": "isotonic", "knots": ((1.0, 0.4), (1.0, 0.5))},
        {"kind": "isotonic", "knots": ((0.0, 0.5), (1.0, 1.1))},
        {"kind": "isotonic", "knots": ((0.0, -0.1), (1.0, 0.5))},
        {"kind": "isotonic", "knots": ((float("nan"), 0.1), (1.0, 0.5))},
    ],
)
def test_what_would_turn_the_ranking_is_refused(arguments: dict[str, Any]) -> None:
    """A map that falls, leaves [0, 1] or is unknown cannot be made."""
    with pytest.raises(BundleError, match="calibrator"):
        Calibrator(**arguments)
