"""What ordinary agents have no need of, and what is worth a look whether it worked or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.kernel._layout import Flag, Kind

if TYPE_CHECKING:
    from agentguard.kernel._seen import Seen

_PLAIN = {
    Kind.MEMFD: "memfd",
    Kind.BPF: "bpf",
    Kind.MOUNT: "mount",
    Kind.NAMESPACE: "namespace",
    Kind.MODULE: "kernel module",
    Kind.VM_ACCESS: "memory of another process",
    Kind.FOREIGN_ABI: "system calls of another ABI",
}
_AF_PACKET, _U32 = 17, 0xFFFFFFFF
PIDFD_GETFD = 438
# By number on x86-64, then on arm64; no number means different calls in the two.
_IDENTITIES = {
    105: "user", 113: "user", 117: "user", 106: "group", 119: "group", 126: "capabilities",
    146: "user", 145: "user", 147: "user", 144: "group", 149: "group", 91: "capabilities",
}  # fmt: skip
_SPECIAL = {
    323: "userfaultfd", 298: "perf_event_open", 169: "reboot", 172: "iopl", 167: "swapon", 250: "keyctl",
    282: "userfaultfd", 241: "perf_event_open", 142: "reboot", 224: "swapon", 219: "keyctl",
}  # fmt: skip
_URING_OPS = {
    1: "readv", 2: "writev", 9: "sendmsg", 10: "recvmsg", 13: "accept", 16: "connect", 18: "openat", 22: "read",
    23: "write", 26: "send", 27: "recv", 28: "openat2", 30: "splice", 35: "renameat", 36: "unlinkat", 37: "mkdirat",
    38: "symlinkat", 39: "linkat", 45: "socket",
}  # fmt: skip


def identity_of(seen: Seen) -> tuple[str, int] | None:
    """Return `user` or `group` and the number that a process takes, or `capabilities`; None where it takes none."""
    what = _IDENTITIES.get(seen.nr, "user")
    number = 0 if what == "capabilities" else seen.a0 & _U32
    return None if number == _U32 else (what, number)


def special_call(number: int) -> str:
    """Return the name of a call of the kind SPECIAL."""
    return _SPECIAL.get(number, f"call-{number}")


def uring_operation(opcode: int) -> str:
    """Return what is asked for through a ring."""
    return _URING_OPS.get(opcode, f"operation {opcode}")


def describe_attempt(seen: Seen) -> tuple[str, str] | None:
    """Return what was attempted and on what, or None where it is nothing of that kind."""
    kind = seen.kind
    if kind == Kind.PTRACE:
        # 0 is PTRACE_TRACEME: the process lets its parent look at it.
        return "trace", "itself" if seen.a0 == 0 else f"process {seen.a1 & 0xFFFFFFFF}"
    if kind == Kind.URING_SETUP:
        return "io_uring", "a ring is set up"
    if kind == Kind.URING_OP:
        where = seen.path or (seen.address.host if seen.address else "")
        return "io_uring", f"{uring_operation(seen.a0)} {where}".strip()
    if kind == Kind.CGROUP_MOVE or (kind == Kind.FORK and seen.flags & Flag.ESCAPE):
        return "escape from the cgroup", f"process {seen.a0}" + (f" to {seen.path}" if seen.path else "")
    if kind == Kind.EXEC and seen.flags & Flag.UNLINKED:
        return "program without a name", seen.other or seen.path
    if kind == Kind.IDENTITY:
        # Who it was before is gone when the call returns, so that one that changes nothing looks like one that does.
        who = identity_of(seen)
        return None if who is None else ("change of user", f"{who[0]} {who[1]}")
    if kind == Kind.SOCKET and seen.a0 == _AF_PACKET:
        return "packet socket", ""
    if kind == Kind.SPECIAL:
        return "special system call", special_call(seen.nr)
    name = _PLAIN.get(kind)
    return None if name is None else (name, seen.path)
