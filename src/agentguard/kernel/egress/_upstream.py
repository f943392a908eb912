"""Looking names up for an agent, at resolvers that it does not choose: what they say of private places is refused."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import msgspec

from agentguard.core import ConfigError
from agentguard.kernel.egress._addresses import check_port, parse_prefix, unmapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentguard.kernel.egress._addresses import Address, Network

ADDRESSES = (dns.rdatatype.A, dns.rdatatype.AAAA)
_RESOLV_CONF = Path("/etc/resolv.conf")
_KEPT = 1024
_LONGEST_S, _SHORTEST_S = 300, 1
_FAILED_S = 1.0
_AT_ONCE = 64
# Addresses that carry an IPv4 address inside (RFC 6052, RFC 3056, RFC 4380, RFC 4291).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


class UpstreamError(Exception):
    """A name leads nowhere; the text says why. `is_refused` where it leads to a place that is not for agents."""

    def __init__(self, reason: str, *, is_refused: bool = False) -> None:
        super().__init__(reason)
        self.is_refused = is_refused


class Looked(msgspec.Struct, frozen=True):
    """What a resolver said: the code of RFC 1035, and the records."""

    code: int
    records: tuple[dns.rrset.RRset, ...]


def is_outside(address: Address) -> bool:
    """Tell whether an address is one of the internet: not private, link-local, loopback, shared or multicast."""
    address = unmapped(address)
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_outside(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        inner = address.sixtofour or (address.teredo and address.teredo[1])
        if inner is not None and not is_outside(inner):
            return False
        if address.is_site_local or address in _COMPATIBLE:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def system_servers(path: Path = _RESOLV_CONF) -> tuple[tuple[str, int], ...]:
    """Return the resolvers that the system uses."""
    found = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            found.append((words[1], 53))
    return tuple(found[:3])


class Upstream:
    """The resolvers, and what they said of late. For one event loop."""

    def __init__(
        self,
        servers: Sequence[tuple[str, int]] | None = None,
        *,
        inside: Sequence[Network] = (),
        timeout_s: float = 4.0,
    ) -> None:
        """Ask `servers` (address and port; by default the system's). `inside` are private places that answers may name."""
        self._servers = tuple(servers) if servers is not None else system_servers()
        self._inside = tuple(inside)
        self._timeout_s = timeout_s
        self._cache: OrderedDict[tuple[str, int], tuple[float, Looked]] = OrderedDict()
        self._busy: dict[tuple[str, int], asyncio.Future[Looked]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    def may_lead_to(self, address: Address) -> bool:
        """Tell whether an answer may name this address."""
        address = unmapped(address)
        return is_outside(address) or any(
            address.version == each.version and address in each for each in self._inside
        )

    async def look(self, name: str, kind: int) -> Looked:
        """Return what the resolvers say of a normal name.

        Raises:
            UpstreamError: none answers, or the answer names a place that is not for agents.
        """
        key = (name, kind)
        known = self._cache.get(key)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        waiting = self._busy.get(key)
        if waiting is not None:
            return await asyncio.shield(waiting)
        return await self._look_anew(key)

    async def _look_anew(self, key: tuple[str, int]) -> Looked:
        future: asyncio.Future[Looked] = asyncio.get_running_loop().create_future()
        self._busy[key] = future
        try:
            async with self._room:
                looked = await self._ask(*key)
            self._check(key[0], looked)
        except BaseException as error:
            if not future.cancelled():
                future.set_exception(
                    error if isinstance(error, UpstreamError) else UpstreamError("the look-up was ended")
                )
                future.exception()
            raise
        else:
            future.set_result(looked)
            self._keep(key, looked)
            return looked
        finally:
            del self._busy[key]

    def _keep(self, key: tuple[str, int], looked: Looked) -> None:
        ttl = min((each.ttl for each in looked.records), default=_SHORTEST_S)
        self._cache[key] = (time.monotonic() + min(max(ttl, _SHORTEST_S), _LONGEST_S), looked)
        self._cache.move_to_end(key)
        while len(self._cache) > _KEPT:
            self._cache.popitem(last=False)

    async def _ask(self, name: str, kind: int) -> Looked:
        # A question of our own: nothing that the agent wrote besides the name leaves with it.
        query = dns.message.make_query(
            dns.name.from_text(name), dns.rdatatype.RdataType.make(kind), use_edns=0, payload=1232
        )
        why = "no resolver is configured"
        for host, port in self._servers:
            try:
                answer, _ = await dns.asyncquery.udp_with_fallback(
                    query,
                    host,
                    timeout=self._timeout_s,
                    port=port,
                    ignore_unexpected=True,
                    ignore_errors=True,
                )
            except (OSError, dns.exception.DNSException, ValueError, EOFError) as error:
                why = f"the resolver {host} does not answer ({type(error).__name__.lower()})"
                continue
            code = int(answer.rcode())
            if code in {dns.rcode.SERVFAIL, dns.rcode.REFUSED}:
                why = f"the resolver {host} answers {dns.rcode.to_text(dns.rcode.Rcode(code)).lower()}"
                continue
            return Looked(code, tuple(each for each in answer.answer if each.rdclass == dns.rdataclass.IN))
        raise UpstreamError(why)

    def _check(self, name: str, looked: Looked) -> None:
        for record in looked.records:
            if record.rdtype not in ADDRESSES:
                continue
            for each in record:
                if not self.may_lead_to(ipaddress.ip_address(each.address)):
                    raise UpstreamError(
                        f"`{name}` leads to {each.address}, which is no address of the internet",
                        is_refused=True,
                    )

    async def addresses(self, name: str) -> list[Address]:
        """Return the addresses of a name, those of IPv4 first.

        Raises:
            UpstreamError: it has none, or none that is for agents.
        """
        answers = await asyncio.gather(*(self.look(name, kind) for kind in ADDRESSES), return_exceptions=True)
        refused = next(
            (each for each in answers if isinstance(each, UpstreamError) and each.is_refused), None
        )
        if refused is not None:
            raise refused
        found = [
            ipaddress.ip_address(each.address)
            for looked in answers
            if isinstance(looked, Looked)
            for record in looked.records
            if record.rdtype in ADDRESSES
            for each in record
        ]
        if found:
            return found
        failed = next((each for each in answers if isinstance(each, BaseException)), None)
        raise failed if isinstance(failed, UpstreamError) else UpstreamError(f"`{name}` has no address")


def parse_upstream(servers: Sequence[str], inside: Sequence[str] = ()) -> Upstream:
    """Return the upstream for resolvers, written `HOST` or `HOST:PORT` (none: the system's), and private prefixes.

    Raises:
        ConfigError: one of them is none.
    """
    found = [_host_and_port(each) for each in servers]
    return Upstream(found or None, inside=[parse_prefix(each) for each in inside])


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = text, "53"
    try:
        found = (
            str(ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)),
            int(port),
        )
        check_port(found[1])
    except ValueError:
        raise ConfigError(
            f"`{text}` is no resolver",
            hint="write an address, or ADDRESS:PORT, as 9.9.9.9 or [2620:fe::fe]:53",
        ) from None
    return found
