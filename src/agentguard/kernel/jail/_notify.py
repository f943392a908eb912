"""What the supervisor hears of refused system calls: it says no to each, and tells which it was.

It never lets one through: a call that was looked at and then runs could have been changed in between.
"""

from __future__ import annotations

import errno
import fcntl
import struct
from pathlib import Path

import msgspec

from agentguard.kernel.jail._calls import NUMBERS, number_of

# struct seccomp_notif: id, pid, flags, then seccomp_data: nr, arch, instruction pointer, six arguments.
_NOTIFICATION = struct.Struct("=QII iIQ 6Q")
_RESPONSE = struct.Struct("=QqiI")


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("!") << 8 | number


_RECEIVE, _SEND = _request(3, 0, _NOTIFICATION.size), _request(3, 1, _RESPONSE.size)
_FAMILIES = {
    0: "unspecified", 1: "unix", 2: "internet", 10: "internet (IPv6)", 16: "netlink", 17: "packet", 29: "CAN",
    31: "bluetooth", 38: "kernel crypto", 40: "vsock", 44: "XDP",
}  # fmt: skip
_TYPES = {1: "stream", 2: "datagram", 3: "raw", 5: "seqpacket"}


class Refusal(msgspec.Struct, frozen=True):
    """A system call that was refused: `name`, and what can be said of its arguments. `pid` as the supervisor sees it."""

    name: str
    detail: str
    pid: int
    program: str


def answer(listener: int) -> Refusal | None:
    """Refuse the next waiting call and return it; None if it is gone.

    Raises:
        OSError: nobody can call any more.
    """
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.EINTR}:
            return None
        raise
    id_, pid, _, nr, _, _, *arguments = _NOTIFICATION.unpack(buffer)
    name = _name_of(nr)
    program = _program_of(pid)
    number = errno.EACCES if name in {"socket", "socketpair"} else errno.EPERM
    try:
        fcntl.ioctl(listener, _SEND, _RESPONSE.pack(id_, 0, -number, 0))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    return Refusal(name, _detail(name, arguments), pid, program)


def _name_of(nr: int) -> str:
    return next((name for name in NUMBERS if number_of(name) == nr), f"system call {nr}")


def _program_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="backslashreplace").rstrip("\n")
    except OSError:
        return ""


def _detail(name: str, arguments: list[int]) -> str:
    if name in {"socket", "socketpair"}:
        family, kind = arguments[0] & 0xFFFFFFFF, arguments[1] & 0xF
        protocol = arguments[2] & 0xFFFFFFFF
        shown = f"{_FAMILIES.get(family, f'family {family}')}, {_TYPES.get(kind, f'type {kind}')}"
        return shown + (f", protocol {protocol}" if protocol else "")
    if name == "memfd_create":
        return "a file in memory that could be run"
    if name == "ioctl":
        return "to type on the terminal"
    return ""
