"""A network namespace whose only way out is the proxy, for where no programs can be loaded into the kernel.

In it every address is this machine's own: one route says so. Whatever a program connects to, it reaches a socket that
listens on that port of every address; and the socket that accepts says which address was meant. So nothing has to
know of a proxy, and what listens nowhere is refused. The sockets are made inside and served from outside.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import struct
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import KernelError
from agentguard.kernel.egress._names import DEFAULT_PORTS
from agentguard.kernel.egress._proxy import Wanted
from agentguard.kernel.egress._service import Sockets

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection

    from agentguard.kernel._rules import KernelPolicy

_DNS = 53
_BACKLOG = 256
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_NEWROUTE, _REQUEST_ACK_CREATE, _NLMSG_ERROR = 24, 0x1 | 0x4 | 0x400, 2
_TABLE_LOCAL, _PROTO_BOOT, _SCOPE_HOST, _TYPE_LOCAL = 255, 3, 254, 2
_ATTRIBUTE_OIF = 4
_PKTINFO4, _PKTINFO6, _RECVPKTINFO6, _FREEBIND6 = 8, 50, 49, 78
_INFO4, _INFO6 = struct.Struct("i4s4s"), struct.Struct("16si")
_ANCILLARY = 128
# As many descriptors as one message carries, with room to spare.
_MOST_PORTS = 60
_MESSAGE = 8192


class Made(msgspec.Struct, frozen=True):
    """What the descriptors of one message are, in their order: `proxy`, `tcp` or `udp`."""

    kinds: tuple[str, ...]


def ports_of(policy: KernelPolicy) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the ports to listen on for a policy, and what of it cannot be had in a namespace.

    Raises:
        KernelError: there are too many (`policy_unenforceable`).
    """
    ports: set[int] = set()
    notes = []
    allowed = [each for each in policy.networks if each.effect != "deny"]
    for target, numbers in (
        *((each.domain, each.ports) for each in policy.domains),
        *((each.prefix, each.ports) for each in allowed),
    ):
        ports |= set(numbers or DEFAULT_PORTS)
        if not numbers:
            notes.append(
                f"of `{target}` only the ports 80 and 443 can be reached: a namespace needs to know which"
            )
    if any(not each.ports or _DNS in each.ports for each in allowed):
        notes.append("port 53 always goes to our own resolver")
    if policy.mode == "freeze":
        # A person may allow what no rule does.
        ports |= set(DEFAULT_PORTS)
    ports.discard(_DNS)
    if len(ports) > _MOST_PORTS:
        raise KernelError(
            f"the policy names {len(ports)} ports, and without BPF {_MOST_PORTS} can be listened on",
            code="policy_unenforceable",
            hint="name fewer ports, or run it as root",
        )
    return tuple(sorted(ports)), tuple(dict.fromkeys(notes))


def make_sockets(ports: Collection[int]) -> tuple[Made, list[int]]:
    """Make every address this namespace's own and listen on the ports: called inside, before anything is given up.

    Raises:
        OSError: the system refuses.
    """
    _bring_up()
    families = [socket.AF_INET]
    _own_all(socket.AF_INET)
    try:
        _own_all(socket.AF_INET6)
        families.append(socket.AF_INET6)
    except OSError:
        # Without IPv6 there is no way out over it either.
        pass
    kinds: list[str] = []
    made: list[int] = []
    for family in families:
        for port in ports:
            kinds.append("proxy")
            made.append(_listen(family, port))
        kinds += ["tcp", "udp"]
        made += [_listen(family, _DNS), _receive_all(family)]
    return Made(tuple(kinds)), made


def send_sockets(channel: socket.socket, made: tuple[Made, list[int]]) -> None:
    """Hand the sockets over to who serves them, and close them here."""
    kinds, descriptors = made
    socket.send_fds(channel, [msgspec.json.encode(kinds)], descriptors)
    for each in descriptors:
        os.close(each)


def receive_sockets(channel: socket.socket) -> Sockets:
    """Take the sockets over.

    Raises:
        KernelError: none came (`egress_unavailable`).
    """
    try:
        words, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE, 253)
        kinds = msgspec.json.decode(words, type=Made).kinds if words else ()
    except (OSError, msgspec.DecodeError):
        kinds, descriptors = (), []
    found: dict[str, list[socket.socket]] = {"proxy": [], "tcp": [], "udp": []}
    for kind, each in zip(kinds, descriptors, strict=False):
        found[kind].append(socket.socket(fileno=each))
    if not kinds or len(kinds) != len(descriptors):
        raise KernelError(
            "the sockets of the agent's network namespace did not arrive", code="egress_unavailable"
        )
    return Sockets(tuple(found["proxy"]), tuple(found["tcp"]), tuple(found["udp"]))


def _bring_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        flags = struct.unpack(
            "16sH22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        )[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def _own_all(family: int) -> None:
    """Add the route `local default dev lo` (rtnetlink(7)): packets to any address are for this namespace."""
    route = struct.pack("BBBBBBBBI", family, 0, 0, 0, _TABLE_LOCAL, _PROTO_BOOT, _SCOPE_HOST, _TYPE_LOCAL, 0)
    body = route + struct.pack("HHI", 8, _ATTRIBUTE_OIF, socket.if_nametoindex("lo"))
    message = struct.pack("IHHII", 16 + len(body), _NEWROUTE, _REQUEST_ACK_CREATE, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.send(message)
        answer = link.recv(4096)
    kind, number = struct.unpack_from("H", answer, 4)[0], struct.unpack_from("i", answer, 16)[0]
    if kind != _NLMSG_ERROR or number not in {0, -errno.EEXIST}:
        raise OSError(-number, os.strerror(-number))


def _listen(family: int, port: int) -> int:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind(("", port))
    made.listen(_BACKLOG)
    return made.detach()


def _receive_all(family: int) -> int:
    made = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.IPPROTO_IPV6, _RECVPKTINFO6, 1)
        # To answer from whichever address was asked: IPv6 asks more than a route for that.
        made.setsockopt(socket.IPPROTO_IPV6, _FREEBIND6, 1)
    else:
        made.setsockopt(socket.IPPROTO_IP, _PKTINFO4, 1)
    made.bind(("", _DNS))
    return made.detach()


def find_meant(writer: asyncio.StreamWriter) -> Wanted | None:
    """Return which address a connection meant: the accepting socket is at that very address."""
    host, port = writer.get_extra_info("sockname")[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    return Wanted(address, port)


def receive_to(bound: socket.socket, most: int) -> tuple[bytes, object]:
    """Receive one packet, from where it came, and to which address."""
    wire, ancillary, _, whence = bound.recvmsg(most, _ANCILLARY)
    return wire, (whence, ancillary)


def send_from(bound: socket.socket, wire: bytes, whence: object) -> None:
    """Send one packet back from the address that a question was sent to."""
    assert isinstance(whence, tuple)
    peer, ancillary = whence
    bound.sendmsg([wire], [each for each in map(_back, ancillary) if each is not None], 0, peer)


def _back(message: tuple[int, int, bytes]) -> tuple[int, int, bytes] | None:
    level, kind, data = message
    if (level, kind) == (socket.IPPROTO_IP, _PKTINFO4) and len(data) >= _INFO4.size:
        _, _, meant = _INFO4.unpack_from(data)
        return level, kind, _INFO4.pack(0, meant, bytes(4))
    if (level, kind) == (socket.IPPROTO_IPV6, _PKTINFO6) and len(data) >= _INFO6.size:
        meant, _ = _INFO6.unpack_from(data)
        return level, kind, _INFO6.pack(meant, 0)
    return None
