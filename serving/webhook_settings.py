"""The settings of webhooks, out and in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final

from crm.errors import InputError, shorten

#: Seconds after each failed attempt until the next; after the last there is none.
DELAYS: Final = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class WebhookSettings:
    """Events that are sent to subscriptions, and signed batches that are taken in.

    Parameters
    ----------
    allow_networks : tuple of str
        Networks that are not public to which events may be sent, for example ``"10.2.0.0/16"``; none by
        default: a target on this machine, in a private network or at a cloud's metadata address is refused.
    timeout_seconds : float
        For one attempt: to look the name up, connect, send, and have the status.
    attempts : int
        After so many failed ones an event is a dead letter; 8 at most, which takes about 31 hours.
    most_per_key : int
        Live subscriptions of one key.
    secrets : mapping of str to str
        Hooks in, ``POST /v1/hooks/{name}``: by name the environment variable that holds the secret, never the
        secret itself.
    """

    allow_networks: tuple[str, ...] = ()
    timeout_seconds: float = 10.0
    attempts: int = len(DELAYS) + 1
    most_per_key: int = 100
    secrets: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for network in self.allow_networks:
            try:
                ip_network(network)
            except ValueError:
                raise InputError(
                    f"setting webhooks.allow_networks has {shorten(network)!r}: write a network, for example "
                    "10.2.0.0/16"
                ) from None
        if not 0.1 <= self.timeout_seconds <= 60:
            raise InputError(
                f"setting webhooks.timeout_seconds = {self.timeout_seconds!r}: must be from 0.1 to 60"
            )
        if not 1 <= self.attempts <= len(DELAYS) + 1:
            raise InputError(
                f"setting webhooks.attempts = {self.attempts!r}: must be from 1 to {len(DELAYS) + 1}"
            )
        if self.most_per_key < 1:
            raise InputError(f"setting webhooks.most_per_key = {self.most_per_key!r}: must be at least 1")
        for name, variable in self.secrets.items():
            if not _NAME.fullmatch(name):
                raise InputError(
                    f"setting webhooks.secrets has {shorten(name)!r}: name a hook with small letters, digits "
                    "and hyphens"
                )
            # What is there may be the secret itself, so that the message must not show it.
            if not isinstance(variable, str) or not _VARIABLE.fullmatch(variable):
                raise InputError(
                    f"setting webhooks.secrets.{name}: must be the name of an environment variable, which "
                    "holds the secret"
                )
