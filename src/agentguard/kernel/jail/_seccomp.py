"""Seccomp: which system calls an agent has no business with, refused before they begin.

The filter is a dozen lines of classic BPF for each kind of call, made here for x86-64 and arm64: libseccomp would be a
library and a binding more for a list of fifty numbers, and would hide which of the arguments are looked at.
"""

from __future__ import annotations

import ctypes
import errno
import platform
from typing import TYPE_CHECKING, Literal

from agentguard.kernel.jail._calls import call, number_of
from agentguard.kernel.jail._filter import (
    ALLOW,
    ERRNO,
    NOTIFY,
    Block,
    Call,
    Flags,
    Kind,
    Sockets,
    Values,
    assemble,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# What sockets there are. `none`: no network and no unix sockets. `loopback`: the process is alone in its network
# namespace. `guarded`: where a socket leads is decided elsewhere, by programs on its cgroup.
SocketPolicy = Literal["none", "loopback", "guarded"]

REFUSED = (
    "acct", "add_key", "bpf", "chroot", "clock_settime", "delete_module", "fanotify_init", "finit_module",
    "fsconfig", "fsmount", "fsopen", "fspick", "init_module", "io_uring_enter", "io_uring_register",
    "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "modify_ldt",
    "mount", "mount_setattr", "move_mount", "open_by_handle_at", "open_tree", "open_tree_attr",
    "perf_event_open", "pidfd_getfd", "pivot_root", "process_madvise", "process_vm_readv",
    "process_vm_writev", "ptrace", "quotactl", "quotactl_fd", "reboot", "request_key", "setdomainname",
    "sethostname", "setns", "settimeofday", "swapoff", "swapon", "syslog", "umount2", "unshare",
    "userfaultfd", "vhangup",
)  # fmt: skip
_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
# CLONE_NEW*: time, mount, cgroup, uts, ipc, user, pid, net. In clone, the lowest byte is a signal.
_CLONE_NEW = 0x7E020000
_MFD_NOEXEC_SEAL, _MFD_EXEC = 8, 16
# To type on a terminal, as if its user had: TIOCSTI, TIOCLINUX.
_TYPING = (0x5412, 0x541C)
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _DGRAM, _RAW, _SEQPACKET = 1, 2, 3, 5
_TCP, _UDP = 6, 17
_INTERNET = (
    Kind(_INET, (_STREAM, _DGRAM), (0, _TCP, _UDP)),
    Kind(_INET6, (_STREAM, _DGRAM), (0, _TCP, _UDP)),
)
# Reading what interfaces there are: every libc does it. To change them takes a capability.
_ROUTES = Kind(_NETLINK, (_RAW, _DGRAM), (0,))
_KINDS: dict[SocketPolicy, tuple[Kind, ...]] = {
    "none": (),
    "loopback": (*_INTERNET, _ROUTES),
    "guarded": (*_INTERNET, _ROUTES, Kind(_UNIX, (_STREAM, _DGRAM, _SEQPACKET), (0, 1))),
}
# A pair is connected from the start; of datagrams each one may still go elsewhere.
_PAIRS = {
    "none": (Kind(_UNIX, (_STREAM, _SEQPACKET), (0, 1)),),
    "guarded": (Kind(_UNIX, (_STREAM, _DGRAM, _SEQPACKET), (0, 1)),),
}
_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def program(sockets: SocketPolicy, *, notify: bool, sealed: bool, machine: str = "") -> bytes:
    """Return the filter for a machine, by default this one.

    With `notify` a supervisor is told of what is refused, and gives the answer; `sealed`: the kernel makes memory files
    without the right to be run wherever none is asked for.
    """
    machine = machine or platform.machine()
    refusal = NOTIFY if notify else ERRNO | errno.EPERM
    return assemble(
        _blocks(sockets, refusal, sealed=sealed, machine=machine),
        arch=_ARCHES[machine],
        foreign=ERRNO | errno.ENOSYS,
        wide=_X32 if machine == "x86_64" else None,
    )


def _blocks(sockets: SocketPolicy, refusal: int, *, sealed: bool, machine: str) -> Iterator[Block]:
    def number(name: str) -> int:
        found = number_of(name, machine)
        assert found is not None, name
        return found

    # Its flags lie in memory, where a filter cannot look; a libc then calls clone.
    yield Call(number("clone3"), ERRNO | errno.ENOSYS)
    yield Flags(number("clone"), 0, _CLONE_NEW, refusal)
    if sealed:
        yield Flags(number("memfd_create"), 1, _MFD_EXEC, refusal)
    else:
        yield Flags(number("memfd_create"), 1, _MFD_NOEXEC_SEAL, refusal, missing=True)
    yield Values(number("ioctl"), 1, _TYPING, refusal)
    yield Sockets(number("socket"), _KINDS[sockets], refusal)
    yield Sockets(number("socketpair"), _PAIRS["guarded" if sockets == "guarded" else "none"], refusal)
    for name in REFUSED:
        if (known := number_of(name, machine)) is not None:
            yield Call(known, refusal)


def install(code: bytes, *, listen: bool) -> int:
    """Put the filter on this thread, and on what it starts; return the supervisor's descriptor, or -1 without `listen`.

    Raises:
        OSError: what the kernel answers.
    """
    filled = _Program(len(code) // 8, code)
    answer = call("seccomp", _SET_MODE_FILTER, _NEW_LISTENER if listen else 0, ctypes.byref(filled))
    return answer if listen else -1


__all__ = ["ALLOW", "REFUSED", "SocketPolicy", "install", "program"]
