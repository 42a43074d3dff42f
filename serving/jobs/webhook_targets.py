"""Where events may be sent: https, to public addresses, each looked at where it is really connected to.

A name that means a public address when it is checked and a private one when it is connected to would reach
what only this machine can reach. So a name is looked up once for each attempt, what it means is checked, and
the connection is made to that address; the name is used for the certificate and the Host header alone.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
#: Gives the addresses of a host at a port, as text.
LookUp = Callable[[str, int], Awaitable[Sequence[str]]]

#: Characters of an address of a target.
MOST_CHARACTERS: Final = 2000
#: Addresses of one name that are tried.
MOST_ADDRESSES: Final = 3
#: Networks that hold an IPv4 address in their last four bytes (NAT64).
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class TargetRefused(Exception):
    """A target that events are not sent to; its text says why, without the address."""


@dataclass(frozen=True)
class Target:
    """A target, taken apart.

    Parameters
    ----------
    url : httpx.URL
    host : str
        A name in ASCII, or an address without brackets.
    port : int
    """

    url: httpx.URL
    host: str
    port: int

    @property
    def is_address(self) -> bool:
        """Whether the host is an address rather than a name."""
        return _address(self.host) is not None

    @property
    def host_header(self) -> str:
        """What the Host header says."""
        return self.url.netloc.decode("ascii")

    def at(self, address: str) -> httpx.URL:
        """Give the same with an address in the place of the name."""
        return self.url.copy_with(host=address)


def read_target(text: str) -> Target:
    """Take the address of a target apart.

    Raises
    ------
    TargetRefused
        If it is not one that events are sent to, whatever its name means.

    Examples
    --------
    >>> read_target("https://hooks.example.com/vigie?key=1").host
    'hooks.example.com'
    >>> read_target("http://hooks.example.com/")
    Traceback (most recent call last):
        ...
    serving.jobs.webhook_targets.TargetRefused: must begin with https://
    """
    if len(text) > MOST_CHARACTERS:
        raise TargetRefused(f"must have at most {MOST_CHARACTERS} characters")
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        raise TargetRefused("is no address; write for example https://hooks.example.com/vigie") from None
    if url.scheme != "https":
        raise TargetRefused("must begin with https://")
    if not host:
        raise TargetRefused("names no host")
    if url.userinfo:
        raise TargetRefused("must hold no user and password; deliveries are signed instead")
    if url.fragment:
        raise TargetRefused("must hold no #fragment")
    if url.port is not None and not 1 <= url.port <= 65535:
        raise TargetRefused("must have a port from 1 to 65535")
    return Target(url, host, url.port or 443)


async def look_up(host: str, port: int) -> Sequence[str]:
    """Ask the system what a name means."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def addresses(target: Target, allowed: Sequence[Network], find: LookUp = look_up) -> list[str]:
    """Give the addresses that a target means now.

    Parameters
    ----------
    target : Target
    allowed : sequence of networks
        That are not public, and may be sent to all the same.
    find : async function

    Raises
    ------
    TargetRefused
        If it means none, or one that is not public: then none of them is used.
    """
    try:
        found = [target.host] if target.is_address else list(await find(target.host, target.port))
    except (OSError, UnicodeError):
        raise TargetRefused("names a host that cannot be found") from None
    if not found:
        raise TargetRefused("names a host that cannot be found")
    for one in found:
        address = _address(one)
        if address is None or not is_fit(address, allowed):
            raise TargetRefused(
                "means an address that is not public; who runs the service can allow its network with "
                "webhooks.allow_networks"
            )
    return list(dict.fromkeys(found))[:MOST_ADDRESSES]


def is_fit(address: Address, allowed: Sequence[Network]) -> bool:
    """Say whether events may be sent to an address.

    Examples
    --------
    >>> [is_fit(ipaddress.ip_address(one), ()) for one in ("93.184.215.14", "10.0.0.7", "::ffff:127.0.0.1")]
    [True, False, False]
    """
    inner = _inside(address)
    if inner is not None:
        return is_fit(inner, allowed)
    if any(address in network for network in allowed):
        return True
    return address.is_global and not address.is_multicast


def _inside(address: Address) -> IPv4Address | None:
    """Give the IPv4 address that an IPv6 address leads to, where it leads to one."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
