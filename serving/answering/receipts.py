"""Receipts: what a score was made of, so that anybody can ask for it again and compare."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from serving.expected import Floats

#: How long a score holds while nothing new is recorded: most features grow by the day.
VALID_FOR: Final = timedelta(days=1)
_FORM: Final = b"vigie input 1\0"


def input_hash(entity: str, record_id: str, as_of: int, x: Floats, facts: str = "") -> str:
    """Hash everything that an answer was made of.

    Parameters
    ----------
    entity, record_id : str
    as_of : int
        Microseconds since 1970.
    x : ndarray of shape (features,)
        What the model was given; all missing values are alike, and so are both zeros.
    facts : str
        What else the answer says of the record, as text.

    Returns
    -------
    str
        The first 32 characters of a SHA-256.
    """
    values = x + 0.0
    values[np.isnan(values)] = np.nan
    known = f"{entity}\0{record_id}\0{as_of}\0{facts}\0".encode()
    return hashlib.sha256(_FORM + known + values.astype("<f8", copy=False).tobytes()).hexdigest()[:32]


def receipt(model: dict[str, Any], as_of: datetime, digest: str) -> dict[str, Any]:
    """Give a receipt.

    Parameters
    ----------
    model : dict
        ``name``, ``version`` and ``trained_through`` of the model that answered.
    as_of : datetime
        In UTC.
    digest : str
        Of :func:`input_hash`.
    """
    return {
        "model": model["name"],
        "version": model["version"],
        "trained_through": model["trained_through"],
        "as_of": as_of,
        "input_hash": digest,
        "valid_until": as_of + VALID_FOR,
    }
