"""Pages of other origins: none may call, but those that the settings name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

_METHODS: Final = b"GET, POST, PUT, PATCH, DELETE"
_HEADERS: Final = b"Authorization, Content-Type, Idempotency-Key, X-Request-ID, Accept-Language"
_SHOWN: Final = b"X-Request-ID, Retry-After, Idempotency-Replayed"


def cors_headers(headers: Mapping[str, str], origins: Collection[str]) -> list[tuple[bytes, bytes]]:
    """Give the headers by which a browser lets a page of a named origin read the answer."""
    found = [(b"vary", b"Origin")]
    origin = headers.get("origin")
    if origin in origins and origin is not None:
        found.append((b"access-control-allow-origin", origin.encode("latin-1")))
        found.append((b"access-control-expose-headers", _SHOWN))
        if "access-control-request-method" in headers:
            found.append((b"access-control-allow-methods", _METHODS))
            found.append((b"access-control-allow-headers", _HEADERS))
            found.append((b"access-control-max-age", b"600"))
    return found


def preflight(method: str, headers: Mapping[str, str], origins: Collection[str]) -> bool:
    """Say whether a request is a browser's question of whether a page of a named origin may ask."""
    return (
        method == "OPTIONS"
        and headers.get("origin") in origins
        and "access-control-request-method" in headers
    )
