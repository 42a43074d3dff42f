"""What a training saw, in a few letters: a digest of each table's content.

Two trainings with the same digests saw the same data, whatever store it came from and in whatever order its
rows lay.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from crm.history import History

#: Letters of a digest; MLflow keeps up to 36.
_LENGTH = 32


def digest_table(frame: pd.DataFrame) -> str:
    """Give a digest of a table's content, whatever the order of its rows.

    Parameters
    ----------
    frame : DataFrame of shape (n, columns)

    Examples
    --------
    >>> frame = pd.DataFrame({"lead_id": ["a", "b"], "amount": [1.0, None]})
    >>> digest_table(frame) == digest_table(frame[::-1])
    True
    >>> digest_table(frame) == digest_table(frame.fillna(0.0))
    False
    """
    names = sorted(str(name) for name in frame.columns)
    rows = np.sort(pd.util.hash_pandas_object(frame[names], index=False).to_numpy())
    heading = "\n".join([str(len(frame)), *names])
    return hashlib.sha256(heading.encode() + b"\0" + rows.astype("<u8").tobytes()).hexdigest()[:_LENGTH]


def digest_history(history: History) -> dict[str, str]:
    """Give the digest of each table that has rows, by name."""
    return {name: digest_table(frame) for name, frame in history.frames().items() if len(frame)}
