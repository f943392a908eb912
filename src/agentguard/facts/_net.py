"""Facts about hosts and URLs."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentguard.facts._budget import UnparsedError
from agentguard.facts._lists import suspicious_ports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.facts._lists import Address, HostList

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21, "ssh": 22, "git": 9418}
USUAL_SCHEMES = frozenset(("http", "https", "ws", "wss", "ssh"))
_SCP = re.compile(r"[\w.-]{1,64}@([\w.-]+):[^/].*", re.ASCII)
MAX_PORT = 65535
_MAX_HOST = 253
_METADATA_NAMES = frozenset(("metadata.google.internal", "metadata.goog", "metadata", "instance-data", "metadata.azure.internal", "metadata.tencentyun.com"))  # fmt: skip
_METADATA_ADDRESSES = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "169.254.170.2", "169.254.169.253", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    )
)  # fmt: skip
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_PLAIN_IPV4 = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})", re.ASCII)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+", re.ASCII)
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*", re.ASCII)
# Which default port speaks which scheme: the one on the other's port is no mistake that anyone makes.
_OTHERS_PORTS = {
    "http": {443, 22, 25, 21, 53},
    "https": {80, 22, 25, 21, 53},
    "ws": {443, 22},
    "wss": {80, 22},
}
_RIDDLES = 4


class Host:
    """A host in its canonical form; `address` where it is one, in whatever spelling."""

    __slots__ = ("address", "name", "odd")

    def __init__(self, text: str) -> None:
        name = text.strip().lower().rstrip(".")
        if name.startswith("[") and name.endswith("]"):
            name = name[1:-1]
        if not name or len(name) > _MAX_HOST:
            raise UnparsedError("is no host")
        self.odd = False
        self.address: Address | None = self._as_address(name)
        if self.address is None and not name.isascii():
            name = _as_ascii(name)
            self.address = self._as_address(name)
            self.odd = self.address is not None
        if self.address is None and _NAME.fullmatch(name) is None:
            raise UnparsedError("is no host")
        self.name = name if self.address is None else str(self.address)

    def _as_address(self, name: str) -> Address | None:
        if ":" in name:
            return self._as_ipv6(name)
        plain = _PLAIN_IPV4.fullmatch(name) is not None
        parts = name.split(".")
        if len(parts) > _RIDDLES or not all(_NUMBER.fullmatch(part) for part in parts):
            return None
        self.odd = not plain
        return _classful(parts)

    def _as_ipv6(self, name: str) -> Address:
        try:
            address = ipaddress.IPv6Address(name.partition("%")[0])
        except ValueError:
            raise UnparsedError("is no host") from None
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and int(address) >> 32 == 0x64_FF9B << 64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is None and 1 < int(address) < 1 << 32:
            inner = ipaddress.IPv4Address(int(address))
        if inner is not None:
            self.odd = True
            return inner
        return address


def _as_ascii(name: str) -> str:
    """Return the name as a resolver gets it (UTS 46): full-width digits and dots become plain ones."""
    import idna

    try:
        return idna.encode(name, uts46=True, transitional=False).decode("ascii")
    except idna.IDNAError:
        raise UnparsedError("is no host") from None


def _classful(parts: list[str]) -> Address:
    """Return an IPv4 address as `inet_aton` reads it: each part decimal, octal or hexadecimal, the last long."""
    try:
        numbers = [int(p, 16) if p[:2].lower() == "0x" and p[2:] else int(p, 8 if p[0] == "0" and p != "0" else 10) for p in parts]  # fmt: skip
    except ValueError:
        raise UnparsedError("is no host") from None
    *head, last = numbers
    if any(part > 255 for part in head) or last >= 1 << (8 * (5 - len(numbers))):  # noqa: PLR2004 - a byte
        raise UnparsedError("is no host")
    return ipaddress.IPv4Address(sum(part << (24 - 8 * at) for at, part in enumerate(head)) + last)


def host_facts(text: str, lists: Mapping[str, HostList]) -> dict[str, Any]:
    """Return the facts of a host with or without a port.

    Raises:
        UnparsedError: it is none.
    """
    host, port = split_port(text)
    facts = _of_host(Host(host), lists)
    if port is not None:
        facts |= port_facts(port)
    return facts


def split_port(text: str) -> tuple[str, int | None]:
    """Split `host:port`, `[v6]:port`.

    Raises:
        UnparsedError: the port is none.
    """
    text = text.strip()
    bracket = text.rfind("]")
    if text.count(":") > 1 and bracket < 0:
        return text, None
    host, colon, port = text.rpartition(":")
    if not colon or len(text) - len(port) <= bracket:
        return text, None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= MAX_PORT):  # noqa: PLR2004
        raise UnparsedError("has no port that is a number")
    return host, int(port)


def port_facts(port: int) -> dict[str, Any]:
    """Return the facts of a port."""
    return {"net.port": (port,), "net.suspicious_port": port in suspicious_ports()}


def address_facts(text: str) -> dict[str, Any]:
    """Return the facts of an address that a name was resolved to: what it is, not that it was written.

    Raises:
        UnparsedError: it is no address.
    """
    host = Host(text)
    if host.address is None:
        raise UnparsedError("is no address")
    return _of_address(host.address)


def url_facts(text: str, lists: Mapping[str, HostList]) -> dict[str, Any]:
    """Return the facts of an absolute URL, or of one that begins with `www.`, as people write them.

    Raises:
        UnparsedError: it is none.
    """
    scp = _SCP.fullmatch(text)
    if scp:
        text = f"ssh://{scp[1]}/"
    elif text[:4].lower() == "www.":
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        raise UnparsedError("is no URL") from None
    if not scheme or not host:
        raise UnparsedError("is no absolute URL")
    # Browsers and clients drop these or take a backslash for a slash: two readers, two hosts.
    odd = any(char in text for char in "\t\r\n\\ ") or not text.isprintable()
    facts = _of_host(Host(host), lists)
    facts["net.scheme"] = (scheme,)
    facts["net.unusual_scheme"] = scheme not in USUAL_SCHEMES
    number = port if port is not None else DEFAULT_PORTS.get(scheme)
    if number is not None:
        facts |= port_facts(number)
    facts["net.protocol_violation"] = (
        odd
        or ("@" in parts.netloc and (scheme != "ssh" or parts.password is not None))
        or (port is not None and port in _OTHERS_PORTS.get(scheme, ()))
    )
    return facts


def _of_host(host: Host, lists: Mapping[str, HostList]) -> dict[str, Any]:
    on = tuple(name for name, entries in lists.items() if entries.holds(host.name, host.address))
    facts: dict[str, Any] = {
        "net.host": (host.name,),
        "net.is_ip": host.address is not None,
        "net.is_odd_spelling": host.odd,
        "net.list": on or ("none",),
        "net.allowed": bool(on),
        "net.is_loopback": host.name == "localhost" or host.name.endswith(".localhost"),
        "net.is_metadata": host.name in _METADATA_NAMES,
        "net.is_private": False,
        "net.is_link_local": False,
    }
    if host.address is not None:
        facts |= _of_address(host.address)
    return facts


def _of_address(address: Address) -> dict[str, Any]:
    loopback = address.is_loopback or address.is_unspecified
    private = address.is_private and not loopback and not address.is_link_local
    shared = address.version == 4 and address in _SHARED  # noqa: PLR2004 - of IP
    return {
        "net.is_loopback": loopback,
        "net.is_link_local": address.is_link_local,
        "net.is_private": private or shared,
        "net.is_metadata": address in _METADATA_ADDRESSES,
    }
