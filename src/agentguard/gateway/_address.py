"""Which addresses may be dialled: the name is resolved here, checked, and just that address is connected to."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

if TYPE_CHECKING:
    from collections.abc import Collection

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

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


class GuardedResolver(AbstractResolver):
    """Resolves names; one that leads to anything but public addresses is refused, unless it is in `local`.

    The connector dials the addresses that it got from here, so a second answer of a name server is never asked
    for between the check and the connection.
    """

    def __init__(self, local: Collection[str], resolver: AbstractResolver | None = None) -> None:
        self._local = frozenset(local)
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: it has none, or one that may not be dialled.
        """
        found = await self._resolver.resolve(host, port, family)
        if host not in self._local:
            for each in found:
                if not is_public(ipaddress.ip_address(each["host"].partition("%")[0])):
                    raise ForbiddenAddressError(f"`{host}` leads to a private address")
        return found

    async def close(self) -> None:
        """Release the resolver."""
        await self._resolver.close()
