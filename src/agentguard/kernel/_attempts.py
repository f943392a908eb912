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
    Kind.IDENTITY: "change of user",
    Kind.SPECIAL: "special system call",
}
_AF_PACKET = 17
_URING_OPS = {
    1: "readv", 2: "writev", 9: "sendmsg", 10: "recvmsg", 13: "accept", 16: "connect", 18: "openat", 22: "read",
    23: "write", 26: "send", 27: "recv", 28: "openat2", 30: "splice", 35: "renameat", 36: "unlinkat", 37: "mkdirat",
    38: "symlinkat", 39: "linkat", 45: "socket",
}  # fmt: skip


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
        return "io_uring", f"{_URING_OPS.get(seen.a0, f'operation {seen.a0}')} {where}".strip()
    if kind == Kind.CGROUP_MOVE or (kind == Kind.FORK and seen.flags & Flag.ESCAPE):
        return "escape from the cgroup", f"process {seen.a0}" + (f" to {seen.path}" if seen.path else "")
    if kind == Kind.EXEC and seen.flags & Flag.UNLINKED:
        return "program without a name", seen.other or seen.path
    if kind == Kind.IDENTITY and (seen.a0 & 0xFFFFFFFF) in {seen.uid, 0xFFFFFFFF}:
        return None
    if kind == Kind.SOCKET and seen.a0 == _AF_PACKET:
        return "packet socket", ""
    name = _PLAIN.get(kind)
    return None if name is None else (name, seen.path)
