"""Holding a cgroup: frozen, nothing in it runs and nothing is lost; thawed, it goes on; killed, it ends at once."""

from __future__ import annotations

import contextlib
import select
import time
from typing import TYPE_CHECKING

from agentguard.core import KernelError

if TYPE_CHECKING:
    from agentguard.kernel._cgroups import Cgroup

DEADLINE_S = 2.0


class Freezer:
    """Freezes, thaws and kills one cgroup and all below it."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup

    def freeze(self, seconds: float = DEADLINE_S) -> None:
        """Return when every process in it has stopped.

        Raises:
            KernelError: it cannot be said to the kernel, or did not within `seconds` (`freeze_failed`).
        """
        self._say(frozen=True)
        self._wait(seconds)

    def thaw(self) -> None:
        """Let its processes run again.

        Raises:
            KernelError: it cannot be said to the kernel (`freeze_failed`).
        """
        self._say(frozen=False)

    def kill(self) -> None:
        """End every process in it, frozen or not. It is thawed, so that it can be removed."""
        self._cgroup.kill()
        with contextlib.suppress(KernelError):
            self.thaw()

    def is_frozen(self) -> bool:
        """Tell whether all that is in it has stopped."""
        return "frozen 1" in (self._cgroup.path / "cgroup.events").read_text()

    def _say(self, *, frozen: bool) -> None:
        try:
            (self._cgroup.path / "cgroup.freeze").write_text(str(int(frozen)))
        except OSError as error:
            raise _failure((error.strerror or str(error)).lower()) from None

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with (self._cgroup.path / "cgroup.events").open() as events:
            poller = select.poll()
            poller.register(events, select.POLLPRI)
            while "frozen 1" not in events.read():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise _failure("some process did not stop in time")
                poller.poll(left * 1000)
                events.seek(0)


def _failure(why: str) -> KernelError:
    return KernelError(
        f"the agent cannot be frozen: {why}",
        code="freeze_failed",
        hint="cgroup v2 of Linux 5.2 or newer has a freezer; see `agentguard doctor`",
    )
