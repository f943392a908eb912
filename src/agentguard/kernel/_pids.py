"""How many processes and threads an agent may have: by the pids controller of control groups, which holds root too."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard.core import AgentGuardError, KernelError
from agentguard.kernel._cgroups import PARENT, Cgroup, find_mount, own_path

if TYPE_CHECKING:
    from collections.abc import Callable

_MOUNTS = Path("/proc/self/mountinfo")
_OURS = re.compile(r"run-([0-9]+)-")
_POLL_MS = 200
_EMPTY_S = 2.0


class ProcessLimit:
    """Holds a process and all that it starts to `most` processes and threads together, from now on.

    It is set on the control group that the run has, or on one of its own where that is of version 1 or there is none.
    `folder` is that group's. `on_reached` is called once, from a thread, when the limit stops a fork; `watch` begins that.

    Raises:
        KernelError: this machine cannot hold it (`process_limit`).
    """

    def __init__(self, pid: int, most: int, on_reached: Callable[[], None]) -> None:
        self._on_reached = on_reached
        self._thread: threading.Thread | None = None
        self._made: Path | None = None
        self._group: Cgroup | None = None
        try:
            self.folder = self._own_v1(pid) or self._of_run(pid)
            (self.folder / "pids.max").write_text(str(most))
            self._events = (self.folder / "pids.events").open(encoding="ascii")
        except (OSError, AgentGuardError) as error:
            self._remove()
            why = (
                error.message
                if isinstance(error, AgentGuardError)
                else (error.strerror or str(error)).lower()
            )
            raise _failure(why) from None
        self._stop, self._wake = os.pipe2(os.O_CLOEXEC)

    def _own_v1(self, pid: int) -> Path | None:
        """Return a new group of version 1 with the process in it; None where the controller is not of that version."""
        mount = _mount_of_v1()
        if mount is None:
            return None
        _sweep(mount / PARENT)
        self._made = mount / PARENT / f"run-{os.getpid()}-{secrets.token_hex(8)}"
        self._made.mkdir(parents=True)
        (self._made / "cgroup.procs").write_text(str(pid))
        return self._made

    def _of_run(self, pid: int) -> Path:
        """Return the group of version 2 in which the process is, with the controller switched on."""
        path = own_path(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))
        if not path.startswith(f"/{PARENT}/"):
            # The run has no group of its own.
            self._group = Cgroup.make(f"run-{os.getpid()}-{secrets.token_hex(8)}")
            self._group.add(pid)
            path = own_path(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))
        mount = find_mount()
        folder = mount / path.lstrip("/")
        for above in reversed([each for each in folder.parents if each == mount or mount in each.parents]):
            # Where it is on already, or this fails, `pids.max` tells.
            with contextlib.suppress(OSError):
                (above / "cgroup.subtree_control").write_text("+pids")
        return folder

    def watch(self) -> None:
        """Call `on_reached` when the limit stops a fork from now on."""
        self._thread = threading.Thread(target=self._follow, name="agentguard-pids", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        poller = select.poll()
        poller.register(self._events, select.POLLPRI)
        poller.register(self._stop, select.POLLIN)
        while not self._is_reached():
            if any(fd == self._stop for fd, _ in poller.poll(_POLL_MS)):
                break
        if self._is_reached():
            self._on_reached()

    def _is_reached(self) -> bool:
        self._events.seek(0)
        return not self._events.read().startswith("max 0\n")

    def close(self) -> None:
        """Tell what was not told, and remove the group; what is in it was ended before. Idempotent."""
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1
            if self._thread is not None:
                self._thread.join()
            self._events.close()
            os.close(self._stop)
        self._remove()

    def _remove(self) -> None:
        if self._group is not None:
            self._group.remove()
        if self._made is not None:
            deadline = time.monotonic() + _EMPTY_S
            while self._made.exists() and time.monotonic() < deadline:
                # Who was ended a moment ago may still be in it.
                with contextlib.suppress(OSError):
                    self._made.rmdir()
                    self._made.parent.rmdir()
                    return
                time.sleep(0.005)


def _mount_of_v1() -> Path | None:
    for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup ") and "pids" in after.split()[-1].split(","):
            return Path(before.split()[4].encode().decode("unicode_escape"))
    return None


def _sweep(parent: Path) -> None:
    """Remove what runs have left whose launcher is gone."""
    with contextlib.suppress(OSError):
        for folder in parent.iterdir():
            found = _OURS.match(folder.name)
            if found and not Path(f"/proc/{found[1]}").exists():
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _failure(why: str) -> KernelError:
    return KernelError(
        f"the number of processes cannot be limited: {why}",
        code="process_limit",
        hint="it takes the pids controller of control groups: `CONFIG_CGROUP_PIDS`, and root",
    )
