"""What the self-test attempts on the network, from inside, before the agent runs. Each must fail with an OSError."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# For documentation (RFC 5737, RFC 3849, RFC 6761): nobody has it.
_HOST4, _HOST6, _NAME = "192.0.2.1", "2001:db8::1", "agentguard-canary.invalid"
_WAIT_S = 3.0
_REQUEST = f"GET / HTTP/1.1\r\nHost: {_NAME}\r\nConnection: close\r\n\r\n".encode()
_QUESTION = (
    bytes.fromhex("a61401000001000000000000")
    + b"".join(bytes([len(each)]) + each.encode() for each in _NAME.split("."))
    + bytes.fromhex("0000010001")
)
_ANSWERED = 0


def canaries(*, in_namespace: bool, port: int = 443) -> list[tuple[str, Callable[[], object]]]:
    """Return attempts by name; `port` is one that leads to the proxy."""
    made: list[tuple[str, Callable[[], object]]] = [
        ("reach a name that no rule allows", lambda: _ask_for_name(_HOST4, port)),
        ("look up a name that no rule allows", _look_up),
        ("open a multipath connection", _multipath),
    ]
    if in_namespace:
        made.append(("reach a port of another host", lambda: _connect(_HOST4, 9)))
    else:
        made += [
            ("send a datagram to another host", lambda: _send(socket.AF_INET, _HOST4)),
            ("send one to an IPv4 host over IPv6", lambda: _send(socket.AF_INET6, f"::ffff:{_HOST4}")),
            ("send one to another host over IPv6", lambda: _send(socket.AF_INET6, _HOST6)),
            ("reach a unix socket that no rule allows", _reach_unix),
        ]
    return made


def _ask_for_name(host: str, port: int) -> None:
    with socket.create_connection((host, port), _WAIT_S) as made:
        made.sendall(_REQUEST)
        said = made.recv(64)
    if not said.startswith(b"HTTP/1.1 2") and not said.startswith(b"HTTP/1.1 3"):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def _look_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(_WAIT_S)
        try:
            made.sendto(_QUESTION, (_HOST4, 53))
            answer = made.recv(512)
        except TimeoutError:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody answers") from None
    if len(answer) < 4 or answer[3] & 15 != _ANSWERED:  # noqa: PLR2004 - the code is in the fourth byte
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def _multipath() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()


def _connect(host: str, port: int) -> None:
    socket.create_connection((host, port), _WAIT_S).close()


def _send(family: int, host: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.sendto(b"agentguard", (host, 9))


def _reach_unix() -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(f"/run/agentguard-canary-{os.getpid()}")
