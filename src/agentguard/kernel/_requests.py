"""What the kernel saw, as requests: the same actions that a tool would ask for."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.kernel._attempts import (
    PIDFD_GETFD,
    describe_attempt,
    identity_of,
    special_call,
    uring_operation,
)
from agentguard.kernel._layout import Kind
from agentguard.kernel._seen import O_PATH, O_WRITES

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.kernel._seen import Address, Seen

_MAX_ARGV = 1024
_DNS_TYPES = frozenset(("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT"))
_SIGNALS = {1: "HUP", 2: "INT", 9: "KILL", 10: "USR1", 12: "USR2", 15: "TERM", 18: "CONT", 19: "STOP"}
# Every program reads these through its libc; a tool that asks for them is another matter.
_EVERYBODYS = frozenset(("/etc/passwd", "/etc/group"))
_U32, _MAX_PID = 0xFFFFFFFF, 4_194_304
_NO_FILES = (stat.S_IFIFO, stat.S_IFSOCK)


class Wish(msgspec.Struct, frozen=True):
    """An action of the registry that an event stands for. `known` is false where a part of it was cut off."""

    action: str
    resource: str
    params: dict[str, Any]
    known: bool = True


def wishes_of(seen: Seen, name_of: Callable[[str], str]) -> list[Wish]:
    """Return what `seen` would have asked for; nothing for what changes and tells nothing.

    `name_of` returns the name that an address was looked up as, or nothing.
    """
    make = _MAKERS.get(seen.kind)
    return [] if make is None else make(seen, name_of)


def _file(action: str, path: str, seen: Seen, **params: Any) -> list[Wish]:
    if not path.startswith("/"):
        return []
    known = not seen.truncated
    return [Wish(action, f"file:{path}", {"path": path[:4096], **params}, known)]


def _open(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    kind = stat.S_IFMT(seen.mode)
    if seen.a0 & O_PATH or kind in _NO_FILES:
        return []
    if seen.ret < 0 and -seen.ret not in {1, 13}:  # not EPERM, not EACCES: there was nothing to open
        return []
    if kind == stat.S_IFDIR:
        return _file("file.list", seen.path, seen)
    if seen.writes:
        # 0o2000 is O_APPEND, 0o200 O_EXCL.
        mode = "append" if seen.a0 & 0o2000 else "create" if seen.a0 & 0o200 else "replace"
        return _file("file.write", seen.path, seen, mode=mode)
    if seen.path in _EVERYBODYS or _is_own_process(seen):
        return []
    return _file("file.read", seen.path, seen)


def _is_own_process(seen: Seen) -> bool:
    return seen.path.startswith(f"/proc/{seen.pid}/")


def _unlink(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    return _file("file.delete", seen.path, seen) if seen.ret >= 0 else []


def _change(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    return _file("file.write", seen.path, seen) if seen.ret >= 0 else []


def _two_paths(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    if seen.ret < 0:
        return []
    # A hard link gives its target another name, a symbolic one only says it.
    first = _file("file.read" if seen.kind == Kind.LINK else "file.write", seen.path, seen)
    second = _file("file.write", seen.other, seen)
    return second if seen.kind == Kind.SYMLINK else first + second


def _exec(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    program = seen.path or seen.other
    params: dict[str, Any] = {"argv": list(seen.argv[:_MAX_ARGV]) or [program]}
    if seen.cwd:
        params["cwd"] = seen.cwd
    return [
        Wish("process.exec", f"process:{program}", params, not seen.truncated and len(seen.argv) <= _MAX_ARGV)
    ]


def _connect(seen: Seen, name_of: Callable[[str], str]) -> list[Wish]:
    peer = seen.address
    if peer is None:
        return []
    if peer.family == "unix":
        # Whoever may write to the socket's file may connect.
        return _file("file.write", peer.host, seen)
    if peer.family not in {"inet", "inet6"} or not peer.port:
        return []
    return [connect_wish(peer, name_of(peer.host))]


def connect_wish(peer: Address, name: str) -> Wish:
    """Return the wish to reach a peer, by the name that it was looked up as where there is one."""
    host = name or peer.host
    shown = f"[{host}]" if ":" in host else host
    params = {"host": host, "port": peer.port, "address": peer.host}
    if peer.protocol in {"tcp", "udp"}:
        params["protocol"] = peer.protocol
    return Wish("net.connect", f"host:{shown}:{peer.port}", params)


def _dns(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    message = seen.dns
    if message is None or not message.name or message.is_answer:
        return []
    params = {"name": message.name}
    if message.type in _DNS_TYPES:
        params["type"] = message.type
    return [Wish("dns.resolve", f"dns:{message.name}", params, not seen.truncated)]


def _signal(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    pid = seen.a0 if seen.a0 < 1 << 31 else 0
    number = seen.a1 & 0xFF
    if seen.ret < 0 or pid < 2 or pid in {seen.pid, seen.tid} or number not in _SIGNALS:  # noqa: PLR2004 - 1 cannot be named
        return []
    return [Wish("process.signal", f"process:{pid}", {"pid": pid, "signal": _SIGNALS[number]})]


def _trace(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    if seen.kind == Kind.PTRACE:
        # 0 is PTRACE_TRACEME: the parent may look at it.
        how, pid = "ptrace", seen.pid if seen.a0 == 0 else seen.a1 & _U32
    else:
        how, pid = ("descriptor", 0) if seen.nr == PIDFD_GETFD else ("memory", seen.a0 & _U32)
    if not 0 < pid <= _MAX_PID:
        return [Wish("process.trace", "process:unknown", {"how": how})]
    return [Wish("process.trace", f"process:{pid}", {"how": how, "pid": pid})]


def _memfd(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    name = seen.path[:4096]
    return [Wish("process.memfd", "process:memfd", {"name": name}, not seen.truncated)]


def _identity(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    who = identity_of(seen)
    return [] if who is None else [Wish("process.set-user", f"{who[0]}:{who[1]}", {"id": who[1]})]


def _escape(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    if describe_attempt(seen) is None:
        return []
    pid = seen.a0 & _U32
    return [Wish("process.escape", f"process:{pid}", {"pid": pid} | ({"to": seen.path} if seen.path else {}))]


def _mount(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    if not seen.path.startswith("/"):
        return [Wish("file.mount", "kernel:mount", {}, not seen.truncated)]
    return _file("file.mount", seen.path, seen)


def _socket(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    if describe_attempt(seen) is None:
        return []
    return [Wish("net.capture", "kernel:packet-socket", {})]


def _uring(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    if seen.kind == Kind.URING_SETUP:
        return [Wish("kernel.io-uring", "kernel:io-uring", {})]
    wish = Wish("kernel.io-uring", "kernel:io-uring", {"operation": uring_operation(seen.a0)})
    if not seen.path:
        return [wish]
    # It is told before it is done, so that there is no inode to look at.
    return [wish, *_file("file.write" if seen.a1 & O_WRITES else "file.read", seen.path, seen)]


def _kernel(
    action: str, resource: str, *, key: str = ""
) -> Callable[[Seen, Callable[[str], str]], list[Wish]]:
    def make(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
        return [Wish(action, f"kernel:{resource}", {key: seen.a0} if key else {})]

    return make


def _special(seen: Seen, _: Callable[[str], str]) -> list[Wish]:
    return [Wish("kernel.call", f"kernel:{special_call(seen.nr)}", {})]


_MAKERS = {
    Kind.OPEN: _open,
    Kind.UNLINK: _unlink,
    Kind.RENAME: _two_paths,
    Kind.LINK: _two_paths,
    Kind.SYMLINK: _two_paths,
    **dict.fromkeys((Kind.TRUNCATE, Kind.CHMOD, Kind.CHOWN, Kind.MKDIR, Kind.MKNOD), _change),
    Kind.EXEC: _exec,
    Kind.CONNECT: _connect,
    Kind.SENDTO: _connect,
    Kind.DNS: _dns,
    Kind.SIGNAL: _signal,
    **dict.fromkeys((Kind.PTRACE, Kind.VM_ACCESS), _trace),
    Kind.MEMFD: _memfd,
    Kind.IDENTITY: _identity,
    **dict.fromkeys((Kind.CGROUP_MOVE, Kind.FORK), _escape),
    Kind.MOUNT: _mount,
    Kind.SOCKET: _socket,
    **dict.fromkeys((Kind.URING_SETUP, Kind.URING_OP), _uring),
    Kind.BPF: _kernel("kernel.bpf", "bpf", key="command"),
    Kind.MODULE: _kernel("kernel.module", "module"),
    Kind.NAMESPACE: _kernel("kernel.namespace", "namespace", key="flags"),
    Kind.FOREIGN_ABI: _kernel("kernel.call", "foreign-abi"),
    Kind.SPECIAL: _special,
}
