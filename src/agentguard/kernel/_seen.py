"""What the kernel saw, decoded: one thing that a process did or tried."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import TYPE_CHECKING

import msgspec

from agentguard.kernel._dns import DnsMessage
from agentguard.kernel._layout import CUT, Kind

if TYPE_CHECKING:
    from typing import Final

O_ACCMODE: Final = 3
O_WRITES: Final = 0o1 | 0o2 | 0o100 | 0o1000  # for writing, creating, truncating
O_DIRECTORY: Final = 0o200000
O_PATH: Final = 0o10000000
_MAX_UNIX = 108
_PROTOCOLS = {6: "tcp", 17: "udp", 262: "tcp", 1: "icmp", 58: "icmp", 255: "raw"}


class Address(msgspec.Struct, frozen=True, gc=False):
    """A peer. `host` is an IP address, or the path of a unix socket (`@` begins an abstract name)."""

    family: str
    host: str
    port: int = 0
    protocol: str = ""


class Seen(msgspec.Struct, gc=False):
    """One thing that a process did (`ret` is not negative) or tried (`ret` is minus the errno).

    `path` is resolved by the kernel where `flags` (`Flag`) has no CLAIMED, and else as the process wrote it, made
    absolute. `other` is the second path of a rename or a link, `argv` a program's arguments. Times are
    nanoseconds since the machine's start; `start_ns` tells apart processes that had one pid.
    """

    kind: Kind
    time_ns: int
    cgroup: int
    pid: int
    start_ns: int
    ret: int = 0
    flags: int = 0
    a0: int = 0
    a1: int = 0
    nr: int = 0
    tid: int = 0
    ppid: int = 0
    uid: int = 0
    comm: str = ""
    path: str = ""
    other: str = ""
    argv: tuple[str, ...] = ()
    address: Address | None = None
    dns: DnsMessage | None = None
    dev: int = 0
    ino: int = 0
    mode: int = 0
    cwd: str = ""

    @property
    def writes(self) -> bool:
        """Whether an open was one that can change the file."""
        return bool(self.a0 & O_WRITES)

    @property
    def truncated(self) -> bool:
        """Whether something of it is missing, so that no permission may rest on it."""
        return self.flags & CUT != 0


class Traffic(msgspec.Struct, frozen=True):
    """What one process moved through one file or socket until it ended; `path` is empty where there is none."""

    ino: int
    path: str
    is_socket: bool
    reads: int
    read_bytes: int
    writes: int
    written_bytes: int


def read_address(data: bytes, family_and_protocol: int) -> Address | None:
    """Return the peer that a sockaddr names, or None where it names none."""
    if len(data) < 2:  # noqa: PLR2004 - the family
        return None
    number = family_and_protocol >> 16
    protocol = _PROTOCOLS.get(number, str(number) if number else "")
    (family,) = struct.unpack_from("<H", data)
    if family == socket.AF_UNIX:
        return Address("unix", _unix_name(data[2 : 2 + _MAX_UNIX]), 0, "unix")
    if family == socket.AF_INET and len(data) >= 8:  # noqa: PLR2004 - port and address
        return Address("inet", str(ipaddress.IPv4Address(data[4:8])), _port(data), protocol)
    if family == socket.AF_INET6 and len(data) >= 24:  # noqa: PLR2004 - port, flow and address
        ip = ipaddress.IPv6Address(data[8:24])
        return Address("inet6", str(ip.ipv4_mapped or ip), _port(data), protocol)
    names = {0: "unspecified", 16: "netlink", 17: "packet", 40: "vsock"}
    return Address(names.get(family, f"family-{family}"), "", 0, protocol)


def _port(data: bytes) -> int:
    return int.from_bytes(data[2:4], "big")


def _unix_name(raw: bytes) -> str:
    if raw[:1] == b"\0":
        return "@" + raw[1:].decode("utf-8", "backslashreplace")
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")
