"""Starts the demo's processes and ends them again, each by its own process id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

_POLITE_S = 12.0
_TICK_S = 0.02


class Stopped(Exception):  # noqa: N818 - somebody asked for it, it is no error
    """Somebody wants the demo to end."""


class Patience:
    """Waits, but not for ever, and not once somebody has asked to stop (Ctrl-C, SIGTERM, a closed terminal)."""

    def __init__(self) -> None:
        self._is_asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        # Only noted, so that no child is started and then forgotten.
        self._is_asked = True

    def until(self, holds: Callable[[], bool], *, within_s: float | None = None) -> bool:
        """Return whether `holds` became true in time.

        Raises:
            Stopped: somebody asked for it first.
        """
        deadline = None if within_s is None else time.monotonic() + within_s
        while not holds():
            if self._is_asked:
                raise Stopped
            if deadline is not None and time.monotonic() > deadline:
                return False
            time.sleep(_TICK_S)
        return True


class Children:
    """The processes that the demo has started. Each has a session of its own, so a Ctrl-C reaches only us."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._children: list[subprocess.Popen[str]] = []

    def start(
        self,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: int | None,
    ) -> subprocess.Popen[str]:
        """Start a process; its messages go to the log."""
        child = subprocess.Popen(  # noqa: S603 - our own programs
            argv,
            env=environ,
            stdin=stdin,
            stdout=stdout,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self._children.append(child)
        return child

    def have_died(self) -> bool:
        """Return whether one ended that nobody has stopped."""
        return any(child.poll() is not None for child in self._children)

    def stop(self, child: subprocess.Popen[str]) -> None:
        """End a process: by closing its standard input if that is ours, else by SIGTERM; if need be, by force."""
        if child.stdin is not None:
            child.stdin.close()
        elif child.poll() is None:
            child.terminate()
        try:
            child.wait(_POLITE_S)
        except subprocess.TimeoutExpired:
            # It has not been waited for, so the group is still its own.
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if child.stdout is not None:
            child.stdout.close()
        self._children.remove(child)

    def stop_all(self) -> None:
        """End what still runs, the youngest first."""
        for child in reversed(self._children.copy()):
            self.stop(child)
