"""Control groups of version 2: the fence within which everything that an agent starts is seen."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard.core import KernelError

if TYPE_CHECKING:
    from collections.abc import Mapping

PARENT = "agentguard"
_TRIES = 16
_POD_UIDS = (36, 32)  # characters
_MOUNTS = Path("/proc/self/mountinfo")


def find_mount(mounts: Path = _MOUNTS) -> Path:
    """Return where cgroup v2 is mounted.

    Raises:
        KernelError: nowhere (`cgroup_missing`).
    """
    with contextlib.suppress(OSError):
        for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
            before, _, after = line.partition(" - ")
            if after.startswith("cgroup2 "):
                return Path(before.split()[4].encode().decode("unicode_escape"))
    raise KernelError(
        "no cgroup v2 is mounted",
        code="cgroup_missing",
        hint="mount it: `mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified`",
    )


def own_path(table: str | None = None) -> str:
    """Return the path of this process's cgroup below the mount, as `/user.slice`."""
    text = table if table is not None else Path("/proc/self/cgroup").read_text(encoding="utf-8")
    return next((line[3:] for line in text.splitlines() if line.startswith("0::")), "/")


class Cgroup:
    """One cgroup that was made here. `id` is what the kernel calls it: the inode of its folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.id = os.fstat(self.fd).st_ino

    @classmethod
    def make(cls, name: str, parents: tuple[Path, ...] | None = None) -> Cgroup:
        """Return a new cgroup: below `agentguard` at the root as root, else below this process's own.

        Raises:
            KernelError: there is no cgroup v2, or this user may make none in it (`cgroup_denied`).
        """
        tried = parents if parents is not None else _parents(find_mount())
        why = "no place was found"
        for parent in tried:
            try:
                _make_below(parent, name)
                return cls(parent / name)
            except OSError as error:
                why = f"{parent}: {(error.strerror or str(error)).lower()}"
        raise KernelError(
            f"no cgroup can be made ({why})",
            code="cgroup_denied",
            hint="run as root, or in a session to which systemd delegates one: `systemd-run --user --scope`",
        )

    def add(self, pid: int) -> None:
        """Move a process into it.

        Raises:
            KernelError: it cannot be moved (`cgroup_denied`).
        """
        try:
            (self.path / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise KernelError(
                f"the process cannot be moved into its cgroup: {(error.strerror or '').lower()}",
                code="cgroup_denied",
                hint="run as root",
            ) from None

    def pids(self) -> list[int]:
        """Return the processes in it and below it."""
        found: list[int] = []
        for folder, _, _ in os.walk(self.path):
            with contextlib.suppress(OSError, ValueError):
                found += map(int, Path(folder, "cgroup.procs").read_text().split())
        return found

    def kill(self) -> None:
        """End every process in it and below it."""
        try:
            (self.path / "cgroup.kill").write_text("1")
        except OSError:
            # Kernels before 5.14 cannot do it at once.
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def wait_empty(self, seconds: float) -> bool:
        """Tell whether the last process in it ends within `seconds`."""
        deadline = time.monotonic() + seconds
        with (self.path / "cgroup.events").open() as events:
            poller = select.poll()
            poller.register(events, select.POLLPRI)
            while True:
                events.seek(0)
                if "populated 0" in events.read():
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                poller.poll(min(left, 0.2) * 1000)

    def remove(self) -> None:
        """Remove it and those below it; what still runs in it is ended first. Idempotent."""
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        for _ in range(3):
            if self._try_remove():
                break
            self.kill()
            with contextlib.suppress(OSError):
                self.wait_empty(2)
        # The parent goes with the last of them.
        with contextlib.suppress(OSError):
            self.path.parent.rmdir() if self.path.parent.name == PARENT else None

    def let_go(self) -> None:
        """Forget it: the cgroup and what is in it stay as they are. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _try_remove(self) -> bool:
        try:
            for folder, _, _ in os.walk(self.path, topdown=False):
                Path(folder).rmdir()
        except OSError as error:
            return error.errno == errno.ENOENT
        return True


def _make_below(parent: Path, name: str) -> None:
    for _ in range(_TRIES):
        parent.mkdir(exist_ok=True)
        # The last run of another launcher takes the parent away, at any moment.
        with contextlib.suppress(FileNotFoundError):
            (parent / name).mkdir()
            return
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _parents(mount: Path) -> tuple[Path, ...]:
    return (mount / PARENT, mount / own_path().lstrip("/"))


def own_container() -> dict[str, str]:
    """Return `container` and `pod` in which this process runs, as far as its cgroup's path tells."""
    try:
        return dict(container_of(own_path()))
    except OSError:
        return {}


def container_of(path: str) -> Mapping[str, str]:
    """Return what a cgroup's path says of where it runs: `container` and `pod`, each where there is one.

    Docker, containerd, CRI-O and podman put the container's id into the path, the kubelet the pod's uid: a UUID, or
    for a pod that comes from a file of the node 32 hex digits. Both write `-` as `_` where systemd makes the cgroups.
    """
    found: dict[str, str] = {}
    for part in path.split("/"):
        text = part.removesuffix(".scope").removesuffix(".slice")
        last = text.rpartition("-")[2]
        if len(last) == 64 and set(last) <= set("0123456789abcdef"):  # noqa: PLR2004 - a sha256
            found["container"] = last
        _, marker, uid = text.rpartition("pod")
        uid = uid.replace("_", "-")
        if marker and len(uid) in _POD_UIDS and set(uid) <= set("0123456789abcdef-"):
            found["pod"] = uid
    return found
