"""Signatures as Standard Webhooks has them: of the message's id, its moment and its body.

Source: the Standard Webhooks specification, https://www.standardwebhooks.com, symmetric signatures (``v1``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from crm.errors import InputError

#: Moments further away are refused, in both directions.
TOLERANCE: Final = timedelta(minutes=5)
PREFIX: Final = "whsec_"
#: Bytes that a secret may have.
SIZES: Final = range(24, 65)
#: Signatures of one message that are looked at; a sender that changes its secret sends two.
MOST_SIGNATURES: Final = 10

Fault = Literal["missing_headers", "bad_timestamp", "bad_signature"]
_ID: Final = re.compile(r"[\x21-\x7e]{1,255}")
_SECONDS: Final = re.compile(r"[0-9]{1,11}")


def read_secret(text: str) -> bytes:
    """Give the bytes of a secret.

    Parameters
    ----------
    text : str
        ``whsec_`` and base64, as Standard Webhooks writes it.

    Raises
    ------
    InputError
        If it is none; the message does not show it.
    """
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(PREFIX) or len(secret) not in SIZES:
        raise InputError(
            f"the secret of a webhook must be {PREFIX} and then {SIZES.start} to {SIZES.stop - 1} bytes "
            "in base64; it is not shown here"
        )
    return secret


def sign(secret: bytes, message_id: str, at: datetime, body: bytes) -> str:
    """Give the signature of a message.

    Examples
    --------
    The example of the specification:

    >>> secret = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> at = datetime.fromtimestamp(1614265330, UTC)
    >>> sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = b".".join((message_id.encode(), str(int(at.timestamp())).encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def signed_headers(secret: bytes, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Give the headers that a message is sent with."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": sign(secret, message_id, at, body),
    }


def check(secrets: Iterable[bytes], headers: Mapping[str, str], body: bytes, now: datetime) -> Fault | None:
    """Say what is wrong with a message that came in; None where it is signed as it should be.

    Parameters
    ----------
    secrets : iterable of bytes
        Any of them may have signed: two, while one takes the place of the other.
    headers : mapping of str to str
        Names in lower case.
    body : bytes
    now : datetime
    """
    message_id = headers.get("webhook-id", "")
    stamp, given = headers.get("webhook-timestamp", ""), headers.get("webhook-signature", "")
    if not _ID.fullmatch(message_id) or not given or not stamp:
        return "missing_headers"
    if not _SECONDS.fullmatch(stamp):
        return "bad_timestamp"
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(stamp))
    if abs(now - at) > TOLERANCE:
        return "bad_timestamp"
    presented = [one.encode() for one in given.split(" ")[:MOST_SIGNATURES]]
    is_right = False
    # Every pair is compared, however early one fits.
    for secret in secrets:
        wanted = sign(secret, message_id, at, body).encode()
        for one in presented:
            is_right |= hmac.compare_digest(wanted, one)
    return None if is_right else "bad_signature"
