"""Which endpoint a method and a path mean; read from the catalogue once, before the first request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from serving.http.endpoint import Endpoint
from serving.http.problems import METHOD_NOT_ALLOWED, NOT_FOUND, Refusal

#: Characters of an id in a path, as of one in a body.
MAX_ID = 200

Found = tuple[Endpoint, dict[str, str]]


class Routes:
    """The endpoints by path.

    Parameters
    ----------
    endpoints : iterable of Endpoint

    Raises
    ------
    ValueError
        If two endpoints have the same method and path, or the same operation.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._fixed: dict[str, dict[str, Endpoint]] = {}
        patterns: dict[str, dict[str, Endpoint]] = {}
        operations: set[str] = set()
        for endpoint in endpoints:
            methods = (patterns if endpoint.parameters else self._fixed).setdefault(endpoint.path, {})
            if endpoint.method in methods or endpoint.operation in operations:
                raise ValueError(f"{endpoint.method} {endpoint.path} ({endpoint.operation}) is there twice")
            methods[endpoint.method] = endpoint
            operations.add(endpoint.operation)
        self._patterns = [(_compile(path), methods) for path, methods in patterns.items()]

    def find(self, method: str, path: str) -> Found:
        """Give the endpoint and the ids in the path.

        Parameters
        ----------
        method : str
            HEAD means GET.
        path : str
            As it was sent, with its percent signs: an id may hold an encoded slash.

        Raises
        ------
        Refusal
            404 for an unknown path, 405 with ``Allow`` for another method of a known one.
        """
        method = "GET" if method == "HEAD" else method
        known = self._fixed.get(path)
        if known is not None and method in known:
            return known[method], {}
        allowed = set(known or ())
        # A path that is there as it stands is no id of another: GET /v1/leads/score asks for no lead.
        for pattern, methods in self._patterns if known is None else ():
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if method in methods:
                return methods[method], {name: _decode(part) for name, part in match.groupdict().items()}
            allowed |= set(methods)
        if not allowed:
            raise Refusal(NOT_FOUND)
        if "GET" in allowed:
            allowed.add("HEAD")
        raise Refusal(METHOD_NOT_ALLOWED, headers=(("Allow", ", ".join(sorted(allowed))),))


def _compile(path: str) -> re.Pattern[str]:
    parts = [
        f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part) for part in path.split("/")
    ]
    return re.compile("/".join(parts))


def _decode(part: str) -> str:
    try:
        text = unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(NOT_FOUND, "the path is not UTF-8") from None
    if len(text) > MAX_ID or "\0" in text:
        raise Refusal(NOT_FOUND)
    return text
