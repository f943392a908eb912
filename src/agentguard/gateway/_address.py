"""Which addresses may be dialled: the name is resolved here, checked, and just that address is connected to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    Ask = Callable[[str], Awaitable[list[str]]]
    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TTL_S = 60.0
# Global addresses in which another one is hidden: NAT64 and 6to4 (RFC 6052, RFC 3056).
_WRAPPERS = tuple(ipaddress.ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"))


class ForbiddenAddressError(OSError):
    """A name leads to an address that may not be dialled."""


def is_public(address: Address) -> bool:
    """Tell whether an address is on the public internet: no private, link-local, metadata or wrapped one."""
    inner = getattr(address, "ipv4_mapped", None)
    if inner is not None:
        return is_public(inner)
    if address.is_multicast or any(address in net for net in _WRAPPERS if net.version == address.version):
        return False
    return address.is_global


class GuardedResolver:
    """Resolves names; one that leads to anything but public addresses is refused, unless it is in `local`.

    What dials connects to the addresses that it got from here, so a second answer of a name server is never asked
    for between the check and the connection. `ask` returns the addresses of a host, by default the system's.
    """

    def __init__(self, local: Collection[str], ask: Ask | None = None) -> None:
        self._local = frozenset(local)
        self._ask = ask or _ask
        self._known: dict[str, tuple[float, list[str]]] = {}

    async def resolve(self, host: str) -> list[str]:
        """Return the addresses of a host, in the order in which to try them; remembered for a minute.

        Raises:
            OSError: it has none, or one that may not be dialled.
        """
        now = asyncio.get_running_loop().time()
        until, addresses = self._known.get(host, (0.0, []))
        if now < until:
            return addresses
        addresses = await self._ask(host)
        if host not in self._local:
            for each in addresses:
                if not is_public(ipaddress.ip_address(each.partition("%")[0])):
                    raise ForbiddenAddressError(f"`{host}` leads to a private address")
        if not addresses:
            raise OSError(f"`{host}` has no address")
        self._known[host] = (now + _TTL_S, addresses)
        return addresses

    def forget(self, host: str) -> None:
        """Ask anew next time: none of the addresses answers."""
        self._known.pop(host, None)


async def _ask(host: str) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
