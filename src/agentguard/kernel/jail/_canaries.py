"""The self-test's attempts: each is made as the jailed user, in the jail, before the command runs, and must fail."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.kernel.jail._calls import call

if TYPE_CHECKING:
    from collections.abc import Sequence

_REFUSALS = frozenset(
    (errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOSYS, errno.EXDEV, errno.ESRCH, errno.ECONNREFUSED,
     errno.ENOENT, errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)
)  # fmt: skip
_NEWUSER = 0x10000000


class Canary(msgspec.Struct, frozen=True):
    """One attempt: `go` raises OSError where it is held, returns where it was not. `protection` is what is tested."""

    protection: str
    name: str
    go: Callable[[], object]


class Verdict(msgspec.Struct, frozen=True):
    """What came of one attempt."""

    protection: str
    name: str
    ok: bool
    detail: str


class Scene(msgspec.Struct, frozen=True):
    """What the launcher has laid out for the attempts; an empty path or 0 means that there is none of it.

    `outside` is a file that no rule allows, `shut` one that a rule denies within a tree that may be changed, `link`
    another name of it there; `port` and `abstract` are listened at by the launcher; `descriptor` it has left open.
    """

    outside: str = ""
    shut: str = ""
    link: str = ""
    workspace: str = ""
    port: int = 0
    abstract: str = ""
    descriptor: int = -1
    launcher: int = 0


def canaries(scene: Scene) -> list[Canary]:
    """Return the attempts that can be made in this scene."""
    made = [
        Canary("descriptors", "use what was open before", lambda: os.fstat(scene.descriptor)),
        Canary("capabilities", "hold a capability that confines nobody", _hold_capability),
        Canary("no-new-privileges", "gain privileges by a program", _gain_privileges),
        Canary("seccomp", "set up io_uring", lambda: call("io_uring_setup", 1, bytes(120))),
        Canary("seccomp", "load a BPF program", lambda: call("bpf", 0, bytes(128), 128)),
        Canary("seccomp", "trace a process", lambda: call("ptrace", 0, 0, 0, 0)),
        Canary("seccomp", "make a user namespace", lambda: call("unshare", _NEWUSER)),
        Canary("seccomp", "mount a file system", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None)),
        Canary("seccomp", "open a file by its handle", lambda: call("open_by_handle_at", -1, bytes(16), 0)),
        Canary("seccomp", "run a file in memory", _run_memory),
        Canary("network", "open a packet socket", lambda: socket.socket(17, socket.SOCK_RAW)),
        Canary("network", "open a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)),
    ]
    if scene.outside:
        made.append(Canary("landlock-files", "read a file that no rule allows", lambda: _read(scene.outside)))
        made.append(
            Canary(
                "landlock-files",
                "write where no rule allows",
                lambda: _write(str(Path(scene.outside).parent)),
            )
        )
    if scene.shut:
        made.append(Canary("landlock-files", "read a file that a rule denies", lambda: _read(scene.shut)))
    if scene.link:
        made.append(
            Canary("fanotify", "read it under another name", lambda: _read(scene.link)),
        )
    if scene.port:
        made.append(Canary("network", "reach a port of this machine", lambda: _reach(scene.port)))
    if scene.abstract:
        made.append(
            Canary(
                "landlock-scopes", "reach an abstract unix socket", lambda: _reach_abstract(scene.abstract)
            )
        )
    if scene.launcher:
        made.append(Canary("process-namespace", "signal the launcher", lambda: os.kill(scene.launcher, 0)))
    return made


def attempt(canary: Canary) -> Verdict:
    """Make one attempt."""
    try:
        canary.go()
    except OSError as error:
        held = error.errno in _REFUSALS or (canary.protection == "descriptors" and error.errno == errno.EBADF)
        reason = (error.strerror or str(error)).lower()
        return Verdict(canary.protection, canary.name, held, reason)
    return Verdict(canary.protection, canary.name, ok=False, detail="it worked")


def benign(scene: Scene) -> Sequence[Canary]:
    """Return what must work all the same; here `go` raises where it does not."""
    return (
        Canary("work", "run a program", _run_program),
        *(
            (Canary("work", "write into the workspace", lambda: _write(scene.workspace)),)
            if scene.workspace
            else ()
        ),
    )


def work(canary: Canary) -> Verdict:
    """Do one ordinary thing."""
    try:
        canary.go()
    except OSError as error:
        return Verdict(
            canary.protection, canary.name, ok=False, detail=(error.strerror or str(error)).lower()
        )
    return Verdict(canary.protection, canary.name, ok=True, detail="it works")


def _read(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not os.read(fd, 1):
            raise OSError(errno.EACCES, "it is empty")
    finally:
        os.close(fd)


def _write(folder: str) -> None:
    path = f"{folder}/.agentguard-{os.getpid()}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.unlink(path)  # noqa: PTH108 - nothing may be imported any more


def _hold_capability() -> None:
    with open("/proc/self/status", encoding="utf-8") as stream:  # noqa: PTH123 - as above
        held = {name: value for name, _, value in (line.partition(":") for line in stream)}
    # CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_NET_RAW, CAP_BPF, CAP_SYS_MODULE, CAP_DAC_READ_SEARCH
    dangerous = 1 << 21 | 1 << 19 | 1 << 13 | 1 << 39 | 1 << 16 | 1 << 2
    if not int(held["CapEff"], 16) & dangerous:
        raise PermissionError(errno.EPERM, "it has none")


def _gain_privileges() -> None:
    with open("/proc/self/status", encoding="utf-8") as stream:  # noqa: PTH123 - as above
        if "NoNewPrivs:\t1" in stream.read():
            raise PermissionError(errno.EPERM, "it cannot")


def _run_memory() -> None:
    fd = os.memfd_create("agentguard", 0x10 | os.MFD_CLOEXEC)
    os.close(fd)


def _run_program() -> None:
    # It shares the memory until it runs: to copy the tables of it is most of what the self-test would cost.
    pid = os.posix_spawn("/bin/true", ["true"], {})
    if os.waitpid(pid, 0)[1]:
        raise PermissionError(errno.EACCES, "it does not run")


def _reach(port: int) -> None:
    with socket.socket(socket.AF_INET) as made:
        made.settimeout(1)
        made.connect(("127.0.0.1", port))
        # The launcher never answers; the egress proxy, to which any address may lead, ends what names no host.
        made.sendall(b"\0")
        with contextlib.suppress(TimeoutError):
            made.recv(1)
            raise ConnectionRefusedError(errno.ECONNREFUSED, "it leads to the proxy")


def _reach_abstract(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(1)
        made.connect("\0" + name)
