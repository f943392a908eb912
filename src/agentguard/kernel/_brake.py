"""Stopping a run from outside: frozen until somebody lets it go on, or ended."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentguard.kernel._cgroups import Cgroup

# What is started while the list is read is found in the next round, until none is.
_ROUNDS = 8


class Brake:
    """Freezes or ends all processes of a run: by its cgroup, or where it has none of its own, by signals.

    Signals reach those that descend from `pid`; what has left that family is not stopped. Safe to use from many
    threads.
    """

    def __init__(self, pid: int, cgroup: Cgroup | None = None) -> None:
        self._pid = pid
        self._cgroup = cgroup
        self._lock = threading.Lock()
        self._stopped: list[int] = []
        self.is_on = False

    def freeze(self) -> str:
        """Let nothing of it run until `thaw`; return by which means."""
        with self._lock:
            self.is_on = True
            if self._cgroup is not None and _write(self._cgroup.path / "cgroup.freeze", "1"):
                return "cgroup.freeze"
            self._stopped = self._each(signal.SIGSTOP)
            return "SIGSTOP"

    def thaw(self) -> None:
        """Let it go on. Idempotent."""
        with self._lock:
            if not self.is_on:
                return
            self.is_on = False
            if self._cgroup is not None:
                _write(self._cgroup.path / "cgroup.freeze", "0")
            for pid in self._stopped:
                _send(pid, signal.SIGCONT)
            self._stopped = []

    def end(self) -> str:
        """End it at once; return by which means."""
        with self._lock:
            if self._cgroup is not None:
                self._cgroup.kill()
                return "cgroup.kill"
            # A stopped family cannot start more while it is being ended.
            for pid in self._each(signal.SIGSTOP):
                _send(pid, signal.SIGKILL)
            return "SIGKILL"

    def _each(self, number: signal.Signals) -> list[int]:
        done: list[int] = []
        for _ in range(_ROUNDS):
            more = [pid for pid in _family(self._pid) if pid not in done]
            if not more:
                break
            for pid in more:
                _send(pid, number)
            done += more
        return done


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((folder / "stat").read_text(errors="replace").rpartition(") ")[2].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def _write(path: Path, text: str) -> bool:
    try:
        path.write_text(text, encoding="ascii")
    except OSError:
        return False
    return True


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
