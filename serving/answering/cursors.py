"""Where a list goes on: the sort key and id of the last record shown, as text that a caller hands back.

A cursor belongs to one question of one scope. It is no secret and grants nothing: whatever it says, only
records that the caller may see are listed, so it is checked and not signed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from typing import NamedTuple

_LETTERS = 12
_LONGEST = 2400


class Place(NamedTuple):
    """The last record shown.

    Parameters
    ----------
    key : float or None
        What the list is sorted by; None where the record has none.
    record_id : str
    """

    key: float | None
    record_id: str


def question_digest(*parts: object) -> str:
    """Give what a cursor remembers of the question it belongs to.

    Examples
    --------
    >>> question_digest("lead", "ann") == question_digest("lead", "bob")
    False
    """
    return hashlib.blake2b(json.dumps(parts, default=str).encode(), digest_size=6).hexdigest()


def write_cursor(place: Place, question: str) -> str:
    """Give the cursor of a place in the answer to a question.

    Examples
    --------
    >>> question = question_digest("lead")
    >>> read_cursor(write_cursor(Place(0.25, "L-1"), question), question)
    Place(key=0.25, record_id='L-1')
    """
    content = json.dumps([question, place.key, place.record_id]).encode()
    return base64.urlsafe_b64encode(_check(content) + content).decode().rstrip("=")


def read_cursor(text: str, question: str) -> Place | None:
    """Give the place of a cursor; None where it is none of this question, or was altered.

    Examples
    --------
    >>> read_cursor("bm9uZQ", question_digest("lead")) is None
    True
    """
    if len(text) > _LONGEST or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        check, content = raw[:_LETTERS], raw[_LETTERS:]
        if check != _check(content):
            return None
        asked, key, record_id = json.loads(content)
    except (ValueError, TypeError):
        return None
    is_key = key is None or (isinstance(key, (int, float)) and math.isfinite(key))
    if asked != question or not is_key or not isinstance(record_id, str):
        return None
    return Place(None if key is None else float(key), record_id)


def _check(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_LETTERS, person=b"vigie cursor").digest()
